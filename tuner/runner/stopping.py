"""When a search stops.

What SIGINT, SIGTERM and a closed terminal do to a search.
"""

import math
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType

from tuner.errors import UsageError
from tuner.storage import fold_all

_MOST = 1_000_000
_MOST_LANES = 64
_AT_ONCE = ("interrupted", "timeout", "target", "errors", "deleted")


@dataclass(frozen=True)
class Limits:
    """`trials` is the study's total of places. The others end this loop early: `timeout_s` and
    `target` put running trials back; after `patience_trials` finished trials in a row that bring
    no better score, no new one is begun. `trial_timeout_s` ends a single attempt of a trial."""

    trials: int
    timeout_s: float | None = None
    target: float | None = None
    patience_trials: int | None = None
    trial_timeout_s: float | None = None

    @staticmethod
    def check(
        trials: int | None,
        more: int | None,
        workers: int | None,
        patience_trials: int | None,
        target: float | None,
        lanes: int = 1,
    ) -> None:
        """Raise UsageError for numbers that mean nothing."""
        if (trials is None) == (more is None):
            raise UsageError("say how many trials: either --trials 100 in all, or --more 20")
        counts = {
            "--trials": trials,
            "--more": more,
            "--workers": workers,
            "--patience-trials": patience_trials,
        }
        for option, count in counts.items():
            if count is not None and not 1 <= count <= _MOST:
                raise UsageError(f"{option} must be between 1 and {_MOST}, got {count}")
        if not 1 <= lanes <= _MOST_LANES:
            most = _MOST_LANES
            raise UsageError(f"--lanes must be between 1 and {most}, got {lanes}")
        if target is not None and not math.isfinite(target):
            raise UsageError(f"--target must be a finite number, got {target}")


@dataclass
class Stopping:
    """Whether to begin more trials, and whether to leave at once. `asked` is set by a signal,
    `hurried` by a second one: then nothing is waited for."""

    limits: Limits
    started: float = field(default_factory=time.monotonic)
    asked: bool = False
    hurried: bool = False
    reason: str | None = None
    without_gain: int = 0

    @property
    def at_once(self) -> bool:
        """Whether running trials are to be put back now."""
        if self.reason not in _AT_ONCE:
            timeout = self.limits.timeout_s
            if self.asked:
                self.reason = "interrupted"
            elif timeout is not None and time.monotonic() - self.started >= timeout:
                self.reason = "timeout"
        return self.reason in _AT_ONCE

    @property
    def no_more(self) -> bool:
        """Whether no new trial is to be begun."""
        return self.at_once or self.reason is not None

    def finished(self, gained: bool, reached: bool) -> None:
        """A trial has ended; `gained` if it is the new best, `reached` if it meets the target."""
        self.without_gain = 0 if gained else self.without_gain + 1
        patience = self.limits.patience_trials
        if reached:
            self.target()
        elif patience is not None and self.without_gain >= patience:
            self.reason = self.reason or "patience"

    def target(self) -> None:
        if self.reason not in _AT_ONCE:
            self.reason = "target"

    def errors(self) -> None:
        self.reason = "errors"

    def deleted(self) -> None:
        """Someone is about to delete the study: nothing else matters any more."""
        self.reason = "deleted"


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
