"""When a search stops: its limits, and what SIGINT, SIGTERM and a closed terminal do to it."""

import logging
import math
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from numbers import Integral, Real
from types import FrameType
from typing import Any

from tuner.algorithms.expected_gain import GainLimit
from tuner.errors import UsageError
from tuner.storage import fold_all
from tuner.study.ends import StopReason
from tuner.system.names import as_option
from tuner.values import shown

logger = logging.getLogger(__name__)
MOST_TRIALS = 1_000_000
_MOST_LANES = 64
# So many trials in a row that fail stop the search.
MOST_FAILURES = 3


@dataclass(frozen=True)
class Limits:
    """`trials`: the study's total of slots. Others end this loop early: `timeout_s` and `target`
    put running trials back; after `patience_trials` trials in a row without a better score no new
    one is begun, nor once the expected gain has met `until_sure`. `trial_timeout_s` ends one
    attempt of a trial."""

    trials: int
    timeout_s: float | None = None
    target: float | None = None
    patience_trials: int | None = None
    trial_timeout_s: float | None = None
    until_sure: GainLimit | None = None

    @staticmethod
    def check(
        trials: int | None,
        more: int | None,
        workers: int | None,
        patience_trials: int | None,
        target: float | None,
        lanes: int = 1,
        spell: Callable[[str], str] = as_option,
    ) -> None:
        """Raises UsageError for numbers out of range. `spell`: how the user wrote their names."""
        if (trials is None) == (more is None):
            total, added = spell("trials"), spell("more")
            raise UsageError(
                f"say how many trials: either {total}, the study's total, or {added}, how many to "
                "add"
            )
        counts = {
            "trials": trials,
            "more": more,
            "workers": workers,
            "patience_trials": patience_trials,
        }
        for name, count in counts.items():
            if count is not None:
                Limits.check_count(spell(name), count)
        Limits.check_count(spell("lanes"), lanes, _MOST_LANES)
        Limits.check_target(spell("target"), target)

    @staticmethod
    def check_target(option: str, target: object) -> None:
        """`option`: as the user wrote it. Raises UsageError."""
        if target is None or (isinstance(target, Real) and math.isfinite(target)):
            return
        raise UsageError(f"{option} must be a finite number, got {shown(target)}")

    @staticmethod
    def check_count(option: str, count: object, most: int = MOST_TRIALS) -> None:
        """`option`: as the user wrote it. Raises UsageError."""
        if not isinstance(count, Integral) or isinstance(count, bool):
            raise UsageError(f"{option} must be a whole number, got {shown(count)}")
        if not 1 <= int(count) <= most:
            raise UsageError(f"{option} must be between 1 and {most}, got {shown(count)}")

    @classmethod
    def stored(cls, limits: Mapping[str, Any]) -> "Limits":
        """Those that a study stores for daemons (`StudyRow.limits`), without a total. Names of
        later versions and values that cannot be read are left out."""
        names = ("target", "patience_trials", "trial_timeout_s")
        numbers = {name: limits[name] for name in names if _is_number(limits.get(name))}
        return cls(0, **numbers, until_sure=_stored_gain(limits.get("until_sure")))


def _stored_gain(value: object) -> GainLimit | None:
    try:
        return GainLimit.parse(value, "until_sure") if isinstance(value, str) else None
    except UsageError:
        return None


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


@dataclass
class Stopping:
    """Whether to begin more trials, and whether to end those that run. `asked` is set by a signal,
    `hurried` by a second one: then nothing is waited for. `over`: the loop has ended, not by an
    error; what is left is to send its trials to MLflow."""

    limits: Limits
    started: float = field(default_factory=time.monotonic)
    asked: bool = False
    hurried: bool = False
    over: bool = False
    reason: StopReason | None = None
    trials_without_gain: int = 0
    failures_in_a_row: int = 0

    @property
    def at_once(self) -> bool:
        """Whether running trials are to be put back now."""
        if not self._ends_trials:
            timeout = self.limits.timeout_s
            if self.asked:
                self.reason = StopReason.INTERRUPTED
            elif timeout is not None and time.monotonic() - self.started >= timeout:
                self.reason = StopReason.TIMEOUT
        return self._ends_trials

    @property
    def no_more(self) -> bool:
        """Whether no new trial is to be begun."""
        return self.at_once or self.reason is not None

    @property
    def _ends_trials(self) -> bool:
        return self.reason is not None and self.reason.ends_trials

    def trial_done(self, is_best: bool, reaches_target: bool, was_paused: bool = False) -> None:
        """A trial has taken its slot. `is_best`: it is the new best one. `was_paused`: it counted
        when it was paused."""
        self.failures_in_a_row = 0
        if reaches_target:
            self.stop(StopReason.TARGET)
        self._count(is_best, counts=not was_paused)

    def trial_paused(self, is_promising: bool, was_paused: bool) -> None:
        """A trial is paused at a rung. `is_promising`: its running best is better than the best
        score. `was_paused`: before, too."""
        self.failures_in_a_row = 0
        self._count(is_promising, counts=not was_paused)

    def _count(self, is_gain: bool, counts: bool) -> None:
        self.trials_without_gain = 0 if is_gain else self.trials_without_gain + counts
        patience = self.limits.patience_trials
        if patience is not None and self.trials_without_gain >= patience:
            self.stop(StopReason.PATIENCE)

    def trial_failed(self) -> None:
        """The code of a trial raised."""
        self.failures_in_a_row += 1
        if self.failures_in_a_row >= MOST_FAILURES:
            self.stop(StopReason.ERRORS)

    def stop(self, reason: StopReason) -> None:
        """Stop for a reason, unless there is a more pressing one."""
        is_pressing = reason in (StopReason.ERRORS, StopReason.DELETED)
        if is_pressing or self.reason is None or (reason.ends_trials and not self._ends_trials):
            self.reason = reason


_PATIENCE_S = 8.0
# Two signals within this time are one: the terminal sends it to a command and to its parent, which
# may pass it on.
_SAME_S = 0.5


class Interrupts:
    """The first signal asks the search to stop. While no trial runs, it ends the search by a
    KeyboardInterrupt. A second signal asks to wait for no checkpoint.

    `owns_process`: the process is a command, which exists for the search. If the search has not
    ended some seconds after the signal, for instance because its database is dead, the process
    ends, and the next search puts in order what it leaves behind. In a process of the user's, a
    third signal ends the search by a KeyboardInterrupt at once. Signals that were ignored before,
    or that another library handles, are left alone, and after the search the signal is given to
    whoever handled it before: SIGINT raises KeyboardInterrupt then.

    Python handles signals in the main thread. In another thread, this does nothing.
    """

    def __init__(self, stopping: Stopping, owns_process: bool = True) -> None:
        self._stopping, self._owns_process = stopping, owns_process
        self._gently = False
        self._asked_at = 0.0
        self._number: int | None = None
        self._cut = threading.Timer(_PATIENCE_S, _cut_off)
        self._cut.daemon = True

    @contextmanager
    def caught(self) -> Iterator[None]:
        """Inside, signals are handled here."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self._on_signal) for number in self._caught()}
        try:
            yield
        except KeyboardInterrupt:
            if self._owns_process or self._number in (None, signal.SIGINT):
                raise
        finally:
            self._cut.cancel()
            for number, handler in before.items():
                signal.signal(number, handler)
        if self._number is not None and not self._owns_process:
            fold_all()  # the signal may end the process
            signal.raise_signal(self._number)

    def _caught(self) -> list[signal.Signals]:
        numbers = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
        handlers = {number: signal.getsignal(number) for number in numbers}
        if self._owns_process:
            # Under nohup SIGHUP is ignored, and stays so.
            return numbers if handlers[signal.SIGHUP] != signal.SIG_IGN else numbers[:2]
        return [number for number in numbers if handlers[number] not in (None, signal.SIG_IGN)]

    @contextmanager
    def gently(self) -> Iterator[None]:
        """Inside, a signal only asks the search to stop."""
        self._gently = True
        try:
            yield
        finally:
            self._gently = False

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        if self._stopping.asked:
            self._hurry()
            return
        self._stopping.asked, self._asked_at, self._number = True, time.monotonic(), number
        if self._owns_process:
            self._cut.start()
        if not self._gently:
            raise KeyboardInterrupt

    def _hurry(self) -> None:
        """Another signal has come, unless it is the first one again."""
        if time.monotonic() - self._asked_at <= _SAME_S:
            return
        if self._stopping.hurried and not self._owns_process:
            raise KeyboardInterrupt
        self._stopping.hurried, self._asked_at = True, time.monotonic()


def _cut_off() -> None:
    text = "no orderly end within %.0f s; what was running goes on when the command is repeated"
    # In a thread: the main one may be stuck in a log's write, and hold its lock.
    log = threading.Thread(target=logger.warning, args=(text, _PATIENCE_S), daemon=True)
    log.start()
    log.join(1.0)
    fold_all()
    os._exit(130)
