"""Temporary folders that say whether their process lives: what a killed one has left is removed by
a later one. Each holds a file that its process keeps locked; the system unlocks it however the
process ends, so no number of a process has to be believed."""

import fcntl
import os
import shutil
import tempfile
from contextlib import suppress
from multiprocessing import process, util
from pathlib import Path

# Nobody else's folders hold a file of this name.
_OWNER = "tuner-owner"
# Where the fork server of `multiprocessing` has its socket.
_SERVER = "pymp-"


def lock_folder(folder: Path, name: str = _OWNER) -> int:
    """Mark the folder as this process' own until the descriptor is closed. Raises OSError."""
    # Locked before it has its name: a file of that name without a lock has lost its owner.
    unnamed = folder / f"{name}.new"
    owner = os.open(unnamed, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(owner, fcntl.LOCK_EX)
        unnamed.rename(folder / name)
    except OSError:
        os.close(owner)
        raise
    return owner


def sweep(place: Path, prefix: str, name: str = _OWNER) -> None:
    """Remove this user's folders of that prefix whose owners have died."""
    for folder in place.glob(f"{prefix}*"):
        with suppress(OSError):  # of another kind, or just removed by another process
            if folder.lstat().st_uid != os.getuid():
                continue
            owner = os.open(folder / name, os.O_RDWR | os.O_NOFOLLOW)
            try:
                fcntl.flock(owner, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(owner)


def sweep_temporary() -> None:
    """Remove what killed processes of ours have left in the temporary folder."""
    place = Path(tempfile.gettempdir())
    sweep(place, "tuner-")
    sweep(place, _SERVER)


def own_servers_folder() -> None:
    """Make the folder in which `multiprocessing` puts the sockets of this process, and mark it. One
    that is there already is left as it is: a child has its parent's, which outlives it. Raises
    OSError."""
    config = getattr(process.current_process(), "_config", None)
    is_new = config is not None and config.get("tempdir") is None
    folder = util.get_temp_dir()
    if is_new:
        # Without the mark it would stay behind a killed search, and nothing else. The descriptor
        # stays open for as long as the process lives.
        with suppress(OSError):
            lock_folder(Path(folder))


class OwnFolder(tempfile.TemporaryDirectory[str]):
    """A temporary folder that is removed with its process, be it by the next one. It holds a file
    of ours beside what is put into it."""

    def __init__(self, prefix: str) -> None:
        super().__init__(prefix=prefix)
        self._owner = -1
        with suppress(OSError):  # on a disk without locks it is a temporary folder like any other
            self._owner = lock_folder(Path(self.name))

    def cleanup(self) -> None:
        super().cleanup()
        owner, self._owner = self._owner, -1
        if owner >= 0:
            os.close(owner)
