"""Rows that are read block by block, from a file or from other rows, and scratch copies on disk.

They behave like an array: shape, dtype, len(), slices, rows by number, np.asarray. Scratch copies
lie on the project's disk, since the temporary folder is often in memory.
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

from tuner.data.raw import dataset_errors
from tuner.errors import DatasetError
from tuner.settings import Settings
from tuner.system.locations import database_folder

Features = npt.NDArray[Any]
Indices = npt.NDArray[np.intp]
Shape = tuple[int, ...]

# Arrays up to this size are held in memory.
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
        taken = np.empty((len(rows), *self.shape[1:]), self.dtype)
        span, done = rows_per_block(self.shape), 0
        while done < len(rows):
            start = int(rows[done])
            upto = int(np.searchsorted(rows, start + span))
            piece = self.read(start, int(rows[upto - 1]) + 1)
            # Without "clip", take() would make one more copy.
            np.take(piece, rows[done:upto] - start, axis=0, out=taken[done:upto], mode="clip")
            done = upto
        return taken

    def __getitem__(self, rows: "slice | int | Sequence[int] | Indices") -> Features:
        if isinstance(rows, slice) and rows.step in (None, 1):
            start, stop, _ = rows.indices(len(self))
            return self.read(start, max(start, stop))
        numbers = np.arange(len(self))[rows]
        if numbers.ndim == 0:
            return np.asarray(self.read(int(numbers), int(numbers) + 1)[0])
        ascending = np.argsort(numbers, kind="stable")
        taken = np.empty((len(numbers), *self.shape[1:]), self.dtype)
        taken[ascending] = self.take(numbers[ascending])
        return taken

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


def rows_per_block(shape: Shape) -> int:
    """How many rows make a block of a few MB."""
    return max(1, _BLOCK_VALUES // max(1, math.prod(shape[1:])))


def row_blocks(x: AnyRows) -> Iterator[Features]:
    """The rows in blocks of a few MB, so that what is computed of them stays small."""
    rows = rows_per_block(x.shape)
    for start in range(0, len(x), rows):
        yield x[start : start + rows]


def is_small(nbytes: int) -> bool:
    """Whether arrays of this size are held in memory."""
    return nbytes <= IN_MEMORY_BYTES


def load_if_small(arrays: dict[str, Rows]) -> dict[str, AnyRows]:
    """The arrays, in memory if all of them together are small."""
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
        self._state = self._file_state()

    def _file_state(self) -> tuple[int, int]:
        state = os.fstat(self._file)
        return state.st_size, state.st_mtime_ns

    def read(self, start: int, stop: int) -> Features:
        if self._file_state() != self._state:
            raise DatasetError(f"{self._source}: changed while it was read; try again")
        if self._by_columns:
            return self._read_columns(start, stop)
        block = np.empty((stop - start, *self.shape[1:]), self.dtype)
        self._fill(block.reshape(-1), start * math.prod(self.shape[1:]))
        return block

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
            with dataset_errors(self._source):
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


def convert_rows(rows: AnyRows, dtype: np.dtype[Any]) -> Rows:
    """The rows in another dtype."""
    return ChangedRows(rows, lambda block: block, dtype)


class JoinedRows(Rows):
    """Rows of one shape and dtype, one after the other."""

    def __init__(self, parts: Sequence[AnyRows]) -> None:
        super().__init__((sum(map(len, parts)), *parts[0].shape[1:]), parts[0].dtype)
        self._parts = parts

    def read(self, start: int, stop: int) -> Features:
        pieces, begin = [], 0
        for part in self._parts:
            low, high = max(start - begin, 0), min(stop - begin, len(part))
            if low < high:
                pieces.append(part[low:high])
            begin += len(part)
        return np.concatenate(pieces) if pieces else np.empty((0, *self.shape[1:]), self.dtype)


def join_rows(parts: Sequence[AnyRows]) -> AnyRows:
    """Rows one after the other; in memory if all of them together are small."""
    if is_small(sum(part.nbytes for part in parts)):
        return np.concatenate([np.asarray(part) for part in parts])
    return JoinedRows(parts)


_log = logging.getLogger(__name__)

# This much stays free on the disk, for the database and the networks.
_SPARE_BYTES = 64 * 2**20
_FULL = (errno.ENOSPC, errno.EDQUOT)


def project_folder(settings: Settings) -> Path | None:
    """The folder of a SQLite database; None for a database elsewhere."""
    folder = database_folder(settings.storage)
    return None if folder is None else folder.absolute()


def scratch_folder(settings: Settings) -> Path:
    """The folder for scratch copies: TUNER_SCRATCH, else `scratch` beside the project's folder of
    networks."""
    return (settings.scratch or settings.checkpoints.absolute().parent / "scratch").absolute()


def make_scratch_folder(settings: Settings) -> Path:
    """Create the folder for scratch copies. If it cannot be written, a warning is logged once, and
    the temporary folder is used. Raises DatasetError if the disk is full."""
    return _make_writable(scratch_folder(settings))


@cache
def _make_writable(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError as error:
        if error.errno in _FULL:
            raise DatasetError(disk_full_message(folder)) from error
        temporary = Path(tempfile.gettempdir())
        _log.warning(
            "%s cannot be written (%s); large data are copied to %s, which may be memory",
            folder, error.strerror or error, temporary,
        )  # fmt: skip
        return temporary


def check_free_space(folder: Path, wanted_bytes: int) -> None:
    """Raises DatasetError if the folder's disk lacks this space."""
    if shutil.disk_usage(folder).free < wanted_bytes + _SPARE_BYTES:
        raise DatasetError(disk_full_message(folder, wanted_bytes))


def disk_full_message(folder: Path, wanted_bytes: int | None = None) -> str:
    """The message that a disk is full, and what to do."""
    wanted = f" need {_gib(wanted_bytes)}," if wanted_bytes is not None else " do not fit:"
    existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
    return (
        f"{folder}: the prepared data{wanted} {_gib(shutil.disk_usage(existing).free)} are free on "
        "that disk; make room, or set TUNER_SCRATCH to a folder on another one"
    )


def _gib(count: int) -> str:
    return f"{count / 2**30:.1f} GiB"


def store_rows(rows: Rows, settings: Settings, source: str) -> Rows:
    """The same rows, computed once and kept on disk. Raises DatasetError if the disk is full."""
    check_free_space(make_scratch_folder(settings), rows.nbytes)
    spool = Spool(lambda: make_scratch_folder(settings))
    for block in row_blocks(rows):
        spool.write(block.tobytes())
    return spool.stored(0, rows.shape, rows.dtype, source)


def is_disk_full(error: OSError) -> bool:
    """Whether a disk, or the user's quota on it, is full."""
    return error.errno in _FULL


class Spool:
    """Bytes of unknown length: in memory while they are few, then in a file without a name, which
    ends with the process. `make_folder` gives the file's folder; it is called only if needed."""

    def __init__(self, make_folder: Callable[[], Path]) -> None:
        self._make_folder = make_folder
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
            folder = self._make_folder()
            self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 (outlives this call)
            self._write(self._file, self._memory)
            self._memory = bytearray()
        return self._file

    def _write(self, file: BinaryIO, content: bytes | bytearray) -> None:
        try:
            file.write(content)
            file.flush()
        except OSError as error:
            folder = self._make_folder()
            message = disk_full_message(folder) if is_disk_full(error) else f"{folder}: {error}"
            raise DatasetError(message) from error

    @property
    def in_memory(self) -> bytearray | None:
        """Everything written, if it is still in memory."""
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


SAMPLED_ROWS = 2**16


def sampled_rows(rows: int, shape: tuple[int, ...]) -> npt.NDArray[np.intp]:
    """Numbers of evenly spread rows, enough to describe all of them; all rows if they are few."""
    count = min(rows, SAMPLED_ROWS, rows_per_block(shape))
    return np.linspace(0, rows - 1, count).astype(np.intp)
