"""When a search stops."""

import math
import time
from dataclasses import dataclass, field

from tuner.errors import UsageError

_MOST = 1_000_000
_MOST_POPULATION = 64
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
        population: int = 1,
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
        if not 1 <= population <= _MOST_POPULATION:
            most = _MOST_POPULATION
            raise UsageError(f"--population must be between 1 and {most}, got {population}")
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
