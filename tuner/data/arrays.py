"""Feature arrays: checks, their smallest dtype, and the meaning of their axes.

Bytes (uint8, bool) are pixels, which share one scale. In other arrays of three axes and more, the
last axis may hold channels that measure different things. Each channel gets a scale of its own if
one scale for all would flatten a channel: its whole range is less than half of the deviation of all
values. Dark borders of images look similar. But they run around the image, so that lines across it
are as flat, or most of their values are equal; then the array stays an image. Where the last axis
is short (four at most, or a quarter of the others), the array is certainly no image.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tuner.data.rows import AnyRows, ChangedRows, Features, Rows, row_blocks, sampled_rows
from tuner.errors import DatasetError, first_line

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
    """The user's values as an array; masked entries become NaN. Raises DatasetError."""
    if np.ma.is_masked(values):
        # asarray would ignore the mask.
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
    """The end of a message that x and y differ in length: how x would have that many rows."""
    if len(shape) < 2 or rows not in shape[1:]:
        return ""
    if len(shape) == 2:
        return f"; x has shape {shape}: if its columns are the rows, give x.T"
    axis = shape.index(rows, 1)
    return f"; x has shape {shape}: if axis {axis} counts the rows, give np.moveaxis(x, {axis}, 0)"


def smallest_dtype(arrays: Sequence[AnyRows]) -> np.dtype[np.generic]:
    """The dtype for all of these parts.

    A matrix of uint8 or bool becomes uint8, any other matrix float32. Images of whole numbers take
    the smallest of uint8, int8, uint16 and int16 that holds them; float16 stays.
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
    """Whether any value is NaN. Raises DatasetError, naming row and column, for a value that is
    infinite or beyond float32."""
    if x.dtype.kind != "f":
        return False
    start, missing = 0, False
    for block in row_blocks(x):
        bad = np.abs(block.astype(np.float64, copy=False)) > np.finfo(np.float32).max
        if bad.any():
            row, *position = (int(i) for i in np.argwhere(bad)[0])
            where = f"at {tuple(position)} of row {start + row + 1}"
            if x.ndim == 2:
                name = features[position[0]] if features else str(position[0] + 1)
                where = f"in column {name} (row {start + row + 1})"
            value = float(block[(row, *position)])
            how = "an infinite value" if np.isinf(value) else f"{value:g}, which is beyond float32,"
            raise DatasetError(f"{what} holds {how} {where}; remove the row or mend it")
        missing = missing or bool(np.isnan(block).any())
        start += len(block)
    return missing


def check_parts(
    parts: Mapping[str, Any], features: tuple[str, ...] | None, source: str
) -> tuple[dict[str, AnyRows], bool]:
    """The features of all parts as rows of numbers of one shape, and whether values are missing
    (NaN), which only matrices may have.

    Raises DatasetError for different shapes, infinite values, and NaN in images.
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


_FLAT = 0.5
_VARIED = 0.02  # the middle half of a channel spans at least this share of its range
_SHORT = 4
_COLOURS = (1, 3, 4)
_ALPHA = 3


@dataclass(frozen=True)
class Axes:
    """`by_channel`: whether each channel (last axis) is scaled on its own."""

    by_channel: bool = False
    notes: tuple[str, ...] = ()


def read_axes(train: AnyRows) -> Axes:
    """The meaning of the axes of the training rows (n, ...), by the rule above."""
    if train.ndim < 3:
        return Axes()
    order = (*_channel_first(train.shape), *_constant_alpha(train))
    if train.dtype in (np.dtype(np.uint8), np.dtype(np.bool_)):
        return Axes(notes=(*order, *_series_of_bytes(train)))
    low, high, deviation = _spread(train)
    flat_channels = _flat(low, high, deviation, train.ndim - 2)
    flat_lines = [_flat(low, high, deviation, axis).any() for axis in range(train.ndim - 2)]
    shape = train.shape[1:]
    if shape[-1] == 1:
        table = train.ndim == 3 and any(flat_lines)
        return Axes(notes=(*order, *([_table_note(shape[0])] if table else [])))
    varying = high.reshape(-1, shape[-1]).max(axis=0) > low.reshape(-1, shape[-1]).min(axis=0)
    flat = np.flatnonzero(flat_channels & varying)
    if not len(flat):
        first = train.ndim == 3 and _has_flat_lines(train, low, high, deviation)
        return Axes(notes=(*order, *([_series_first_note(shape)] if first else [])))
    names = _numbered(flat)
    if not _is_short(shape) and (any(flat_lines) or not _are_varied(train, flat, -1)):
        return Axes(notes=(*order, _image_note(shape, names)))
    return Axes(True, (*order, _channels_note(shape, names)))


def _spread(x: AnyRows) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], float]:
    """Lowest and highest value of each position in a row, and the deviation of all values."""
    lows, highs, sums = [], [], []
    for block in row_blocks(x):
        lows.append(block.min(axis=0))
        highs.append(block.max(axis=0))
        sums.append(float(np.sum(block, dtype=np.float64)))
    mean = sum(sums) / x.size
    squares = sum(float(np.sum(np.square(b.astype(np.float64) - mean))) for b in row_blocks(x))
    return (
        np.asarray(np.min(lows, axis=0), np.float64),
        np.asarray(np.max(highs, axis=0), np.float64),
        float(np.sqrt(squares / x.size)),
    )


def _flat(
    low: npt.NDArray[np.float64], high: npt.NDArray[np.float64], deviation: float, axis: int
) -> npt.NDArray[np.bool_]:
    """Which positions along an axis of a row vary little, compared with all values."""
    others = tuple(other for other in range(low.ndim) if other != axis)
    return np.asarray(high.max(axis=others) - low.min(axis=others) < _FLAT * deviation)


def _has_flat_lines(
    x: AnyRows, low: npt.NDArray[np.float64], high: npt.NDArray[np.float64], deviation: float
) -> bool:
    """Whether some lines (n, lines, values) are flat like channels, without being a border."""
    flat = np.flatnonzero(_flat(low, high, deviation, 0) & (high.max(axis=1) > low.min(axis=1)))
    return len(flat) > 0 and (_is_short(x.shape[:0:-1]) or _are_varied(x, flat, 1))


def _are_varied(x: AnyRows, positions: npt.NDArray[np.intp], axis: int) -> bool:
    """Whether the values at these positions of an axis vary: those of a border are nearly all
    equal."""
    some = np.moveaxis(x[sampled_rows(len(x), x.shape)], axis, -1)
    some = some.reshape(-1, some.shape[-1])[:, positions]
    low, high = np.quantile(some.astype(np.float64), [0.25, 0.75], axis=0)
    return bool(np.all(high - low > _VARIED * (some.max(axis=0) - some.min(axis=0))))


def _is_short(shape: tuple[int, ...]) -> bool:
    return shape[-1] <= _SHORT or _SHORT * shape[-1] <= min(shape[:-1])


def _channel_first(shape: tuple[int, ...]) -> tuple[str, ...]:
    """A note on images (n, channels, height, width)."""
    if len(shape) != 4:
        return ()
    _, first, height, width = shape
    if first not in _COLOURS or width in _COLOURS or first >= min(height, width):
        return ()
    return (
        f"x looks like images with the channel first: it is taken for {first} x {height} pixels "
        f"of {width} channels; if it is {height} x {width} pixels of {first}, give "
        "np.moveaxis(x, 1, -1)",
    )


def _constant_alpha(x: AnyRows) -> tuple[str, ...]:
    if x.ndim != 4 or x.shape[-1] != _ALPHA + 1:
        return ()
    value = x[:1].flat[_ALPHA]
    if any(bool((block[..., _ALPHA] != value).any()) for block in row_blocks(x)):
        return ()
    return (
        f"the fourth channel of x is {value:g} everywhere (transparency?): it only costs time; "
        "x[..., :3] leaves it out",
    )


def _series_of_bytes(x: AnyRows) -> list[str]:
    """A note on bytes of few columns, one of which varies little."""
    shape = x.shape[1:]
    if len(shape) != 2 or shape[1] == 1 or not _is_short(shape) or x.dtype != np.uint8:
        return []
    low, high, deviation = _spread(x)
    flat = _flat(low, high, deviation, 1) & (high.max(axis=0) > low.min(axis=0))
    if not flat.any():
        return []
    return [
        f"x is taken for grey images of {shape[0]} x {shape[1]} pixels, since it holds bytes: they "
        f"share one scale, which flattens column {_numbered(np.flatnonzero(flat))}; if these are "
        "channels of a series, give x.astype(np.int16)"
    ]


def _numbered(channels: npt.NDArray[np.intp]) -> str:
    shown = ", ".join(str(channel + 1) for channel in channels[:5])
    return shown + (f", … ({len(channels)} in all)" if len(channels) > 5 else "")


def _channels_note(shape: tuple[int, ...], names: str) -> str:
    steps = " x ".join(map(str, shape[:-1]))
    one_more = (
        "; for grey images give x[..., np.newaxis]"
        if len(shape) == 2
        else ("; --scaling none leaves all as they are")
    )
    what = "series of" if len(shape) == 2 else "images of"
    return (
        f"x is taken for {what} {steps} {'steps' if len(shape) == 2 else 'pixels'} and {shape[-1]} "
        f"channels, each scaled on its own: one scale would flatten channel {names}{one_more}"
    )


def _image_note(shape: tuple[int, ...], names: str) -> str:
    return (
        f"x is taken for images ({' x '.join(map(str, shape))}) whose pixels share one scale, "
        f"which flattens column {names}; if the last axis is channels, scale each yourself"
    )


def _series_first_note(shape: tuple[int, ...]) -> str:
    return (
        f"x looks like series with the channel first: its {shape[0]} lines of {shape[1]} values "
        "vary unlike each other, but share one scale; if these are channels, give "
        "np.moveaxis(x, 1, -1)"
    )


def _table_note(columns: int) -> str:
    return (
        f"x is taken for series of {columns} steps and one channel, which share one scale; "
        f"if these are {columns} columns of a table, give x[..., 0]"
    )
