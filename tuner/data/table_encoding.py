"""Tables as one float32 matrix.

What each column becomes is learnt from the training split alone and kept as a `Column`, so that
later rows are encoded in the same way.
"""

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tuner.data.cells import Cells, map_columns
from tuner.data.columns import read_known_columns
from tuner.data.raw import join_names
from tuner.data.rows import Indices, Rows
from tuner.data.text_columns import AS_TYPED, CellFormat, ReadColumn
from tuner.errors import DatasetError

if TYPE_CHECKING:  # pandas takes half a second to import: only tables pay it
    import pandas as pd

    from tuner.study.spec import ColumnKind

# Of a column of texts: so many of the most common words are features.
MOST_WORDS = 256
_WORD = re.compile(r"\w+")
_DAY_S = 86_400.0
_ROWS_AT_ONCE = 8192
_Floats = npt.NDArray[np.float64]
_Block = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Column:
    """How one column is encoded, as learnt from the training split.

    number: `fill`, the training median, stands in for missing values; `offset` is subtracted before
    the values become float32 (precision.py).
    category: one feature for each of the `categories`, none of them set for one not seen in
    training, and one more for missing values where the training part has some (`missing`).
    text: one feature for each of the `categories`, the most common words of the training rows: 1
    where the cell holds it.
    date: `parts` (year, month, …) that vary, and the days since `start`, the earliest training row,
    in seconds since 1970; `fill`, the training median, stands in for missing dates.
    `format`: how its texts are read.
    """

    name: str
    fill: float = 0.0
    categories: tuple[str, ...] | None = None
    missing: bool = False
    kind: "ColumnKind" = "number"
    parts: tuple[str, ...] = ()
    start: float = 0.0
    format: CellFormat = AS_TYPED
    offset: float = 0.0

    @property
    def features(self) -> tuple[str, ...]:
        if self.kind == "date":
            return tuple(f"{self.name}.{part}" for part in (*self.parts, "days"))
        if self.categories is None:
            return (self.name,)
        values = (*self.categories, "(missing)") if self.missing else self.categories
        mark = ":" if self.kind == "text" else "="
        return tuple(f"{self.name}{mark}{value}" for value in values)

    @property
    def is_one_hot(self) -> bool:
        """Whether its features are 0 or 1, and are not scaled."""
        return self.categories is not None


@dataclass(frozen=True, eq=False)
class Table:
    """Some rows of a table, by ascending number; all rows if `numbers` is None."""

    cells: Mapping[str, Cells]
    numbers: Indices | None = None

    def __len__(self) -> int:
        return len(next(iter(self.cells.values()))) if self.numbers is None else len(self.numbers)

    def column(self, name: str) -> Cells:
        """The cells of these rows."""
        cells = self.cells[name]
        if self.numbers is None:
            return cells
        return Cells(cells.values[self.numbers], cells.form, cells.texts)

    def some(self, name: str, rows: Indices) -> npt.NDArray[Any]:
        """The values of some of these rows."""
        return self.cells[name].values[rows if self.numbers is None else self.numbers[rows]]

    def gaps(self, name: str) -> int:
        """How many of these rows miss a value in that column. If no row does, nothing is copied."""
        gaps = self.cells[name].gaps()
        if not gaps.any():
            return 0
        return int(np.count_nonzero(gaps if self.numbers is None else gaps[self.numbers]))

    def rows(self, start: int, stop: int) -> "slice | Indices":
        return slice(start, stop) if self.numbers is None else self.numbers[start:stop]


class TableRows(Rows):
    """The matrix of a table, float32, encoded by columns that were learnt before."""

    def __init__(self, table: Table, columns: Sequence[Column]) -> None:
        widths = [len(column.features) for column in columns]
        super().__init__((len(table), sum(widths)), np.dtype(np.float32))
        self._table = table
        self._writers = [_writer(column, table.cells[column.name]) for column in columns]
        self._starts = np.cumsum([0, *widths]).tolist()

    def read(self, start: int, stop: int) -> _Block:
        block = np.zeros((stop - start, self.shape[1]), np.float32)
        # Column by column, as many rows at once as fit into the processor's cache: half the time.
        for begin in range(start, stop, _ROWS_AT_ONCE):
            end = min(begin + _ROWS_AT_ONCE, stop)
            rows, part = self._table.rows(begin, end), block[begin - start : end - start]
            for number, write in enumerate(self._writers):
                write(rows, part[:, self._starts[number] : self._starts[number + 1]])
        return block

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> npt.NDArray[Any]:
        if copy is False:
            raise ValueError("rows of a table cannot be an array without a copy")
        whole = self.read(0, len(self))
        return whole if dtype is None else whole.astype(dtype, copy=False)


def encode_frame(frame: "pd.DataFrame", columns: Sequence[Column], source: str) -> _Block:
    """The rows as a matrix (n, features), encoded by columns that were learnt before. Columns are
    found by name.

    Raises DatasetError if the frame lacks a column, or a column holds values of another kind.
    """
    lacking = [column.name for column in columns if column.name not in frame.columns]
    if lacking:
        raise DatasetError(f"{source}: lacks the columns {join_names(lacking)}")
    cells, problems = read_known_columns(frame, columns)
    if problems:
        raise DatasetError(f"{source}: {'; '.join(problems)}")
    return TableRows(Table(cells), columns).read(0, len(frame))


def learn_columns(table: Table, columns: Sequence[ReadColumn]) -> tuple[Column, ...]:
    """How each column is encoded, by the training rows."""
    learnt = map_columns(lambda c: _learn(table.column(c.name), c), columns, len(table))
    return tuple(learnt)


def _learn(cells: Cells, read: ReadColumn) -> Column:
    if read.kind == "number":
        return Column(read.name, _median(cells), format=read.format)
    if read.kind == "date":
        return _learn_date(cells, read)
    if read.kind == "text":
        return Column(read.name, categories=_common_words(cells), kind="text", format=read.format)
    held = sorted(cells.texts[code] for code in np.flatnonzero(cells.counts()))
    return Column(
        read.name,
        categories=tuple(held),
        missing=bool(cells.gaps().any()),
        kind="category",
        format=read.format,
    )


def _median(cells: Cells) -> float:
    """The median of the values without gaps; 0 if there are none."""
    gaps = cells.gaps()
    values = cells.values[~gaps] if gaps.any() else cells.values
    present = values.astype(np.float64)
    if not len(present):
        return 0.0
    # The result of np.median in a third of its time: one partition instead of two.
    half = len(present) // 2
    present.partition(half)
    return float(present[half] if len(present) % 2 else (present[:half].max() + present[half]) / 2)


def _learn_date(cells: Cells, read: ReadColumn) -> Column:
    dates = cells.values[~cells.gaps()].astype(np.float64)
    different = np.unique(dates)
    parts = tuple(
        name for name, part in DATE_PARTS.items() if len(different) and np.ptp(part(different)) > 0
    )
    return Column(
        read.name,
        fill=float(np.median(dates)) if len(dates) else 0.0,
        kind="date",
        parts=parts,
        start=float(different[0]) if len(different) else 0.0,
        format=read.format,
    )


def _days(seconds: _Floats) -> "npt.NDArray[np.datetime64]":
    return np.floor(seconds / _DAY_S).astype(np.int64).astype("datetime64[D]")


def _months(seconds: _Floats) -> npt.NDArray[np.int64]:
    """Since January 1970."""
    return _days(seconds).astype("datetime64[M]").astype(np.int64)


def _day_of_month(seconds: _Floats) -> npt.NDArray[np.int64]:
    days = _days(seconds)
    return (days - days.astype("datetime64[M]")).astype(np.int64) + 1


# The parts of a date, from seconds since 1970; weekday 0 is Monday.
DATE_PARTS: dict[str, Callable[[_Floats], npt.NDArray[Any]]] = {
    "year": lambda seconds: _months(seconds) // 12 + 1970,
    "month": lambda seconds: _months(seconds) % 12 + 1,
    "day": _day_of_month,
    "weekday": lambda seconds: (_days(seconds).astype(np.int64) + 3) % 7,
    "hour": lambda seconds: np.floor(seconds % _DAY_S / 3600.0),
    "minute": lambda seconds: np.floor(seconds % 3600.0 / 60.0),
}


def words_of(text: str) -> set[str]:
    """The words of a text, in small letters."""
    return set(_WORD.findall(text.lower()))


def _common_words(cells: Cells) -> tuple[str, ...]:
    """The most common words by rows, at most MOST_WORDS, in alphabetical order."""
    rows: Counter[str] = Counter()
    for text, count in zip(cells.texts, cells.counts().tolist(), strict=True):
        if count:
            for word in words_of(text):
                rows[word] += count
    common = sorted(rows, key=lambda word: (-rows[word], word))[:MOST_WORDS]
    return tuple(sorted(common))


_Writer = Callable[["slice | Indices", _Block], None]


def _writer(column: Column, cells: Cells) -> _Writer:
    """A function that writes rows of a column into its block (n, features) of zeros."""
    if column.kind == "number" and not cells.gaps().any():
        return lambda rows, block: _write_whole(column, cells.values[rows], block)
    if column.kind == "number":
        return lambda rows, block: _write_numbers(column, cells.values[rows], block)
    if column.kind == "date":
        return lambda rows, block: _write_dates(column, cells.values[rows], block)
    assert column.categories is not None
    if column.kind == "text":
        numbers = {word: number for number, word in enumerate(column.categories)}
        return lambda rows, block: _write_words(numbers, cells, cells.values[rows], block)
    numbers = {text: number for number, text in enumerate(column.categories)}
    missing = len(column.categories) if column.missing else -1
    features = np.array([*(numbers.get(text, -1) for text in cells.texts), missing], np.int64)
    return lambda rows, block: _write_categories(features[cells.values[rows]], block)


def _write_whole(column: Column, values: npt.NDArray[Any], block: _Block) -> None:
    block[:, 0] = values - column.offset if column.offset else values


def _write_numbers(column: Column, values: npt.NDArray[Any], block: _Block) -> None:
    if values.dtype.kind == "f":
        values = np.where(np.isnan(values), column.fill, values)
    _write_whole(column, values, block)


def _write_categories(features: npt.NDArray[np.int64], block: _Block) -> None:
    rows = np.flatnonzero(features >= 0)
    block[rows, features[rows]] = 1.0


def _write_words(
    numbers: Mapping[str, int], cells: Cells, codes: npt.NDArray[np.int64], block: _Block
) -> None:
    different, rows = np.unique(codes, return_inverse=True)
    held = np.zeros((len(different), block.shape[1]), np.float32)
    for number, code in enumerate(different.tolist()):
        if code >= 0:
            held[number, [numbers[w] for w in words_of(cells.texts[code]) if w in numbers]] = 1.0
    block[:] = held[rows]


def _write_dates(column: Column, values: npt.NDArray[Any], block: _Block) -> None:
    seconds = np.where(np.isnan(values), column.fill, values)
    for number, part in enumerate(column.parts):
        block[:, number] = DATE_PARTS[part](seconds)
    block[:, -1] = (seconds - column.start) / _DAY_S


def gap_note(part: str, column: Column, gaps: int) -> str:
    """A line on missing numbers."""
    return f"{part}: {column.name}: {gaps} missing, set to median {column.fill:g}"


def encoding_notes(table: Table, columns: Sequence[Column], part: str) -> list[str]:
    """What happened to missing and unseen values of a part, a line for each column."""
    lines = []
    for column in columns:
        gaps = table.gaps(column.name)
        if gaps:
            lines.append(_gaps_in_words(part, column, gaps))
        if column.kind == "category":
            seen = set(column.categories or ())
            texts = table.cells[column.name].texts
            is_new = np.array([*(text not in seen for text in texts), False], np.bool_)
            unseen = int(is_new[table.column(column.name).values].sum()) if is_new.any() else 0
            if unseen:
                lines.append(f"{part}: {column.name}: {unseen} of unseen categories, all zeros")
    return lines


def _gaps_in_words(part: str, column: Column, gaps: int) -> str:
    if column.kind == "number":
        return gap_note(part, column, gaps)
    if column.kind == "date":
        median = str(np.datetime64(round(column.fill), "s")).replace("T", " ")
        return f"{part}: {column.name}: {gaps} missing, set to the median {median}"
    become = "a feature of their own" if column.missing else "all zeros"
    return f"{part}: {column.name}: {gaps} missing, {become}"
