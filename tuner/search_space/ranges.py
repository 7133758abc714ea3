"""What a search space declares of one parameter: an int range, a float range, choices, or a
constant. Each range knows its values, checks one, and asks a trial for one. Single values from
files and options are checked here too; a mistake is worded for the user.
"""

import math
from collections.abc import Iterable, Sequence
from decimal import Decimal
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, Literal, Protocol, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    model_validator,
)

from tuner.search_space.parameter_types import equal_values, format_value
from tuner.values import Scalar, as_switch, word


class Suggests(Protocol):
    """optuna.Trial, FixedTrial, or anything else that suggests values."""

    def suggest_int(
        self, name: str, low: int, high: int, *, step: int = 1, log: bool = False
    ) -> int: ...

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float: ...

    def suggest_categorical(self, name: str, choices: Sequence[Scalar]) -> Any: ...


WHOLE_LIMIT = 2**53  # Optuna stores every value as a float64: larger integers are not exact


class InvalidError(ValueError):
    """A mistake, and the keys that lead to it from where it is raised. `text` follows the name of
    the place ("must be > 0, got 0"). `more` counts the further mistakes."""

    def __init__(self, text: str, *keys: str | int, more: int = 0) -> None:
        super().__init__(text)
        self.text, self.keys, self.more = text, keys, more

    def under(self, *keys: str | int) -> "InvalidError":
        return InvalidError(self.text, *keys, *self.keys, more=self.more)

    def without_first_key(self) -> "InvalidError":
        return InvalidError(self.text, *self.keys[1:], more=self.more)


def check_scalar(value: object) -> Scalar:
    """`value`, if it is a number, a string or a truth value that SQL and JSON can store."""
    if isinstance(value, str):
        if "\0" in value or not _encodable(value):
            raise InvalidError(f"must be plain text, got {format_value(value)}")
        return value
    if not isinstance(value, bool | int | float):
        raise InvalidError(f"must be a number, a string or true/false, got {_describe_type(value)}")
    return value if isinstance(value, bool) else check_number(value)


def check_number(value: object) -> int | float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidError(f"must be a number, got {_describe_type(value)}")
    if isinstance(value, float) and not math.isfinite(value):
        raise InvalidError(f"must be finite, got {value}")
    if isinstance(value, int) and abs(value) > WHOLE_LIMIT:
        raise InvalidError(f"must lie within ±2^53, got {format_value(value)}")
    return value


def check_whole(value: object) -> int:
    """An int; a float without a fraction (1e3) is one too."""
    number = check_number(value)
    if number != int(number):
        raise InvalidError(f"must be a whole number, got {format_value(value)}")
    check_number(int(number))
    return int(number)


def _check_flag(value: object) -> bool:
    meant = as_switch(value)
    if not isinstance(meant, bool):
        raise InvalidError(f"must be true or false, got {_describe_type(value)}")
    return meant


def _as_tuple(value: object) -> tuple[object, ...]:
    return tuple(value) if isinstance(value, list | tuple) else (value,)


def _encodable(text: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in text)


def _describe_type(value: object) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, dict):
        return "a mapping"
    return "a list" if isinstance(value, list | tuple) else format_value(value)


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


if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

MOST_CHOICES = 1000
LONGEST_WORD = 60  # of a value in a sentence
FINEST_STEP = 1e-7  # of the largest bound; Optuna resolves multiples of a step to 1e-8 of it


def _check_list(value: object) -> object:
    if not isinstance(value, list | tuple):
        raise InvalidError(f"must be a list such as [1, 2], got {format_value(value)}")
    return value


class _Range(BaseModel):
    """`when`: active only while other parameters have these values. `repeat`: the int parameter
    that counts the layers, each of which has a value of its own."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    when: Conditions = Field(default_factory=dict)
    repeat: str | None = None


class IntRange(_Range):
    """Whole numbers low, low + step, … up to high; with `log` drawn on a logarithmic scale."""

    type: Literal["int"]
    low: Whole
    high: Whole
    log: Flag = False
    step: Whole = 1

    @model_validator(mode="after")
    def _check(self) -> Self:
        _check_bounds(self.low, self.high, self.log)
        if self.step < 1:
            raise InvalidError(f"must be > 0, got {self.step}", "step")
        if self.log and self.step != 1:
            raise InvalidError("cannot be combined with log: true; drop one of them", "step")
        return self

    @property
    def top(self) -> int:
        """The largest value: high, or the last multiple of step below it."""
        return self.high - (self.high - self.low) % self.step

    @property
    def size(self) -> int | None:
        return (self.top - self.low) // self.step + 1

    def values(self) -> Iterable[Scalar]:
        return range(self.low, self.top + 1, self.step)

    def refusal(self, value: object) -> str | None:
        """Why `value` is not one of this range's, worded to follow a name, or None."""
        try:
            number = check_whole(value)
        except InvalidError as wrong:
            return wrong.text
        if not self.low <= number <= self.top or (number - self.low) % self.step:
            return f"must be in {self.describe()}; got {format_value(value)}"
        return None

    def canonical(self, value: Scalar) -> Scalar:
        """An accepted value in the form that `values` and `Params` have."""
        return int(value)

    def suggest(self, trial: Suggests, name: str) -> Scalar:
        return trial.suggest_int(name, self.low, self.top, step=self.step, log=self.log)

    def distribution(self) -> "BaseDistribution":
        from optuna.distributions import IntDistribution

        return IntDistribution(self.low, self.top, log=self.log, step=self.step)

    def describe(self) -> str:
        return _described(self.low, self.top, self.log, self.step if self.step != 1 else None)


class FloatRange(_Range):
    """Numbers from low to high; with `step` only low, low + step, …; with `log` drawn on a
    logarithmic scale."""

    type: Literal["float"]
    low: Real
    high: Real
    log: Flag = False
    step: Real | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        _check_bounds(self.low, self.high, self.log)
        if not math.isfinite(self.high - self.low):
            raise InvalidError(f"is too far from low ({self.low:g}), got {self.high:g}", "high")
        if self.step is not None:
            self._check_step(self.step)
        return self

    def _check_step(self, step: float) -> None:
        if step <= 0:
            raise InvalidError(f"must be > 0, got {step}", "step")
        if self.log:
            raise InvalidError("cannot be combined with log: true; drop one of them", "step")
        if step < FINEST_STEP * max(abs(self.low), abs(self.high)):
            raise InvalidError(f"is too fine for these bounds, got {step}; leave it out", "step")
        # Optuna shortens a range whose last multiple is no exact decimal, each time it is read.
        if Decimal(str(float(self._multiple(self._steps)))) != self._multiple(self._steps):
            raise InvalidError(f"has too many digits to be exact, got {step}; round it", "step")

    @cached_property
    def _steps(self) -> int:
        if self.step is None:
            return 0
        return int((Decimal(str(self.high)) - Decimal(str(self.low))) // Decimal(str(self.step)))

    def _multiple(self, steps: int) -> Decimal:
        """low + steps * step in decimal, so that 0.1 * 3 is 0.3."""
        return Decimal(str(self.low)) + steps * Decimal(str(self.step))

    @property
    def top(self) -> float:
        """The largest value: high, or the last multiple of step below it."""
        return self.high if self.step is None else float(self._multiple(self._steps))

    @property
    def size(self) -> int | None:
        """How many values there are; None if they are not countable."""
        if self.step is not None:
            return self._steps + 1
        return 1 if self.low == self.high else None

    def values(self) -> Iterable[Scalar]:
        """Its values, if they are countable (`size` is not None)."""
        if self.step is None:
            return (self.low,)
        return (float(self._multiple(steps)) for steps in range(self._steps + 1))

    def refusal(self, value: object) -> str | None:
        """Why `value` is not one of this range's, worded to follow a name, or None."""
        try:
            number = check_number(value)
        except InvalidError as wrong:
            return wrong.text
        if self.low <= number <= self.top and self._on_step(number):
            return None
        return f"must be in {self.describe()}; got {format_value(value)}"

    def _on_step(self, number: float) -> bool:
        if self.step is None:
            return True
        steps = (number - self.low) / self.step
        return abs(steps - round(steps)) < 1e-6

    def canonical(self, value: Scalar) -> Scalar:
        """An accepted value in the form that `values` and `Params` have: 0.30000000000000004, a
        sum of 0.1, is 0.3."""
        if self.step is None:
            return float(value)
        steps = round((float(value) - self.low) / self.step)
        return float(self._multiple(min(max(steps, 0), self._steps)))

    def suggest(self, trial: Suggests, name: str) -> Scalar:
        return trial.suggest_float(name, self.low, self.top, step=self.step, log=self.log)

    def distribution(self) -> "BaseDistribution":
        from optuna.distributions import FloatDistribution

        return FloatDistribution(self.low, self.top, log=self.log, step=self.step)

    def describe(self) -> str:
        return _described(self.low, self.top, self.log, self.step)


class Choices(_Range):
    """One of a list of values: numbers, strings or truth values."""

    type: Literal["categorical"]
    choices: Annotated[tuple[Value, ...], BeforeValidator(_check_list)]

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.choices:
            raise InvalidError("must name at least one value", "choices")
        if len(self.choices) > MOST_CHOICES:
            raise InvalidError(
                f"must be at most {MOST_CHOICES}, got {len(self.choices)}", "choices"
            )
        check_distinct(self.choices)
        return self

    @property
    def size(self) -> int | None:
        return len(self.choices)

    def values(self) -> Iterable[Scalar]:
        return self.choices

    def refusal(self, value: object) -> str | None:
        """Why `value` is not one of the choices, worded to follow a name, or None."""
        if self._choice(value) is not None:
            return None
        return f"must be one of {self.describe()}; got {format_value(value)}"

    def canonical(self, value: Scalar) -> Scalar:
        """The choice that an accepted value equals, or means: yes is true if true is a choice and
        yes is none."""
        choice = self._choice(value)
        assert choice is not None
        return choice

    def _choice(self, value: object) -> Scalar | None:
        matching = (
            choice
            for meant in (value, as_switch(value))
            for choice in self.choices
            if equal_values(meant, choice)
        )
        return next(matching, None)

    def suggest(self, trial: Suggests, name: str) -> Scalar:
        chosen: Scalar = trial.suggest_categorical(name, self.choices)
        return chosen

    def distribution(self) -> "BaseDistribution":
        from optuna.distributions import CategoricalDistribution

        return CategoricalDistribution(self.choices)

    def describe(self) -> str:
        words = [word(choice) for choice in self.choices[:20]]
        return ", ".join(words) + (", …" if len(self.choices) > 20 else "")


def check_distinct(choices: Iterable[Scalar]) -> None:
    seen: set[Scalar] = set()
    for choice in choices:
        if choice in seen:  # 1, 1.0 and true are one key: Optuna cannot tell them apart either
            raise InvalidError(
                f"must differ from each other, got {format_value(choice)} twice", "choices"
            )
        seen.add(choice)


RANGES: dict[str, type[IntRange] | type[FloatRange] | type[Choices]] = {
    "int": IntRange,
    "float": FloatRange,
    "categorical": Choices,
}
Range = IntRange | FloatRange | Choices


def _tag(value: object) -> str | None:
    """The member of the union below that a value of the file stands for."""
    kind = value.get("type") if isinstance(value, dict) else getattr(value, "type", "constant")
    return kind if isinstance(kind, str) else None


Declaration = Annotated[
    Annotated[IntRange, Tag("int")]
    | Annotated[FloatRange, Tag("float")]
    | Annotated[Choices, Tag("categorical")]
    | Annotated[Value, Tag("constant")],
    Discriminator(_tag),
]


def _check_bounds(low: float, high: float, log: bool) -> None:
    if low > high:
        raise InvalidError(
            f"must be <= high ({format_value(high)}), got {format_value(low)}", "low"
        )
    if log and low <= 0:
        raise InvalidError(f"must be > 0 when log is true, got {format_value(low)}", "low")


def _described(low: float, high: float, log: bool, step: float | None) -> str:
    text = f"{low:.15g} … {high:.15g}"
    return text + (", log" if log else "") + (f", step {step:.15g}" if step is not None else "")
