"""How one column of a table becomes features: numbers of a matrix.

What each column becomes was learnt from the training split and is kept as a `Column`, so that later
rows are encoded in the same way.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tuner.preparation.cells import Cells
from tuner.preparation.kinds import ColumnKind, TextForm
from tuner.preparation.text_columns import AS_TYPED, CellFormat
from tuner.preparation.text_words import SPECIAL_TOKENS, write_tf_idf, write_tokens

_WORD = re.compile(r"\w+")
_DAY_S = 86_400.0
_Floats = npt.NDArray[np.float64]
# Features of some rows, float32 or float64.
Block = npt.NDArray[np.floating]
# Row numbers, or a range of rows.
RowNumbers = slice | npt.NDArray[np.intp]


@dataclass(frozen=True)
class Column:
    """How one column is encoded, as learnt from the training split.

    number: `fill`, the training median, stands in for missing values; `offset` is subtracted before
    the values become float32 (precision.py).
    category: one feature for each of the `categories`, none of them set for one not seen in
    training, and one more for missing values where the training part has some (`missing`).
    text: by its `text_form` (text_words.py), with the most common words of the training rows as
    `categories`. words: one feature for each, 1 where the cell holds it. tokens: the numbers of the
    first `steps` words. tf_idf: one feature for each, and one before them for all other words, by
    their weights `idf`.
    date: `parts` (year, month, …) that vary, and, if it `has_days`, the days since `start`, the
    earliest training row, in seconds since 1970; `fill`, the training median, stands in for missing
    dates.
    `format`: how its texts are read.
    """

    name: str
    fill: float = 0.0
    categories: tuple[str, ...] | None = None
    missing: bool = False
    kind: ColumnKind = "number"
    parts: tuple[str, ...] = ()
    start: float = 0.0
    format: CellFormat = AS_TYPED
    offset: float = 0.0
    text_form: TextForm = "words"
    steps: int = 0
    idf: tuple[float, ...] | None = None
    has_days: bool = True

    @property
    def vocabulary_size(self) -> int:
        """How many numbers its tokens may be; 0 for a column that does not become tokens."""
        return len(self.categories or ()) + SPECIAL_TOKENS if self.is_tokens else 0

    @property
    def is_tokens(self) -> bool:
        return self.kind == "text" and self.text_form == "tokens"

    @property
    def features(self) -> tuple[str, ...]:
        if self.is_tokens:
            return tuple(f"{self.name}.{step + 1}" for step in range(self.steps))
        if self.kind == "date":
            days = ("days",) if self.has_days else ()
            return tuple(f"{self.name}.{part}" for part in (*self.parts, *days))
        if self.categories is None:
            return (self.name,)
        values = (*self.categories, "(missing)") if self.missing else self.categories
        if self.idf is not None:
            values = ("(other words)", *self.categories)
        mark = ":" if self.kind == "text" else "="
        return tuple(f"{self.name}{mark}{value}" for value in values)

    @property
    def is_one_hot(self) -> bool:
        """Whether its features are 0 or 1, or made of words, and are not scaled."""
        return self.categories is not None


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


Writer = Callable[[RowNumbers, Block], None]


def column_writer(column: Column, cells: Cells) -> Writer:
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
        write = _text_writer(column, numbers)
        return lambda rows, block: _write_texts(write, cells, cells.values[rows], block)
    numbers = {text: number for number, text in enumerate(column.categories)}
    missing = len(column.categories) if column.missing else -1
    features = np.array([*(numbers.get(text, -1) for text in cells.texts), missing], np.int64)
    return lambda rows, block: _write_categories(features[cells.values[rows]], block)


def _write_whole(column: Column, values: npt.NDArray[Any], block: Block) -> None:
    block[:, 0] = values - column.offset if column.offset else values


def _write_numbers(column: Column, values: npt.NDArray[Any], block: Block) -> None:
    if values.dtype.kind == "f":
        values = np.where(np.isnan(values), column.fill, values)
    _write_whole(column, values, block)


def _write_categories(features: npt.NDArray[np.int64], block: Block) -> None:
    rows = np.flatnonzero(features >= 0)
    block[rows, features[rows]] = 1.0


_TextWriter = Callable[[str, npt.NDArray[np.floating]], None]


def _text_writer(column: Column, numbers: Mapping[str, int]) -> _TextWriter:
    """A function that writes one text into its row of zeros. `numbers`: of the vocabulary."""
    if column.text_form == "tokens":
        return lambda text, row: write_tokens(numbers, text, row)
    if column.text_form == "tf_idf":
        weights = np.array(column.idf, np.float64)
        return lambda text, row: write_tf_idf(numbers, weights, text, row)
    return lambda text, row: _write_words(numbers, text, row)


def _write_words(numbers: Mapping[str, int], text: str, row: npt.NDArray[np.floating]) -> None:
    row[[numbers[word] for word in words_of(text) if word in numbers]] = 1.0


def _write_texts(
    write: _TextWriter, cells: Cells, codes: npt.NDArray[np.int64], block: Block
) -> None:
    different, rows = np.unique(codes, return_inverse=True)
    held = np.zeros((len(different), block.shape[1]), block.dtype)
    for number, code in enumerate(different.tolist()):
        if code >= 0:
            write(cells.texts[code], held[number])
    block[:] = held[rows]


def _write_dates(column: Column, values: npt.NDArray[Any], block: Block) -> None:
    seconds = np.where(np.isnan(values), column.fill, values)
    for number, part in enumerate(column.parts):
        block[:, number] = DATE_PARTS[part](seconds)
    if column.has_days:
        block[:, -1] = (seconds - column.start) / _DAY_S


def how_filled(column: Column) -> str:
    """What stands in for missing values."""
    if column.kind == "number":
        return f"set to median {column.fill:g}"
    if column.kind == "date":
        median = str(np.datetime64(round(column.fill), "s")).replace("T", " ")
        return f"set to the median {median}"
    if column.kind == "text":
        return "texts without words" if column.text_form != "words" else "all zeros"
    return "a feature of their own" if column.missing else "all zeros"


def gaps_in_words(part: str, column: Column, gaps: int) -> str:
    """A line on missing values."""
    return f"{part}: {column.name}: {gaps} missing, {how_filled(column)}"
