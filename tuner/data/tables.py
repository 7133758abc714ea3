"""CSV and Parquet files: read, then turned into one float32 matrix.

What the columns become is learnt on the training part alone and kept as `Column`s, so the same
table can be made of rows that come later.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tuner.data.raw import FIRST_READING, Pair, listed, near_names, reading
from tuner.data.rows import Indices, Rows
from tuner.data.table_files import TableFile, read_table_file
from tuner.errors import DatasetError

if TYPE_CHECKING:  # pandas takes half a second to import: only tables pay it
    import pandas as pd

MAX_CATEGORIES = 1000

# What pandas' infer_dtype calls a column, where the dtype alone does not say what it holds.
_NUMBERS = {"integer", "floating", "mixed-integer-float", "decimal", "empty"}
_CATEGORIES = {"string", "boolean", "categorical", "mixed-integer"}


def read_table(
    path: Path, target: str, reading_number: int
) -> tuple[dict[str, Pair], tuple[str, ...]]:
    """All rows as one part: a DataFrame of every column but `target`, and `target`'s Series; and
    what was taken for what. `reading_number`: see READING in spec.

    Raises DatasetError when the file cannot be read, is empty, or has no such column.
    """
    if reading_number == FIRST_READING:
        with reading(str(path)):
            table = TableFile(_read(path))
    else:
        table = read_table_file(path)
    frame = table.frame
    columns = listed(frame.columns)
    if not target:
        raise DatasetError(f"{path}: name the target column as {path}:COLUMN, one of {columns}")
    if target not in frame.columns:
        meant = near_names(target, list(frame.columns))
        raise DatasetError(f"{path}: no column {target!r}{meant}; it has {columns}{table.hint}")
    if frame.shape[1] < 2:
        raise DatasetError(f"{path}: has no column beside the target {target!r}{table.hint}")
    return {"train": Pair(frame.drop(columns=target), frame[target])}, table.notes


def _read(path: Path) -> "pd.DataFrame":
    import pandas as pd

    try:
        if path.suffix.lower() == ".parquet":
            frame = pd.read_parquet(path).reset_index(drop=True)
        else:
            with warnings.catch_warnings():
                # index_col=False: a row longer than the header is an error, not a row index.
                warnings.simplefilter("error", pd.errors.ParserWarning)
                frame = pd.read_csv(path, index_col=False, skipinitialspace=True, low_memory=False)
    except pd.errors.EmptyDataError as error:
        raise DatasetError(f"{path}: is empty") from error
    frame.columns = frame.columns.map(str)
    return frame


@dataclass(frozen=True)
class Column:
    """One column as the training part taught it.

    Numeric (`categories` is None): `fill`, the training median, stands in for missing values.
    Categorical: one feature a category, none of them set for a category not seen in training,
    and one more for missing values where the training part has some (`missing`).
    """

    name: str
    fill: float = 0.0
    categories: tuple[str, ...] | None = None
    missing: bool = False

    @property
    def features(self) -> tuple[str, ...]:
        if self.categories is None:
            return (self.name,)
        values = (*self.categories, "(missing)") if self.missing else self.categories
        return tuple(f"{self.name}={value}" for value in values)


@dataclass(frozen=True)
class Table:
    """Some rows of a table, by ascending number; all of them for None. Only single columns, and
    blocks of rows, are ever copied out of it."""

    frame: "pd.DataFrame"
    numbers: Indices | None = None

    def __len__(self) -> int:
        return len(self.frame) if self.numbers is None else len(self.numbers)

    def column(self, name: str) -> "pd.Series[Any]":
        series = self.frame[name]
        return series if self.numbers is None else series.iloc[self.numbers]

    def rows(self, start: int, stop: int) -> "pd.DataFrame":
        if self.numbers is None:
            return self.frame.iloc[start:stop]
        return self.frame.iloc[self.numbers[start:stop]]


class TableRows(Rows):
    """The matrix of a table by columns learnt before, float32. Raises DatasetError, also when it is
    made, where the table holds text in a column of numbers."""

    def __init__(self, table: Table, columns: Sequence[Column], source: str) -> None:
        _check_columns(table.frame, columns, source)
        width = sum(len(column.features) for column in columns)
        super().__init__((len(table), width), np.dtype(np.float32))
        self._table, self._columns, self._source = table, columns, source
        for column in columns:
            if column.categories is None:  # here, since a block does not know a row's number
                _numbers(table.column(column.name), source)

    def read(self, start: int, stop: int) -> npt.NDArray[np.float32]:
        return encode(self._table.rows(start, stop), self._columns, self._source)


def learn_columns(table: Table, source: str) -> tuple[Column, ...]:
    """What each column of the training rows becomes.

    Raises DatasetError for columns of dates, bytes or other objects, and for text with more than
    MAX_CATEGORIES different values.
    """
    frame = table.frame
    if not len(frame.columns):
        raise DatasetError(f"{source}: x has no columns")
    twice = sorted(map(str, frame.columns[frame.columns.duplicated()]))
    if twice:
        raise DatasetError(f"{source}: several columns are named {listed(twice)}")
    return tuple(_learn(table.column(name), source) for name in frame.columns)


def _learn(series: "pd.Series[Any]", source: str) -> Column:
    name = str(series.name)
    if _is_numeric(series, source):
        values = _numbers(series, source)
        known = values[~np.isnan(values)]
        return Column(name, fill=float(np.median(known)) if len(known) else 0.0)
    categories = sorted(_text(series.dropna()).unique())
    if len(categories) > MAX_CATEGORIES:
        raise DatasetError(
            f"{source}: column {name!r} holds {len(categories)} different texts, more than "
            f"{MAX_CATEGORIES}; drop it or turn it into numbers"
        )
    return Column(name, categories=tuple(categories), missing=bool(series.isna().any()))


def _is_numeric(series: "pd.Series[Any]", source: str) -> bool:
    """Numbers (or bools without gaps), as against categories. DatasetError for anything else."""
    from pandas.api import types

    if types.is_numeric_dtype(series.dtype) and not types.is_complex_dtype(series.dtype):
        return True
    kind = types.infer_dtype(series, skipna=True)
    if kind in _NUMBERS or kind in _CATEGORIES:
        return kind in _NUMBERS
    raise DatasetError(
        f"{source}: column {str(series.name)!r} holds {kind} values; "
        "drop it or turn it into numbers or text"
    )


def _numbers(series: "pd.Series[Any]", source: str) -> npt.NDArray[np.float64]:
    """(n,) with NaN where missing. Raises DatasetError for text and for what float32 lacks."""
    try:
        values = np.asarray(series.to_numpy(dtype=np.float64, na_value=np.nan))
    except (ValueError, TypeError) as error:
        raise DatasetError(
            f"{source}: column {str(series.name)!r} must hold numbers ({error})"
        ) from error
    if np.any(np.abs(values) > np.finfo(np.float32).max):  # NaN compares as False
        row = int(np.argmax(np.abs(values) > np.finfo(np.float32).max)) + 1
        raise DatasetError(
            f"{source}: column {str(series.name)!r} holds an infinite value (row {row}); "
            "remove it or leave the cell empty"
        )
    return values


def _text(series: "pd.Series[Any]") -> "pd.Series[Any]":
    return series.astype(object).map(str)


def encode(
    frame: "pd.DataFrame", columns: Sequence[Column], source: str
) -> npt.NDArray[np.float32]:
    """The rows as a matrix (n, features) by columns learnt before, found by name.

    Raises DatasetError when the frame lacks a column, or holds text where numbers were learnt.
    """
    _check_columns(frame, columns, source)
    width = sum(len(column.features) for column in columns)
    matrix = np.zeros((len(frame), width), np.float32)
    start = 0
    for column in columns:
        block = matrix[:, start : start + len(column.features)]
        _encode(frame[column.name], column, block, source)
        start += len(column.features)
    return matrix


def _check_columns(frame: "pd.DataFrame", columns: Sequence[Column], source: str) -> None:
    lacking = [column.name for column in columns if column.name not in frame.columns]
    if lacking:
        raise DatasetError(f"{source}: lacks the columns {listed(lacking)}")


def _encode(
    series: "pd.Series[Any]", column: Column, block: npt.NDArray[np.float32], source: str
) -> None:
    """Write one column into its block (n, features of the column), zeros before."""
    if column.categories is None:
        values = _numbers(series, source)
        block[:, 0] = np.where(np.isnan(values), column.fill, values)
        return
    import pandas as pd

    missing = series.isna().to_numpy()
    codes = pd.Index(column.categories, dtype=object).get_indexer(
        pd.Index(_text(series), dtype=object)
    )
    known = np.flatnonzero(~missing & (codes >= 0))
    block[known, codes[known]] = 1.0
    if column.missing:
        block[missing, -1] = 1.0


def gap_note(part: str, column: Column, gaps: int) -> str:
    """What happened to missing numbers."""
    return f"{part}: {column.name}: {gaps} missing, set to median {column.fill:g}"


def notes(table: Table, columns: Sequence[Column], part: str) -> list[str]:
    """What happened to missing and unseen values of a part, in words, one line a column."""
    said = []
    for column in columns:
        series = table.column(column.name)
        gaps = int(series.isna().sum())
        if gaps and column.categories is None:
            said.append(gap_note(part, column, gaps))
        elif gaps:
            become = "a feature of their own" if column.missing else "all zeros"
            said.append(f"{part}: {column.name}: {gaps} missing, {become}")
        if column.categories is not None:
            unseen = int((~_text(series.dropna()).isin(column.categories)).sum())
            if unseen:
                said.append(f"{part}: {column.name}: {unseen} of unseen categories, all zeros")
    return said
