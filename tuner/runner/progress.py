"""What a running search shows: plain numbers, drawn by whoever watches.

How far a study is, by what SQL says.
"""

from dataclasses import dataclass, field
from typing import Protocol

from tuner.runner.stopping import Stopping
from tuner.storage import Store, slots
from tuner.storage.schema import StudyKey
from tuner.study.messages import Goal
from tuner.study.spec import StudySpec


@dataclass
class WorkerStatus:
    """What one worker is at. `value` is its trial's running best."""

    trial: int | None = None
    epoch: int = 0
    epochs: int = 0
    value: float | None = None


@dataclass
class RunStatus:
    """Counts are of the places up to this command's total; `ended` counts this loop's trials by
    how they ended."""

    total: int
    done: int = 0
    best: float | None = None
    best_trial: int | None = None
    ended: dict[str, int] = field(default_factory=dict)
    slots: list[WorkerStatus] = field(default_factory=list)
    done_here: int = 0
    elapsed_s: float = 0.0

    @property
    def left_s(self) -> float | None:
        """Seconds to go at the pace so far; None before the first trial has ended."""
        if not self.done_here:
            return None
        return self.elapsed_s / self.done_here * max(0, self.total - self.done)


class Watcher(Protocol):
    """Hears of a search as it goes on; must not block."""

    def changed(self, status: RunStatus) -> None: ...

    def trial_ended(
        self, status: RunStatus, trial: int, end: str, value: float | None, is_best: bool
    ) -> None:
        """`is_best`: its score is better than that of every other trial of the study."""
        ...


class Silent:
    """A watcher that shows nothing."""

    def changed(self, status: RunStatus) -> None:
        return

    def trial_ended(
        self, status: RunStatus, trial: int, end: str, value: float | None, is_best: bool
    ) -> None:
        return


def look_around(
    store: Store, study: StudyKey, spec: StudySpec, status: RunStatus, stopping: Stopping
) -> None:
    """Bring the board up to date, with what other loops and earlier commands did."""
    goal = Goal(spec.metric, spec.direction, stopping.limits.target)
    status.done = slots.slot_counts(store, study, status.total).get("done", 0)
    best = slots.best_score(store, study, spec.direction) if spec.selects else None
    if best is not None and goal.better(best[0], status.best):
        status.best, status.best_trial = best
    if goal.reached(status.best):
        stopping.target()


def all_done(store: Store, study: StudyKey, total: int) -> bool:
    """Whether all places up to that number are done: nothing is left, here or in another loop."""
    return set(slots.slot_counts(store, study, total)) <= {"done"}
