"""Large numbers that differ by little: Unix seconds, ids, map coordinates.

Training uses float32, which has 24 bits: the number after 1 700 000 000 is 128 larger. Such columns
get an offset, a float64 that is subtracted before they become float32.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from tuner.data.column_threads import map_columns
from tuner.data.rows import (
    SAMPLED_ROWS,
    AnyRows,
    ChangedRows,
    Features,
    Rows,
    row_blocks,
    sampled_rows,
)
from tuner.data.scaling import Scaling
from tuner.data.table_encoding import Table
from tuner.preparation.encoding import Column

Wide = npt.NDArray[np.float64]

# Scaling in float32 rounds three times, each by 2**-24 of the largest magnitude at most. Up to four
# times the range that is 1e-6 of the range between any two values.
_MOST_TO_RANGE = 4.0

# The same for the middle half of the values, where a few extreme ones set the range: 1e-3 of it.
_MOST_TO_MIDDLE = 4000.0

# The saved network takes float64 if float32 rounds values by more than this, in parts of the middle
# half of their column. Evenly spread values have a middle half of 1.7 deviations, so scaled values
# differ by less than 1e-5. Keras converts inputs to float32 where it can.
_MOST_ROUNDED = 5e-6
_LISTED = 5

# A column's loss is reported from this share of its different values on: a hundredth of whole
# numbers, a tenth of others, since random numbers of 53 bits are sometimes near neighbours.
_REPORTED_SHARE_OF_WHOLE, _REPORTED_SHARE = 0.01, 0.1

# Differences of this share of the middle half matter, however few they are.
_VISIBLE = 1e-6

# Once scaled, the middle half of the values should span at least this.
_FLAT = 1e-3
_SMALLEST = float(np.finfo(np.float32).tiny)  # training treats smaller values as zero


def may_lose_precision(dtype: np.dtype[Any]) -> bool:
    """Whether values of this type may be too large or too near each other for float32."""
    return dtype.kind in "iuf" and dtype.itemsize >= 4


def find_offsets(x: AnyRows, by_channel: bool) -> Wide | None:
    """What to subtract from the training rows x (n, ...) before they become float32: one value for
    each column of a matrix or each channel, else one for all. NaN is ignored. None if nothing is
    lost."""
    if not may_lose_precision(x.dtype):
        return None
    apart = by_channel or x.ndim == 2
    low, high = _bounds(x, apart)
    samples = sample_values(x, apart)
    values_to_subtract = [
        _offset(float(a), float(b), values)
        for a, b, values in zip(np.atleast_1d(low), np.atleast_1d(high), samples, strict=True)
    ]
    return np.reshape(values_to_subtract, low.shape) if any(values_to_subtract) else None


def find_offset(values: Wide) -> float:
    """What to subtract from one column (n,) without NaN; 0 if nothing is lost."""
    if not len(values):
        return 0.0
    return _offset(float(values.min()), float(values.max()), _thin_out(values))


def _offset(low: float, high: float, values: Wide) -> float:
    span, largest = high - low, max(abs(low), abs(high))
    if not span > 0:  # constant, or nothing but NaN
        return 0.0
    middle, centre = middle_span(values), float(np.median(values))
    if largest > _MOST_TO_RANGE * span or abs(centre) > _MOST_TO_MIDDLE * middle > 0:
        return centre
    return 0.0


def middle_span(values: Wide) -> float:
    """The span of the middle half of the values, or of more of them if these are all equal."""
    for share in (0.25, 0.1, 0.01, 0.0):
        low, high = np.quantile(values, [share, 1 - share], method="nearest")
        if high > low:
            return float(high - low)
    return 0.0


def needs_float64(samples: Iterable[Wide], shift: Wide) -> bool:
    """Whether the saved network must take float64: float32 would round these columns visibly
    before their offsets are subtracted."""
    for values, value in zip(samples, np.atleast_1d(shift), strict=True):
        if value:
            rounding = np.abs(values - values.astype(np.float32)).max()
            if rounding > _MOST_ROUNDED * middle_span(values):
                return True
    return False


def subtract_offsets(x: AnyRows, shift: Wide) -> Rows:
    """x - shift, computed in float64, as float32."""

    def subtract(block: Features) -> Features:
        return np.asarray(block.astype(np.float64) - shift, np.float32)

    return ChangedRows(x, subtract, np.dtype(np.float32))


def _bounds(x: AnyRows, apart: bool) -> tuple[Wide, Wide]:
    """Lowest and highest value of each column or channel, or of all; NaN if there is none."""
    lows, highs = [], []
    for block in row_blocks(x):
        flat = block.reshape(-1, block.shape[-1]) if apart else block.reshape(-1)
        lows.append(np.fmin.reduce(flat, axis=0))
        highs.append(np.fmax.reduce(flat, axis=0))
    return (
        np.asarray(np.fmin.reduce(lows, axis=0), np.float64),
        np.asarray(np.fmax.reduce(highs, axis=0), np.float64),
    )


def sample_values(x: AnyRows, apart: bool) -> list[Wide]:
    """Some values of each column or channel, or of all, without NaN."""
    rows = x[sampled_rows(len(x), x.shape)].astype(np.float64)
    columns = rows.reshape(-1, rows.shape[-1]).T if apart else rows.reshape(1, -1)
    return [_thin_out(column[~np.isnan(column)]) for column in columns]


def _thin_out(values: Features) -> Features:
    return values[:: -(-len(values) // SAMPLED_ROWS)] if len(values) else values


def loss_note(what: str, values: Features, encoded: Features, scale: float, add: float) -> str:
    """A line if training cannot tell different values of a column, or of the target, apart, or only
    just; else "". `encoded`: these values as float32."""
    # In the order of the values, one of each: scaling keeps the order.
    different, first = np.unique(values, return_index=True)
    if len(different) < 2:
        return ""
    near_zero = np.where(np.abs(encoded) < _SMALLEST, 0.0, encoded)[first]
    scaled = near_zero.astype(np.float32) * np.float32(scale) + np.float32(add)
    wide = different.astype(np.float64)
    middle = middle_span(np.asarray(values, np.float64))
    gaps, same = np.diff(wide), np.diff(scaled) == 0
    whole = bool(np.all(np.mod(wide, 1.0) == 0.0))
    tolerated = (_REPORTED_SHARE_OF_WHOLE if whole else _REPORTED_SHARE) * len(different)
    if same.sum() > tolerated or bool(np.any(same & (gaps > _VISIBLE * middle))):
        left = len(different) - int(same.sum())
        return (
            f"{what}: {len(different)} different values become {left} in float32, between "
            f"{different[0]!s} and {different[-1]!s}; " + _remedy(wide, middle)
        )
    if 0 < middle * abs(scale) < _FLAT and scale != 1.0:
        return (
            f"{what}: half of its values lie within {middle * abs(scale):.2g} once scaled, since "
            f"the scale is set by others (from {different[0]:.4g} to {different[-1]:.4g}); "
            "remove these if they are errors, or give the logarithm"
        )
    return ""


def _remedy(different: Wide, middle: float) -> str:
    if abs(np.median(different)) > 2.0**53:
        return "numbers beyond 2**53 are not exact: drop an id, or subtract a constant from it"
    if different[-1] - different[0] > middle / _FLAT:
        return "a few extreme ones set the scale: remove them, or give the logarithm"
    return "subtract a constant from it, multiply it, or split it into parts"


def array_notes(
    raw: AnyRows, encoded: AnyRows, scaling: Scaling, names: Sequence[str] | None
) -> list[str]:
    """The remaining losses of the training rows, a line for each column or channel."""
    if not may_lose_precision(raw.dtype):
        return []
    apart = raw.ndim == 2 or scaling.scale.ndim > 0
    numbers = sampled_rows(len(raw), raw.shape)
    pairs = [_columns(rows[numbers], apart) for rows in (raw, encoded)]
    words = _feature_labels(raw, names) if apart else ["x"]
    count = len(words)
    scales = np.broadcast_to(scaling.scale, count), np.broadcast_to(scaling.offset, count)
    lines = [
        loss_note(what, *_without_gaps(values, as_float32), float(scale), float(add))
        for what, values, as_float32, scale, add in zip(words, *pairs, *scales, strict=True)
    ]
    return [line for line in lines if line]


def shift_notes(
    shift: Wide | None,
    target_shift: float,
    x: AnyRows,
    names: Sequence[str] | None,
    float64_inputs: bool,
) -> list[str]:
    """A line on what was subtracted; the saved network subtracts it itself."""
    subtracted = []
    if shift is not None:
        words = _feature_labels(x, names) if shift.ndim else ["x"]
        pairs = zip(words, np.atleast_1d(shift), strict=True)
        subtracted = [f"{value:.12g} of {word}" for word, value in pairs if value]
    subtracted += [f"{target_shift:.12g} of the target"] if target_shift else []
    if not subtracted:
        return []
    if len(subtracted) > _LISTED:
        subtracted = [*subtracted[:_LISTED], f"… ({len(subtracted)} in all)"]
    return [
        f"subtracted first, since float32 would round too much: {', '.join(subtracted)}; the saved "
        "network does so too" + (", and takes float64" if float64_inputs else "")
    ]


def _columns(rows: Features, apart: bool) -> Features:
    return rows.reshape(-1, rows.shape[-1]).T if apart else rows.reshape(1, -1)


def _feature_labels(raw: AnyRows, names: Sequence[str] | None) -> list[str]:
    if names is not None:
        return [f"column {name}" for name in names]
    word = "column" if raw.ndim == 2 else "channel"
    return [f"{word} {number + 1}" for number in range(raw.shape[-1])]


def _without_gaps(values: Features, encoded: Features) -> tuple[Features, Features]:
    there = ~np.isnan(values) if values.dtype.kind == "f" else np.ones(len(values), np.bool_)
    return _thin_out(values[there]), _thin_out(encoded[there])


def with_offsets(table: Table, columns: Sequence[Column]) -> tuple[Column, ...]:
    """The columns, those of numbers with the offsets that the training rows need."""

    def with_offset(column: Column) -> Column:
        if column.kind != "number":
            return column
        return replace(column, offset=find_offset(_values_present(table, column)))

    return tuple(map_columns(with_offset, columns, len(table)))


def table_samples(table: Table, columns: Sequence[Column]) -> list[Wide]:
    """Some values of each feature; no values for features without an offset."""
    nothing = np.empty(0)
    return [
        _thin_out(_values_present(table, column)) if column.offset else nothing
        for column in columns
        for _ in column.features
    ]


def _values_present(table: Table, column: Column) -> Wide:
    cells = table.column(column.name)
    gaps = cells.gaps()
    return np.asarray(cells.values[~gaps] if gaps.any() else cells.values, np.float64)


def table_notes(
    table: Table, columns: Sequence[Column], encoded: AnyRows, scaling: Scaling
) -> list[str]:
    """The remaining losses of the training rows, a line for each column."""
    rows = sampled_rows(len(table), encoded.shape)
    some = np.asarray(encoded[rows])
    width = encoded.shape[1]
    scales, adds = np.broadcast_to(scaling.scale, width), np.broadcast_to(scaling.offset, width)
    starts = np.cumsum([0, *(len(column.features) for column in columns)]).tolist()

    def note(number: int) -> str:
        column, start = columns[number], starts[number]
        if column.kind != "number":
            return ""
        pair = _without_gaps(table.some(column.name, rows), some[:, start])
        return loss_note(f"column {column.name}", *pair, float(scales[start]), float(adds[start]))

    return [line for line in map_columns(note, range(len(columns)), len(table)) if line]
