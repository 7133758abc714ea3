"""Scaling by one multiplication and one addition, fitted on the training split alone.

In matrices that miss values (NaN), each gap gets the median of its column in the training split.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, cast

import numpy as np
import numpy.typing as npt

from tuner.data.rows import (
    IN_MEMORY_BYTES,
    AnyRows,
    ChangedRows,
    Features,
    Rows,
    row_blocks,
    rows_per_block,
)
from tuner.preparation.encoding import Column, gaps_in_words

Method = Literal["minmax", "center", "standardize", "none"]
_Floats = npt.NDArray[np.float32]
_Wide = npt.NDArray[np.float64]
_WIDE_ROW = 256
_CACHED_VALUES = 2**16


@dataclass(frozen=True, eq=False)
class Scaling:
    """scaled = x * scale + offset; both float32, of shape () or one value a feature."""

    method: Method
    scale: _Floats
    offset: _Floats

    def apply(self, x: Features) -> _Floats:
        """float32, in the shape of x (n, *input_shape)."""
        return np.asarray(x.astype(np.float32) * self.scale + self.offset, np.float32)

    def invert(self, scaled: Features) -> _Floats:
        """float32: what `apply` was given, up to rounding."""
        return np.asarray((scaled.astype(np.float32) - self.offset) / self.scale, np.float32)


IDENTITY = Scaling("none", np.ones((), np.float32), np.zeros((), np.float32))


def fit_scaling(
    x: AnyRows,
    wanted: str = "auto",
    leave: npt.NDArray[np.bool_] | None = None,
    by_channel: bool = False,
    by_columns: bool = False,
) -> Scaling:
    """Fit on the training rows x (n, *input_shape).

    "minmax" maps to [0, 1], "center" to [-0.5, 0.5], "standardize" to zero mean and unit variance.
    Pixels share one scale: images, and matrices of uint8; columns of any other matrix have one
    each. "auto" is minmax for pixels, standardize for other matrices and for images of floats with
    negative values. A constant feature is shifted, not scaled. Columns marked in `leave` (d,) stay
    as they are: one-hot features. `by_channel`: the last axis of x is that of channels, which are
    scaled like columns of a matrix (arrays.py). `by_columns`: sum over columns, in a third of the
    time; older studies sum over rows, which differs in the last bits.
    """
    pixels = (x.ndim > 2 or x.dtype == np.uint8) and not by_channel
    low, high = _range(x, per_feature=not pixels)
    method = cast(Method, wanted)
    if wanted == "auto":
        method = "minmax" if pixels and not (x.dtype.kind == "f" and low < 0) else "standardize"
    if method == "none":
        return IDENTITY
    if x.dtype == np.uint8 and pixels and high > 127:
        # Images use the whole range of their dtype, whatever the extremes of this sample.
        low, high = np.zeros_like(low), np.full_like(high, 255.0)
    if method == "standardize":
        ends = None if pixels else (low, high)
        if by_columns and x.ndim == 2:
            mean, deviation = _column_moments(x, ends)
        else:
            mean, deviation = _moments(x, x.ndim == 2 or by_channel, ends)
        scale, offset = _line(mean, deviation, constant=deviation == 0.0)
    else:
        scale, offset = _line(low, high - low, constant=high == low)
        offset = offset - 0.5 * (high > low) if method == "center" else offset
    if leave is not None:
        scale, offset = np.where(leave, 1.0, scale), np.where(leave, 0.0, offset)
    return Scaling(method, scale.astype(np.float32), offset.astype(np.float32))


def _line(zero: _Wide, unit: _Wide, constant: npt.NDArray[np.bool_]) -> tuple[_Wide, _Wide]:
    """Scale and offset that map `zero` to 0 and `zero + unit` to 1; scale 1 if constant."""
    with np.errstate(over="ignore"):
        scale = 1.0 / np.where(constant, 1.0, unit)
        # A span too small for float32 would turn the scale into infinity.
        scale = np.where(np.abs(scale) > np.finfo(np.float32).max, 1.0, scale)
    return scale, -zero * scale


def _axis(x: AnyRows, per_feature: bool) -> int | tuple[int, ...] | None:
    """The axes to sum over: for columns, for channels (the last axis), or for all values."""
    if not per_feature:
        return None
    return 0 if x.ndim == 2 else tuple(range(x.ndim - 1))


def _range(x: AnyRows, per_feature: bool) -> tuple[_Wide, _Wide]:
    """Lowest and highest value, float64, of each column or of all."""
    axis = _axis(x, per_feature)
    folded = (_folded(block) if axis == 0 else [block] for block in row_blocks(x))
    blocks = [(part.min(axis=axis), part.max(axis=axis)) for parts in folded for part in parts]
    return (
        np.asarray(np.min([low for low, _ in blocks], axis=0), np.float64),
        np.asarray(np.max([high for _, high in blocks], axis=0), np.float64),
    )


def _folded(block: Features) -> Iterator[Features]:
    """The rows (n, d) in parts, several rows side by side: NumPy finds the extremes of long rows
    faster than of short ones."""
    together = max(1, _WIDE_ROW // block.shape[1])
    even = len(block) - len(block) % together
    if together == 1 or not even or not block.flags.c_contiguous:
        yield block
        return
    wide = block[:even].reshape(-1, together * block.shape[1])
    ends = np.stack([wide.min(axis=0), wide.max(axis=0)])
    yield ends.reshape(-1, block.shape[1])
    if even < len(block):
        yield block[even:]


def _column_moments(x: AnyRows, ends: tuple[_Wide, _Wide] | None) -> tuple[_Wide, _Wide]:
    """Mean and standard deviation, float64, of each column of a matrix, in two passes."""
    mean = np.asarray(sum(part.sum(axis=1) for part in _columns(x)) / len(x), np.float64)
    squares = np.zeros(x.shape[1])
    for part in _columns(x):
        part -= mean[:, np.newaxis]
        squares += np.einsum("ij,ij->i", part, part)
    low, high = ends or _range(x, per_feature=True)
    return mean, np.where(low == high, 0.0, np.sqrt(squares / len(x)))


def _columns(x: AnyRows) -> Iterator[_Wide]:
    """The columns (d, k) of as many rows as fit into the processor's cache, float64, always in the
    same array."""
    rows = max(1, _CACHED_VALUES // x.shape[1])
    wide = np.empty((x.shape[1], rows), np.float64)
    for block in row_blocks(x):
        for start in range(0, len(block), rows):
            some = block[start : start + rows]
            part = wide[:, : len(some)]
            part[:] = some.T
            yield part


def _squares(block: Features, mean: _Wide, wide: _Wide) -> _Wide:
    """(x - mean)**2, written into the first rows of `wide`."""
    differences = np.subtract(block, mean, out=wide[: len(block)], dtype=np.float64)
    return np.square(differences, out=differences)


def _moments(
    x: AnyRows, per_feature: bool, ends: tuple[_Wide, _Wide] | None
) -> tuple[_Wide, _Wide]:
    """Mean and standard deviation, float64, of each column or of all, in two passes of blocks.
    `ends`: the lowest and highest values, if known."""
    axis = _axis(x, per_feature)
    count = x.size // x.shape[-1] if per_feature else x.size
    total = sum(np.sum(block, axis=axis, dtype=np.float64) for block in row_blocks(x))
    mean = np.asarray(total / count, np.float64)
    # One array for all blocks: the memory of a new one costs more time than the arithmetic.
    wide = np.empty((min(len(x), rows_per_block(x.shape)), *x.shape[1:]), np.float64)
    squares = sum(np.sum(_squares(block, mean, wide), axis=axis) for block in row_blocks(x))
    deviation = np.asarray(np.sqrt(squares / count), np.float64)
    low, high = ends or _range(x, per_feature)
    # Because the mean is rounded, the deviation of a constant column is tiny but not zero.
    return mean, np.where(low == high, 0.0, deviation)


def learn_gaps(train: AnyRows, names: Sequence[str]) -> tuple[Column, ...]:
    """How the gaps of each column are filled, by the training rows (n, features)."""
    return tuple(
        Column(name, fill=_median(values))
        for name, values in zip(names, _gap_columns(train), strict=True)
    )


def _gap_columns(x: AnyRows) -> Iterator[Features]:
    """The columns one by one. They are read in groups, since rows are read whole."""
    count, width = x.shape
    group = max(1, IN_MEMORY_BYTES // (count * x.dtype.itemsize))
    for first in range(0, width, group):
        columns = np.empty((min(group, width - first), count), x.dtype)
        start = 0
        for block in row_blocks(x):
            columns[:, start : start + len(block)] = block[:, first : first + group].T
            start += len(block)
        yield from columns


def _median(column: Features) -> float:
    values = column.astype(np.float64)
    present = values[~np.isnan(values)]
    return float(np.median(present)) if len(present) else 0.0


def fill_gaps(x: AnyRows, columns: Sequence[Column]) -> Rows:
    """The matrix without gaps, float32, its columns' offsets subtracted."""
    fill = np.array([column.fill for column in columns])
    offset = np.array([column.offset for column in columns])

    def fill_block(block: Features) -> Features:
        values = block.astype(np.float64)
        return (np.where(np.isnan(values), fill, values) - offset).astype(np.float32)

    return ChangedRows(x, fill_block, np.dtype(np.float32))


def gap_notes(x: AnyRows, columns: Sequence[Column], part: str) -> list[str]:
    """How many gaps each column of a part has, one line for each that has any."""
    counts = np.zeros(len(columns), np.int64)
    if x.dtype.kind == "f":
        for block in row_blocks(x):
            counts += np.isnan(block).sum(axis=0)
    return [
        gaps_in_words(part, column, int(gaps))
        for column, gaps in zip(columns, counts, strict=True)
        if gaps
    ]
