"""The parameters that a user's own `build` is given: a dict that says why a name is not in it, and
remembers which names were read.

What makes a user's model unfit for training here, seen before anything is computed.

A user's own network: `file.py:build`, a function of (params, input_shape, outputs).

`params` are all but those of the training alone: learning_rate, momentum, epochs, patience.
"""

import hashlib
import inspect
from collections.abc import Callable, Iterator, Mapping, Set
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import keras

from tuner.errors import NetworkError
from tuner.search_space.parameters import OPTIMIZERS, TRAINING
from tuner.system.user_modules import Surroundings, read_modules


class MissingParameter(KeyError):
    """A name that the dict does not have. As a KeyError, a user's `except KeyError` catches it."""

    def __str__(self) -> str:  # KeyError's own shows the text in quotes
        return str(self.args[0]) if self.args else ""


class HiddenParameter(MissingParameter):
    """A name that belongs to the training alone."""


def why_hidden(name: str) -> str:
    """One line: whose the name is, and what to do."""
    return (
        f"tuner sets the {name.replace('_', ' ')} itself ({_documented(name)}); build must not "
        f"read params[{name!r}]"
    )


def _documented(name: str) -> str:
    known = TRAINING.get(name)
    return known.doc if known is not None and known.doc else "in training"


class GivenParams(dict[str, Any]):
    """`hidden`: names of the training that are kept back. `read`: the names that were looked up,
    by whatever way; iterating reads all. `asked`: the hidden ones that were looked up.

    Names that are only tested with `in` count as read, but not as asked for.
    """

    def __init__(self, values: Mapping[str, Any], hidden: Set[str] = frozenset()) -> None:
        super().__init__(values)
        self._hidden = hidden
        self.read: set[str] = set()
        self.asked: set[str] = set()

    def hidden_name(self, error: BaseException) -> str | None:
        """The hidden name that code did not find in a copy of these params, such as a plain dict or
        a namespace."""
        name = error.name if isinstance(error, AttributeError) else next(iter(error.args), None)
        lacks = isinstance(error, (KeyError, AttributeError)) and name in self._hidden
        return str(name) if lacks else None

    def _look(self, name: object) -> None:
        if not isinstance(name, str):
            return
        self.read.add(name)
        if name in self._hidden and not super().__contains__(name):
            self.asked.add(name)

    def _read_all(self) -> None:
        self.read.update(super().keys())

    def __getitem__(self, name: str) -> Any:
        self._look(name)
        return super().__getitem__(name)

    def __missing__(self, name: object) -> Any:
        if isinstance(name, str) and name in self._hidden:
            raise HiddenParameter(why_hidden(name))
        there = ", ".join(super().keys()) or "none"
        raise MissingParameter(f"the space has no parameter {name!r}; build is given: {there}")

    def get(self, name: str, default: Any = None) -> Any:
        self._look(name)
        return super().get(name, default)

    def pop(self, name: str, *default: Any) -> Any:
        self._look(name)
        return super().pop(name, *default) if default or name in self else self.__missing__(name)

    def setdefault(self, name: str, default: Any = None) -> Any:
        self._look(name)
        return super().setdefault(name, default)

    def __contains__(self, name: object) -> bool:
        if isinstance(name, str):
            self.read.add(name)
        return super().__contains__(name)

    def popitem(self) -> tuple[str, Any]:
        self._read_all()
        return super().popitem()

    # Once __iter__ is another than dict's, `**params`, `dict(params)` and `params | {}` come
    # through keys() and __getitem__ as well.
    def __iter__(self) -> Iterator[str]:
        self._read_all()
        return super().__iter__()

    def __reversed__(self) -> Iterator[str]:
        self._read_all()
        return super().__reversed__()

    def keys(self) -> Any:
        self._read_all()
        return super().keys()

    def values(self) -> Any:
        self._read_all()
        return super().values()

    def items(self) -> Any:
        self._read_all()
        return super().items()

    def copy(self) -> "GivenParams":
        self._read_all()
        return GivenParams(dict(super().items()), self._hidden)

    def __or__(self, other: Any) -> Any:
        return dict(self.items()) | other

    def __ror__(self, other: Any) -> Any:
        return other | dict(self.items())

    def __repr__(self) -> str:
        self._read_all()
        return repr(dict(super().items()))

    def __reduce__(self) -> Any:
        self._read_all()
        return GivenParams, (dict(super().items()), self._hidden)


_NARROW = ("float16", "bfloat16")
# What Keras' fit() would call.
_REPLACED = ("train_step", "compute_loss")
_OPTIONAL_INPUTS = ("training", "mask")


def problems(model: Any) -> Iterator[str]:
    """Each in a line that says what to do, worded to follow the function's name."""
    if getattr(model, "compiled", False):
        yield (
            "returns a compiled model, but tuner compiles by itself: remove compile(), and fix or "
            f"search {_instead(model)} in the space instead"
        )
    for name in _REPLACED:
        if getattr(type(model), name) is not getattr(keras.Model, name):
            yield (
                f"returns a model with a {name}() of its own, which tuner does not call; give its "
                "loss by the parameter loss, and further ones by add_loss() in call()"
            )
    for layer in model._flatten_layers():
        if getattr(layer, "compute_dtype", None) in _NARROW:
            yield precision_problem(f"layer {layer.name!r} computes in {layer.compute_dtype}")
    for tensor in _inputs(model):
        if (rows := next(iter(tensor.shape))) is not None:
            yield (
                f"has an input of {rows} rows, but batches have different numbers of rows; write "
                "keras.Input(input_shape) without a batch size, and no stateful=True"
            )
    if not model.trainable_variables:
        yield "returns a model without trainable weights: there is nothing to train"


def precision_problem(what: str) -> str:
    return (
        f"{what}, but tuner trains in float32: remove mixed precision "
        "(keras.mixed_precision.set_global_policy) and the dtype arguments of layers"
    )


def _instead(model: Any) -> str:
    """The parameters of a space that stand for what was given to compile()."""
    optimizer = getattr(model, "optimizer", None)
    name = type(optimizer).__name__.lower()
    words = [f"optimizer (here {name})" if name in OPTIMIZERS else "optimizer", "learning_rate"]
    if name == "sgd":
        words += ["momentum", "nesterov"]
    if getattr(optimizer, "weight_decay", None):
        words.append("weight_decay")
    if getattr(optimizer, "clipnorm", None) or getattr(optimizer, "global_clipnorm", None):
        words.append("clip_norm")
    return ", ".join([*words, "loss"])


def input_problem(model: Any) -> str | None:
    """Whether a model has another number of inputs than one."""
    count = len(_inputs(model)) or _positional_inputs(model)
    return None if count == 1 else f"a network has one input, this one has {count}"


def shape_problem(model: Any, input_shape: tuple[int, ...]) -> str | None:
    """How a model's input differs from a row of this shape, as far as it says so itself. Keras
    takes some of these all the same."""
    for tensor in _inputs(model):
        shape = tuple(tensor.shape)[1:]
        alike = len(shape) == len(input_shape) and all(
            size in (None, wanted) for size, wanted in zip(shape, input_shape, strict=True)
        )
        if not alike:
            return (
                f"has an input of shape {shape}, but a row has shape {input_shape}; write "
                "keras.Input(input_shape), and a Reshape behind it where another is needed"
            )
    return None


def _inputs(model: Any) -> list[Any]:
    """Of a subclass none, before it is called."""
    return list(getattr(model, "inputs", None) or [])


def _positional_inputs(model: Any) -> int:
    """How many inputs a subclass' `call` needs."""
    try:
        parameters = inspect.signature(model.call).parameters.values()
    except (TypeError, ValueError):
        return 1
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    needed = [
        each.name
        for each in parameters
        if each.kind in positional
        and each.default is inspect.Parameter.empty
        and each.name not in _OPTIONAL_INPUTS
    ]
    return max(len(needed), 1)


@dataclass(frozen=True)
class CustomNetwork:
    """User code as the study stored it, compiled from its text: editing the file later changes
    nothing, and a worker on another machine needs no copy of it. `modules`: those that it imports
    from its folder, by their path there, with their texts; None where the study kept none: they are
    read from the folder. `file`: where the file lies, or lay; "" is `path` from here."""

    path: str
    function: str
    text: str
    modules: tuple[tuple[str, str], ...] | None = None
    file: str = ""

    @property
    def identity(self) -> str:
        content = hashlib.sha256(self.text.encode())
        for path, text in self.modules or ():
            content.update(f"\0{path}\0{text}".encode())
        return f"{self.function}@{content.hexdigest()}"

    def load(self) -> Callable[..., Any]:
        """The function itself. Raises NetworkError where the file lacks it; errors of the file's
        own pass through, with its name and lines in the traceback."""
        return self._load(self._surroundings())

    def _load(self, surroundings: Surroundings) -> Callable[..., Any]:
        module = ModuleType("tuner_user_network")
        # They stay: what is built may import more of them when it is called.
        surroundings.activate()
        with surroundings.on_path():
            surroundings.run(self.text.encode(), module)
        function = getattr(module, self.function, None)
        if not callable(function):
            raise NetworkError(f"{self.path}: no function {self.function!r}")
        return function

    def _surroundings(self) -> Surroundings:
        file = Path(self.file or self.path).absolute()
        if self.modules is None:
            return Surroundings(file, self.path, read_modules(file, self.text.encode()))
        modules = {path: text.encode() for path, text in self.modules}
        return Surroundings(file, self.path, modules, is_complete=True)

    def build(self, params: dict[str, Any], input_shape: tuple[int, ...], outputs: int) -> Any:
        """The user's model, checked. Raises NetworkError for what is not a fitting keras.Model."""
        surroundings = self._surroundings()
        function = self._load(surroundings)
        with surroundings.on_path():  # a function may import when it is called
            given = params if isinstance(params, GivenParams) else GivenParams(params)
            model = function(given, tuple(input_shape), outputs)
        where = f"{self.path}:{self.function}"
        if not isinstance(model, keras.Model):
            kind = type(model).__name__
            raise NetworkError(f"{where} must return a keras.Model, got {kind}")
        if problem := input_problem(model):
            raise NetworkError(f"{where}: {problem}")
        built = self._called(model, tuple(input_shape))
        shapes = [tuple(output.shape) for output in keras.tree.flatten(built)]
        expected = (None, outputs)
        if shapes != [expected]:
            got = ", ".join(map(str, shapes))
            raise NetworkError(f"{where} must give outputs of shape {expected}, got {got}")
        return model

    def _called(self, model: Any, input_shape: tuple[int, ...]) -> Any:
        """What comes out of the model, which builds a subclass of keras.Model too. Raises
        NetworkError for a model of other inputs; errors of its own pass through."""
        try:
            return model(keras.Input(input_shape))
        except Exception as error:
            problem = shape_problem(model, input_shape)
            if problem is None:
                raise
            raise NetworkError(f"{self.path}:{self.function} {problem}") from error
