"""Feature arrays: checked, and in the smallest dtype that loses nothing training could see."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tuner.data.raw import first_line
from tuner.data.rows import AnyRows, ChangedRows, Features, Rows, row_blocks
from tuner.errors import DatasetError

_TEXT = "for columns of text use a .csv, a .parquet or a pandas DataFrame"
_REMEDIES = {
    "c": "give real and imaginary parts, or magnitudes, as features of their own",
    "M": "give a pandas DataFrame, or x.astype('datetime64[s]').astype('int64')",
    "m": "give x / np.timedelta64(1, 's')",
    "O": "give np.stack(x) of rows alike in shape; for columns of text a pandas DataFrame",
    "V": "of a structured array give a pandas DataFrame: pd.DataFrame(x)",
}
_SMALL_INTEGERS = (np.uint8, np.int8, np.uint16, np.int16)


def as_array(values: Any, what: str) -> Features:
    """What a user gives, as an array; masked entries become NaN. DatasetError for no array."""
    if np.ma.is_masked(values):
        # asarray would bring back what the mask hides.
        return np.ma.filled(values.astype(np.float64), np.nan)
    try:
        return np.asarray(values)
    except (ValueError, TypeError) as error:
        raise DatasetError(f"{what} is no array ({first_line(error)})") from error


def check_features(x: Any, what: str) -> AnyRows:
    """x as rows (n, ...) of numbers or bools; (n,) becomes (n, 1).

    Raises DatasetError for text, objects, no rows or no features.
    """
    array = x if isinstance(x, Rows) else as_array(x, what)
    if array.dtype.kind not in "biuf":
        remedy = _REMEDIES.get(array.dtype.kind, _TEXT)
        raise DatasetError(f"{what} must hold numbers, it is {array.dtype}; {remedy}")
    if array.ndim == 0:
        raise DatasetError(f"{what} is a single number, not one row of features a sample")
    if array.size == 0:
        raise DatasetError(f"{what} is empty, its shape is {array.shape}")
    if array.ndim > 1:
        return array
    if isinstance(array, Rows):
        return ChangedRows(array, lambda block: block[:, np.newaxis], array.dtype, (1,))
    return array[:, np.newaxis]


def transposed_hint(shape: tuple[int, ...], rows: int) -> str:
    """The end of a message on x of another length than y: what would give so many rows."""
    if len(shape) < 2 or rows not in shape[1:]:
        return ""
    if len(shape) == 2:
        return f"; x has shape {shape}: if its columns are the rows, give x.T"
    axis = shape.index(rows, 1)
    return f"; x has shape {shape}: if axis {axis} counts the rows, give np.moveaxis(x, {axis}, 0)"


def kept_dtype(arrays: Sequence[AnyRows]) -> np.dtype[np.generic]:
    """The dtype for all of these parts.

    A matrix stays uint8 where it is that (or bool), and is float32 otherwise. Images of whole
    numbers take the smallest of uint8, int8, uint16, int16 that holds them; float16 stays.
    """
    dtypes = {array.dtype for array in arrays}
    if dtypes <= {np.dtype(np.bool_), np.dtype(np.uint8)}:
        return np.dtype(np.uint8)
    if arrays[0].ndim > 2:
        if all(dtype.kind in "biu" for dtype in dtypes):
            blocks = [(int(b.min()), int(b.max())) for array in arrays for b in row_blocks(array)]
            low, high = min(low for low, _ in blocks), max(high for _, high in blocks)
            for small in _SMALL_INTEGERS:
                if np.iinfo(small).min <= low and high <= np.iinfo(small).max:
                    return np.dtype(small)
        if dtypes == {np.dtype(np.float16)}:
            return np.dtype(np.float16)
    return np.dtype(np.float32)


def has_missing(x: AnyRows, features: tuple[str, ...] | None, what: str) -> bool:
    """Whether any value is NaN. DatasetError, naming row and column, for an infinite value or one
    beyond float32."""
    if x.dtype.kind != "f":
        return False
    start, missing = 0, False
    for block in row_blocks(x):
        bad = np.abs(block.astype(np.float64, copy=False)) > np.finfo(np.float32).max
        if bad.any():
            row, *place = (int(i) for i in np.argwhere(bad)[0])
            where = f"at {tuple(place)} of row {start + row + 1}"
            if x.ndim == 2:
                name = features[place[0]] if features else str(place[0] + 1)
                where = f"in column {name} (row {start + row + 1})"
            value = float(block[(row, *place)])
            how = "an infinite value" if np.isinf(value) else f"{value:g}, which is beyond float32,"
            raise DatasetError(f"{what} holds {how} {where}; remove the row or mend it")
        missing = missing or bool(np.isnan(block).any())
        start += len(block)
    return missing


def check_parts(
    parts: Mapping[str, Any], features: tuple[str, ...] | None, source: str
) -> tuple[dict[str, AnyRows], bool]:
    """All parts' features as rows of numbers, alike in the shape of a row, and whether they miss
    values (NaN), as matrices may.

    Raises DatasetError for unlike shapes, infinite values, and NaN in images.
    """
    arrays = {part: check_features(x, f"{source}: x ({part})") for part, x in parts.items()}
    shape, gaps = arrays["train"].shape[1:], False
    for part, array in arrays.items():
        if array.shape[1:] != shape:
            raise DatasetError(
                f"{source}: rows of {part} have shape {array.shape[1:]}, those of train {shape}"
            )
        missing = has_missing(array, features, f"{source}: x ({part})")
        if array.ndim > 2 and missing:
            raise DatasetError(f"{source}: x ({part}) holds NaN; only tables may miss values")
        gaps = gaps or missing
    return arrays, gaps
