"""Temporary folders that show whether their process lives, so that a later process removes what a
killed one has left. Each holds a file that its process keeps locked; the system unlocks it however
the process ends. Why by hand: docs/decisions/locks.md."""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing import process, util
from pathlib import Path

# Only folders of ours hold a file of this name.
OWNER = "tuner-owner"
# Where the fork server of `multiprocessing` has its socket.
_SERVER = "pymp-"


def lock_folder(folder: Path, name: str = OWNER) -> int:
    """Mark the folder as this process' own until the returned descriptor is closed. Raises
    OSError."""
    # It is locked before it gets its name: a file of that name without a lock has lost its owner.
    unnamed = folder / f"{name}.new"
    owner = os.open(unnamed, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(owner, fcntl.LOCK_EX)
        unnamed.rename(folder / name)
    except OSError:
        os.close(owner)
        raise
    return owner


def sweep(place: Path, prefix: str, name: str = OWNER) -> None:
    """Remove this user's folders of that prefix whose owners have died."""
    for folder in abandoned(place, prefix, name):
        shutil.rmtree(folder, ignore_errors=True)


def abandoned(place: Path, prefix: str, name: str = OWNER) -> Iterator[Path]:
    """This user's folders of that prefix whose owners have died. Each is locked until the next one
    is asked for, so that it can be removed."""
    for folder in place.glob(f"{prefix}*"):
        with suppress(OSError):  # of another kind, or just removed by another process
            if folder.lstat().st_uid != os.getuid():
                continue
            owner = os.open(folder / name, os.O_RDWR | os.O_NOFOLLOW)
            try:
                fcntl.flock(owner, fcntl.LOCK_EX | fcntl.LOCK_NB)
                yield folder
            finally:
                os.close(owner)


# The prefixes of what processes of tuner make in the temporary folder.
TEMPORARY = ("tuner-", _SERVER)


def sweep_temporary() -> None:
    """Remove what killed processes of tuner have left in the temporary folder."""
    for prefix in TEMPORARY:
        sweep(Path(tempfile.gettempdir()), prefix)


def own_servers_folder() -> None:
    """Make the folder in which `multiprocessing` puts the sockets of this process, and mark it. An
    existing one is left as it is: a child process uses its parent's, which outlives it. Raises
    OSError."""
    config = getattr(process.current_process(), "_config", None)
    is_new = config is not None and config.get("tempdir") is None
    folder = util.get_temp_dir()
    if is_new:
        # Without the mark, a killed search would leave the folder behind, no more. The descriptor
        # stays open as long as the process lives.
        with suppress(OSError):
            lock_folder(Path(folder))


class OwnFolder(tempfile.TemporaryDirectory[str]):
    """A folder in the temporary folder, or in `place`. It is removed at the end of its process, or
    by a later process if that one was killed. It holds the lock file beside its content."""

    def __init__(self, prefix: str, place: Path | None = None) -> None:
        super().__init__(prefix=prefix, dir=place)
        self._owner = -1
        with suppress(OSError):  # on a disk without locks it is an ordinary temporary folder
            self._owner = lock_folder(Path(self.name))

    def cleanup(self) -> None:
        super().cleanup()
        owner, self._owner = self._owner, -1
        if owner >= 0:
            os.close(owner)


_UNFINISHED = ".tuner-"


def folder_beside(target: Path) -> OwnFolder:
    """A hidden folder beside a file or folder that is to be written, on the same disk. What killed
    processes have left there is removed. Raises OSError."""
    place = target.absolute().parent
    sweep(place, _UNFINISHED)
    return OwnFolder(_UNFINISHED, place)


@contextmanager
def written_whole(target: Path) -> Iterator[Path]:
    """A path of the same name, for what `target` is to hold, a file or a folder. It takes the place
    of `target` at the end: nobody sees a part of it. After an error `target` is as it was. Raises
    OSError, also for a file in place of a folder."""
    target = target.resolve()
    with folder_beside(target) as folder:
        partial = Path(folder) / target.name
        yield partial
        if target.is_dir() and partial.is_dir():
            target.rename(Path(folder) / "replaced")
        partial.replace(target)
