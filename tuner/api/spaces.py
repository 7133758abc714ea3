"""Search spaces written in Python. They are checked by the code that checks files, so a mistake
gives the same message."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar, Self

from pydantic import ValidationError

from tuner.api.functions import code_reference
from tuner.errors import SpaceError, UsageError
from tuner.search_space.checks import explain_validation_error, format_mistake
from tuner.search_space.loading import SpaceFile, load_file, parse_content, parse_file
from tuner.search_space.ranges import RANGES
from tuner.settings import Settings
from tuner.values import Scalar

Network = str | Callable[..., Any]


@dataclass(frozen=True, repr=False)
class Declared:
    """What `Int`, `Float` and `Categorical` have in common: they are checked when they are made."""

    _kind: ClassVar[str]

    def __post_init__(self) -> None:
        for name in (each.name for each in fields(self)):
            object.__setattr__(self, name, plain(getattr(self, name)))
        try:
            RANGES[self._kind].model_validate(self.content())
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
    """One of the choices: texts, numbers or truth values. The rest is as for `Int`.

    >>> import tuner
    >>> tuner.Categorical(["relu", "gelu"])
    Categorical(['relu', 'gelu'])
    """

    _kind = "categorical"

    choices: Sequence[Scalar]
    _: KW_ONLY
    when: Mapping[str, Any] = field(default_factory=dict)
    repeat: str | None = None


def plain(value: Any) -> Any:
    """Python's own value for one of NumPy, and lists for tuples and the like."""
    if hasattr(value, "item") and getattr(value, "ndim", None) == 0:
        return value.item()
    if isinstance(value, Mapping):
        return {name: plain(each) for name, each in value.items()}
    if isinstance(value, tuple | list | range) or hasattr(value, "tolist"):
        return [plain(each) for each in value]
    return value


def by_name(name: str, value: object) -> dict[str, Any] | None:
    """Values by name, as Python's own; None stays None. `name`: what errors call them. Raises
    UsageError."""
    if value is None:
        return None
    if not isinstance(value, Mapping):
        raise UsageError(f"{name} must be values by name, got {value!r}")
    return {str(key): plain(each) for key, each in value.items()}


def _set_fields(instance: Any) -> dict[str, Any]:
    """The fields of a dataclass that are not their defaults."""
    values = {each.name: (each, getattr(instance, each.name)) for each in fields(instance)}
    return {
        name: value
        for name, (each, value) in values.items()
        if value != each.default and not (each.kw_only and value in ({}, []))
    }


def _format_call(instance: Any) -> str:
    """A dataclass as the call that makes it."""
    set_values = _set_fields(instance)
    words = [
        f"{each.name}={set_values[each.name]!r}" if each.kw_only else f"{set_values[each.name]!r}"
        for each in fields(instance)
        if each.name in set_values
    ]
    return f"{type(instance).__name__}({', '.join(words)})"


@dataclass(frozen=True, repr=False)
class Space:
    """What a study searches, as a search-space file says it.

    Args:
        network: a kind of network such as "mlp", "file.py:build", or a build function.
        parameters: for each parameter an `Int`, `Float` or `Categorical`, or one value that all
            trials have.
        baselines: configurations that are tried first.
        data: the data as a file's `data:` section has them, for studies that name none.
        columns: kinds of a table's columns, such as `{"zip": "category"}`.
        references: a known result for each baseline, None for none.

    Raises:
        SpaceError: naming the parameter.

    >>> import tuner
    >>> space = tuner.Space("mlp", {"width": tuner.Int(16, 256, log=True), "dropout": 0.1})
    >>> space.parameters["width"]
    Int(16, 256, log=True)
    """

    network: Network
    parameters: Mapping[str, Any] = field(default_factory=dict)
    baselines: Sequence[Mapping[str, Any]] = ()
    _: KW_ONLY
    data: str | Mapping[str, Scalar] | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    references: Sequence[float | None] = ()

    def __post_init__(self) -> None:
        for name in ("parameters", "baselines", "data", "columns", "references"):
            object.__setattr__(self, name, plain(getattr(self, name)))
        parse_content(self._content(_placeholder(self.network)), "Space")

    def __repr__(self) -> str:
        return _format_call(self)

    @classmethod
    def load(cls, name_or_path: str | Path) -> Self:
        """A space that ships with tuner, such as "mlp", or that of a YAML file. Raises
        SpaceError."""
        return cls._from_file(load_file(str(name_or_path)))

    @classmethod
    def from_yaml(cls, text: str) -> Self:
        """The space that a YAML file with this text would be. Raises SpaceError."""
        return cls._from_file(parse_file(text, "YAML"))

    def to_yaml(self) -> str:
        """The same space as the text of a YAML file. Raises SpaceError for a network that is a
        function without a file."""
        raise NotImplementedError

    @classmethod
    def _from_file(cls, file: SpaceFile) -> Self:
        raise NotImplementedError

    def _content(self, network: str) -> dict[str, Any]:
        """What a file would hold."""
        parameters = {
            name: each.content() if isinstance(each, Declared) else each
            for name, each in self.parameters.items()
        }
        return {**_set_fields(self), "network": network, "parameters": parameters}


def _placeholder(network: Any) -> str:
    return f"function.py:{network.__name__}" if callable(network) else network


def space_file(space: Space | str | Path, settings: Settings) -> SpaceFile:
    """The space that a study is created of: a `Space`, a shipped name or a path. A network that is
    a function is stored as `code_reference` does. Raises SpaceError."""
    if not isinstance(space, Space):
        return load_file(str(space))
    network = space.network
    if callable(network):
        network = code_reference(network, settings)
    return parse_content(space._content(network), "Space")
