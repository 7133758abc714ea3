"""The folder in which a search keeps its data for its workers: beside the project, since the
temporary folder is often memory. A killed search cannot remove its own: the next one does."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tuner.data import scratch_place
from tuner.errors import DatasetError
from tuner.leftovers import lock_folder, sweep, sweep_temporary
from tuner.settings import Settings

_PREFIX = "tuner-data-"
_OWNER = "owner"


@contextmanager
def scratch_folder(settings: Settings) -> Iterator[Path]:
    """A new folder, removed at the end; those of searches that have died are removed now. Raises
    DatasetError where none can be made."""
    place = scratch_place(settings)
    for each in {place, Path(tempfile.gettempdir())}:  # there they are when `place` fails
        sweep(each, _PREFIX, _OWNER)
    sweep_temporary()
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
        owner = lock_folder(folder, _OWNER)
    except OSError as error:
        reason = error.strerror or error
        raise DatasetError(
            f"{place}: no folder for the prepared data can be made there ({reason}); set "
            "TUNER_SCRATCH to another folder"
        ) from error
    return folder, owner
