"""What a column of texts is: numbers, dates or categories, by what most of its texts are.

Doubtful columns are noted, with the option that changes the decision, or refused (UnclearColumn).
"""

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tuner.errors import DatasetError
from tuner.preparation.cells import Cells
from tuner.preparation.date_texts import ORDERS, TIME, DatesRead, read_dates
from tuner.preparation.kinds import ColumnKind
from tuner.preparation.number_texts import (
    NumberFormat,
    Part,
    are_marks,
    find_format,
    find_shapes,
    have_too_many_units,
    is_code,
    most_common,
    split_number,
    to_numbers,
)
from tuner.values import clipped, join_names

MAX_CATEGORIES = 1000

# More different texts than this, and than half of the rows, are names, ids or prose.
MANY_TEXTS = 50

# Such texts are prose if so many words stand in half of them.
PROSE_WORDS = 5

# Texts that are almost all numbers or dates can be categories if no more than these differ.
FEW_TEXTS = 20
ALMOST_ALL = 0.9
_Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class CellFormat:
    """How the texts of a column are written: numbers by `number`, or dates by `order` (see
    `read_dates`). Both None for a column that the file gives as numbers or dates."""

    number: NumberFormat | None = None
    order: str | None = None


AS_TYPED = CellFormat()


@dataclass(frozen=True, eq=False)
class ReadColumn:
    """A column of the whole table: its kind, and its cells in the form of that kind. `notes`: the
    decisions to report."""

    name: str
    kind: ColumnKind
    cells: Cells
    format: CellFormat = AS_TYPED
    notes: tuple[str, ...] = ()


class UnclearColumn(Exception):
    """A column cannot be what it looks like. The message says why."""


def quote_option(name: str, kind: str) -> str:
    return shlex.quote(f"{name}={kind}")


def column_option(name: str, *kinds: str) -> str:
    """The option that says what a column is."""
    first, *more = kinds
    others = "".join(f", or ={kind}" for kind in more)
    return f"--column {quote_option(name, first)}{others}"


def check_range(name: str, cells: Cells) -> None:
    values = cells.values
    if values.dtype.kind == "f" and len(values):
        # The extremes first: they need no array of their own. NaN is ignored.
        with np.errstate(invalid="ignore"):
            low, high = np.fmin.reduce(values), np.fmax.reduce(values)
        most = np.finfo(np.float32).max
        if high > most or low < -most:
            row = int(np.argmax(np.abs(values) > most)) + 1 + cells.rows_before
            raise DatasetError(
                f"column {name!r} holds an infinite value (row {row}); remove it or leave the cell "
                "empty"
            )


class TextColumn:
    """A column of texts and what they could be. Each different text is examined once."""

    def __init__(self, name: str, cells: Cells) -> None:
        self.name, self.cells = name, cells
        self.counts = cells.counts()
        self.total = int(self.counts.sum())
        self.shapes = find_shapes(cells.texts)
        self.parts = [split_number(text) for text in self.shapes.first]
        self.is_mark = are_marks(self.shapes.array)
        self.is_number = self.of_shapes(lambda part: True)

    def of_shapes(self, test: Callable[[Part], bool]) -> _Mask:
        """Which texts are numbers that pass the test."""
        results = [part is not None and test(part) for part in self.parts]
        return np.array(results, np.bool_)[self.shapes.codes]

    def dates(self, order: str | None = None) -> DatesRead:
        return read_dates(self.cells.texts, self.counts, order, self.shapes)

    def count(self, which: _Mask) -> int:
        return int(self.counts[which].sum())

    def share(self, which: _Mask) -> float:
        """The share of the cells that are neither empty nor a mark for missing."""
        return self.count(which) / max(1, self.count(~self.is_mark))

    def examples(self, which: _Mask) -> str:
        """The most common of these texts, and the row of the first."""
        numbers = np.flatnonzero(which)
        texts = self.most_common(which)
        more = ", …" if len(numbers) > len(texts) else ""
        row = self.cells.first_row(numbers)
        return f"{', '.join(map(_quote_short, texts))}{more}; first in row {row}"

    def most_common(self, which: _Mask) -> list[str]:
        return most_common(self.cells.texts, np.where(which, self.counts, 0))[: which.sum()]

    def written(self) -> list[Part]:
        return [part for part in self.parts if part is not None]

    def numbers(self, format_: NumberFormat) -> Cells:
        return spread_to_rows(self.cells, to_numbers(self.shapes, self.parts, format_), "numbers")

    def marks_note(self, kind: str) -> str:
        count = self.count(self.is_mark)
        if not count:
            return ""
        marks = sorted({self.cells.texts[i] for i in np.flatnonzero(self.is_mark)})
        names = join_names(map(repr, marks))
        return f"{count} of {self.total} cells hold {names} and count as missing {kind}s"


def _quote_short(text: str) -> str:
    return repr(clipped(text, 24))


def spread_to_rows(cells: Cells, values: npt.NDArray[np.float64], form: Any) -> Cells:
    """The values of the different texts, for each row; NaN for a gap."""
    return Cells(np.append(values, np.nan)[cells.values], form, rows_before=cells.rows_before)


def infer_column(name: str, cells: Cells) -> ReadColumn:
    """The column as numbers, dates or categories, by what most of its texts are."""
    texts = TextColumn(name, cells)
    if texts.is_number.any() and not have_too_many_units(texts.parts):
        column = _inferred_number(texts)
        if column is not None:
            return column
    if any(character.isdigit() for text in cells.texts[:100] for character in text):
        column = _inferred_date(texts)
        if column is not None:
            return column
    return category_column(name, cells)


def _inferred_number(texts: TextColumn) -> ReadColumn | None:
    name, number, mark = texts.name, texts.is_number, texts.is_mark
    others = ~number & ~mark
    count = texts.count(number)
    if others.any():
        if texts.share(number) < 0.5:
            return None
        problem = (
            f"{count} of {texts.total} cells are numbers, {texts.count(others)} are not "
            f"({texts.examples(others)})"
        )
        if texts.share(number) < ALMOST_ALL:
            return category_column(name, texts.cells, f"{problem}: taken for categories")
        return _unclear(texts, problem, "category", "text", "drop")
    if any(map(is_code, texts.written())):
        codes = texts.of_shapes(is_code)
        note = f"codes that begin with 0 ({texts.examples(codes)}): taken for categories"
        return category_column(
            name, texts.cells, f"{note}; if they are numbers: {column_option(name, 'number')}"
        )
    format_, remark = find_format(texts.written())
    if format_ is None:
        return _unclear(texts, f"holds numbers, but {remark}", "category", "drop")
    return number_column(texts, format_, remark)


def number_column(
    texts: TextColumn, format_: NumberFormat, remark: str, is_given: bool = False
) -> ReadColumn:
    cells = texts.numbers(format_)
    check_range(texts.name, cells)
    notes = [texts.marks_note("number")]
    if any(text.startswith("(") for text in texts.shapes.first):
        notes.append("numbers in brackets are negative")
    if remark:
        notes.append(remark)
    elif format_.unit or format_.thousands or format_.decimal != ".":
        example = texts.most_common(texts.is_number)[0]
        value = cells.values[texts.cells.values == texts.cells.texts.index(example)][0]
        notes.append(f"{_quote_short(example)} is read as the number {value:.12g}")
    if not any(notes) and not is_given:
        notes = [
            f"its texts are numbers; if they are names: {column_option(texts.name, 'category')}"
        ]
    return ReadColumn(
        texts.name, "number", cells, CellFormat(number=format_), name_notes(texts.name, notes)
    )


def name_notes(name: str, notes: Sequence[str]) -> tuple[str, ...]:
    return tuple(f"{name}: {note}" for note in notes if note)


def _unclear(texts: TextColumn, problem: str, *kinds: str) -> ReadColumn:
    """Categories with a note if there are few texts; otherwise the column is refused."""
    if len(texts.cells.texts) <= FEW_TEXTS and "category" in kinds:
        return category_column(texts.name, texts.cells, f"{problem}: taken for categories")
    raise UnclearColumn(
        f"column {texts.name!r}: {problem}; mend these cells, or say what it is: "
        f"{column_option(texts.name, *kinds)}"
    )


def _inferred_date(texts: TextColumn) -> ReadColumn | None:
    read = texts.dates()
    is_date = ~np.isnan(read.seconds)
    if not is_date.any():
        return None
    if texts.share(is_date) < 0.5:
        return _dates_in_several_ways(texts)
    if np.all(is_date | texts.is_mark):
        return date_column(texts, read)
    others = ~is_date & ~texts.is_mark
    problem = (
        f"{texts.count(is_date)} of {texts.total} cells are dates, {texts.count(others)} are none, "
        f"or are written in another way ({texts.examples(others)})"
    )
    if texts.share(is_date) < ALMOST_ALL:
        return category_column(texts.name, texts.cells, f"{problem}: taken for categories")
    return _unclear(texts, problem, "category", "drop")


def _dates_in_several_ways(texts: TextColumn) -> ReadColumn | None:
    """Dates of which no single order reads most; None for other texts."""
    masks = [~np.isnan(texts.dates(order).seconds) for order in ORDERS]
    count, share = texts.count(np.any(masks, axis=0)), texts.share(np.any(masks, axis=0))
    if share < ALMOST_ALL:
        return None
    examples = dict.fromkeys(
        _quote_short(texts.most_common(mask)[0]) for mask in masks if mask.any()
    )
    problem = (
        f"{count} of {texts.total} cells are dates, but written in different ways, such as "
        f"{' and '.join(examples)}"
    )
    return _unclear(texts, problem, "category", "drop")


def date_column(texts: TextColumn, read: DatesRead) -> ReadColumn:
    name = texts.name
    example = texts.examples(~np.isnan(read.seconds))
    if read.also:
        raise UnclearColumn(
            f"column {name!r}: all dates can be read with the day or the month first ({example}); "
            f"write them as 2025-12-31, or leave the column out: {column_option(name, 'drop')}"
        )
    if len(read.zones) > 1:
        raise UnclearColumn(
            f"column {name!r}: some dates name a time zone and some do not ({example}); write all "
            f"in one way, or leave the column out: {column_option(name, 'drop')}"
        )
    notes = [texts.marks_note("date")]
    if read.order == TIME:
        notes.append(f"times of the day ({example})")
    if read.order in ("dmy", "mdy"):
        first = "day" if read.order == "dmy" else "month"
        notes.append(f"dates with the {first} first ({example})")
    if True in read.zones:
        notes.append("times are read as UTC")
    if read.short_years:
        notes.append("years of two digits are those from 1969 to 2068")
    cells = spread_to_rows(texts.cells, read.seconds, "dates")
    return ReadColumn(name, "date", cells, CellFormat(order=read.order), name_notes(name, notes))


def category_column(name: str, cells: Cells, *notes: str) -> ReadColumn:
    """Texts as categories, or as text where they are prose. Raises UnclearColumn for too many
    categories."""
    different, filled = len(cells.texts), int((cells.values >= 0).sum())
    about = f" ({notes[0].partition(': taken for')[0]})" if notes else ""
    if not notes and different > MANY_TEXTS and 2 * different > filled and _are_prose(cells):
        note = f"different texts of many words: taken for text; else {column_option(name, 'drop')}"
        return ReadColumn(name, "text", cells, notes=name_notes(name, [note]))
    if different > MAX_CATEGORIES:
        raise UnclearColumn(
            f"column {name!r} holds {different} different texts, more than {MAX_CATEGORIES}{about};"
            f" leave it out or learn from its words: {column_option(name, 'drop', 'text')}"
        )
    if different > MANY_TEXTS and 2 * different > filled:
        raise UnclearColumn(
            f"column {name!r} holds {different} different texts in {filled} rows{about}, as names, "
            f"ids or sentences do; say what it is: "
            f"{column_option(name, 'drop', 'text', 'category')}"
        )
    notes = (*notes, capitals_note(cells.texts, "categories"))
    return ReadColumn(name, "category", cells, notes=name_notes(name, notes))


def _are_prose(cells: Cells) -> bool:
    """Whether half of the different texts have many words."""
    lengths = [len(text.split()) for text in cells.texts]
    return float(np.median(lengths)) >= PROSE_WORDS


def capitals_note(texts: Sequence[str], what: str) -> str:
    """A note on texts that differ only in their capitals; "" for none."""
    alike: dict[str, list[str]] = {}
    for text in texts:
        alike.setdefault(text.casefold(), []).append(text)
    groups = [sorted(group) for group in alike.values() if len(group) > 1]
    if not groups:
        return ""
    examples = ", ".join(map(_quote_short, min(groups)[:4]))
    more = f" (and {len(groups) - 1} more such)" if len(groups) > 1 else ""
    return f"{examples} differ in capitals alone and are different {what}{more}"
