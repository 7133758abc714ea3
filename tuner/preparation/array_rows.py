"""Arrays for a network of arrays: what is wrong with their shape, their gaps and their scale, and
what to do."""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from tuner.errors import DatasetError
from tuner.values import join_names

Shape = tuple[int, ...]
Values = npt.NDArray[np.generic]

_COLOURS = {1: "grey", 3: "RGB", 4: "RGBA"}
_MOST = float(np.finfo(np.float32).max)


def fit_shape(values: Values, shape: Shape, features: Sequence[str], source: str) -> Values:
    """The values as rows (n, *shape): one row becomes one of many, and an axis of one channel is
    added or left out. `features`: the names of a matrix' columns, for messages.

    Raises DatasetError, beginning with `source`, for rows of any other shape.
    """
    if values.shape == shape:
        return values[np.newaxis]
    if values.shape[1:] == shape:
        return values
    if len(shape) > 1 and values.shape[1:] == (*shape, 1):
        return values[..., 0]
    if len(shape) > 2 and (*values.shape[1:], 1) == shape:
        return values[..., np.newaxis]
    raise DatasetError(f"{source}: {_shape_problem(values.shape, shape, features)}")


def _shape_problem(given: Shape, shape: Shape, features: Sequence[str]) -> str:
    if not given:
        return f"is a single value, the network takes {_describe(shape)}"
    if len(shape) == 1:
        return _matrix_problem(given, shape[0], features)
    takes = f"the network takes {_describe(shape)}"
    row = given[1:] or given
    if math.prod(row) == math.prod(shape) and len(row) == 1:
        return f"rows have {row[0]} values each, {takes}; give x.reshape{(-1, *shape)}"
    images, wanted = _with_channel(row), _with_channel(shape)
    if len(wanted) == 3 and row == (wanted[2], *wanted[:2]):
        return f"the channels come first, {takes}; give np.moveaxis(x, 1, -1)"
    if len(images) == 3 and images[:2] == wanted[:2] and images[2] in _COLOURS:
        return f"rows are {_describe(images)}, {takes}; {_channel_remedy(images[2], wanted[2])}"
    if len(given) == len(shape):  # one row
        row = given
    if len(_with_channel(row)) == len(wanted):
        size = f" to {shape[0]} x {shape[1]}"
        return f"rows are {_describe(row)}, {takes}; resize them{size} as the training data were"
    return f"rows have shape {row}, {takes}"


def _with_channel(row: Shape) -> Shape:
    return (*row, 1) if len(row) == 2 else row


def _channel_remedy(given: int, wanted: int) -> str:
    if given == 1:
        return f"give np.repeat(x.reshape(*x.shape[:3], 1), {wanted}, axis=-1)"
    if wanted == 1:
        return "give x[..., :3].mean(axis=-1)"
    return "give x[..., :3]" if given > wanted else "add the fourth channel (transparency)"


def _describe(row: Shape) -> str:
    if len(row) == 3 and row[-1] in _COLOURS:
        return f"{_COLOURS[row[-1]]} images of {row[0]} x {row[1]} pixels"
    return f"arrays of {' x '.join(map(str, row))} values"


def _matrix_problem(given: Shape, columns: int, features: Sequence[str]) -> str:
    names = f" ({join_names(features)})" if features else ""
    wanted = f"the network takes {columns}{names}"
    if len(given) == 2:
        transposed = "; if its columns are the rows, give x.T" if given[0] == columns else ""
        return f"rows have {given[1]} values each, {wanted}{transposed}"
    if len(given) < 2:
        count = given[0]
        return f"one row of {count} value{'s' * (count != 1)}, {wanted}"
    return f"rows have shape {given[1:]}, {wanted} values each; give x.reshape(len(x), -1)"


def check_values(
    values: Values, may_miss: bool, features: Sequence[str], source: str, first_row: int
) -> bool:
    """Whether values are missing (NaN). Raises DatasetError, naming row and column, for a value
    that is infinite or beyond float32, and for a gap unless rows `may_miss` values."""
    if values.dtype.kind != "f" or not values.size:
        return False
    with np.errstate(invalid="ignore"):
        low, high = float(np.fmin.reduce(values, None)), float(np.fmax.reduce(values, None))
    if high > _MOST or low < -_MOST:
        where = _first_place(np.abs(values) > _MOST, features, first_row)
        raise DatasetError(
            f"{source}: holds an infinite value, or one beyond float32, {where}; remove the row or "
            "mend it"
        )
    gaps = np.isnan(values)
    if not gaps.any():
        return False
    if not may_miss:
        where, count = _first_place(gaps, features, first_row), int(np.count_nonzero(gaps))
        raise DatasetError(
            f"{source}: misses {count} value{'s' * (count > 1)} (NaN), the first {where}; the "
            "training rows missed none, so nothing is known to fill them with"
        )
    return True


def _first_place(bad: npt.NDArray[np.bool_], features: Sequence[str], first_row: int) -> str:
    row, *position = (int(number) for number in np.argwhere(bad)[0])
    row += first_row + 1
    if len(position) != 1:
        return f"at {tuple(position)} of row {row}"
    name = repr(features[position[0]]) if features else str(position[0] + 1)
    return f"in column {name}, row {row}"


_UNIT = 1.0  # the highest value of images whose bytes were divided by 255


def scale_note(values: Values, shape: Shape, learnt: tuple[float, float] | None) -> str:
    """A note on images whose values are on another scale than those of the training rows; "" if
    they are not. `learnt`: the lowest and highest value of training rows."""
    if learnt is None or len(shape) < 2 or not values.size or learnt[0] < 0:
        return ""
    low, high = float(values.min()), float(values.max())
    trained = f"those of the training images lie from {learnt[0]:g} to {learnt[1]:g}"
    if learnt[1] <= _UNIT and high > 2 * _UNIT:
        return f"values go beyond 1; {trained}: were those divided by 255?"
    if learnt[1] > 4 * _UNIT and values.dtype.kind == "f" and 0 <= low < high <= _UNIT:
        return f"values lie from 0 to 1; {trained}: were these divided?"
    if high > 4 * learnt[1] > 4 * _UNIT:
        return f"values go far beyond {learnt[1]:g}; {trained}: check their scale"
    return ""
