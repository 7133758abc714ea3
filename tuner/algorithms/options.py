"""NAME=VALUE words of the command line, and the options of samplers and pruners."""

import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple

from tuner.errors import SpecError
from tuner.search_space.loading import column_kind_problem
from tuner.search_space.parameter_types import format_value, sort_by_similarity
from tuner.search_space.ranges import InvalidError, check_scalar
from tuner.values import Scalar, as_switch, parse_word, split_list


class Option(NamedTuple):
    """An option's type, with its smallest and largest value or its possible words."""

    type: type[bool] | type[int] | type[float] | type[str]
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()

    def cast(self, value: Scalar) -> Scalar:
        """The value in the option's own type: yes becomes true for a switch."""
        switched = as_switch(value)
        return switched if self.type is bool and isinstance(switched, bool) else value

    def refusal(self, value: Scalar) -> str | None:
        """Why the option cannot have this value, worded to follow its name, or None."""
        if not self._fits(value):
            return f"must be {_NOUNS[self.type]}, got {format_value(value)}"
        if self.choices and value not in self.choices:
            ordered = sort_by_similarity(str(value), self.choices)
            return f"must be one of {', '.join(ordered)}; got {format_value(value)}"
        if self.low is not None and float(value) < self.low:
            return f"must be >= {self.low:g}, got {format_value(value)}"
        if self.high is not None and float(value) > self.high:
            return f"must be <= {self.high:g}, got {format_value(value)}"
        return None

    def _fits(self, value: Scalar) -> bool:
        value = self.cast(value)
        if self.type is float:
            return isinstance(value, int | float) and not isinstance(value, bool)
        return type(value) is self.type


_NOUNS = {bool: "true or false", int: "a whole number", float: "a number", str: "a word"}

COUNT = Option(int, low=0)
POSITIVE = Option(int, low=1)
NUMBER = Option(float)
FLAG = Option(bool)


def check_options(
    what: str, name: str, given: Mapping[str, Scalar], options: Mapping[str, Option]
) -> None:
    """Raises SpecError for an option that `what` ("sampler") `name` does not take, listing
    those it does, the nearest first, and for a value that does not fit."""
    for option, value in given.items():
        if option not in options:
            names = ", ".join(sort_by_similarity(option, options)) or "none"
            raise SpecError(
                f"{what} {name} has no option {format_value(option)}; it takes: {names}"
            )
        reason = options[option].refusal(value)
        if reason:
            raise SpecError(f"{what} {name}: {option} {reason}")


def unknown(what: str, name: str, names: Iterable[str]) -> SpecError:
    ordered = ", ".join(sort_by_similarity(name, names))
    return SpecError(f"unknown {what} {format_value(name)}; there are: {ordered}")


@contextmanager
def without_experimental_warnings() -> Iterator[None]:
    """Inside, Optuna does not warn of what it calls experimental."""
    from optuna.exceptions import ExperimentalWarning  # here: parsing options needs no Optuna

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        yield


def parse_value(text: str) -> Scalar:
    """A word as the search-space file reads it: 1e-4 is a number, true a truth value, no a
    string, what stands in quotes too. Raises SpecError for what is no finite number."""
    value = parse_word(text)
    try:
        return text if value is None else check_scalar(value)
    except InvalidError as error:
        raise SpecError(f"{format_value(text)} {error.text}") from error


def parse_options(words: Iterable[str], flag: str = "--sampler-option") -> dict[str, Scalar]:
    """["n_startup_trials=5"] as {"n_startup_trials": 5}. Raises SpecError, naming `flag`."""
    return {name: parse_value(text) for name, text in _split(words, flag).items()}


def parse_configuration(words: Iterable[str], flag: str) -> dict[str, Scalar | list[Scalar]]:
    """["depth=2", "width=64,32"] as {"depth": 2, "width": [64, 32]}; brackets around a list are
    fine too, and needed for a list of one. A mapping such as {no: 1, yes: 10} stays one text.
    Raises SpecError, naming `flag`."""
    return {name: _value_or_list(text) for name, text in _split(words, flag).items()}


def parse_columns(words: Iterable[str], flag: str = "--column") -> dict[str, str]:
    """["zip=category"] as {"zip": "category"}; the name may hold "=". Raises SpecError, naming
    `flag`, for all words that are wrong."""
    kinds: dict[str, str] = {}
    problems = []
    for word in words:
        name, equals, kind = word.rpartition("=")
        name, kind = name.strip(), kind.strip().lower()
        if not equals or not name:
            problems.append(f"{flag} takes NAME=KIND, got {format_value(word)}")
        elif reason := column_kind_problem(kind):
            problems.append(f"{flag} {word}: the kind {reason}")
        elif kinds.setdefault(name, kind) != kind:
            problems.append(f"{flag} gives {name} twice, as {kinds[name]} and {kind}")
    if problems:
        raise SpecError("; ".join(problems))
    return kinds


def _value_or_list(text: str) -> Scalar | list[Scalar]:
    if text.startswith("{") and text.endswith("}"):
        return text
    bare = text.removeprefix("[").removesuffix("]") if text.startswith("[") else text
    words = split_list(bare)
    if bare == text and len(words) == 1:
        return parse_value(text)
    return [parse_value(word) for word in words] if bare.strip() else []


def _split(words: Iterable[str], flag: str) -> dict[str, str]:
    values: dict[str, str] = {}
    for word in words:
        name, equals, text = word.partition("=")
        name = name.strip()
        if not equals or not name:
            raise SpecError(f"{flag} takes NAME=VALUE, got {format_value(word)}")
        if name in values:
            raise SpecError(f"{flag} gives {name} twice")
        values[name] = text.strip()
    return values
