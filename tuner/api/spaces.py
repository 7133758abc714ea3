"""Search spaces written in Python. They are checked by the code that checks files, so a mistake
gives the same message. Each has a form in YAML, and each file one in Python."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import KW_ONLY, MISSING, Field, dataclass, field, fields
from pathlib import Path
from types import FunctionType
from typing import Any, ClassVar, Self

from pydantic import ValidationError

from tuner.api.functions import check_function, code_reference, file_reference, kind_of
from tuner.errors import SpaceError, UsageError
from tuner.search_space.checks import explain_validation_error, format_mistake, mappings_as_texts
from tuner.search_space.function_kinds import FunctionKind
from tuner.search_space.loading import (
    SpaceFile,
    load_file,
    parse_content,
    read_content,
    read_yaml,
)
from tuner.search_space.ranges import RANGES, InvalidError
from tuner.settings import Settings
from tuner.values import Scalar, shown, word

Network = str | Callable[..., Any]


@dataclass(frozen=True, repr=False)
class Declared:
    """What `Int`, `Float` and `Categorical` have in common: they are checked when they are made."""

    _kind: ClassVar[str]

    def __post_init__(self) -> None:
        for name in (each.name for each in fields(self)):
            object.__setattr__(self, name, plain(getattr(self, name)))
        try:
            # A weight for each class may be a choice. The space knows which parameter takes one.
            RANGES[self._kind].model_validate(mappings_as_texts(self.content()))
        except InvalidError as wrong:
            raise SpaceError(f"{self!r}: {format_mistake(wrong)}") from wrong
        except ValidationError as error:
            raise SpaceError(
                f"{self!r}: {format_mistake(explain_validation_error(error))}"
            ) from error

    def content(self) -> dict[str, Any]:
        """The mapping that a file has for it. Values that are the default are left out."""
        return {"type": self._kind} | _set_fields(self)

    def __repr__(self) -> str:
        return _format_call(self)


@dataclass(frozen=True, repr=False)
class Int(Declared):
    """Whole numbers from `low` to `high`, both included; with `log` drawn on a logarithmic scale,
    with `step` only low, low + step, …

    `when`: searched only while other parameters have these values, such as
    `when={"optimizer": ["sgd"]}`. `repeat`: the Int parameter that counts the layers; each layer
    then has a value of its own. Raises SpaceError.

    >>> import tuner
    >>> tuner.Int(16, 256, log=True)
    Int(16, 256, log=True)
    """

    _kind = "int"

    low: int
    high: int
    _: KW_ONLY
    log: bool = False
    step: int = 1
    when: Mapping[str, Any] = field(default_factory=dict)
    repeat: str | None = None


@dataclass(frozen=True, repr=False)
class Float(Declared):
    """Numbers from `low` to `high`, both included. The rest is as for `Int`.

    >>> import tuner
    >>> tuner.Float(0, 0.5, step=0.1)
    Float(0, 0.5, step=0.1)
    """

    _kind = "float"

    low: float
    high: float
    _: KW_ONLY
    log: bool = False
    step: float | None = None
    when: Mapping[str, Any] = field(default_factory=dict)
    repeat: str | None = None


@dataclass(frozen=True, repr=False)
class Categorical(Declared):
    """One of the choices: texts, numbers or truth values, for `class_weight` also a weight for each
    class such as {"no": 1, "yes": 10}. The rest is as for `Int`.

    >>> import tuner
    >>> tuner.Categorical(["relu", "gelu"])
    Categorical(['relu', 'gelu'])
    """

    _kind = "categorical"

    choices: Sequence[Scalar | Mapping[Any, float]]
    _: KW_ONLY
    when: Mapping[str, Any] = field(default_factory=dict)
    repeat: str | None = None


def plain(value: Any) -> Any:
    """Python's own value for one of NumPy, and lists for tuples and the like."""
    if hasattr(value, "item") and getattr(value, "ndim", None) == 0:
        return value.item()
    if isinstance(value, Mapping):
        return {str(name): plain(each) for name, each in value.items()}
    if isinstance(value, tuple | list | range) or hasattr(value, "tolist"):
        return [plain(each) for each in value]
    return value


def by_name(name: str, value: object) -> dict[str, Any] | None:
    """Values by name, as Python's own; None stays None. `name`: what errors call them. Raises
    UsageError."""
    if value is None:
        return None
    if not isinstance(value, Mapping):
        raise UsageError(f"{name} must be values by name, got {shown(value)}")
    return {str(key): plain(each) for key, each in value.items()}


def _set_fields(instance: Any) -> dict[str, Any]:
    """The fields of a dataclass that are not their defaults."""
    values = {each: getattr(instance, each.name) for each in fields(instance)}
    return {each.name: value for each, value in values.items() if value != _default(each)}


def _default(each: Field[Any]) -> Any:
    return each.default if each.default_factory is MISSING else each.default_factory()


def _format_call(instance: Any) -> str:
    """A dataclass as the call that makes it."""
    required = [each.name for each in fields(instance) if _default(each) is MISSING]
    words = [
        _format_argument(value) if name in required else f"{name}={_format_argument(value)}"
        for name, value in _set_fields(instance).items()
    ]
    return f"{type(instance).__name__}({', '.join(words)})"


def _format_argument(value: Any) -> str:
    return value.__name__ if isinstance(value, FunctionType) else repr(value)


@dataclass(frozen=True, repr=False)
class Space:
    """What a study searches, as a search-space file says it.

    Args:
        network: a kind of network such as "mlp", "file.py:build", or a function that builds a
            network or trains by itself.
        parameters: for each parameter an `Int`, `Float` or `Categorical`, or the one value that all
            trials have.
        baselines: configurations that are tried first.
        data: the data, as a file's `data:` section has them, for studies that name none.
        columns: kinds of a table's columns, such as `{"zip": "category"}`.
        references: a known result for each baseline, None for none.

    Raises:
        SpaceError: for what a file may not hold either, naming the parameter.

    >>> import tuner
    >>> space = tuner.Space("mlp", {"width": tuner.Int(16, 256, log=True), "dropout": 0.1})
    >>> space.parameters["width"]
    Int(16, 256, log=True)
    >>> print(space.to_yaml(), end="")
    network: mlp
    parameters:
      width: {type: int, low: 16, high: 256, log: true}
      dropout: 0.1
    """

    network: Network
    parameters: Mapping[str, Any] = field(default_factory=dict)
    baselines: Sequence[Mapping[str, Any]] = field(default_factory=list)
    _: KW_ONLY
    data: str | Mapping[str, Scalar] | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    references: Sequence[float | None] = field(default_factory=list)

    def __post_init__(self) -> None:
        for each in fields(self):
            object.__setattr__(self, each.name, plain(getattr(self, each.name)))
        network = self.network
        if isinstance(network, str):
            self._file(network)
            return
        try:
            name = check_function(network).__name__
            kind = kind_of(network)
        except UsageError as error:
            raise SpaceError(f"Space: network: {error}") from error
        self._file(f"notebook.py:{name}", kind)

    def __repr__(self) -> str:
        return _format_call(self)

    @classmethod
    def load(cls, name_or_path: str | Path) -> Self:
        """A space that ships with tuner, such as "mlp", or that of a YAML file. Raises
        SpaceError.

        >>> import tuner
        >>> tuner.Space.load("mlp").parameters["depth"]
        Int(1, 4)
        """
        return cls._from_content(*read_content(str(name_or_path)))

    @classmethod
    def from_yaml(cls, text: str) -> Self:
        """The space that a YAML file with this text holds. Raises SpaceError."""
        if not isinstance(text, str):
            raise SpaceError(f"a space's YAML is a text, got {shown(text)}")
        return cls._from_content(read_yaml(text, "YAML"), "YAML")

    @classmethod
    def _from_content(cls, content: Any, source: str) -> Self:
        parse_content(content, source)
        parameters = {name: _declared(each) for name, each in content["parameters"].items()}
        return cls(**content | {"parameters": parameters})

    def to_yaml(self) -> str:
        """The same space as the text of a YAML file. Raises SpaceError for a network that is a
        function of a notebook, since it has no file."""
        network = self.network
        if not isinstance(network, str):
            path = file_reference(network)
            if path is None:
                raise SpaceError(
                    f"{network.__name__} has no file that YAML could name: put it into a .py file"
                )
            network = path
        return "".join(_yaml_lines(self._content(network)))

    def _file(self, network: str, function_kind: FunctionKind | None = None) -> SpaceFile:
        try:
            return parse_content(self._content(network), "Space", function_kind)
        except SpaceError as error:
            if str(error).endswith(", got a list"):
                raise SpaceError(
                    f"{error}; choices are a tuner.Categorical, a range is an Int or a Float"
                ) from error
            raise

    def _content(self, network: str) -> dict[str, Any]:
        """What a file holds."""
        parameters = self.parameters
        if isinstance(parameters, dict):
            parameters = {
                name: each.content() if isinstance(each, Declared) else each
                for name, each in parameters.items()
            }
        return _set_fields(self) | {"network": network, "parameters": parameters}


_DECLARED = {each._kind: each for each in (Int, Float, Categorical)}


def _declared(content: Any) -> Any:
    """A parameter of a file's content, which was checked."""
    if not isinstance(content, dict) or content.get("type") not in _DECLARED:
        return content  # a single value, or a weight for each class
    values = {name: value for name, value in content.items() if name != "type"}
    return _DECLARED[content["type"]](**values)


def _yaml_lines(content: Mapping[str, Any]) -> Iterator[str]:
    """A line for each parameter and baseline, and for each of the other keys."""
    for key, value in content.items():
        if key in ("parameters", "columns") and value:
            yield f"{key}:\n"
            yield from (f"  {word(name)}: {_flow(each)}\n" for name, each in value.items())
        elif key == "baselines":
            yield f"{key}:\n"
            yield from (f"  - {_flow(each)}\n" for each in value)
        else:
            yield f"{key}: {_flow(value)}\n"


def _flow(value: Any) -> str:
    """A value in YAML's flow style, in one line."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{word(name)}: {_flow(each)}" for name, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_flow, value)) + "]"
    return "null" if value is None else word(value)


def space_file(space: Space | str | Path, settings: Settings) -> SpaceFile:
    """The space that a study is created of: a `Space`, a shipped name or a path. A network that is
    a function is kept as `code_reference` says. Raises a UsageError."""
    if isinstance(space, str | Path):
        return load_file(str(space))
    if not isinstance(space, Space):
        raise SpaceError(
            "space must be a shipped name, the path of a YAML file, or a tuner.Space; got "
            f"{type(space).__name__}"
        )
    kind = None if isinstance(space.network, str) else kind_of(space.network)
    return space._file(code_reference(space.network, settings), kind)
