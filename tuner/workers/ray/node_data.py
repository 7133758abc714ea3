"""Data on the nodes of a Ray cluster: put into its object store once, in pieces, and unpacked on
each node's disk once, for all actors there."""

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tuner.system.file_locks import exclusive_lock
from tuner.system.temporary_folders import OWNER, sweep

# Pieces of a file: neither the loop nor an actor holds more of it in its memory.
PIECE_BYTES = 32 * 2**20
_PREFIX = "tuner-ray-"
_LOGS = "tuner-logs-"
_KEPT_S = 7 * 86400.0


class SentFile(NamedTuple):
    """`pieces`: references to its bytes in the object store, in order."""

    name: str
    size: int
    pieces: tuple[Any, ...]


class SentData(NamedTuple):
    """A folder in the object store. It lives as long as somebody holds its references."""

    files: tuple[SentFile, ...]

    @property
    def size(self) -> int:
        """In bytes."""
        return sum(file.size for file in self.files)


def send_folder(folder: Path) -> SentData:
    """Put the files of the folder into the object store. Raises OSError."""
    import ray

    def send(file: Path) -> SentFile:
        pieces = tuple(ray.put(piece) for piece in _pieces(file))
        return SentFile(file.relative_to(folder).as_posix(), file.stat().st_size, pieces)

    return SentData(tuple(send(file) for file in sorted(folder.rglob("*")) if file.is_file()))


def _pieces(file: Path) -> Iterator[np.ndarray]:
    """Arrays: they go into the object store without another copy of them."""
    with file.open("rb") as content:
        while True:
            piece = np.fromfile(content, np.uint8, PIECE_BYTES)
            if not piece.size:
                return
            yield piece


class NodeFolder:
    """The folder of one search on this node, which the actors there share. Each that unpacks data
    holds a lock of it; who leaves last removes it. What killed ones have left is removed by later
    ones."""

    def __init__(self, name: str, node: str) -> None:
        place = Path(tempfile.gettempdir())
        sweep(place, _PREFIX)
        self._path = place / f"{_PREFIX}{name}-{node[:12]}"
        # Made for data alone: an actor that is killed as it starts leaves nothing.
        self._owner = -1

    def unpack(self, data: SentData) -> Path:
        """The data as a folder on this node. Raises OSError."""
        if self._owner < 0:
            self._owner = _hold(self._path)
        target = self._path / "data"
        with exclusive_lock(self._path / "unpacking", on_wait=lambda: None):
            if not target.is_dir():
                unfinished = self._path / "unfinished"
                shutil.rmtree(unfinished, ignore_errors=True)
                for file in data.files:
                    _write(unfinished / file.name, file)
                unfinished.rename(target)
        return target

    def leave(self) -> None:
        """Remove the folder, unless other actors use it."""
        owner, self._owner = self._owner, -1
        if owner < 0:
            return
        with suppress(OSError):
            fcntl.flock(owner, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(self._path, ignore_errors=True)
        os.close(owner)


def _hold(folder: Path) -> int:
    """Make the folder, and lock its file for as long as the descriptor is open. Raises OSError."""
    while True:
        folder.mkdir(mode=0o700, exist_ok=True)
        with suppress(FileNotFoundError):
            owner = os.open(folder / OWNER, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
            fcntl.flock(owner, fcntl.LOCK_SH)
            with suppress(FileNotFoundError):
                if (folder / OWNER).stat().st_ino == os.fstat(owner).st_ino:
                    return owner
            os.close(owner)  # somebody has removed the folder meanwhile


def _write(path: Path, file: SentFile) -> None:
    import ray

    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as target:
        for piece in file.pieces:
            target.write(ray.get(piece).data)


def this_node() -> str:
    """The id that Ray has given to the node."""
    import ray

    node: str = ray.get_runtime_context().get_node_id()
    return node


def worker_log(name: str, number: int) -> Path:
    """The file on this node for what a search's worker prints. It outlasts the search for a week.
    Raises OSError."""
    place = Path(tempfile.gettempdir()) / f"{_LOGS}{os.getuid()}"
    place.mkdir(mode=0o700, exist_ok=True)
    if place.lstat().st_uid != os.getuid():  # somebody else has made it
        place = Path(tempfile.mkdtemp(prefix=_LOGS))
    latest = time.time() - _KEPT_S
    for old in place.iterdir():
        with suppress(OSError):
            if old.lstat().st_mtime < latest:
                shutil.rmtree(old)
    (place / name).mkdir(mode=0o700, exist_ok=True)
    return place / name / f"worker-{number}.log"
