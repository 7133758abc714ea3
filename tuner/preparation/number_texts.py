"""Numbers that are written as texts: marks for missing, thousands, decimal commas, units.

Texts that differ only in their digits have one shape. A column of a million prices has some ten
shapes, so only one text of each shape is examined.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

_ZERO = "\ue0f0"  # replaces a 0 before all other digits, which may make a number a code


class Shapes(NamedTuple):
    """`array`: the texts (k,) in Arrow; `codes` (k,): the number of each text's shape; `first`: the
    first text of each shape."""

    array: Any
    codes: npt.NDArray[np.int64]
    first: list[str]

    def groups(self, shapes: Sequence[int]) -> dict[int, npt.NDArray[np.int64]]:
        """The texts of each of these shapes, by number."""
        order = np.argsort(self.codes, kind="stable")
        bounds = np.searchsorted(self.codes[order], [*range(len(self.first) + 1)])
        return {shape: order[bounds[shape] : bounds[shape + 1]] for shape in shapes}


def find_shapes(texts: Sequence[str]) -> Shapes:
    import pyarrow as pa
    import pyarrow.compute as pc

    array = _to_arrow(texts)
    marked = pc.replace_substring_regex(array, r"^([^0-9]*)0", rf"\1{_ZERO}")
    encoded = pc.replace_substring_regex(marked, "[0-9]", "9").dictionary_encode()
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.combine_chunks()
    codes = encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64)
    first = np.zeros(len(encoded.dictionary), np.int64)
    first[codes[::-1]] = np.arange(len(codes) - 1, -1, -1)
    return Shapes(array, codes, [texts[number] for number in first.tolist()])


def _to_arrow(texts: Sequence[str]) -> Any:
    import pyarrow as pa

    try:
        return pa.array(texts, pa.large_string())
    except (pa.ArrowInvalid, UnicodeError):  # half a surrogate pair becomes "?"
        clean = [text.encode("utf-8", "replace").decode() for text in texts]
        return pa.array(clean, pa.large_string())


Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

# Texts that stand for a missing number or date, in small letters.
MARKS = frozenset(
    (
        "", "?", "??", "-", "--", "---", "–", "—", ".", "..", "...", "*", "na", "n/a", "n.a.",
        "#na", "#n/a", "#n/a n/a", "<na>", "nan", "-nan", "1.#qnan", "-1.#ind", "null", "none",
        "nil", "\\n", "nd", "n.d.", "tbd", "missing", "(missing)", "unknown", "undefined",
        "not available",
        "#value!", "#div/0!", "#ref!", "#num!", "#name?", "#null!",
    )
)  # fmt: skip

_LONGEST = 40  # characters; no number is longer
_MOST_TIED = 1000  # of more equally common texts, only the first are considered
_MOST_UNITS = 5  # more different endings than these are no units
_NUMBER = re.compile(
    r"(?P<sign>[+\-]?) ?"
    r"(?P<prefix>US\$|[$€£¥₹₽]|(?:USD|EUR|GBP|CHF|JPY|CNY|INR|Rs\.?)(?=[ \d.,+-]))? ?"
    r"(?P<inner>[+\-]?)"
    r"(?P<body>[.,]?[0-9](?:[0-9.,' ]*[0-9.,])?)"
    r"(?P<power>[eE][+\-]?[0-9]{1,3})?"
    r" ?(?P<suffix>[^\s\d.,:;+\-()\[\]{}=<>_'][^\s\d.,:;()\[\]{}=<>_]{0,11}(?: [^\W\d_]{1,12})?)?"
)
_MINUS = "−"  # the typographic minus sign
_SAME = str.maketrans({_MINUS: "-", "\u00a0": " ", "\u202f": " ", "\u2009": " ", "’": "'"})
_PLAIN = re.compile(r"\d+\.?\d*|\.\d+")
_CODE = re.compile(r"0\d+")


# How a file writes truth values, which are the numbers 1 and 0 in a column of nothing else.
TRUTH_VALUES = {"true": 1.0, "True": 1.0, "TRUE": 1.0, "false": 0.0, "False": 0.0, "FALSE": 0.0}


@dataclass(frozen=True)
class NumberFormat:
    """How the numbers of a column are written: decimal mark, thousands separator, unit."""

    decimal: str = "."
    thousands: str = ""
    unit: str = ""

    def pattern(self) -> re.Pattern[str]:
        """Matches the digits, without sign, power and unit."""
        point = re.escape(self.decimal)
        whole = r"\d+"
        if self.thousands:
            whole += rf"|[1-9]\d{{0,2}}(?:{re.escape(self.thousands)}\d{{3}})+"
        return re.compile(rf"(?:{whole})(?:{point}\d*)?|{point}\d+")


# The first format that fits all numbers of a column is used.
_WRITINGS = (
    NumberFormat(".", ""),
    NumberFormat(".", ","),
    NumberFormat(",", ""),
    NumberFormat(",", "."),
    *(NumberFormat(decimal, thousands) for thousands in " '" for decimal in ".,"),
)
_PATTERNS = [writing.pattern() for writing in _WRITINGS]


class Part(NamedTuple):
    """The parts of a number's text. Body and power are its characters from `start` to `stop`."""

    sign: str
    body: str
    power: str
    unit: str
    start: int
    stop: int


def are_marks(array: Any) -> Mask:
    """Which texts of an Arrow array stand for a missing number or date."""
    import pyarrow as pa
    import pyarrow.compute as pc

    marks = pa.array(sorted(MARKS), pa.large_string())
    matches = pc.is_in(pc.utf8_lower(array), value_set=marks)
    return np.asarray(matches.to_numpy(zero_copy_only=False), np.bool_)


def split_number(text: str) -> Part | None:
    """The parts of a text that is a number in any format; None for other texts."""
    if len(text) > _LONGEST:
        return None
    text = text if text.isascii() else text.translate(_SAME)
    in_brackets = text[:1] == "(" and text[-1:] == ")"  # a negative number in accounting
    match = _NUMBER.fullmatch(text[1:-1] if in_brackets else text)
    if match is None or sum((bool(match["sign"]), bool(match["inner"]), in_brackets)) > 1:
        return None
    body = match["body"]
    if not _PLAIN.fullmatch(body) and not any(p.fullmatch(body) for p in _PATTERNS):
        return None
    unit = f"{match['prefix'] or ''}{match['suffix'] or ''}"
    sign = "-" if in_brackets else match["sign"] or match["inner"]
    start = match.start("body") + in_brackets
    power = match["power"] or ""
    return Part(sign, body, power, unit, start, start + len(body) + len(power))


def list_units(parts: Sequence[Part | None]) -> set[str]:
    """All different units. A bare zero is left out: it is zero in any unit."""
    return {part.unit for part in parts if part is not None and not _is_bare_zero(part)}


def _is_bare_zero(part: Part) -> bool:
    return not part.unit and part.body == "0"


def have_too_many_units(parts: Sequence[Part | None]) -> bool:
    return len(list_units(parts)) > _MOST_UNITS


def is_code(part: Part) -> bool:
    """Whether the digits begin like a code and not like a number: 007."""
    return bool(_CODE.fullmatch(part.body)) and not part.power and not part.unit


def find_format(parts: Sequence[Part]) -> tuple[NumberFormat | None, str]:
    """The one format that fits all numbers, and a remark on the choice; or None and the reason. A
    comma before three digits separates thousands unless other numbers contradict that."""
    different = list_units(parts)
    if len(different) > 1:
        shown = ", ".join(unit or "none" for unit in sorted(different)[:5])
        return None, f"their units differ ({shown})"
    bodies = list({part.body for part in parts})
    fitting = [
        writing
        for writing, pattern in zip(_WRITINGS, _PATTERNS, strict=True)
        if all(map(pattern.fullmatch, bodies))
    ]
    if not fitting:
        return None, "they are written in different ways, such as " + " and ".join(
            repr(text) for text in _unlike(bodies)
        )
    format_ = replace(fitting[0], unit=different.pop() if different else "")
    if format_.thousands != "," or NumberFormat(",") not in fitting:
        return format_, ""
    with_comma = min(body for body in bodies if "," in body)
    if any("," not in body and len(body) > 3 for body in bodies):
        return None, f"the comma of {with_comma!r} may part thousands or be a decimal comma"
    return format_, (
        f"{with_comma!r} is read as {with_comma.replace(',', '')}, its comma as a thousands mark; "
        f"if it is a decimal comma, write {with_comma.replace(',', '.')}"
    )


def _unlike(bodies: Sequence[str]) -> Iterator[str]:
    """Two texts that no single format fits, if there are such."""
    first = min(bodies, key=lambda body: sum(bool(p.fullmatch(body)) for p in _PATTERNS))
    fitting = [pattern for pattern in _PATTERNS if pattern.fullmatch(first)]
    yield first
    for body in bodies:
        if not any(pattern.fullmatch(body) for pattern in fitting):
            yield body
            return


def to_numbers(shapes: Shapes, parts: Sequence[Part | None], format_: NumberFormat) -> Floats:
    """The texts as numbers, NaN if not in this format. `parts`: those of each shape."""
    import pyarrow.compute as pc

    pattern = format_.pattern()
    values = np.full(len(shapes.codes), np.nan)
    fitting = {
        shape: part
        for shape, part in enumerate(parts)
        if part is not None
        and (part.unit == format_.unit or _is_bare_zero(part))
        and pattern.fullmatch(part.body)
    }
    for shape, rows in shapes.groups([*fitting]).items():
        part = fitting[shape]
        digits = pc.utf8_slice_codeunits(shapes.array.take(rows), part.start, part.stop)
        if format_.thousands:
            digits = pc.replace_substring_regex(digits, _THOUSANDS[format_.thousands], "")
        if format_.decimal != ".":
            digits = pc.replace_substring(digits, format_.decimal, ".")
        if part.power:
            digits = pc.replace_substring(digits, _MINUS, "-")
        numbers = digits.cast("float64").to_numpy(zero_copy_only=False)
        values[rows] = -numbers if part.sign == "-" else numbers
    return values


# Thousands separators as regular expressions of RE2.
_THOUSANDS = {",": ",", ".": r"\.", " ": "[ \u00a0\u202f\u2009]", "'": "['’]"}


def most_common(texts: Sequence[str], counts: npt.NDArray[np.int64], most: int = 3) -> list[str]:
    """The texts that most cells hold, for a message; equally common ones in alphabetical order."""
    if len(counts) > most:
        least = np.partition(counts, -most)[-most]
        numbers = np.flatnonzero(counts >= least)
        if len(numbers) > _MOST_TIED:
            numbers = numbers[np.argsort(-counts[numbers], kind="stable")[:_MOST_TIED]]
    else:
        numbers = np.arange(len(counts))
    ranked = sorted((-int(counts[number]), texts[number]) for number in numbers.tolist())
    return [text for _, text in ranked[:most]]
