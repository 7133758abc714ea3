"""Which layers of a network take its inputs as they are: an Embedding of scaled numbers, and
scaling over again. The layers are watched while rows run through them, so that it does not matter
how the network is put together: a layer counts as first if it is given values of the inputs.

What belongs to a user's own network: the modules of its folder, and the names that they use.
"""

import ast
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

import tuner
from tuner.networks.custom import CustomNetwork

_OURS = f"{Path(tuner.__file__).parent}/"


def is_beside(file_name: str, path: str) -> bool:
    """Whether a file is the user's network at `path`, or one of its folder."""
    return file_name == path or _is_in(file_name, _folders(path))


def _folders(path: str) -> set[str]:
    folder = Path(path).parent
    return {f"{folder.absolute()}/", f"{folder.resolve()}/"}


def _is_in(file_name: str, folders: set[str]) -> bool:
    # By text alone: thousands of modules are imported.
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
    """Whether the code has a name as a text, or a part of one that it may put together: only then
    can further configurations make it read the name."""
    pieces = set(_texts(network))
    return any(piece in name for name in names for piece in pieces)


def _texts(network: CustomNetwork) -> Iterator[str]:
    """The texts in the network's code, and in the modules of its folder."""
    modules = getattr(network, "modules", None) or ()
    # As bytes, as Python reads them: a text may not begin with a byte order mark.
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


# A factor of 1/255 or 1/127.5 is meant for pixels.
_FOR_PIXELS = 1 / 64
_NO_PIXELS = 2.0


@dataclass
class Watched:
    """`problem`: why the network cannot learn from these inputs; `warning`: what is doubtful."""

    problem: str | None = None
    warning: str | None = None


@contextmanager
def watched_layers(inputs: np.ndarray, scaling: str) -> Iterator[Watched]:
    """Watch eager calls of layers inside. `inputs`: the rows (n, …) as the network is given them,
    scaled by the method `scaling`."""
    watched = Watched()
    looks = _Looks(watched, inputs, scaling)
    with ExitStack() as restored:
        for owner, look in looks.table():
            restored.callback(setattr, owner, "call", owner.call)
            owner.call = _observed(owner.call, look)
        yield watched


Look = Callable[..., object]


def _observed(call: Callable[..., Any], look: Look) -> Callable[..., Any]:
    def observed(layer: Any, *arguments: Any, **options: Any) -> Any:
        look(layer, *arguments)
        return call(layer, *arguments, **options)

    return observed


class _Looks:
    def __init__(self, watched: Watched, inputs: np.ndarray, scaling: str) -> None:
        self._watched, self._inputs = watched, inputs
        self._scaled = scaling != "none"
        self._whole = bool((inputs == np.trunc(inputs)).all())

    def table(self) -> list[tuple[Any, Look]]:
        layers = keras.layers
        looks: list[tuple[Any, Look]] = [
            (layers.Embedding, self._embedding),
            (layers.CategoryEncoding, self._whole_numbers),
            (layers.IntegerLookup, self._whole_numbers),
            (layers.Hashing, self._whole_numbers),
            (layers.Rescaling, self._rescaling),
            (layers.Normalization, self._scales_again),
            (layers.Discretization, self._scales_again),
        ]
        # What `x / 255` is in a functional network: Keras' own operations, which have no public
        # name.
        from keras.src.ops import numpy as operations

        divisions = [getattr(operations, name, None) for name in ("TrueDivide", "Divide")]
        looks += [(division, self._division) for division in divisions if division is not None]
        if multiply := getattr(operations, "Multiply", None):
            looks.append((multiply, self._multiplication))
        return looks

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
        """The layer's inputs; None where they are none that can be seen."""
        values = _values(inputs)
        if values is None:
            return None
        odd = values[(values != np.trunc(values)) | (values < 0)]
        if not odd.size and not self._whole and self._are_inputs(values, cut_off=True):
            odd = self._inputs[self._inputs != np.trunc(self._inputs)]
        if odd.size and not self._watched.problem:
            remedy = "; --scaling none gives them raw" if self._scaled else ""
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
        if not self._scaled or self._watched.warning or values is None or not values.size:
            return
        small = factor <= _FOR_PIXELS and float(np.abs(values).max()) <= _NO_PIXELS
        if small or self._are_inputs(values):
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

    def _are_inputs(self, values: np.ndarray, cut_off: bool = False) -> bool:
        """Whether a layer's rows, however arranged, hold values of the inputs' rows and no others.
        Rows that are all alike are made by the network itself, such as positions."""
        inputs = np.trunc(self._inputs) if cut_off else self._inputs
        if values.ndim < 2 or len(values) != len(inputs) or not values.size:
            return False
        if len(values) > 1 and (values == values[0]).all():
            return False
        return all(np.isin(row, given).all() for row, given in zip(values, inputs, strict=True))


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
