"""What a user's own network does to its inputs, and which code belongs to it.

Layers are watched while rows run through them, which finds an Embedding of scaled numbers and a
second scaling, however the network is put together: a layer counts as first if it is given values
of the inputs.
"""

import ast
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import keras
import numpy as np

from tuner.networks.custom import CustomNetwork

# The package's own folder.
_OURS = f"{Path(__file__).parents[1]}/"


def is_beside(file_name: str, path: str) -> bool:
    """Whether a file is the user's network at `path`, or lies in its folder."""
    return file_name == path or _is_in(file_name, _folders(path))


def _folders(path: str) -> set[str]:
    folder = Path(path).parent
    return {f"{folder.absolute()}/", f"{folder.resolve()}/"}


def _is_in(file_name: str, folders: set[str]) -> bool:
    # Compares text, without asking the disk: thousands of modules are imported.
    file = file_name if file_name.startswith("/") else str(Path(file_name).absolute())
    return (
        any(file.startswith(folder) for folder in folders)
        and not file.startswith(_OURS)
        and not any(f"/{packages}/" in file for packages in ("site-packages", "dist-packages"))
    )


def modules_of(path: str) -> list[str]:
    """The imported modules that lie in the network's folder."""
    folders = _folders(path)
    return [
        name
        for name, module in list(sys.modules.items())
        if name != "__main__"
        and isinstance(file := getattr(module, "__file__", None), str)
        and _is_in(file, folders)
    ]


def may_mention(network: CustomNetwork, names: Iterable[str]) -> bool:
    """Whether the code has one of the names as a string, or a part that it may build the name from.
    Only then can a further configuration make it read the name."""
    pieces = set(_texts(network))
    return any(piece in name for name in names for piece in pieces)


def _texts(network: CustomNetwork) -> Iterator[str]:
    """The strings in the network's code, and in the modules of its folder."""
    modules = getattr(network, "modules", None) or ()
    # As bytes, as Python reads files: ast.parse refuses a text with a byte order mark.
    codes = [text.encode() for text in (network.text, *(text for _, text in modules))]
    for name in modules_of(network.path):
        file = getattr(sys.modules.get(name), "__file__", None)
        if file and file.endswith(".py") and Path(file).is_file():
            codes.append(Path(file).read_bytes())
    for code in codes:
        for node in ast.walk(ast.parse(code)):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value:
                yield node.value
            elif isinstance(node, ast.keyword) and node.arg:
                yield node.arg


# A factor of at most this, such as 1/255 or 1/127.5, is meant for pixels.
_FOR_PIXELS = 1 / 64
_NO_PIXELS = 2.0


@dataclass
class Watched:
    """`problem`: why the network cannot learn from these inputs; `warning`: a likely mistake."""

    problem: str | None = None
    warning: str | None = None


@contextmanager
def watched_layers(
    inputs: Mapping[str, np.ndarray], scaling: Mapping[str, str]
) -> Iterator[Watched]:
    """Watch layers that are called eagerly inside. `inputs`: by name rows (n, …) as the network
    gets them, scaled by the methods `scaling`."""
    watched = Watched()
    checks = _LayerChecks(
        watched, [_Given(x, scaling[name] != "none") for name, x in inputs.items()]
    )
    with ExitStack() as patches:
        for layer_class, check in checks.by_class():
            watched_call = _checked_first(layer_class.call, check)
            patches.enter_context(patch.object(layer_class, "call", watched_call))
        yield watched


Check = Callable[..., object]


def _checked_first(call: Callable[..., Any], check: Check) -> Callable[..., Any]:
    def checked_call(layer: Any, *arguments: Any, **options: Any) -> Any:
        check(layer, *arguments)
        return call(layer, *arguments, **options)

    return checked_call


class _Given:
    """An input's rows as the network gets them, and whether they were scaled."""

    def __init__(self, rows: np.ndarray, is_scaled: bool) -> None:
        self.rows, self.is_scaled = rows, is_scaled
        self.are_whole = bool((rows == np.trunc(rows)).all())

    def gave(self, values: np.ndarray, cut_off: bool = False) -> bool:
        """Whether a layer's rows, in whatever shape, hold only values of this input's rows. If all
        rows are equal, such as positions, the network made them itself."""
        inputs = np.trunc(self.rows) if cut_off else self.rows
        if values.ndim < 2 or len(values) != len(inputs) or not values.size:
            return False
        if len(values) > 1 and (values == values[0]).all():
            return False
        return all(np.isin(row, given).all() for row, given in zip(values, inputs, strict=True))


class _LayerChecks:
    """What is looked at when a layer is called, by its class."""

    def __init__(self, watched: Watched, inputs: Sequence[_Given]) -> None:
        self._watched, self._inputs = watched, inputs
        self._any_scaled = any(given.is_scaled for given in inputs)

    def by_class(self) -> list[tuple[Any, Check]]:
        layers = keras.layers
        checks: list[tuple[Any, Check]] = [
            (layers.Embedding, self._embedding),
            (layers.CategoryEncoding, self._whole_numbers),
            (layers.IntegerLookup, self._whole_numbers),
            (layers.Hashing, self._whole_numbers),
            (layers.Rescaling, self._rescaling),
            (layers.Normalization, self._scales_again),
            (layers.Discretization, self._scales_again),
        ]
        # `x / 255` in a functional network is one of Keras' own operations without a public name.
        from keras.src.ops import numpy as operations

        divisions = [getattr(operations, name, None) for name in ("TrueDivide", "Divide")]
        checks += [(division, self._division) for division in divisions if division is not None]
        if multiply := getattr(operations, "Multiply", None):
            checks.append((multiply, self._multiplication))
        return checks

    def _embedding(self, layer: Any, inputs: Any, *_: Any) -> None:
        values = self._whole_numbers(layer, inputs)
        if values is None or self._watched.problem:
            return
        if values.size and values.max() >= layer.input_dim:
            self._watched.problem = (
                f"{_name(layer)} has input_dim={layer.input_dim} and is given {values.max():.0f}; "
                "input_dim must be above the largest value of the data"
            )

    def _whole_numbers(self, layer: Any, inputs: Any, *_: Any) -> np.ndarray | None:
        """Check that a layer gets whole numbers from 0; its inputs, None if they cannot be seen."""
        values = _values(inputs)
        if values is None:
            return None
        odd = values[(values != np.trunc(values)) | (values < 0)]
        if not odd.size:
            cut_off = (g for g in self._inputs if not g.are_whole and g.gave(values, cut_off=True))
            if (given := next(cut_off, None)) is not None:
                odd = given.rows[given.rows != np.trunc(given.rows)]
        if odd.size and not self._watched.problem:
            remedy = "; --scaling none gives them raw" if self._any_scaled else ""
            self._watched.problem = (
                f"{_name(layer)} needs whole numbers from 0, and is given values such as "
                f"{float(odd.flat[0]):.3g}{remedy}"
            )
        return values

    def _rescaling(self, layer: Any, inputs: Any, *_: Any) -> None:
        scale = np.asarray(layer.scale)
        self._scales_again(layer, inputs, factor=float(np.abs(scale).max()))

    def _scales_again(self, layer: Any, inputs: Any, *_: Any, factor: float = 1.0) -> None:
        values = _values(inputs)
        if not self._any_scaled or self._watched.warning or values is None or not values.size:
            return
        small = factor <= _FOR_PIXELS and float(np.abs(values).max()) <= _NO_PIXELS
        if small or any(given.is_scaled and given.gave(values) for given in self._inputs):
            self._watched.warning = (
                f"{_name(layer)} scales inputs that are scaled already; remove it, or create the "
                "study with --scaling none"
            )

    def _division(self, operation: Any, first: Any, second: Any, *_: Any) -> None:
        if np.ndim(second) == 0 and _number(second) >= 1 / _FOR_PIXELS:
            self._scales_again(operation, first, factor=1 / _number(second))

    def _multiplication(self, operation: Any, first: Any, second: Any, *_: Any) -> None:
        if np.ndim(second) == 0 and 0 < _number(second) <= _FOR_PIXELS:
            self._scales_again(operation, first, factor=_number(second))


def _values(inputs: Any) -> np.ndarray | None:
    try:
        values = np.asarray(inputs)
    except (TypeError, ValueError, NotImplementedError):  # symbolic, or several tensors
        return None
    return values.astype(np.float64) if values.dtype.kind in "biuf" else None


def _number(value: Any) -> float:
    try:
        return abs(float(value))
    except (TypeError, ValueError):
        return 0.0


def _name(layer: Any) -> str:
    return type(layer).__name__
