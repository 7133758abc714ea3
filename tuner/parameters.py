"""What a parameter is: its legal values, its default, and words for what is wrong with a value.

catalogue.py has all of them.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from typing import Literal

from tuner.words import Scalar as Scalar
from tuner.words import as_switch

Params = dict[str, Scalar | list[Scalar]]
Kind = Literal["int", "float", "categorical", "bool"]


@dataclass(frozen=True)
class Parameter:
    """One parameter. `low` and `high` are inclusive unless marked open; None means no bound.

    `when`: the parameter exists only while the others have these values (momentum with sgd).
    `layers`: the parameter that counts what this one may be given for one by one (`repeat: depth`);
    then it is a list in `Params`. `note`: what `space show` adds to a value that is not searched.
    `off`: the value with which training is as it was before the parameter existed; studies made by
    an older tuner have it. None: false for a bool, 0 where that is the lower bound, else `default`.
    """

    name: str
    kind: Kind
    default: Scalar
    low: float | None = None
    high: float | None = None
    low_open: bool = False
    high_open: bool = False
    choices: tuple[Scalar, ...] = ()
    when: Mapping[str, tuple[Scalar, ...]] = field(default_factory=dict)
    layers: str | None = None
    doc: str = ""
    note: str = ""
    off: Scalar | None = None

    @property
    def without_effect(self) -> Scalar:
        """The value for a study that was made before the parameter existed."""
        if self.off is not None:
            return self.off
        if self.kind == "bool":
            return False
        if self.kind in ("int", "float") and self.low == 0 and not self.low_open:
            return self.cast(0)
        return self.default

    def refusal(self, value: object) -> str | None:
        """Why `value` is not legal, worded to follow a name ("must be >= 1, got 0"), or None."""
        if self.kind == "bool":
            value = as_switch(value)
        if self.kind in ("categorical", "bool"):
            return None if _among(value, self.choices) else self._not_a_choice(value)
        if isinstance(value, bool) or not isinstance(value, int | float):
            return f"must be a {_noun(self.kind)}, got {shown(value)}"
        if isinstance(value, float) and not math.isfinite(value):
            return f"must be finite, got {shown(value)}"
        if self.kind == "int" and value != int(value):
            return f"must be a whole number, got {shown(value)}"
        return self._out_of_bounds(value)

    def legal(self) -> str:
        """Its legal values as documentation has them: "whole number, 1 … 64"."""
        if self.kind == "bool":
            return "true, false"
        if self.kind == "categorical":
            return ", ".join(map(str, self.choices))
        bounds = (
            [f"{'>' if self.low_open else '>='} {self.low:.9g}"] if self.low is not None else []
        )
        if self.high is not None:
            bounds.append(f"{'<' if self.high_open else '<='} {self.high:.9g}")
        return ", ".join([_noun(self.kind), *bounds])

    def cast(self, value: Scalar) -> Scalar:
        """A legal value in the parameter's own type: 0 becomes 0.0 for a float parameter, yes
        becomes true for a switch."""
        if self.kind == "bool":
            return bool(as_switch(value))
        if self.kind == "float":
            return float(value)
        return int(value) if self.kind == "int" else value

    def _out_of_bounds(self, value: float) -> str | None:
        if self.low is not None and (value < self.low or (self.low_open and value == self.low)):
            return f"must be {'>' if self.low_open else '>='} {self.low:g}, got {shown(value)}"
        if self.high is not None and (value > self.high or (self.high_open and value == self.high)):
            return f"must be {'<' if self.high_open else '<='} {self.high:g}, got {shown(value)}"
        return None

    def _not_a_choice(self, value: object) -> str:
        if self.kind == "bool":
            return f"must be true or false, got {shown(value)}"
        words = [str(choice) for choice in self.choices]
        ordered = nearest(value, words) if isinstance(value, str) else words
        return f"must be one of {', '.join(ordered)}; got {shown(value)}"


def same(one: object, other: object) -> bool:
    """Equal, and both or neither a truth value: Python takes True for 1, a user does not."""
    return isinstance(one, bool) == isinstance(other, bool) and one == other


def nearest(word: str, words: Iterable[str]) -> list[str]:
    """`words` with the most similar to `word` first; equally similar ones keep their order."""
    return sorted(words, key=lambda known: -SequenceMatcher(None, word[:80], known).ratio())


def shown(value: object) -> str:
    """A value as it appears in a message: YAML's words for truth values, long text cut."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int) and value.bit_length() > 128:
        return "a huge number"  # printing it may take ages, or be refused by Python
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _among(value: object, choices: tuple[Scalar, ...]) -> bool:
    return any(same(value, choice) for choice in choices)


def _noun(kind: str) -> str:
    return "whole number" if kind == "int" else "number"
