"""How far a search is: plain numbers for whoever shows them."""

from dataclasses import dataclass, field
from typing import Protocol

from tuner.algorithms.expected_gain import ExpectedGain
from tuner.runner.stopping import Stopping
from tuner.storage import Store, slots
from tuner.storage.schema import StudyKey
from tuner.storage.trial_outcomes import read_expected_gain
from tuner.study.ends import StopReason, TrialEnd
from tuner.study.messages import WorkerPlace
from tuner.study.spec import StudySpec
from tuner.values import format_number


@dataclass
class WorkerStatus:
    """What one worker does. `trial`: None while it is idle. `epochs`: None where the trial's last
    one is not known. `value`: its trial's running best. `name`: "" for the worker's number."""

    trial: int | None = None
    epoch: int = 0
    epochs: int | None = 0
    value: float | None = None
    name: str = ""

    @property
    def epoch_text(self) -> str:
        """ "3/27", or "3" where the last one is not known."""
        return f"{self.epoch}" if self.epochs is None else f"{self.epoch}/{self.epochs}"


@dataclass
class RunStatus:
    """`total`, `done`: the study's slots up to this command's total. `ended`: this loop's trials by
    how they ended; `done_here`: those of them that took their slot. `note`: what a person
    should know of the study, such as what keeps it from going on; may be empty. `pace_s`: seconds
    from one trial's end to the next, where several loops or an earlier time count too. `places`:
    where workers on other machines train, by their number. `expected`: the gain that further trials
    are expected to bring, and `expected_at` the number of trials done when it was computed; None
    where nobody asked, or it cannot be told yet. `paused`: trials of the study that wait at a
    rung."""

    total: int
    done: int = 0
    best: float | None = None
    best_trial: int | None = None
    ended: dict[TrialEnd, int] = field(default_factory=dict)
    workers: list[WorkerStatus] = field(default_factory=list)
    done_here: int = 0
    elapsed_s: float = 0.0
    note: str = ""
    pace_s: float | None = None
    places: dict[int, str] = field(default_factory=dict)
    expected: ExpectedGain | None = None
    expected_at: int = -1
    paused: int = 0

    def show_workers(self, count: int) -> None:
        """Have a line for each of so many workers; no line is taken away."""
        self.workers += [WorkerStatus() for _ in range(count - len(self.workers))]

    def show_place(self, worker: int, place: WorkerPlace | None) -> None:
        """Say where a worker trains; None for this machine, or where that is not known."""
        self.places.pop(worker, None)
        if place is not None:
            self.places[worker] = str(place)

    @property
    def places_text(self) -> str:
        """ "3 workers on 2 nodes"; "" where none is on another machine."""
        return counted_on(len(self.places), len(set(self.places.values())))

    @property
    def left_s(self) -> float | None:
        """Seconds to go at the pace so far; None before the first trial has ended."""
        # Most of the paused trials never go on: they count as if they had ended.
        pace_s, ended = self.pace_s, self.done_here + self.paused
        if pace_s is None and ended:
            pace_s = self.elapsed_s / ended
        left = self.total - self.done - self.paused
        return None if pace_s is None else pace_s * max(0, left)


def counted_on(workers: int, nodes: int) -> str:
    """ "3 workers on 2 nodes", "" for none."""
    if not nodes:
        return ""
    return f"{workers} worker{'s' * (workers > 1)} on {nodes} node{'s' * (nodes > 1)}"


def describe_end(
    status: RunStatus, metric: str, trial: int, end: TrialEnd, value: float | None, is_best: bool
) -> str:
    """A line on a trial that has ended. `metric`: the objective."""
    star = "  new best" if is_best else ""
    width = len(str(status.total))
    words = end.replace("_", " ")
    return (
        f"{status.done:>{width}}/{status.total}  trial {trial:<4} {words:<14} "
        f"{metric} {format_number(value)}{star}"
    )


class Watcher(Protocol):
    """Is told of a search's progress. Its methods must not block."""

    def changed(self, status: RunStatus) -> None: ...

    def trial_ended(
        self, status: RunStatus, trial: int, end: TrialEnd, value: float | None, is_best: bool
    ) -> None:
        """`is_best`: its score is better than that of every other trial of the study."""
        ...


class Silent:
    """A watcher that shows nothing."""

    def changed(self, status: RunStatus) -> None:
        return

    def trial_ended(
        self, status: RunStatus, trial: int, end: TrialEnd, value: float | None, is_best: bool
    ) -> None:
        return


def refresh_status(
    store: Store, study: StudyKey, spec: StudySpec, status: RunStatus, stopping: Stopping
) -> None:
    """Bring the status up to date with SQL: with what other loops and earlier commands did."""
    goal = spec.goal(stopping.limits.target)
    counts = slots.slot_counts(store, study, status.total)
    status.done, status.paused = counts.get("done", 0), counts.get("paused", 0)
    best = slots.best_score(store, study, spec.direction) if spec.selects else None
    if best is not None and goal.better(best[0], status.best):
        status.best, status.best_trial = best
    if goal.reached(status.best):
        stopping.stop(StopReason.TARGET)
    stop_if_sure(store, study, spec, status, stopping)


def stop_if_sure(
    store: Store, study: StudyKey, spec: StudySpec, status: RunStatus, stopping: Stopping
) -> None:
    """Stop where further trials are expected to bring less than the limit, if there is one."""
    limit = stopping.limits.until_sure
    if limit is not None and status.done < status.total:
        refresh_expected(store, study, spec, status)
        if status.expected is not None and limit.is_met(status.expected):
            stopping.stop(StopReason.SURE)


def refresh_expected(store: Store, study: StudyKey, spec: StudySpec, status: RunStatus) -> None:
    """Say what further trials are expected to bring, as far as more have ended."""
    # All trials are read: of many thousands not after each of them.
    if 0 <= status.done - status.expected_at <= status.done // 100:
        return
    status.expected_at = status.done
    status.expected = read_expected_gain(store, study, spec)


def all_done(store: Store, study: StudyKey, total: int) -> bool:
    """Whether no loop has anything left to do with the slots up to that number: all are done, or
    paused, in a study that still has others."""
    states = set(slots.slot_counts(store, study, total))
    if states <= {"done"}:
        return True
    return states <= {"done", "paused"} and slots.total_slots(store, study) > total
