"""Rows that stay where they are, in a file or in other rows, until a block of them is read.

They answer to what is asked of an array: shape, dtype, len(), slices, rows by number, np.asarray.

Which rows go to train, validation and test.
"""

import errno
import logging
import math
import os
import shutil
import tempfile
import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from tuner.data.raw import reading
from tuner.errors import DatasetError
from tuner.settings import Settings
from tuner.system.locations import database_folder

_Rows = npt.NDArray[np.intp]
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


_log = logging.getLogger(__name__)

# Left free on the disk, for the database and the networks.
_SPARE_BYTES = 64 * 2**20
_FULL = (errno.ENOSPC, errno.EDQUOT)


def project_folder(settings: Settings) -> Path | None:
    """The folder of a SQLite database; None for a database elsewhere."""
    folder = database_folder(settings.storage)
    return None if folder is None else folder.absolute()


def scratch_wanted(settings: Settings) -> Path:
    """The folder for scratch copies: TUNER_SCRATCH, else `scratch` beside the project's folder of
    networks."""
    return (settings.scratch or settings.checkpoints.absolute().parent / "scratch").absolute()


def scratch_place(settings: Settings) -> Path:
    """The same, made now. Where it cannot be written, a warning is logged once, and it is the
    temporary folder. Raises DatasetError where its disk is full."""
    return _writable(scratch_wanted(settings))


@cache
def _writable(place: Path) -> Path:
    try:
        place.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=place):
            return place
    except OSError as error:
        if error.errno in _FULL:
            raise DatasetError(no_room(place)) from error
        temporary = Path(tempfile.gettempdir())
        _log.warning(
            "tuner: %s cannot be written (%s); large data are copied to %s, which may be memory",
            place, error.strerror or error, temporary,
        )  # fmt: skip
        return temporary


def check_room(place: Path, wanted_bytes: int) -> None:
    """Raises DatasetError where the disk has no room for so much."""
    if shutil.disk_usage(place).free < wanted_bytes + _SPARE_BYTES:
        raise DatasetError(no_room(place, wanted_bytes))


def no_room(place: Path, wanted_bytes: int | None = None) -> str:
    """What to say, and to do, where a disk is full."""
    wanted = f" need {_gib(wanted_bytes)}," if wanted_bytes is not None else " do not fit:"
    there = next(folder for folder in (place, *place.parents) if folder.exists())
    return (
        f"{place}: the prepared data{wanted} {_gib(shutil.disk_usage(there).free)} are free on "
        "that disk; make room, or set TUNER_SCRATCH to a folder on another one"
    )


def _gib(count: int) -> str:
    return f"{count / 2**30:.1f} GiB"


def stored(rows: Rows, settings: Settings, source: str) -> Rows:
    """The same rows, computed once and kept on the disk. Raises DatasetError where it is full."""
    check_room(scratch_place(settings), rows.nbytes)
    spool = Spool(lambda: scratch_place(settings))
    for block in row_blocks(rows):
        spool.write(block.tobytes())
    return spool.stored(0, rows.shape, rows.dtype, source)


def is_full(error: OSError) -> bool:
    """Whether a disk, or a user's share of it, is full."""
    return error.errno in _FULL


class Spool:
    """Bytes of unknown length: in memory while they are few, then in a file without a name, which
    is gone with the process. `place`: gives the file's folder, and is called only for one."""

    def __init__(self, place: Callable[[], Path]) -> None:
        self._place = place
        self._memory = bytearray()
        self._file: BinaryIO | None = None
        self.length = 0

    def write(self, chunk: bytes) -> None:
        """Raises DatasetError where the disk is full."""
        self.length += len(chunk)
        if self._file is None and is_small(self.length):
            self._memory += chunk
        else:
            self._write(self._opened(), chunk)

    def _opened(self) -> BinaryIO:
        if self._file is None:
            place = self._place()
            self._file = tempfile.TemporaryFile(dir=place)  # noqa: SIM115 (outlives this call)
            self._write(self._file, self._memory)
            self._memory = bytearray()
        return self._file

    def _write(self, file: BinaryIO, content: bytes | bytearray) -> None:
        try:
            file.write(content)
            file.flush()
        except OSError as error:
            place = self._place()
            raise DatasetError(no_room(place) if is_full(error) else f"{place}: {error}") from error

    @property
    def in_memory(self) -> bytearray | None:
        """All that was written, where that is little."""
        return self._memory if self._file is None else None

    def stored(
        self,
        offset: int,
        shape: Shape,
        dtype: np.dtype[Any],
        source: str,
        by_columns: bool = False,
    ) -> StoredRows:
        """The array that begins at byte `offset`, left on the disk."""
        return StoredRows(self._opened(), offset, shape, dtype, source, by_columns)


_SAMPLE = 2**16


def sampled_rows(rows: int, shape: tuple[int, ...]) -> npt.NDArray[np.intp]:
    """Numbers of rows, evenly spread, that say enough of all of them; all where they are few."""
    count = min(rows, _SAMPLE, block_rows(shape))
    return np.linspace(0, rows - 1, count).astype(np.intp)
