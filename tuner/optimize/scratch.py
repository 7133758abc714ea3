"""The folder in which a search keeps its data for its workers: beside the project, since the
temporary folder is often memory. A killed search cannot remove its own: the next one does."""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tuner.data import scratch_place
from tuner.errors import DatasetError
from tuner.settings import Settings

_PREFIX = "tuner-data-"
_OWNER = "owner"


@contextmanager
def scratch_folder(settings: Settings) -> Iterator[Path]:
    """A new folder, removed at the end; those of searches that have died are removed now. Raises
    DatasetError where none can be made."""
    place = scratch_place(settings)
    for each in {place, Path(tempfile.gettempdir())}:  # there they are when `place` fails
        _sweep(each)
    folder, owner = _make(place)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(owner)


def _make(place: Path) -> tuple[Path, int]:
    """The folder, and its owner's lock."""
    try:
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=place))
        # Locked before it has its name: a file of that name without a lock has lost its owner.
        owner = os.open(folder / "new", os.O_RDWR | os.O_CREAT)
        fcntl.flock(owner, fcntl.LOCK_EX)
        (folder / "new").rename(folder / _OWNER)
    except OSError as error:
        reason = error.strerror or error
        raise DatasetError(
            f"{place}: no folder for the prepared data can be made there ({reason}); set "
            "TUNER_SCRATCH to another folder"
        ) from error
    return folder, owner


def _sweep(place: Path) -> None:
    for folder in place.glob(f"{_PREFIX}*"):
        with suppress(OSError):  # another user's, or just removed by another search
            owner = os.open(folder / _OWNER, os.O_RDWR)
            try:
                fcntl.flock(owner, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(owner)
