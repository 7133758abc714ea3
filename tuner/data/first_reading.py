"""How tables were read before columns had kinds (`reading` 1 of a DataSpec).

Studies made at that time will always read their data in this way: nothing here may change.
"""

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tuner.data.columns import ReadTable
from tuner.errors import DatasetError
from tuner.preparation.cells import Cells
from tuner.preparation.text_columns import MAX_CATEGORIES, ReadColumn
from tuner.values import describe_lacking

if TYPE_CHECKING:
    import pandas as pd

# What pandas' infer_dtype calls a column, where the dtype alone does not say what it holds.
_NUMBERS = {"integer", "floating", "mixed-integer-float", "decimal", "empty"}
_CATEGORIES = {"string", "boolean", "categorical", "mixed-integer"}


def read_columns_first(
    frames: Mapping[str, "pd.DataFrame"], train: "pd.DataFrame", source: str
) -> ReadTable:
    """All columns of all parts. `train`: the training rows, which decide the kinds of columns.

    Raises DatasetError for columns of dates, bytes or other objects, and for too many categories.
    """
    if not len(train.columns):
        raise DatasetError(f"{source}: x has no columns")
    numeric = {name: _is_numeric(train[name], source) for name in train.columns}
    for name, is_number in numeric.items():
        count = 0 if is_number else _text(train[name].dropna()).nunique()
        if count > MAX_CATEGORIES:
            raise DatasetError(
                f"{source}: column {name!r} holds {count} different texts, more than "
                f"{MAX_CATEGORIES}; drop it or turn it into numbers"
            )
    parts = {}
    for part, frame in frames.items():
        lacking = [name for name in numeric if name not in frame.columns]
        if lacking:
            raise DatasetError(f"{source}: {describe_lacking(lacking)}")
        parts[part] = {
            name: Cells(_numbers(frame[name], source)) if is_number else _categories(frame[name])
            for name, is_number in numeric.items()
        }
    columns = (
        ReadColumn(name, "number" if is_number else "category", parts["train"][name])
        for name, is_number in numeric.items()
    )
    return ReadTable(tuple(columns), parts)


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


def _categories(series: "pd.Series[Any]") -> Cells:
    import pandas as pd

    codes, texts = pd.factorize(np.asarray(_text(series), dtype=object))
    codes = np.where(series.isna().to_numpy(), -1, codes)
    return Cells(codes, "texts", tuple(map(str, texts)))


def _text(series: "pd.Series[Any]") -> "pd.Series[Any]":
    return series.astype(object).map(str)


def read_table_first(path: Path) -> "pd.DataFrame":
    """All columns of a Parquet file or a CSV file."""
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
