"""Waiting for what other processes do."""

import time
from collections.abc import Callable


def wait_until(condition: Callable[[], bool], timeout_s: float = 30.0) -> None:
    """Ask again and again. A condition that reads a database is asked less often: it would take a
    third of a core from those that it waits for."""
    deadline = time.monotonic() + timeout_s
    while True:
        began = time.thread_time()
        if condition():
            return
        assert time.monotonic() < deadline, "it does not come to pass"
        time.sleep(max(0.02, 8 * (time.thread_time() - began)))
