"""Local copies of stored files that lie on other machines. A copy is found by a key that changes
with the content, so it is never stale; what was not used for a day is removed."""

import os
import shutil
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

PLACE = "~/.cache/tuner/downloads"
# A copy may be in use so long after it was asked for.
_KEPT_S = 86_400.0
_PARTIAL = "partial-"


def cached(key: str, name: str, download: Callable[[Path], object]) -> Path:
    """The copy with that key, a file of that name; downloaded if it is not here. Other processes
    see a whole copy or none. Raises OSError, and what `download` raises."""
    place = _place()
    folder = place / key
    file = folder / name
    try:
        os.utime(folder)  # used just now
        if file.is_file():
            return file
    except OSError:
        pass
    _sweep(place)
    partial = Path(tempfile.mkdtemp(prefix=_PARTIAL, dir=place))
    try:
        download(partial / name)
        # Into the folder, not with it: the same content may be there under another name.
        folder.mkdir(exist_ok=True)
        (partial / name).replace(file)
        return file
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def forget(key: str) -> None:
    """Remove the copy with that key, such as a damaged one."""
    shutil.rmtree(_place() / key, ignore_errors=True)


def _place() -> Path:
    """The folder of copies, which only this user may read. A machine without a home folder has it
    in the temporary folder. Raises OSError."""
    try:
        return _private(Path(PLACE).expanduser())
    except (OSError, RuntimeError):
        return _private(Path(tempfile.gettempdir()) / f"tuner-downloads-{os.getuid()}")


def _private(folder: Path) -> Path:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if folder.lstat().st_uid != os.getuid() or not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(f"{folder} is not this user's own")
    return folder


def _sweep(place: Path) -> None:
    unused_since = time.time() - _KEPT_S
    for folder in place.iterdir():
        with suppress(OSError):
            if folder.stat().st_mtime < unused_since:
                shutil.rmtree(folder, ignore_errors=True)
