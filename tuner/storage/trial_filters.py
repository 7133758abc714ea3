"""What people type to choose trials: `learning_rate<0.01 optimizer=adam score>0.9`.

Terms of a name, an operator and a value stand one after another, and all of them must hold. The
operators are = != < <= > >=. A name or a value with blanks or operators in it stands in quotes.
`none` stands for no value: `optimizer=none` holds for trials without that parameter. A trial
without the value in question meets `=none` and every `!=`, and nothing else.
"""

import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from tuner.errors import UsageError
from tuner.values import Scalar, clipped, parse_word, word

LONGEST_FILTER = 1000
_QUOTED = r'"(?:[^"\\]|\\.)*"' r"|'(?:[^']|'')*'"
_WORD = rf"({_QUOTED}|[^\s=!<>\"']+)"
_TERM = re.compile(rf"\s*(?:and\s+)?{_WORD}\s*(<=|>=|==|!=|=|<|>)\s*{_WORD}(?=\s|\Z)")
_NONE = "none"
_SHOWN_CHARACTERS = 40


class Operator(StrEnum):
    """How a trial's value is compared with the one of a term."""

    EQUAL = "="
    NOT_EQUAL = "!="
    LESS = "<"
    AT_MOST = "<="
    GREATER = ">"
    AT_LEAST = ">="

    @property
    def function(self) -> Callable[[Any, Any], Any]:
        """Compares two values, or an SQL expression with a value."""
        return _FUNCTIONS[self]

    @property
    def is_order(self) -> bool:
        """Whether it needs values that can be put in order."""
        return self not in (Operator.EQUAL, Operator.NOT_EQUAL)


_FUNCTIONS: dict[Operator, Callable[[Any, Any], Any]] = {
    Operator.EQUAL: operator.eq,
    Operator.NOT_EQUAL: operator.ne,
    Operator.LESS: operator.lt,
    Operator.AT_MOST: operator.le,
    Operator.GREATER: operator.gt,
    Operator.AT_LEAST: operator.ge,
}


@dataclass(frozen=True)
class Term:
    """One term of a filter. `value`: as a space file would read it; None for the word none, which
    `text` has as it was typed."""

    name: str
    operator: Operator
    value: Scalar | None
    text: str

    def __str__(self) -> str:
        return f"{word(self.name)}{self.operator}{self.text}"


def parse_filter(text: str) -> list[Term]:
    """The terms of a filter; none for a blank text. Raises UsageError for the first mistake."""
    if len(text) > LONGEST_FILTER:
        raise UsageError(f"a filter has at most {LONGEST_FILTER} characters, got {len(text)}")
    terms, position = [], 0
    while rest := text[position:].strip():
        if (match := _TERM.match(text, position)) is None:
            raise UsageError(
                f"the filter cannot be read at {clipped(rest, _SHOWN_CHARACTERS)!r}: write NAME, "
                "one of = != < <= > >=, and a value, such as learning_rate<0.01; quote what holds "
                "blanks"
            )
        name, sign, value = match.groups()
        its_operator = Operator("=" if sign == "==" else sign)
        parsed = None if value == _NONE else parse_word(value)
        if parsed is None and its_operator.is_order:
            raise UsageError(f"{name}{sign}{value}: nothing is less or more than {value}")
        terms.append(Term(str(parse_name(name)), its_operator, parsed, value))
        position = match.end()
    return terms


def parse_name(text: str) -> str:
    """A name that may stand in quotes."""
    return str(parse_word(text)) if text[0] in "\"'" else text
