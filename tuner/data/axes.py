"""What the axes of an array stand for: pixels, steps of a series, channels; and what looks wrong.

Bytes (uint8, bool) are pixels, which share one scale. In other arrays of three axes and more the
last axis may be channels that measure different things. They are scaled on their own where one
scale for all would flatten one of them: its whole range is less than half of the deviation of all
values. Dark borders of images look alike. But they go around the image, so that lines across are as
flat, or most of their values are the same: then the array stays an image. It is no image for
certain where the last axis is short: four at most, or a quarter of the others.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tuner.data.precision import sampled_rows
from tuner.data.rows import AnyRows, row_blocks

_FLAT = 0.5
_VARIED = 0.02  # of its range the middle half of a channel spans at least so much
_SHORT = 4
_COLOURS = (1, 3, 4)
_ALPHA = 3


@dataclass(frozen=True)
class Axes:
    """`by_channel`: whether each channel (last axis) is scaled on its own."""

    by_channel: bool = False
    notes: tuple[str, ...] = ()


def read_axes(train: AnyRows) -> Axes:
    """What the axes of the training rows (n, ...) are, by the rule above."""
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
    """Lowest and highest value of each place of a row, and the deviation of all values."""
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
    """Which places along an axis of a row vary little, seen against all values."""
    others = tuple(other for other in range(low.ndim) if other != axis)
    return np.asarray(high.max(axis=others) - low.min(axis=others) < _FLAT * deviation)


def _has_flat_lines(
    x: AnyRows, low: npt.NDArray[np.float64], high: npt.NDArray[np.float64], deviation: float
) -> bool:
    """Whether some lines (n, lines, values) are flat as channels are, and no border explains it."""
    flat = np.flatnonzero(_flat(low, high, deviation, 0) & (high.max(axis=1) > low.min(axis=1)))
    return len(flat) > 0 and (_is_short(x.shape[:0:-1]) or _are_varied(x, flat, 1))


def _are_varied(x: AnyRows, places: npt.NDArray[np.intp], axis: int) -> bool:
    """Whether the values at these places of an axis are not nearly all the same, as those of a
    border."""
    some = np.moveaxis(x[sampled_rows(len(x), x.shape)], axis, -1)
    some = some.reshape(-1, some.shape[-1])[:, places]
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
