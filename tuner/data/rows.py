"""Rows that stay where they are, in a file or in other rows, until a block of them is read.

They answer to what is asked of an array: shape, dtype, len(), slices, rows by number, np.asarray.

Which rows go to train, validation and test.
"""

import math
import os
import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from tuner.data.raw import reading
from tuner.errors import DatasetError

_Rows = npt.NDArray[np.intp]

_FEW_CLASSES = 32


def draw_splits(
    classes: npt.NDArray[np.integer],
    shares: dict[str, float],
    seed: int,
    labels: Sequence[str],
    source: str,
) -> dict[str, _Rows]:
    """Stratified parts of the rows 0..n-1, each ascending: "train" and every name in `shares`.

    `classes` (n,) are indices into `labels`; for regression all zero, with labels empty. The first
    share is of all rows, the next of what is left then. Of each class a part gets its share to
    within one row, and at least one. Raises DatasetError for a share outside (0, 1) and for a class
    with fewer rows than there are parts.
    """
    for part, share in shares.items():
        if not 0 < share < 1:
            raise DatasetError(f"the {part} share must lie between 0 and 1, got {share:g}")
    left = np.bincount(classes, minlength=max(1, len(labels)))
    _check_members(left, ["train", *shares], labels, source)
    # Raw words of the bit generator: NumPy keeps them the same over its versions, as it does not
    # promise for permutation(), and a study must find its split again after an upgrade.
    keys = np.random.PCG64(seed).random_raw(len(classes))
    ends: list[_Rows] = []
    for number, share in enumerate(shares.values(), start=1):
        taken = _allot(left, share, keep=1 + len(shares) - number)
        ends.append(taken + (ends[-1] if ends else 0))
        left = left - taken
    parts = _parts_by_key(classes, keys, ends)
    return {part: np.flatnonzero(parts == number) for number, part in enumerate(["train", *shares])}


def _parts_by_key(
    classes: npt.NDArray[np.integer], keys: npt.NDArray[np.uint64], ends: list[_Rows]
) -> npt.NDArray[np.int8]:
    """(n,): of each class the rows with the lowest keys, up to `ends[0]` of them, are 1; those up
    to `ends[1]` are 2; the others 0."""
    if not ends:
        return np.zeros(len(classes), np.int8)
    parts = _parts_by_selection(classes, keys, ends) if len(ends[0]) <= _FEW_CLASSES else None
    if parts is not None:
        return parts
    rank = _rank_in_class(classes, keys)
    parts = np.zeros(len(classes), np.int8)
    for number in range(len(ends), 0, -1):
        parts[rank < ends[number - 1][classes]] = number
    return parts


def _parts_by_selection(
    classes: npt.NDArray[np.integer], keys: npt.NDArray[np.uint64], ends: list[_Rows]
) -> npt.NDArray[np.int8] | None:
    """The same without sorting: a fifth of the time. None where keys are equal, for which the rows'
    order decides."""
    parts = np.zeros(len(classes), np.int8)
    for each in range(len(ends[0])):
        rows = np.flatnonzero(classes == each) if len(ends[0]) > 1 else slice(None)
        own = keys[rows]
        chosen = np.zeros(len(own), np.int8)
        places = [int(end[each]) for end in ends]
        ordered = np.partition(own, places)
        for number in range(len(ends), 0, -1):
            below = own < ordered[places[number - 1]]
            if np.count_nonzero(below) != places[number - 1]:
                return None
            chosen[below] = number
        parts[rows] = chosen
    return parts


def _check_members(
    members: npt.NDArray[np.intp], parts: list[str], labels: Sequence[str], source: str
) -> None:
    smallest = int(np.argmin(members))
    if members[smallest] >= len(parts):
        return
    what = f"class {labels[smallest]!r}" if labels else "the training part"
    rows = int(members[smallest])
    raise DatasetError(
        f"{source}: {what} has {rows} row{'s' * (rows != 1)}, and {' + '.join(parts)} need "
        f"{len(parts)} at least; add rows"
        + (", drop the class, or set the task to regression if these are numbers" if labels else "")
    )


def _rank_in_class(classes: npt.NDArray[np.integer], keys: npt.NDArray[np.uint64]) -> _Rows:
    """(n,): a row's place, 0 upwards, in the order of the keys of its own class."""
    order = np.lexsort((keys, classes))
    members = np.bincount(classes)
    starts = np.cumsum(members) - members
    rank = np.empty(len(classes), np.intp)
    rank[order] = np.arange(len(classes)) - starts[classes[order]]
    return rank


def _allot(members: npt.NDArray[np.intp], share: float, keep: int) -> npt.NDArray[np.intp]:
    """Rows of each class by largest remainder: at least one, and at least `keep` stay behind."""
    ideal = members * share
    taken = np.floor(ideal + 1e-9).astype(np.intp)
    short = max(0, round(float(ideal.sum())) - int(taken.sum()))
    taken[np.argsort(taken - ideal, kind="stable")[:short]] += 1
    return np.asarray(np.clip(taken, 1, members - keep), np.intp)


Features = npt.NDArray[Any]
Indices = npt.NDArray[np.intp]
Shape = tuple[int, ...]

# What may be held in memory.
IN_MEMORY_BYTES = 64 * 2**20

_BLOCK_VALUES = 4_000_000


class Rows(ABC):
    """Features (n, ...). Each block that is read is a new array in C order."""

    def __init__(self, shape: Shape, dtype: np.dtype[Any]) -> None:
        self.shape, self.dtype = shape, dtype

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        return self.size * self.dtype.itemsize

    def __len__(self) -> int:
        return self.shape[0]

    @abstractmethod
    def read(self, start: int, stop: int) -> Features:
        """Rows start..stop-1, for 0 <= start <= stop <= n."""

    def take(self, rows: Indices) -> Features:
        """The rows of these numbers, which ascend."""
        found = np.empty((len(rows), *self.shape[1:]), self.dtype)
        span, done = block_rows(self.shape), 0
        while done < len(rows):
            start = int(rows[done])
            upto = int(np.searchsorted(rows, start + span))
            piece = self.read(start, int(rows[upto - 1]) + 1)
            # Without "clip", take() would make one more copy.
            np.take(piece, rows[done:upto] - start, axis=0, out=found[done:upto], mode="clip")
            done = upto
        return found

    def __getitem__(self, rows: "slice | int | Sequence[int] | Indices") -> Features:
        if isinstance(rows, slice) and rows.step in (None, 1):
            start, stop, _ = rows.indices(len(self))
            return self.read(start, max(start, stop))
        numbers = np.arange(len(self))[rows]
        if numbers.ndim == 0:
            return np.asarray(self.read(int(numbers), int(numbers) + 1)[0])
        ascending = np.argsort(numbers, kind="stable")
        found = np.empty((len(numbers), *self.shape[1:]), self.dtype)
        found[ascending] = self.take(numbers[ascending])
        return found

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Features:
        if copy is False:
            raise ValueError("rows in a file cannot be an array without a copy")
        whole = np.empty(self.shape, self.dtype if dtype is None else dtype)
        start = 0
        for block in row_blocks(self):
            whole[start : start + len(block)] = block
            start += len(block)
        return whole


AnyRows = Features | Rows


def block_rows(shape: Shape) -> int:
    """How many rows make a block of a few MB."""
    return max(1, _BLOCK_VALUES // max(1, math.prod(shape[1:])))


def row_blocks(x: AnyRows) -> Iterator[Features]:
    """The rows in blocks of a few MB, so that what is computed of them stays small."""
    rows = block_rows(x.shape)
    for start in range(0, len(x), rows):
        yield x[start : start + rows]


def is_small(nbytes: int) -> bool:
    """Whether so much is simply held in memory."""
    return nbytes <= IN_MEMORY_BYTES


def settled(arrays: dict[str, Rows]) -> dict[str, AnyRows]:
    """The same, in memory where all of them together are small."""
    if is_small(sum(rows.nbytes for rows in arrays.values())):
        return {part: np.asarray(rows) for part, rows in arrays.items()}
    return dict(arrays)


class StoredRows(Rows):
    """An array in a file, from byte `offset` on; the caller may close the file. `by_columns`: in
    Fortran order. DatasetError where the file is too short, or is written while it is read."""

    def __init__(
        self,
        file: BinaryIO,
        offset: int,
        shape: Shape,
        dtype: np.dtype[Any],
        source: str,
        by_columns: bool = False,
    ) -> None:
        super().__init__(shape, dtype)
        self._file, self._offset, self._source = os.dup(file.fileno()), offset, source
        weakref.finalize(self, os.close, self._file)
        self._by_columns = by_columns and len(shape) > 1
        self._state = self._look()

    def _look(self) -> tuple[int, int]:
        found = os.fstat(self._file)
        return found.st_size, found.st_mtime_ns

    def read(self, start: int, stop: int) -> Features:
        if self._look() != self._state:
            raise DatasetError(f"{self._source}: changed while it was read; try again")
        if self._by_columns:
            return self._read_columns(start, stop)
        found = np.empty((stop - start, *self.shape[1:]), self.dtype)
        self._fill(found.reshape(-1), start * math.prod(self.shape[1:]))
        return found

    def _read_columns(self, start: int, stop: int) -> Features:
        columns = np.empty((math.prod(self.shape[1:]), stop - start), self.dtype)
        for number, column in enumerate(columns):
            self._fill(column, number * self.shape[0] + start)
        backwards = columns.reshape((*self.shape[:0:-1], stop - start))
        return np.ascontiguousarray(backwards.transpose())

    def _fill(self, values: Features, first: int) -> None:
        """Read into all of `values` (k,), from the array's value number `first` on."""
        left = values.view(np.uint8).data
        position = self._offset + first * self.dtype.itemsize
        while left:
            with reading(self._source):
                count = os.preadv(self._file, [left], position)
            if not count:
                raise DatasetError(f"{self._source}: ends too early; it was cut short")
            left, position = left[count:], position + count


class ChosenRows(Rows):
    """Some rows of others, by number, ascending; all of them for None."""

    def __init__(self, rows: AnyRows, numbers: Indices | None = None) -> None:
        count = len(rows) if numbers is None else len(numbers)
        super().__init__((count, *rows.shape[1:]), rows.dtype)
        self._rows, self._numbers = rows, numbers

    def read(self, start: int, stop: int) -> Features:
        if self._numbers is None:
            return self._rows[start:stop]
        return self._numbered(self._numbers[start:stop])

    def take(self, rows: Indices) -> Features:
        return self._numbered(rows if self._numbers is None else self._numbers[rows])

    def _numbered(self, numbers: Indices) -> Features:
        return self._rows.take(numbers) if isinstance(self._rows, Rows) else self._rows[numbers]


class ChangedRows(Rows):
    """What a function makes of each block of other rows, in another dtype or shape of a row."""

    def __init__(
        self,
        rows: AnyRows,
        change: Callable[[Features], Features],
        dtype: np.dtype[Any],
        row_shape: Shape | None = None,
    ) -> None:
        super().__init__((len(rows), *(rows.shape[1:] if row_shape is None else row_shape)), dtype)
        self._rows, self._change = rows, change

    def read(self, start: int, stop: int) -> Features:
        # In C order, which decides how sums over a block are rounded.
        return np.ascontiguousarray(self._change(self._rows[start:stop]), self.dtype)


def converted(rows: AnyRows, dtype: np.dtype[Any]) -> Rows:
    """The rows in another dtype."""
    return ChangedRows(rows, lambda block: block, dtype)


class JoinedRows(Rows):
    """Rows of one shape and dtype, one after the other."""

    def __init__(self, parts: Sequence[AnyRows]) -> None:
        super().__init__((sum(map(len, parts)), *parts[0].shape[1:]), parts[0].dtype)
        self._parts = parts

    def read(self, start: int, stop: int) -> Features:
        found, begin = [], 0
        for part in self._parts:
            low, high = max(start - begin, 0), min(stop - begin, len(part))
            if low < high:
                found.append(part[low:high])
            begin += len(part)
        return np.concatenate(found) if found else np.empty((0, *self.shape[1:]), self.dtype)


def joined(parts: Sequence[AnyRows]) -> AnyRows:
    """Rows one after the other; in memory where they are small, as those of which this is made."""
    if is_small(sum(part.nbytes for part in parts)):
        return np.concatenate([np.asarray(part) for part in parts])
    return JoinedRows(parts)
