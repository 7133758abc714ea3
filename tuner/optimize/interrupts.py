"""What SIGINT, SIGTERM and a closed terminal do to a search."""

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from tuner.optimize.limits import Stopping
from tuner.storage import fold_all

_PATIENCE_S = 8.0
# What starts a command may pass on a signal that the terminal has sent to both: that is one.
_SAME_S = 0.5


class Interrupts:
    """The first signal asks the search to stop, or, while nothing runs that would have to be put
    back, ends it by KeyboardInterrupt. A second one asks to wait for no checkpoint; further ones
    change nothing. A search that has not come to its end some seconds later, be it for a dead
    database, is cut off: what it leaves behind the next one puts in order."""

    def __init__(self, stopping: Stopping) -> None:
        self._stopping = stopping
        self._gently = False
        self._asked_at = 0.0
        self._cut = threading.Timer(_PATIENCE_S, _cut_off)
        self._cut.daemon = True

    @contextmanager
    def caught(self) -> Iterator[None]:
        """Inside, the signals are ours."""
        wanted = [signal.SIGINT, signal.SIGTERM]
        # nohup ignores this one, and so do we then.
        if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
            wanted.append(signal.SIGHUP)
        before = [signal.signal(number, self._hear) for number in wanted]
        try:
            yield
        finally:
            self._cut.cancel()
            for number, handler in zip(wanted, before, strict=True):
                signal.signal(number, handler)

    @contextmanager
    def gently(self) -> Iterator[None]:
        """Inside, a signal only asks."""
        self._gently = True
        try:
            yield
        finally:
            self._gently = False

    def _hear(self, _number: int, _frame: FrameType | None) -> None:
        if self._stopping.asked:
            self._stopping.hurried |= time.monotonic() - self._asked_at > _SAME_S
            return
        self._stopping.asked, self._asked_at = True, time.monotonic()
        self._cut.start()
        if not self._gently:
            raise KeyboardInterrupt


def _cut_off() -> None:
    print(
        f"tuner: no orderly end within {_PATIENCE_S:.0f} s; what was running goes on when the "
        "command is repeated",
        file=sys.stderr,
        flush=True,
    )
    fold_all()
    os._exit(130)
