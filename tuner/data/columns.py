"""What each column of a table is taken for: a number, a category, a text or a date.

A column's kind follows from all of its cells, so it does not depend on the order of the rows or on
the split; what is learnt of its values (`tables.py`) comes from the training rows alone. Nothing is
guessed in silence: what is not plain is noted, with how to say otherwise, or refused.
"""

import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tuner.data.cells import Cells, as_texts, read_cells
from tuner.data.date_texts import (
    DIGITS,
    ORDERS,
    TIME,
    UNITS,
    DatesRead,
    number_order,
    read_dates,
    seconds_of,
)
from tuner.data.number_texts import (
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
from tuner.data.raw import listed
from tuner.errors import DatasetError
from tuner.search_space.parameter_types import sort_by_similarity
from tuner.values import clipped

if TYPE_CHECKING:
    import pandas as pd

    from tuner.study.spec import ColumnKind

MAX_CATEGORIES = 1000
# Texts of which more than so many differ, and more than half of all rows, are names, ids or prose.
MANY_TEXTS = 50
# So few different texts can be categories where they are almost numbers or dates.
FEW_TEXTS = 20
ALMOST_ALL = 0.9

_Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class CellFormat:
    """How the texts of a column are written: numbers (see NumberFormat), or dates by `order`, see
    `read_dates`. None for a column that is no longer text when it is read."""

    number: NumberFormat | None = None
    order: str | None = None


AS_TYPED = CellFormat()


@dataclass(frozen=True, eq=False)
class ReadColumn:
    """A column of the whole table: its kind, and its cells as that kind needs them. `notes`: what
    was decided about it, in words."""

    name: str
    kind: "ColumnKind"
    cells: Cells
    format: CellFormat = AS_TYPED
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class ReadTable:
    """`columns` of the train part in the table's order, without those left out (`dropped`); `parts`
    has the cells of each part by column. `problems`: one a column that cannot be learnt from."""

    columns: tuple[ReadColumn, ...] = ()
    parts: Mapping[str, Mapping[str, Cells]] = field(default_factory=dict)
    dropped: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


class Unclear(Exception):
    """Why a column cannot be what it looks like."""


def read_columns(
    frames: Mapping[str, "pd.DataFrame"], kinds: Mapping[str, "ColumnKind"]
) -> ReadTable:
    """All columns of all parts. `kinds`: those that the user has named. Nothing is raised: what
    is wrong is among the problems."""
    train = frames["train"]
    names = list(train.columns)
    problems = check_kinds(kinds, names)
    columns: list[ReadColumn] = []
    dropped = tuple(name for name in names if kinds.get(name) == "drop")
    for name in names:
        if name not in dropped:
            try:
                columns.append(read_column(train[name], kinds.get(name)))
            except (DatasetError, Unclear) as error:
                problems.append(str(error))
    if not columns and not problems:
        problems.append("no column is left to learn from" if names else "x has no columns")
    parts = {"train": {column.name: column.cells for column in columns}}
    for part, frame in frames.items():
        if part != "train":
            parts[part], wrong = _read_part(frame, columns, part)
            problems += wrong
    notes = tuple(note for column in columns for note in column.notes)
    return ReadTable(tuple(columns), parts, dropped, notes, tuple(problems))


def _read_part(
    frame: "pd.DataFrame", columns: Sequence[ReadColumn], part: str
) -> tuple[dict[str, Cells], list[str]]:
    lacking = [column.name for column in columns if column.name not in frame.columns]
    if lacking:
        return {}, [f"{part} lacks the columns {listed(lacking)}"]
    cells, problems = {}, []
    for column in columns:
        try:
            cells[column.name] = cells_as(frame[column.name], column.kind, column.format)
        except (DatasetError, Unclear) as error:
            problems.append(f"{part}: {error}")
    return cells, problems


def check_kinds(
    kinds: Mapping[str, "ColumnKind"], names: Sequence[str], target: str = ""
) -> list[str]:
    """What is wrong with the kinds that a user has named for the columns of a table."""
    problems = []
    for name, kind in kinds.items():
        if name not in names:
            close = listed(sort_by_similarity(name, names)[:5])
            problems.append(f"--column {_quoted(name, kind)}: no such column; there are: {close}")
        elif kind == "target" and name != target:
            problems.append(
                f"--column {_quoted(name, kind)}: the target is "
                + (f"{target!r} already" if target else "given beside these columns")
            )
        elif kind != "target" and name == target:
            problems.append(
                f"--column {_quoted(name, kind)}: it is the target; --task says how it is learnt"
            )
    return problems


def _quoted(name: str, kind: str) -> str:
    return shlex.quote(f"{name}={kind}")


def _say(name: str, *kinds: str) -> str:
    """How to say what a column is."""
    first, *more = kinds
    others = "".join(f", or ={kind}" for kind in more)
    return f"--column {_quoted(name, first)}{others}"


def read_column(series: "pd.Series[Any]", kind: "ColumnKind | None" = None) -> ReadColumn:
    """One column as what it holds or as what the user says it is. Raises DatasetError or Unclear,
    with the cause, where it cannot be that."""
    name, cells = str(series.name), read_cells(series)
    if cells.form == "texts" and not cells.texts:  # nothing but gaps
        cells = Cells(np.full(len(cells), np.nan))
    if kind is not None:
        if kind == "date" and cells.form == "dates":
            return _typed_date(name, cells, series)
        return _as_told(name, cells, kind)
    if cells.form == "numbers":
        _check_range(name, cells)
        return ReadColumn(name, "number", cells, notes=_notes(name, [_date_hint(name, cells)]))
    if cells.form == "dates":
        return _typed_date(name, cells, series)
    if _is_categorical(series):
        return _category(name, cells)
    return _infer(name, cells)


def _typed_date(name: str, cells: Cells, series: "pd.Series[Any]") -> ReadColumn:
    zone = getattr(series.dtype, "tz", None)
    note = "" if zone is None or str(zone) == "UTC" else f"times of {zone} are converted to UTC"
    return ReadColumn(name, "date", cells, notes=_notes(name, [note]))


def _is_categorical(series: "pd.Series[Any]") -> bool:
    import pandas as pd

    return isinstance(series.dtype, pd.CategoricalDtype)


def _check_range(name: str, cells: Cells) -> None:
    values = cells.values
    if values.dtype.kind == "f" and len(values):
        # The two ends first: they need no array of their own. NaN is left out.
        with np.errstate(invalid="ignore"):
            low, high = np.fmin.reduce(values), np.fmax.reduce(values)
        most = np.finfo(np.float32).max
        if high > most or low < -most:
            row = int(np.argmax(np.abs(values) > most)) + 1
            raise DatasetError(
                f"column {name!r} holds an infinite value (row {row}); remove it or leave the cell "
                "empty"
            )


# Whole numbers in these ranges may be times from 2000 to 2035 or dates from 1900 to 2099.
_TIMES_S = (946_684_800, 2_051_222_400)
_DAYS = (19_000_101, 20_991_231)
# Smaller numbers, as seconds all before March 1973, are rather years or an office program's days.
_FEWEST_S = 1e8


def _date_hint(name: str, cells: Cells) -> str:
    """How to have whole numbers taken for dates that look like it; "" where they do not."""
    values = cells.values
    if values.dtype.kind not in "iuf" or not len(values) or cells.gaps().all():
        return ""
    low, high = float(np.fmin.reduce(values)), float(np.fmax.reduce(values))
    looks = ""
    for unit in ("seconds", "milliseconds"):
        if all(_TIMES_S[0] <= end / UNITS[unit] <= _TIMES_S[1] for end in (low, high)):
            looks = f"{unit} since 1970"
    if _DAYS[0] <= low and high <= _DAYS[1]:
        numbers = values[~cells.gaps()].astype(np.float64)
        looks = "dates as 20251231" if number_order(numbers) == DIGITS else ""
    return f"numbers; if they are {looks}: {_say(name, 'date')}" if looks and low < high else ""


class Texts:
    """A column of texts, looked at as what it could be. Each different text is looked at once."""

    def __init__(self, name: str, cells: Cells) -> None:
        self.name, self.cells = name, cells
        self.counts = cells.counts()
        self.total = int(self.counts.sum())
        self.shapes = find_shapes(cells.texts)
        self.parts = [split_number(text) for text in self.shapes.first]
        self.is_mark = are_marks(self.shapes.array)
        self.is_number = self.of_shapes(lambda part: True)

    def of_shapes(self, test: Callable[[Part], bool]) -> _Mask:
        """Which texts are numbers for which this is true."""
        results = [part is not None and test(part) for part in self.parts]
        return np.array(results, np.bool_)[self.shapes.codes]

    def dates(self, order: str | None = None) -> DatesRead:
        return read_dates(self.cells.texts, self.counts, order, self.shapes)

    def count(self, which: _Mask) -> int:
        return int(self.counts[which].sum())

    def share(self, which: _Mask) -> float:
        """Of the cells that hold neither a mark nor nothing."""
        return self.count(which) / max(1, self.count(~self.is_mark))

    def examples(self, which: _Mask) -> str:
        """The most common of these texts, and where the first of them is."""
        numbers = np.flatnonzero(which)
        texts = self.most_common(which)
        more = ", …" if len(numbers) > len(texts) else ""
        return (
            f"{', '.join(map(_short, texts))}{more}; first in row {self.cells.first_row(numbers)}"
        )

    def most_common(self, which: _Mask) -> list[str]:
        return most_common(self.cells.texts, np.where(which, self.counts, 0))[: which.sum()]

    def written(self) -> list[Part]:
        return [part for part in self.parts if part is not None]

    def numbers(self, format_: NumberFormat) -> Cells:
        return _spread(self.cells, to_numbers(self.shapes, self.parts, format_), "numbers")

    def marks_note(self, kind: str) -> str:
        count = self.count(self.is_mark)
        if not count:
            return ""
        marks = sorted({self.cells.texts[i] for i in np.flatnonzero(self.is_mark)})
        names = listed(map(repr, marks))
        return f"{count} of {self.total} cells hold {names} and count as missing {kind}s"


def _short(text: str) -> str:
    return repr(clipped(text, 24))


def _spread(cells: Cells, values: npt.NDArray[np.float64], form: Any) -> Cells:
    """Values of the different texts, brought to the rows; NaN where there is a gap."""
    return Cells(np.append(values, np.nan)[cells.values], form)


def _infer(name: str, cells: Cells) -> ReadColumn:
    """A column of texts by what most of them are."""
    texts = Texts(name, cells)
    if texts.is_number.any() and not have_too_many_units(texts.parts):
        column = _inferred_number(texts)
        if column is not None:
            return column
    if any(character.isdigit() for text in cells.texts[:100] for character in text):
        column = _inferred_date(texts)
        if column is not None:
            return column
    return _category(name, cells)


def _inferred_number(texts: Texts) -> ReadColumn | None:
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
            return _category(name, texts.cells, f"{problem}: taken for categories")
        return _unclear(texts, problem, "category", "text", "drop")
    if any(map(is_code, texts.written())):
        codes = texts.of_shapes(is_code)
        note = f"codes that begin with 0 ({texts.examples(codes)}): taken for categories"
        return _category(name, texts.cells, f"{note}; if they are numbers: {_say(name, 'number')}")
    format_, remark = find_format(texts.written())
    if format_ is None:
        return _unclear(texts, f"holds numbers, but {remark}", "category", "drop")
    return _number(texts, format_, remark)


def _number(texts: Texts, format_: NumberFormat, remark: str, told: bool = False) -> ReadColumn:
    cells = texts.numbers(format_)
    _check_range(texts.name, cells)
    notes = [texts.marks_note("number")]
    if any(text.startswith("(") for text in texts.shapes.first):
        notes.append("numbers in brackets are negative")
    if remark:
        notes.append(remark)
    elif format_.unit or format_.thousands or format_.decimal != ".":
        example = texts.most_common(texts.is_number)[0]
        value = cells.values[texts.cells.values == texts.cells.texts.index(example)][0]
        notes.append(f"{_short(example)} is read as the number {value:.12g}")
    if not any(notes) and not told:
        notes = [f"its texts are numbers; if they are names: {_say(texts.name, 'category')}"]
    return ReadColumn(
        texts.name, "number", cells, CellFormat(number=format_), _notes(texts.name, notes)
    )


def _notes(name: str, notes: Sequence[str]) -> tuple[str, ...]:
    return tuple(f"{name}: {note}" for note in notes if note)


def _unclear(texts: Texts, problem: str, *kinds: str) -> ReadColumn:
    """Categories where there are few texts, noted; else refused."""
    if len(texts.cells.texts) <= FEW_TEXTS and "category" in kinds:
        return _category(texts.name, texts.cells, f"{problem}: taken for categories")
    raise Unclear(
        f"column {texts.name!r}: {problem}; mend these cells, or say what it is: "
        f"{_say(texts.name, *kinds)}"
    )


def _inferred_date(texts: Texts) -> ReadColumn | None:
    read = texts.dates()
    is_date = ~np.isnan(read.seconds)
    if not is_date.any():
        return None
    if texts.share(is_date) < 0.5:
        return _dates_in_several_ways(texts)
    if np.all(is_date | texts.is_mark):
        return _date(texts, read)
    others = ~is_date & ~texts.is_mark
    problem = (
        f"{texts.count(is_date)} of {texts.total} cells are dates, {texts.count(others)} are none, "
        f"or are written in another way ({texts.examples(others)})"
    )
    if texts.share(is_date) < ALMOST_ALL:
        return _category(texts.name, texts.cells, f"{problem}: taken for categories")
    return _unclear(texts, problem, "category", "drop")


def _dates_in_several_ways(texts: Texts) -> ReadColumn | None:
    """Of dates of which no single order reads the most; None for anything else."""
    masks = [~np.isnan(texts.dates(order).seconds) for order in ORDERS]
    count, share = texts.count(np.any(masks, axis=0)), texts.share(np.any(masks, axis=0))
    if share < ALMOST_ALL:
        return None
    examples = dict.fromkeys(_short(texts.most_common(mask)[0]) for mask in masks if mask.any())
    problem = (
        f"{count} of {texts.total} cells are dates, but written in different ways, such as "
        f"{' and '.join(examples)}"
    )
    return _unclear(texts, problem, "category", "drop")


def _date(texts: Texts, read: DatesRead) -> ReadColumn:
    name = texts.name
    example = texts.examples(~np.isnan(read.seconds))
    if read.also:
        raise Unclear(
            f"column {name!r}: all dates can be read with the day or the month first ({example}); "
            f"write them as 2025-12-31, or leave the column out: {_say(name, 'drop')}"
        )
    if len(read.zones) > 1:
        raise Unclear(
            f"column {name!r}: some dates name a time zone and some do not ({example}); write all "
            f"in one way, or leave the column out: {_say(name, 'drop')}"
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
    cells = _spread(texts.cells, read.seconds, "dates")
    return ReadColumn(name, "date", cells, CellFormat(order=read.order), _notes(name, notes))


def _category(name: str, cells: Cells, *notes: str) -> ReadColumn:
    """Texts as categories. Raises Unclear for too many of them."""
    different, filled = len(cells.texts), int((cells.values >= 0).sum())
    about = f" ({notes[0].partition(': taken for')[0]})" if notes else ""
    if different > MAX_CATEGORIES:
        raise Unclear(
            f"column {name!r} holds {different} different texts, more than {MAX_CATEGORIES}{about};"
            f" leave it out or learn from its words: {_say(name, 'drop', 'text')}"
        )
    if different > MANY_TEXTS and 2 * different > filled:
        raise Unclear(
            f"column {name!r} holds {different} different texts in {filled} rows{about}, as names, "
            f"ids or sentences do; say what it is: {_say(name, 'drop', 'text', 'category')}"
        )
    notes = (*notes, capitals_note(cells.texts, "categories"))
    return ReadColumn(name, "category", cells, notes=_notes(name, notes))


def capitals_note(texts: Sequence[str], what: str) -> str:
    """Which texts differ in their capitals alone; "" for none."""
    alike: dict[str, list[str]] = {}
    for text in texts:
        alike.setdefault(text.casefold(), []).append(text)
    groups = [sorted(group) for group in alike.values() if len(group) > 1]
    if not groups:
        return ""
    examples = ", ".join(map(_short, min(groups)[:4]))
    more = f" (and {len(groups) - 1} more such)" if len(groups) > 1 else ""
    return f"{examples} differ in capitals alone and are different {what}{more}"


def _as_told(name: str, cells: Cells, kind: "ColumnKind") -> ReadColumn:
    """The column as the user wants it. Raises Unclear where its cells are nothing of the kind."""
    if kind == "number":
        return _told_number(name, cells)
    if kind == "date":
        return _told_date(name, cells)
    texts = as_texts(cells)
    if kind == "category" and len(texts.texts) > MAX_CATEGORIES:
        raise Unclear(
            f"--column {_quoted(name, kind)}: it holds {len(texts.texts)} different values, more "
            f"than {MAX_CATEGORIES}"
        )
    if kind == "category":
        return _told_category(name, texts)
    return ReadColumn(name, kind, texts)


def _told_category(name: str, texts: Cells) -> ReadColumn:
    notes = _notes(name, [capitals_note(texts.texts, "categories")])
    return ReadColumn(name, "category", texts, notes=notes)


def _told_number(name: str, cells: Cells) -> ReadColumn:
    if cells.form == "numbers":
        _check_range(name, cells)
        return ReadColumn(name, "number", cells)
    if cells.form == "dates":
        raise Unclear(f"--column {_quoted(name, 'number')}: it holds dates; take date")
    texts = Texts(name, cells)
    others = ~texts.is_number & ~texts.is_mark
    if others.any() or not texts.is_number.any():
        others = others if others.any() else ~texts.is_number
        raise Unclear(
            f"--column {_quoted(name, 'number')}: {texts.count(others)} of {texts.total} cells are "
            f"no numbers" + (f" ({texts.examples(others)})" if texts.total else "")
        )
    format_, remark = find_format(texts.written())
    if format_ is None:
        raise Unclear(f"--column {_quoted(name, 'number')}: {remark}")
    return _number(texts, format_, remark, told=True)


def _told_date(name: str, cells: Cells) -> ReadColumn:
    if cells.form == "numbers":
        return _date_of_numbers(name, cells)
    texts = Texts(name, cells)
    if np.all(texts.is_number | texts.is_mark):
        return _date_of_numbers(name, texts.numbers(NumberFormat()))
    read = texts.dates()
    others = np.isnan(read.seconds) & ~texts.is_mark
    if others.any() or not texts.count(~others):
        raise Unclear(
            f"--column {_quoted(name, 'date')}: {texts.count(others)} of {texts.total} cells are "
            "no dates, or are written in another way than the others"
            + (f" ({texts.examples(others)})" if others.any() else "")
        )
    return _date(texts, read)


def _date_of_numbers(name: str, cells: Cells) -> ReadColumn:
    _check_range(name, cells)
    values = cells.values.astype(np.float64)
    if cells.gaps().all():
        return ReadColumn(name, "date", Cells(values, "dates"))
    held = values[~cells.gaps()]
    order = number_order(held)
    if order == "seconds" and np.abs(held).max() < _FEWEST_S:
        raise Unclear(
            f"--column {_quoted(name, 'date')}: its numbers ({held.min():.12g} … "
            f"{held.max():.12g}) are neither dates as 20251231 nor times since 1970; write dates "
            "as 2025-12-31, or leave it a number"
        )
    how = "as in 20251231" if order == DIGITS else f"as {order} since 1970"
    notes = _notes(name, [f"numbers are read as dates {how}"])
    dates = Cells(seconds_of(values, order), "dates")
    return ReadColumn(name, "date", dates, CellFormat(order=order), notes)


def cells_as(series: "pd.Series[Any]", kind: "ColumnKind", format_: CellFormat) -> Cells:
    """A column of other rows, read as the one of that kind and format was. Raises DatasetError or
    Unclear where it holds anything else."""
    name, cells = str(series.name), read_cells(series)
    if kind in ("category", "text"):
        return as_texts(cells)
    if kind == "date":
        return _later_dates(name, cells, format_)
    if cells.form == "texts":
        texts = Texts(name, cells)
        cells = texts.numbers(format_.number or NumberFormat())
        _require(texts, cells, "number")
    elif cells.form == "dates":
        raise DatasetError(f"column {name!r} must hold numbers, it holds dates")
    _check_range(name, cells)
    return cells


def _later_dates(name: str, cells: Cells, format_: CellFormat) -> Cells:
    if cells.form == "dates":
        return cells
    of_numbers = format_.order in (*UNITS, DIGITS)
    if cells.form == "numbers":
        values = cells.values.astype(np.float64)
        if not of_numbers and not cells.gaps().all():
            raise DatasetError(f"column {name!r} must hold dates, it holds numbers")
        # What holds gaps alone may be read in any way.
        return Cells(
            seconds_of(values, (format_.order or "") if of_numbers else "seconds"), "dates"
        )
    texts = Texts(name, cells)
    if of_numbers:
        numbers = texts.numbers(NumberFormat())
        dates = Cells(seconds_of(numbers.values, format_.order or ""), "dates")
    else:
        order = "ymd" if format_.order is None else format_.order
        dates = _spread(cells, texts.dates(order).seconds, "dates")
    _require(texts, dates, "date")
    return dates


def _require(texts: Texts, cells: Cells, kind: str) -> None:
    wrong = np.isnan(cells.values) & (texts.cells.values >= 0)
    others = np.zeros(len(texts.cells.texts), np.bool_)
    others[texts.cells.values[wrong]] = True
    others &= ~texts.is_mark
    if others.any():
        raise DatasetError(
            f"column {texts.name!r} must hold {kind}s, written as in training; "
            f"{texts.count(others)} of {texts.total} cells do not ({texts.examples(others)})"
        )
