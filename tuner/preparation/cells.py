"""The cells of a table's columns, from a file or a DataFrame: numbers, dates or texts.

Columns that only number the rows are found here too: in a file sorted by class they give the target
away.
"""

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from tuner.errors import DatasetError, first_line
from tuner.preparation.date_texts import to_seconds
from tuner.values import join_names

if TYPE_CHECKING:  # pandas takes half a second to import: only tables pay it
    import pandas as pd

Values = npt.NDArray[Any]
Form = Literal["numbers", "dates", "texts"]

# What pandas' infer_dtype calls a column of objects.
_NUMBERS = ("integer", "floating", "mixed-integer-float", "decimal", "empty")
_DATES = ("date", "datetime", "datetime64")
_MIXED = ("string", "boolean", "mixed", "mixed-integer", "time", "categorical")
_DAY_S = 86_400.0


@dataclass(frozen=True, eq=False)
class Cells:
    """One column. `values` (n,): numbers, or dates as seconds since 1970, NaN for a gap; of texts
    the index into `texts`, each different text once, -1 for a gap. `rows_before`: how many rows of
    the same source come before these, for messages."""

    values: Values
    form: Form = "numbers"
    texts: tuple[str, ...] = ()
    rows_before: int = 0

    def __len__(self) -> int:
        return len(self.values)

    def gaps(self) -> npt.NDArray[np.bool_]:
        if self.form == "texts":
            return np.asarray(self.values < 0)
        if self.values.dtype.kind != "f":
            return np.zeros(len(self.values), np.bool_)
        return np.isnan(self.values)

    def counts(self) -> npt.NDArray[np.int64]:
        """How many cells hold each of the texts."""
        return np.bincount(self.values[self.values >= 0], minlength=len(self.texts))

    def first_row(self, numbers: Values) -> int:
        """The first row, counted from 1, that holds one of these texts."""
        wanted = np.zeros(len(self.texts) + 1, np.bool_)  # the last is for gaps
        wanted[numbers] = True
        return int(np.argmax(wanted[self.values])) + 1 + self.rows_before


def first_row_of(frame: "pd.DataFrame | pd.Series[Any]") -> int:
    """How many rows come before these, by an index that counts the rows: that of a block of a file
    goes on where the block before it ended."""
    import pandas as pd

    index = frame.index
    return max(0, index.start) if isinstance(index, pd.RangeIndex) and index.step == 1 else 0


def read_cells(series: "pd.Series[Any]", may_drop: bool = True) -> Cells:
    """A column by what it holds. `may_drop`: messages name the option that leaves it out. Raises
    DatasetError, without the source, for complex numbers, bytes, lists and other objects, which
    cannot be learnt from."""
    try:
        return replace(_read_cells(series, may_drop), rows_before=first_row_of(series))
    except DatasetError:
        raise
    except Exception as error:  # unusual objects make pandas raise nearly anything
        reason = first_line(error)
        raise DatasetError(f"column {str(series.name)!r} cannot be read ({reason})") from error


def _read_cells(series: "pd.Series[Any]", may_drop: bool) -> Cells:
    import pandas as pd
    from pandas.api import types

    dtype = series.dtype
    if types.is_numeric_dtype(dtype) and not types.is_complex_dtype(dtype):
        return Cells(_plain(series))
    if types.is_datetime64_any_dtype(dtype) or isinstance(dtype, pd.PeriodDtype):
        return Cells(_seconds(series), "dates")
    if types.is_timedelta64_dtype(dtype):
        return Cells(series.dt.total_seconds().to_numpy(np.float64, na_value=np.nan) / _DAY_S)
    if isinstance(dtype, pd.CategoricalDtype):
        names = np.array([*map(text_of, dtype.categories), None], dtype=object)
        return _texts(names[series.cat.codes.to_numpy()], None)  # code -1, a gap, takes the None
    if isinstance(dtype, pd.StringDtype):
        return _texts(series, None)
    if is_coded_text(dtype):
        return _texts_of(*coded_cells(series))
    return _objects(series, may_drop)


def _objects(series: "pd.Series[Any]", may_drop: bool) -> Cells:
    from pandas.api import types

    kind = types.infer_dtype(series, skipna=True)
    if kind in _NUMBERS:
        return Cells(_plain(series))
    if kind in _DATES:
        return Cells(_seconds(series), "dates")
    if kind == "string":
        return _texts(series, None)
    missing = series.isna().to_numpy()
    held = {type(value) for value in series[~missing]}
    if kind not in _MIXED or not all(map(_is_scalar, held)):
        names = join_names(sorted(each.__name__ for each in held))
        drop = f"leave it out: --column {shlex.quote(f'{series.name}=drop')}, or " * may_drop
        raise DatasetError(
            f"column {str(series.name)!r} holds {kind} values ({names}); {drop}turn it into "
            "numbers or text"
        )
    return _texts(series.map(text_of, na_action="ignore"), missing)


def _is_scalar(held: type) -> bool:
    from datetime import time
    from decimal import Decimal

    return issubclass(held, (str, bool, int, float, np.generic, Decimal, time)) and not issubclass(
        held, np.complexfloating
    )


def _plain(series: "pd.Series[Any]") -> Values:
    """Numbers as NumPy holds them, bools as they are; NaN where missing."""
    from pandas.api import types

    if isinstance(series.dtype, np.dtype) and series.dtype.kind in "biuf":
        return series.to_numpy()
    if types.is_bool_dtype(series.dtype) and not series.isna().any():
        return series.to_numpy(np.bool_)
    try:
        return np.asarray(series.to_numpy(dtype=np.float64, na_value=np.nan))
    except (ValueError, TypeError, OverflowError) as error:
        raise DatasetError(f"column {str(series.name)!r} must hold numbers ({error})") from error


def _seconds(series: "pd.Series[Any]") -> Values:
    """Dates as seconds since 1970; those with a time zone in UTC."""
    import pandas as pd

    if isinstance(series.dtype, pd.PeriodDtype):
        series = series.dt.to_timestamp()
    try:
        if series.dtype == object:
            series = pd.to_datetime(series, utc=True)
        if getattr(series.dt, "tz", None) is not None:
            series = series.dt.tz_convert("UTC").dt.tz_localize(None)
        return to_seconds(series.to_numpy("datetime64[us]"))
    except (ValueError, TypeError, OverflowError) as error:
        name = str(series.name)
        raise DatasetError(f"column {name!r} holds dates that cannot be read ({error})") from error


def _texts(values: Any, missing: npt.NDArray[np.bool_] | None) -> Cells:
    """Texts without the blanks around them. `missing`: a mask of the gaps, if they are not None."""
    import pandas as pd

    codes, uniques = pd.factorize(values, use_na_sentinel=True)
    codes = np.asarray(codes, np.int64)
    if missing is not None:
        codes = np.where(missing, -1, codes)
    return _texts_of(codes, np.asarray(uniques, dtype=object).tolist())


def _texts_of(codes: Values, uniques: Sequence[str]) -> Cells:
    texts = [text.strip() for text in uniques]
    different = dict.fromkeys(texts)
    if len(different) < len(texts):
        numbers = {text: number for number, text in enumerate(different)}
        new_codes = np.array([numbers[text] for text in texts] + [-1], np.int64)
        codes = new_codes[codes]
    return Cells(codes, "texts", tuple(different))


def rename_texts(cells: Cells, names: Mapping[str, str]) -> Cells:
    """The cells with some of their texts renamed; texts of one new name become one."""
    renamed = _texts_of(cells.values, [names.get(text, text) for text in cells.texts])
    return replace(renamed, rows_before=cells.rows_before)


def is_coded_text(dtype: Any) -> bool:
    """Whether a column holds Arrow's dictionary of texts: columns of files do."""
    import pandas as pd
    import pyarrow as pa

    if not isinstance(dtype, pd.ArrowDtype):
        return False
    kind = dtype.pyarrow_dtype
    return bool(pa.types.is_dictionary(kind) and pa.types.is_string(kind.value_type))


def coded_cells(series: "pd.Series[Any]") -> tuple[Values, list[str]]:
    """The number of each cell's text, -1 for a gap, and the texts."""
    column = series.array.__arrow_array__()
    coded = column.unify_dictionaries().combine_chunks()
    codes = coded.indices.fill_null(-1).to_numpy(zero_copy_only=False)
    return np.asarray(codes, np.int64), coded.dictionary.to_pylist()


def text_of(value: object) -> str:
    """A value as a category's name: whole numbers without a point, whatever their type."""
    if isinstance(value, float | np.floating):
        number = float(value)
        return str(int(number)) if number.is_integer() and abs(number) < 2**53 else str(value)
    return str(value)


def convert_to_texts(cells: Cells) -> Cells:
    """The column as texts: numbers and dates as they would be written."""
    if cells.form == "texts":
        return cells
    different, codes = np.unique(cells.values, return_inverse=True)
    missing = np.isnan(different) if different.dtype.kind == "f" else np.zeros(len(different), bool)
    if cells.form == "dates":
        micros = np.where(missing, 0, different * 1e6).astype("datetime64[us]")
        texts = [str(each).removesuffix(".000000") for each in micros]
    else:
        texts = [text_of(value) for value in different.tolist()]
    codes = np.where(missing[codes], -1, codes)  # NaN comes last, so the codes of others stay
    held = tuple(texts[: len(texts) - int(missing.sum())])
    return Cells(codes, "texts", held, cells.rows_before)


# The names of an unnamed index of pandas: in CSV, in CSV read back, in Parquet.
_INDEX_NAMES = re.compile(r"|Unnamed: 0(?:\.\d+)*|__index_level_0__")
_FEWEST_ROWS = 10
_Whole = npt.NDArray[np.integer]


def has_index_name(name: str) -> bool:
    """Whether a column is named as the unnamed index of a saved frame is."""
    return _INDEX_NAMES.fullmatch(name) is not None


def is_index(name: str, values: _Whole) -> bool:
    """Whether this is the index of a saved frame: it has no name of its own and numbers the rows,
    even if they were selected, shuffled or joined since."""
    if not has_index_name(name) or not len(values) or values.min() < 0:
        return False
    if len(np.unique(values)) == len(values):
        return True
    return bool(np.mean(np.diff(values) == 1) > 0.9)


def are_row_numbers(values: _Whole) -> bool:
    """Whether the values are 0, 1, 2, … or 1, 2, 3, …"""
    count = len(values)
    if count < _FEWEST_ROWS or values[0] not in (0, 1) or values[-1] != values[0] + count - 1:
        return False
    return bool(np.all(np.diff(values) == 1))


def row_number_notes(columns: Mapping[str, _Whole]) -> tuple[str, ...]:
    """A line for each named column that numbers the rows."""
    return tuple(
        f"{name}: is the row number; --column {shlex.quote(f'{name}=drop')} leaves it out"
        for name, values in columns.items()
        if are_row_numbers(values)
    )
