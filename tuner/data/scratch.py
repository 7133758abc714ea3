"""Where data that do not fit into memory are put meanwhile: on the project's disk, since the
temporary folder is often memory itself."""

import errno
import logging
import shutil
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from tuner.data.rows import Rows, Shape, StoredRows, is_small, row_blocks
from tuner.errors import DatasetError
from tuner.locations import database_folder
from tuner.settings import Settings

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
