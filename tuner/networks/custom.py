"""A user's own network: `file.py:build`, a function of (params, input_shape, outputs).

Where inputs have names, `input_shape` is a dict name → shape; where there are several targets,
`outputs` is a dict name → units. Else they are one shape and one number.

`CustomNetwork` loads the file's stored text, calls the function and checks the model. `GivenParams`
is the dict that it passes: all params but those of the training alone, such as learning_rate and
epochs. `model_problems` says what would make a model unfit for training, before anything is
computed.
"""

import ast
import hashlib
import inspect
from collections.abc import Callable, Iterator, Mapping, Set
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePath
from types import ModuleType
from typing import Any

import keras

from tuner.errors import NetworkError
from tuner.networks.arranging import arranged_inputs, arranged_outputs, keras_inputs
from tuner.search_space.parameter_types import Params
from tuner.search_space.parameters import TRAINING, training_only_names
from tuner.system.user_files import known_files
from tuner.system.user_modules import Surroundings, stored_surroundings


class MissingParameter(KeyError):
    """A name that the params do not have. It is a KeyError, so that user code can catch it."""

    def __str__(self) -> str:  # KeyError's own shows the text in quotes
        return str(self.args[0]) if self.args else ""


class HiddenParameter(MissingParameter):
    """A name of a parameter of the training, which a network is not given."""


class CompiledModel(Exception):
    """The user's code returns a compiled model, which Keras' own `fit` trains."""


def why_hidden(name: str) -> str:
    """A line that says why the name is hidden, and what to do."""
    words, meaning = name.replace("_", " "), _describe_parameter(name)
    return f"tuner sets the {words} itself ({meaning}); build must not read params[{name!r}]"


def _describe_parameter(name: str) -> str:
    parameter = TRAINING.get(name)
    return parameter.doc if parameter is not None and parameter.doc else "in training"


class GivenParams(dict[str, Any]):
    """A dict that says why a name is not in it, and records which names were read.

    `hidden`: names of the training that it does not have. `read`: the names that were looked up in
    any way; iterating reads all. `asked`: the hidden names that were looked up. A name that is only
    tested with `in` counts as read, but not as asked for. `shows_hidden`: hidden names have their
    values all the same, for code that may compile its model.
    """

    def __init__(
        self, values: Mapping[str, Any], hidden: Set[str] = frozenset(), shows_hidden: bool = False
    ) -> None:
        shown = (
            values.items() if shows_hidden else [v for v in values.items() if v[0] not in hidden]
        )
        super().__init__(shown)
        self._hidden, self.shows_hidden = hidden, shows_hidden
        self.read: set[str] = set()
        self.asked: set[str] = set()

    def hidden_name(self, error: BaseException) -> str | None:
        """The hidden name, if any, that code has looked for in a copy of these params, such as a
        plain dict or a namespace, when it raised this error."""
        name = error.name if isinstance(error, AttributeError) else next(iter(error.args), None)
        is_hidden = isinstance(error, (KeyError, AttributeError)) and name in self._hidden
        return str(name) if is_hidden else None

    def _record(self, name: object) -> None:
        if not isinstance(name, str):
            return
        self.read.add(name)
        if name in self._hidden and (self.shows_hidden or not super().__contains__(name)):
            self.asked.add(name)

    def _record_all(self) -> None:
        self.read.update(super().keys())

    def __getitem__(self, name: str) -> Any:
        self._record(name)
        return super().__getitem__(name)

    def __missing__(self, name: object) -> Any:
        if isinstance(name, str) and name in self._hidden:
            raise HiddenParameter(why_hidden(name))
        given = ", ".join(super().keys()) or "none"
        raise MissingParameter(f"the space has no parameter {name!r}; build is given: {given}")

    def get(self, name: str, default: Any = None) -> Any:
        self._record(name)
        return super().get(name, default)

    def pop(self, name: str, *default: Any) -> Any:
        self._record(name)
        return super().pop(name, *default) if default or name in self else self.__missing__(name)

    def setdefault(self, name: str, default: Any = None) -> Any:
        self._record(name)
        return super().setdefault(name, default)

    def __contains__(self, name: object) -> bool:
        if isinstance(name, str):
            self.read.add(name)
        return super().__contains__(name)

    def popitem(self) -> tuple[str, Any]:
        self._record_all()
        return super().popitem()

    # Since __iter__ is not dict's own, `**params`, `dict(params)` and `params | {}` also go through
    # keys() and __getitem__.
    def __iter__(self) -> Iterator[str]:
        self._record_all()
        return super().__iter__()

    def __reversed__(self) -> Iterator[str]:
        self._record_all()
        return super().__reversed__()

    def keys(self) -> Any:
        self._record_all()
        return super().keys()

    def values(self) -> Any:
        self._record_all()
        return super().values()

    def items(self) -> Any:
        self._record_all()
        return super().items()

    def copy(self) -> "GivenParams":
        self._record_all()
        return GivenParams(dict(super().items()), self._hidden, self.shows_hidden)

    def without_hidden(self) -> "GivenParams":
        """The same without values for hidden names."""
        return GivenParams(dict(super().items()), self._hidden)

    def __or__(self, other: Any) -> Any:
        return dict(self.items()) | other

    def __ror__(self, other: Any) -> Any:
        return other | dict(self.items())

    def __repr__(self) -> str:
        self._record_all()
        return repr(dict(super().items()))

    def __reduce__(self) -> Any:
        self._record_all()
        return GivenParams, (dict(super().items()), self._hidden, self.shows_hidden)


def given_params(network: "CustomNetwork", params: Params) -> GivenParams:
    """What the user's code is given of a trial's params."""
    return GivenParams(params, training_only_names(), shows_hidden=network.may_compile)


# Methods that Keras' fit() calls, and our training does not.
_REPLACED = ("train_step", "compute_loss")
_OPTIONAL_INPUTS = ("training", "mask")


def model_problems(model: Any) -> Iterator[str]:
    """What makes a user's model unfit for training here: a line for each problem. It says what to
    do, and is worded to follow the function's name."""
    if not getattr(model, "compiled", False):
        yield from _uncompiled_problems(model)
    for tensor in _inputs(model):
        if (rows := next(iter(tensor.shape))) is not None:
            yield (
                f"has an input of {rows} rows, but batches have different numbers of rows; write "
                "keras.Input(input_shape) without a batch size, and no stateful=True"
            )
    if not model.trainable_variables:
        yield "returns a model without trainable weights: there is nothing to train"


def _uncompiled_problems(model: Any) -> Iterator[str]:
    for name in _REPLACED:
        if getattr(type(model), name) is not getattr(keras.Model, name):
            yield (
                f"returns a model with a {name}() of its own, which tuner calls only if the model "
                "is compiled: call model.compile(…) before you return it"
            )


def input_problem(model: Any, input_shape: Any) -> str | None:
    """What to say of a model that does not have exactly one input, where the data have one; or
    None."""
    if isinstance(input_shape, Mapping):
        return None
    count = len(_inputs(model)) or _positional_inputs(model)
    return None if count == 1 else f"the data have one input, this network has {count}"


def shape_problem(model: Any, input_shape: Any) -> str | None:
    """How a model's declared inputs differ from a row of this shape, or None. Keras accepts some of
    these models all the same."""
    if isinstance(input_shape, Mapping):
        return _named_shape_problem(model, input_shape)
    for tensor in _inputs(model):
        shape = tuple(tensor.shape)[1:]
        is_fitting = len(shape) == len(input_shape) and all(
            size in (None, wanted) for size, wanted in zip(shape, input_shape, strict=True)
        )
        if not is_fitting:
            return (
                f"has an input of shape {shape}, but a row has shape {input_shape}; write "
                "keras.Input(input_shape), and a Reshape behind it where another is needed"
            )
    return None


def _named_shape_problem(model: Any, input_shape: Mapping[str, tuple[int, ...]]) -> str | None:
    tensors = _inputs(model)
    if not tensors:
        return None
    arranged = keras.tree.flatten(arranged_inputs(model, {name: name for name in input_shape}))
    for tensor, name in zip(tensors, arranged, strict=True):
        shape, wanted = tuple(tensor.shape)[1:], tuple(input_shape[name])
        fits = len(shape) == len(wanted) and all(
            own in (None, size) for own, size in zip(shape, wanted, strict=True)
        )
        if not fits:
            return (
                f"has an input {tensor.name!r} of shape {shape}, but a row of {name!r} has {wanted}"
            )
    return None


def _inputs(model: Any) -> list[Any]:
    """The declared inputs; a subclass of Model has none before it is called."""
    return list(getattr(model, "inputs", None) or [])


def _positional_inputs(model: Any) -> int:
    """How many inputs the `call` of a subclass of Model needs."""
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


def run_network_file(text: str, surroundings: Surroundings) -> ModuleType:
    """A module with what the file of a user's network defines. Errors of the code pass through."""
    module = ModuleType("tuner_user_network")
    # They stay active: what is built may import more modules when it is called.
    surroundings.activate()
    with surroundings.on_path():
        surroundings.run(text.encode(), module)
    return module


@dataclass(frozen=True)
class CustomNetwork:
    """User code as the study stored it, compiled from its text: editing the file later changes
    nothing, and a worker on another machine needs no copy of it.

    `path`: the file's path as the user gave it. `modules`: path and text of the modules that it
    imports from its folder; None if the study stored none, then they are read from the folder.
    `file`: the file's absolute path when the study was made; "" if unknown. `local_files`: path and
    SHA-256 of other files that it reads.
    """

    path: str
    function: str
    text: str
    modules: tuple[tuple[str, str], ...] | None = None
    file: str = ""
    local_files: tuple[tuple[str, str], ...] = ()

    @property
    def identity(self) -> str:
        """A text that differs if the code, or that of its modules, differs."""
        content = hashlib.sha256(self.text.encode())
        for path, text in self.modules or ():
            content.update(f"\0{path}\0{text}".encode())
        for path, file_hash in self.local_files:
            content.update(f"\0{path}\0{file_hash}".encode())
        return f"{self.function}@{content.hexdigest()}"

    def texts(self) -> dict[str, str]:
        """Path and text of its file, then of the modules that it imports from its folder."""
        folder = PurePath(self.path).parent
        modules = self._surroundings().modules
        return {self.path: self.text} | {
            str(folder / name): text.decode() for name, text in modules.items()
        }

    def load(self) -> Callable[..., Any]:
        """The function itself. Raises NetworkError if the file does not have it. Errors of the
        user's code pass through, with its file name and lines in the traceback."""
        return self._load(self._surroundings())

    def _load(self, surroundings: Surroundings) -> Callable[..., Any]:
        with self.known_files():
            return self._function(run_network_file(self.text, surroundings))

    def _function(self, module: ModuleType) -> Callable[..., Any]:
        function = getattr(module, self.function, None)
        if not callable(function):
            raise NetworkError(f"{self.path}: no function {self.function!r}")
        return function

    @cached_property
    def may_compile(self) -> bool:
        """Whether its code calls a `compile` method, by its text alone."""
        texts = [self.text, *(text for _, text in self.modules or ())]
        return any(map(_calls_compile, texts))

    def run_file(self) -> "NetworkFile":
        """The file run once, for a trial that needs several of its functions."""
        surroundings = self._surroundings()
        with self.known_files():
            module = run_network_file(self.text, surroundings)
        return NetworkFile(self, module, surroundings)

    def known_files(self) -> AbstractContextManager[None]:
        """Inside, its code reads its local files."""
        return known_files(self.local_files, Path(self.file or self.path).absolute())

    def _surroundings(self) -> Surroundings:
        return stored_surroundings(self.path, self.text, self.modules, self.file)

    def build(
        self,
        params: Params,
        input_shape: Any,
        outputs: Any,
        file: "NetworkFile | None" = None,
    ) -> Any:
        """The user's model, checked. `file`: the file where it has run already. Raises NetworkError
        for anything but a fitting keras.Model."""
        return (file or self.run_file()).build(params, input_shape, outputs)

    def checked(self, model: Any, input_shape: Any, outputs: Any) -> Any:
        """The model that the function has returned. Raises NetworkError for one that does not
        fit."""
        where = f"{self.path}:{self.function}"
        if not isinstance(model, keras.Model):
            kind = type(model).__name__
            raise NetworkError(f"{where} must return a keras.Model, got {kind}")
        if problem := input_problem(model, input_shape):
            raise NetworkError(f"{where}: {problem}")
        built = self._call(model, input_shape)
        try:
            built = arranged_outputs(model, built, outputs)
        except NetworkError as error:
            raise NetworkError(f"{where} {error}") from error
        wanted = outputs if isinstance(outputs, Mapping) else {"": outputs}
        built_outputs = built if isinstance(outputs, Mapping) else {"": built}
        for name, units in wanted.items():
            shapes = [tuple(output.shape) for output in keras.tree.flatten(built_outputs[name])]
            if shapes != [(None, units)]:
                got, of = ", ".join(map(str, shapes)), f" for {name}" if name else ""
                raise NetworkError(
                    f"{where} must give outputs of shape {(None, units)}{of}, got {got}"
                )
        return model

    def _call(self, model: Any, input_shape: Any) -> Any:
        """The model's outputs; calling also builds a subclass of keras.Model. Raises NetworkError
        if the model has other inputs. Errors of the user's code pass through."""
        where = f"{self.path}:{self.function}"
        try:
            inputs = arranged_inputs(model, keras_inputs(input_shape))
        except NetworkError as error:
            raise NetworkError(f"{where} {error}") from error
        try:
            return model(inputs)
        except Exception as error:
            problem = shape_problem(model, input_shape)
            if problem is None:
                raise
            raise NetworkError(f"{where} {problem}") from error


@dataclass(frozen=True)
class NetworkFile:
    """A user's file that has run: its functions share what is at its top."""

    network: CustomNetwork
    module: ModuleType
    surroundings: Surroundings

    def build(self, params: Params, input_shape: Any, outputs: Any) -> Any:
        """As `CustomNetwork.build`."""
        given = params if isinstance(params, GivenParams) else GivenParams(params)
        model = self._call_build(given, input_shape, outputs)
        if given.shows_hidden and given.asked and not getattr(model, "compiled", False):
            # Not compiled after all: it must not read what tuner sets by itself.
            again = given.without_hidden()
            model = self._call_build(again, input_shape, outputs)
            given.read, given.asked = given.read | again.read, again.asked
        return self.network.checked(model, input_shape, outputs)

    def _call_build(self, given: GivenParams, input_shape: Any, outputs: Any) -> Any:
        shape = input_shape if isinstance(input_shape, Mapping) else tuple(input_shape)
        # A function may import when it is called.
        with self.surroundings.on_path(), self.network.known_files():
            return self.network._function(self.module)(given, shape, outputs)

    def call(self, name: str, params: Params) -> Any:
        """What its function of that name returns for the params; None if it has none. A module or a
        class of that name, such as `keras.callbacks`, is no function."""
        function = getattr(self.module, name, None)
        if not inspect.isfunction(function):
            return None
        with self.surroundings.on_path(), self.network.known_files():
            return function(params)


def _calls_compile(text: str) -> bool:
    try:
        nodes = list(ast.walk(ast.parse(text)))
    except (SyntaxError, ValueError, RecursionError):
        return False  # running the file will say what is wrong
    called = [
        n.func for n in nodes if isinstance(n, ast.Call) and isinstance(n.func, ast.Attribute)
    ]
    return any(
        function.attr == "compile"
        and not (isinstance(function.value, ast.Name) and function.value.id in ("re", "regex"))
        for function in called
    )
