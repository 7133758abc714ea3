"""Damaged values in SQL: rows are read as far as possible, and what cannot be read is named.

SQLite accepts any value in any column, and both databases accept any text and any number. A row
that a disk, a script or a person has damaged must not hide the rows beside it.
"""

import json
import math
import re
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")

_LARGEST = 2**63
_LAST_MOMENT = 2.5e11  # in the year 9892
_SHOWN_CHARACTERS = 40
# What reading a damaged value may raise; RecursionError comes from JSON nested too deeply.
MISREAD = (
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    ArithmeticError,
    RecursionError,
)


class Damage:
    """What cannot be read of one row: `notes`, empty for a row without damage."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def read(self, column: str, reader: Callable[[Any], T], value: Any) -> T | None:
        """The value as `reader` decodes it; None, with a note, if that fails."""
        try:
            return reader(value)
        except MISREAD:
            self.note(column, value)
            return None

    def optional(self, column: str, reader: Callable[[Any], T], value: Any) -> T | None:
        """The same for a column that may be empty."""
        return None if value is None else self.read(column, reader, value)

    def note(self, column: str, value: Any) -> None:
        self.notes.append(f"{column} is {_short(value)}")

    def __bool__(self) -> bool:
        return bool(self.notes)

    def __str__(self) -> str:
        more = len(self.notes) - 3
        return "; ".join(self.notes[:3]) + (f"; and {more} more" if more > 0 else "")


def _short(value: Any) -> str:
    if value is None:
        return "missing"
    # Millions of characters take repr() a while.
    text = repr(value[: 2 * _SHOWN_CHARACTERS] if isinstance(value, str | bytes) else value)
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}…"


def whole(value: Any) -> int:
    """A whole number of at most 63 bits. Raises ValueError."""
    if isinstance(value, bool) or not isinstance(value, int) or abs(value) >= _LARGEST:
        raise ValueError(value)
    return value


def count(value: Any) -> int:
    """A whole number of at least 0. Raises ValueError."""
    if whole(value) < 0:
        raise ValueError(value)
    return int(value)


def real(value: Any) -> float:
    """A number, which may be infinite or NaN. Raises ValueError."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(value)
    return float(value)


def finite(value: Any) -> float:
    """A finite number. Raises ValueError."""
    if not math.isfinite(number := real(value)):
        raise ValueError(value)
    return number


def flag(value: Any) -> bool:
    """A truth value, which SQLite stores as 0 or 1. Raises ValueError."""
    if value not in (0, 1):
        raise ValueError(value)
    return bool(value)


def moment(value: Any) -> float:
    """Seconds since 1970, of a year that `datetime` can represent in every time zone. Raises
    ValueError."""
    if not 0 <= real(value) < _LAST_MOMENT:
        raise ValueError(value)
    return float(value)


def text(value: Any) -> str:
    """A text. Raises ValueError."""
    if not isinstance(value, str):
        raise ValueError(value)
    return value


def is_identity(value: Any) -> bool:
    """Whether the value is a study's uuid, 32 hexadecimal digits: it becomes a folder's name."""
    return isinstance(value, str) and re.fullmatch("[0-9a-f]{32}", value) is not None


def identity(value: Any) -> str:
    """A study's uuid (see `is_identity`). Raises ValueError."""
    if not is_identity(value):
        raise ValueError(value)
    return str(value)


def shortened(value: Any) -> str:
    """Any value as short text, to name something by."""
    if isinstance(value, str) and len(value) <= _SHOWN_CHARACTERS:
        return value
    return _short(value)


def json_object(value: Any) -> dict[str, Any]:
    """A JSON object. Raises one of MISREAD."""
    content = json.loads(text(value))
    if not isinstance(content, dict):
        raise ValueError(value)
    return content


def json_numbers(value: Any) -> dict[str, float]:
    """A JSON object of numbers; NaN and infinity are text in it. Raises one of MISREAD."""
    return {name: _number(number) for name, number in json_object(value).items()}


def _number(value: Any) -> float:
    return float(value) if isinstance(value, str) else real(value)
