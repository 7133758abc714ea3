"""Single values as words: how a file and the command line spell numbers, truth values and texts,
and how tables and messages write them, so that what is shown can be given back.

Truth values are written true and false. `yes`, `no`, `on` and `off` are texts; only where a switch
is meant, a parameter that is true or false, they are taken for its values.
"""

import difflib
import json
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime

Scalar = bool | int | float | str

LONGEST_NUMBER = 400  # characters; Python refuses to read integers of more than 4300

# The scalars of YAML 1.2's core schema.
_NULL = re.compile(r"~|null|Null|NULL|")
_BOOL = re.compile(r"true|True|TRUE|false|False|FALSE")
_INT = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(
    r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?"
    r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"
)

_SWITCH = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
# Texts that other YAML readers take for truth values.
SWITCH_TEXTS = ("yes", "no", "on", "off", "y", "n")

_QUOTED = r'"(?:[^"\\]|\\.)*"' r"|'(?:[^']|'')*'"
_ITEM = re.compile(rf"\s*({_QUOTED}|[^,]*?)\s*(?:,|\Z)", re.DOTALL)
_NEEDS_QUOTES = re.compile(r"[\s,:#\[\]{}\"'`=?]|\A[-!&*|>%@]")


_LONGEST_SHOWN = 60


def shown(value: object) -> str:
    """Anything that was given, as a message shows it: in one line of at most 60 characters."""
    if isinstance(value, int) and value.bit_length() > 128:
        return "a huge number"  # printing it may take very long, or be refused by Python
    text = " ".join(repr(value).split())
    return text if len(text) <= _LONGEST_SHOWN else f"{text[: _LONGEST_SHOWN - 3]}..."


def parse_scalar(text: str) -> Scalar | None:
    """A plain word as YAML 1.2 reads it: number, truth value, null or, failing these, itself."""
    if len(text) > LONGEST_NUMBER:
        return text
    readers: tuple[tuple[re.Pattern[str], Callable[[str], Scalar | None]], ...] = (
        (_NULL, lambda _: None),
        (_BOOL, lambda word: word.lower() == "true"),
        (_INT, _whole),
        (_FLOAT, _real),
    )
    return next((read(text) for pattern, read in readers if pattern.fullmatch(text)), text)


def _whole(text: str) -> int:
    base = {"0x": 16, "0o": 8}.get(text[:2], 10)
    return int(text[2:] if base != 10 else text, base)


def _real(text: str) -> float:
    special = text.lower().lstrip("+-")
    if special == ".nan":
        return math.nan
    if special == ".inf":
        return -math.inf if text[0] == "-" else math.inf
    return float(text)


def parse_word(text: str) -> Scalar | None:
    """The same, and a text in quotes as what stands between them."""
    if not re.fullmatch(_QUOTED, text, re.DOTALL):
        return parse_scalar(text)
    if text[0] == "'":
        return text[1:-1].replace("''", "'")
    try:
        return str(json.loads(text, strict=False))
    except ValueError:
        return text


def split_list(text: str) -> list[str]:
    """The words between commas; those in quotes may hold some."""
    words: list[str] = []
    position = 0
    while match := _ITEM.match(text, position):
        words.append(match[1])
        position = match.end()
        if not match[0].endswith(","):
            return words
    return text.split(",")  # quotes that do not end where a word does


def word(value: Scalar) -> str:
    """A value as tables and messages write it, and as a space file or an option takes it: true, 0.5
    and relu; texts that would be read as something else, or would not end where they end, in
    quotes."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, str):
        return repr(value)
    is_text = isinstance(parse_scalar(value), str)
    if is_text and value.isprintable() and not _NEEDS_QUOTES.search(value):
        return value
    quoted = json.dumps(value, ensure_ascii=False)
    return "".join(c if c.isprintable() or c > "\uffff" else f"\\u{ord(c):04x}" for c in quoted)


def clipped(text: str, most: int) -> str:
    """At most so many characters of a text; what is cut off shows as an ellipsis."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def format_number(value: float | None) -> str:
    """A measured number as people read it: four decimals; from 10,000 on none; four digits where it
    is very small or large; a dash for None."""
    if value is None:
        return "–"
    if 10_000 <= abs(value) < 1e9:
        return f"{value:,.0f}"
    return f"{value:.4f}" if 0.001 <= abs(value) < 10_000 else f"{value:.4g}"


def format_duration(seconds: float | None) -> str:
    """1:02:03, or 2:03; a dash for None."""
    if seconds is None:
        return "–"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def in_utc(seconds: float) -> str:
    """A time in seconds since 1970, for programs: 2026-01-31T12:00:00+00:00."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


def as_switch(value: object) -> object:
    """What is meant for a parameter that is true or false: yes, no, on and off are its words too;
    any other value as it is."""
    return _SWITCH.get(value.lower(), value) if isinstance(value, str) else value


_LISTED = 30


def join_names(names: Iterable[object]) -> str:
    """Names for a message, cut off if they are many."""
    words = [" ".join(str(name).split()) for name in names]
    more = f", … ({len(words)} in all)" if len(words) > _LISTED else ""
    return ", ".join(words[:_LISTED]) + more


def describe_lacking(names: Sequence[object], noun: str = "column") -> str:
    """For a message: which columns, inputs or targets are not there."""
    return f"lacks the {noun}{'s' * (len(names) > 1)} {join_names(names)}"


def differing_lengths(lengths: Mapping[str, int]) -> str:
    """For a message: how long each is, where they differ; "" where all are equal."""
    if len(set(lengths.values())) <= 1:
        return ""
    return ", ".join(f"{name} {length}" for name, length in lengths.items())


def suggest_names(wanted: str, names: Sequence[str]) -> str:
    """For a message: names that differ from `wanted` only in case, blanks or punctuation, or else
    a little; "" for none."""
    bare = _bare_name(wanted)
    same = [name for name in names if bare and _bare_name(name) == bare]
    near = same or difflib.get_close_matches(wanted, names, n=3)
    return f" (did you mean {' or '.join(map(repr, near[:3]))}?)" if near else ""


def _bare_name(name: str) -> str:
    return "".join(letter for letter in name.casefold() if letter.isalnum())
