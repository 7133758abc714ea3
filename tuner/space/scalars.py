"""Single values as files and flags bring them: checked, with mistakes worded for the user."""

import math
from typing import Annotated

from pydantic import BeforeValidator

from tuner.parameters import Scalar, shown
from tuner.words import as_switch

WHOLE_LIMIT = 2**53  # Optuna keeps every value as a float64: beyond this, integers blur


class InvalidError(ValueError):
    """A mistake, and the keys that lead to it from where it is raised. `text` follows the name
    of the place ("must be > 0, got 0"); `more` counts further mistakes found beside it."""

    def __init__(self, text: str, *keys: str | int, more: int = 0) -> None:
        super().__init__(text)
        self.text, self.keys, self.more = text, keys, more

    def under(self, *keys: str | int) -> "InvalidError":
        return InvalidError(self.text, *keys, *self.keys, more=self.more)

    def without_first_key(self) -> "InvalidError":
        return InvalidError(self.text, *self.keys[1:], more=self.more)


def check_scalar(value: object) -> Scalar:
    """`value` if it is a number, a string or a truth value that SQL and JSON can keep."""
    if isinstance(value, str):
        if "\0" in value or not _encodable(value):
            raise InvalidError(f"must be plain text, got {shown(value)}")
        return value
    if not isinstance(value, bool | int | float):
        raise InvalidError(f"must be a number, a string or true/false, got {_named(value)}")
    return value if isinstance(value, bool) else check_number(value)


def check_number(value: object) -> int | float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidError(f"must be a number, got {_named(value)}")
    if isinstance(value, float) and not math.isfinite(value):
        raise InvalidError(f"must be finite, got {value}")
    if isinstance(value, int) and abs(value) > WHOLE_LIMIT:
        raise InvalidError(f"must lie within ±2^53, got {shown(value)}")
    return value


def check_whole(value: object) -> int:
    """An int; a float without a fraction (1e3) is one too."""
    number = check_number(value)
    if number != int(number):
        raise InvalidError(f"must be a whole number, got {shown(value)}")
    check_number(int(number))
    return int(number)


def _check_flag(value: object) -> bool:
    meant = as_switch(value)
    if not isinstance(meant, bool):
        raise InvalidError(f"must be true or false, got {_named(value)}")
    return meant


def _as_tuple(value: object) -> tuple[object, ...]:
    return tuple(value) if isinstance(value, list | tuple) else (value,)


def _encodable(text: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in text)


def _named(value: object) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, dict):
        return "a mapping"
    return "a list" if isinstance(value, list | tuple) else shown(value)


Value = Annotated[Scalar, BeforeValidator(check_scalar)]
Whole = Annotated[int, BeforeValidator(check_whole)]
Real = Annotated[float, BeforeValidator(check_number)]
Flag = Annotated[bool, BeforeValidator(_check_flag)]
Conditions = dict[
    str,
    Annotated[
        tuple[Value, ...],
        BeforeValidator(_as_tuple, json_schema_input_type=Scalar | list[Scalar]),
    ],
]
