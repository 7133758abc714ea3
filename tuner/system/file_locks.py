"""A file that one process at a time has locked. The system unlocks it however the process ends. Why
by hand: docs/decisions/locks.md."""

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def exclusive_lock(file: Path, on_wait: Callable[[], None] | None = None) -> Iterator[bool]:
    """Hold the lock of `file`, which is created if it is missing, and say whether it is held.
    `on_wait`: is called before waiting for another process; None does not wait. On a disk without
    locks it counts as held. Raises OSError where the file cannot be opened."""
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        yield _lock(descriptor, on_wait)
    finally:
        os.close(descriptor)


def _lock(descriptor: int, on_wait: Callable[[], None] | None) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        if on_wait is None:
            return False
        on_wait()
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    except OSError:  # a disk without locks
        pass
    return True
