"""What people give as rows, as a DataFrame or an array: frames of other libraries, dicts, one row,
masked and sparse arrays, lists."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tuner.errors import DatasetError, first_line

if TYPE_CHECKING:  # pandas takes half a second to import: only tables pay it
    import pandas as pd


def is_frame(rows: Any) -> bool:
    """Whether these are rows with names of columns: a DataFrame of any library, an Arrow table, a
    dict of columns, a list of dicts, or one row as a Series or dict."""
    if isinstance(rows, Mapping) or hasattr(rows, "iloc") or hasattr(rows, "column_names"):
        return True
    if isinstance(rows, (list, tuple)):
        return len(rows) > 0 and all(isinstance(row, Mapping) for row in rows)
    return hasattr(rows, "to_pandas")


def as_frame(rows: Any, source: str) -> "pd.DataFrame":
    """Rows that `is_frame` accepts as a DataFrame whose columns are named by texts.

    Raises DatasetError, beginning with `source`, for columns of one name or of different lengths.
    """
    import pandas as pd

    try:
        frame = _as_frame(rows)
    except Exception as error:  # other libraries raise nearly anything
        raise DatasetError(f"{source}: cannot be read as a table ({first_line(error)})") from error
    if not isinstance(frame, pd.DataFrame):
        raise DatasetError(f"{source}: is no table, but a {type(rows).__name__}")
    return frame.set_axis([str(name) for name in frame.columns], axis=1)


def _as_frame(rows: Any) -> Any:
    import pandas as pd

    if isinstance(rows, pd.DataFrame):
        return rows
    if isinstance(rows, pd.Series):
        return pd.DataFrame([rows.to_dict()], index=[rows.name])
    if isinstance(rows, Mapping):
        one_row = not any(_is_column(values) for values in rows.values())
        return pd.DataFrame([rows] if one_row else rows)
    if isinstance(rows, (list, tuple)):
        return pd.DataFrame(list(rows))
    return rows.to_pandas()


def with_index_columns(frame: "pd.DataFrame", names: Sequence[str]) -> "pd.DataFrame":
    """The frame, and those of these columns that are in its index: training takes a named index for
    a column."""
    levels = {str(level): n for n, level in enumerate(frame.index.names) if level is not None}
    lacking = [name for name in names if name in levels and name not in frame.columns]
    return frame.assign(**{name: frame.index.get_level_values(levels[name]) for name in lacking})


def _is_column(values: Any) -> bool:
    return hasattr(values, "__len__") and not isinstance(values, (str, bytes))


def as_numbers(rows: Any, source: str) -> npt.NDArray[Any]:
    """Rows as an array of numbers or bools; masked entries become NaN.

    Raises DatasetError, beginning with `source`, for texts, dates, objects and rows of different
    lengths.
    """
    if np.ma.is_masked(rows):  # asarray would ignore the mask
        rows = np.ma.filled(rows.astype(np.float64), np.nan)
    elif hasattr(rows, "toarray"):  # sparse matrices
        rows = rows.toarray()
    try:
        values = np.asarray(rows)
        if values.dtype.kind == "O":
            values = _of_objects(values)
    except (ValueError, TypeError) as error:
        reason = first_line(error)
        if "inhomogeneous" in reason:
            reason = "its rows differ in length"
        raise DatasetError(f"{source}: is no array of numbers ({reason})") from error
    if values.dtype.kind not in "biuf":
        raise DatasetError(
            f"{source}: the network takes arrays of numbers, not of {_KINDS.get(values.dtype.kind)}"
        )
    return values


_KINDS = {
    "U": "texts", "S": "bytes", "c": "complex numbers", "M": "dates", "m": "durations",
    "V": "records; give the columns as a DataFrame", "O": "objects", "T": "texts",
}  # fmt: skip


def _of_objects(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Objects that are numbers, None for a gap, or arrays of one shape."""
    if any(isinstance(value, str) for value in values.flat):
        return values.astype(np.str_)
    if values.ndim == 1 and len(values) and isinstance(values[0], (np.ndarray, list)):
        return np.stack([np.asarray(row) for row in values])
    return values.astype(np.float64)
