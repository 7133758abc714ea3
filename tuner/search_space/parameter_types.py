"""What a parameter is: its legal values, its default, its role, and why a value is refused."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from enum import StrEnum
from typing import Any, Literal

from tuner.search_space.class_weights import EXAMPLE, canonical_weights, is_mapping
from tuner.values import Scalar, as_switch, shown

# A trial's parameters by name. A parameter that is given for each layer is a list.
Params = dict[str, Scalar | list[Scalar]]
Kind = Literal["int", "float", "categorical", "bool"]
DataNeed = Literal["images", "classes", "words"]


class Role(StrEnum):
    """What a parameter means to the programs that train. Networks and engines derive from it what
    they do with the parameter: there is no other list of names."""

    STRUCTURE = "structure"  # which layers and operations there are: one program for each value
    SIZE = "size"  # a shape: units, filters, samples per step
    CHOICE = "choice"  # one of several forms of an operation, each with a name
    SWITCH = "switch"  # an operation that a trial has or does not have
    SCALAR = "scalar"  # a number that the compiled step reads: no new program for another value
    DROPOUT = "dropout"  # the rate of one or more dropouts; 0 is none
    SCHEDULE = "schedule"  # sets the learning rate of each step, on the host
    LOOP = "loop"  # how long a trial trains
    INIT = "init"  # how weights are drawn before the first step
    PRECISION = "precision"  # the numbers that layers compute in: one program for each value
    ROW_WEIGHT = "row_weight"  # how much a training row counts in the loss, set on the host


@dataclass(frozen=True)
class Parameter:
    """One parameter of the catalogue.

    `low` and `high` are inclusive unless marked open; None means no bound.
    `when`: the parameter exists only while the others have these values (momentum with sgd).
    `layers`: the parameter that counts the layers, if this one may have a value for each of them
    (`repeat: depth`); it is a list in `Params` then.
    `note`: what `space show` adds to a value that is not searched.
    `off`: the value with which training is as it was before the parameter existed; studies made by
    an older tuner have it. None: false for a bool, 0 where that is the lower bound, else `default`.
    `keras_only`: the choices that only the Keras engine implements; True: any value but `off`.
    `changes_loss`: values of the loss cannot be compared between trials that differ in it.
    `needs`: data without which it has no use. Images, classes to tell apart, or words as numbers.
    `by_class`: beside its choices it takes a weight for each class (class_weights.py).
    """

    name: str
    kind: Kind
    default: Scalar
    role: Role = field(kw_only=True)
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
    keras_only: bool | tuple[Scalar, ...] = ()
    changes_loss: bool = False
    needs: DataNeed | None = None
    by_class: bool = False

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

    @property
    def can_change(self) -> bool:
        """Whether it is a number that a trial can have another value of from one epoch to the
        next: weights and optimizer state do not depend on it."""
        roles = (Role.SCALAR, Role.DROPOUT, Role.SCHEDULE)
        return self.role in roles and self.kind in ("int", "float")

    @property
    def is_optional(self) -> bool:
        """Whether its default leaves its operation out of a program."""
        return not self.is_used(self.default) and not self.is_used(self.without_effect)

    def is_used(self, value: Scalar | list[Scalar]) -> bool:
        """Whether a trial with this value, or with one of a list, has the parameter's operation: a
        number above 0, true, a word other than `off`."""
        if isinstance(value, list):
            return any(map(self.is_used, value))
        return value != self.without_effect if isinstance(value, str) else value > 0

    def needs_keras(self, value: Scalar | list[Scalar]) -> bool:
        """Whether only the Keras engine can train with this value."""
        values = value if isinstance(value, list) else [value]
        if self.keras_only is True:
            return any(not equal_values(each, self.without_effect) for each in values)
        return any(each in (self.keras_only or ()) for each in values)

    def per_layer(self, params: Mapping[str, Any]) -> list[Any]:
        """Its value in each layer that it counts; without layers the one value, 0 if unset."""
        if self.layers is None:
            return [params.get(self.name, 0)]
        return repeat_value(params[self.name], params[self.layers])

    def refusal(self, value: object) -> str | None:
        """Why `value` is not legal, worded to follow a name ("must be >= 1, got 0"), or None."""
        if self.kind == "bool":
            value = as_switch(value)
        if self.by_class and is_mapping(value):
            return _weights_refusal(value)
        if self.kind in ("categorical", "bool"):
            return None if _is_among(value, self.choices) else self._not_a_choice(value)
        if isinstance(value, bool) or not isinstance(value, int | float):
            return f"must be a {_noun(self.kind)}, got {format_value(value)}"
        if isinstance(value, float) and not math.isfinite(value):
            return f"must be finite, got {format_value(value)}"
        if self.kind == "int" and value != int(value):
            return f"must be a whole number, got {format_value(value)}"
        return self._out_of_bounds(value)

    def legal_values(self) -> str:
        """Its legal values as documentation has them: "whole number, >= 1, <= 64"."""
        if self.kind == "bool":
            return "true, false"
        if self.kind == "categorical":
            return ", ".join([*map(str, self.choices), *self._mapping_in_words])
        bounds = [f"{self._low_sign} {self.low:.9g}"] if self.low is not None else []
        if self.high is not None:
            bounds.append(f"{self._high_sign} {self.high:.9g}")
        return ", ".join([_noun(self.kind), *bounds])

    def cast(self, value: Scalar) -> Scalar:
        """A legal value in the parameter's own type: 0 becomes 0.0 for a float parameter, yes
        becomes true for a switch. A mapping becomes its one text."""
        if self.by_class and isinstance(value, str) and is_mapping(value):
            return canonical_weights(value)
        if self.kind == "bool":
            return bool(as_switch(value))
        if self.kind == "float":
            return float(value)
        return int(value) if self.kind == "int" else value

    @property
    def _mapping_in_words(self) -> list[str]:
        return [f"a weight for each class such as {EXAMPLE}"] if self.by_class else []

    @property
    def _low_sign(self) -> str:
        return ">" if self.low_open else ">="

    @property
    def _high_sign(self) -> str:
        return "<" if self.high_open else "<="

    def _out_of_bounds(self, value: float) -> str | None:
        if self.low is not None and (value < self.low or (self.low_open and value == self.low)):
            return f"must be {self._low_sign} {self.low:g}, got {format_value(value)}"
        if self.high is not None and (value > self.high or (self.high_open and value == self.high)):
            return f"must be {self._high_sign} {self.high:g}, got {format_value(value)}"
        return None

    def _not_a_choice(self, value: object) -> str:
        if self.kind == "bool":
            return f"must be true or false, got {format_value(value)}"
        words = [str(choice) for choice in self.choices]
        ordered = sort_by_similarity(value, words) if isinstance(value, str) else words
        ordered += self._mapping_in_words
        return f"must be one of {', '.join(ordered)}; got {format_value(value)}"


def repeat_value(value: Any, layers: int) -> list[Any]:
    """One value for each layer, from a single value or a list of that length."""
    return list(value) if isinstance(value, list) else [value] * layers


def equal_values(left: object, right: object) -> bool:
    """Equal, and both or neither a truth value: Python takes True for 1, a user does not."""
    return isinstance(left, bool) == isinstance(right, bool) and left == right


def read_number(params: Mapping[str, Any], name: str, default: float | None = None) -> float:
    """A trial's number of that name. Raises KeyError if it is unset and has no default."""
    return float(params[name] if default is None else params.get(name, default))


def read_whole(params: Mapping[str, Any], name: str) -> int:
    """A trial's whole number of that name. Raises KeyError if it is unset."""
    return int(params[name])


def read_word(params: Mapping[str, Any], name: str, default: str | None = None) -> str:
    """A trial's choice of that name. Raises KeyError if it is unset and has no default."""
    return str(params[name] if default is None else params.get(name, default))


def sort_by_similarity(word: str, words: Iterable[str]) -> list[str]:
    """`words` with the most similar to `word` first; equally similar ones keep their order."""
    return sorted(words, key=lambda other: -SequenceMatcher(None, word[:80], other).ratio())


def format_value(value: object) -> str:
    """A value as it appears in a message: YAML's words for truth values, long text cut."""
    if isinstance(value, bool):
        return str(value).lower()
    return shown(value)


def _weights_refusal(value: Any) -> str | None:
    try:
        canonical_weights(value)
    except ValueError as wrong:
        return str(wrong)
    return None


def _is_among(value: object, choices: tuple[Scalar, ...]) -> bool:
    return any(equal_values(value, choice) for choice in choices)


def _noun(kind: str) -> str:
    return "whole number" if kind == "int" else "number"
