"""The parameters that a user's own `build` is given: a dict that says why a name is not in it, and
remembers which names were read."""

from collections.abc import Iterator, Mapping, Set
from typing import Any

from tuner.catalogue import TRAINING


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
