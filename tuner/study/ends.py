"""How trials and searches end, and what that means.

The words of TrialEnd are those that SQL stores and that tables show: they never change.
"""

from enum import StrEnum
from typing import Literal


class Fate(StrEnum):
    """What becomes of a trial when its attempt has ended."""

    COMPLETE = "complete"
    """It has a score."""
    PRUNED = "pruned"
    """The pruner, or somebody, ended it: its best report is its value."""
    INFEASIBLE = "infeasible"
    """Its configuration cannot work. Optuna is told PRUNED with a violated constraint: the only
    form that samplers learn from, since they ignore failed trials."""
    FAILED = "failed"
    """The user's own code raised: no fault of the configuration. Its slot is free again."""
    PUT_BACK = "put back"
    """Its next attempt goes on with the same number and params."""
    PAUSED = "paused"
    """It waits at a rung, and keeps its slot: its next attempt begins when it has earned it."""

    @property
    def takes_slot(self) -> bool:
        """Whether the trial's slot is used up."""
        return self not in (Fate.FAILED, Fate.PUT_BACK, Fate.PAUSED)

    @property
    def optuna_state(self) -> Literal["COMPLETE", "PRUNED", "FAIL", "WAITING"]:
        """What Optuna is told."""
        return _OPTUNA_STATES[self]


_OPTUNA_STATES: dict[Fate, Literal["COMPLETE", "PRUNED", "FAIL", "WAITING"]] = {
    Fate.COMPLETE: "COMPLETE",
    Fate.PRUNED: "PRUNED",
    Fate.INFEASIBLE: "PRUNED",
    Fate.FAILED: "FAIL",
    Fate.PUT_BACK: "WAITING",
    Fate.PAUSED: "WAITING",
}


class TrialEnd(StrEnum):
    """How an attempt of a trial ended."""

    COMPLETE = "complete"
    """It ran all its epochs."""
    EARLY_STOPPED = "early_stopped"
    TARGET = "target"
    """It reached the target, or was running when another trial did: that one is put back."""
    PRUNED = "pruned"
    STOPPED = "stopped"
    """Somebody ended this one trial."""
    DIVERGED = "diverged"
    """A loss or metric was no finite number."""
    OUT_OF_MEMORY = "out_of_memory"
    TIME_LIMIT = "time_limit"
    USER_ERROR = "user_error"
    """The user's own network or data raised."""
    ERROR = "error"
    """The training raised; or the search ended by an error while the trial ran."""
    WORKER_LOST = "worker_lost"
    """Its worker process died."""
    LOST = "lost"
    """Its loop died, or was silent for longer than its lease."""
    SHARED_LOSS = "shared_loss"
    """Trials that share a process died with it, or passed a limit together. Any of them may be the
    cause, so it counts against none."""
    INTERRUPTED = "interrupted"
    TIMEOUT = "timeout"
    """The search's time was up."""
    ERRORS = "errors"
    """Other trials failed, which ended the search."""
    DELETED = "deleted"
    """The study was about to be deleted."""
    PAUSED = "paused"
    """The study was paused."""
    AT_RUNG = "at_rung"
    """The pruner paused it at a rung. Where it never goes on, it is pruned when the study ends."""
    YIELDED = "yielded"
    """A trial of another study got its worker."""
    TAKEN_OVER = "taken_over"
    """Another loop has the trial. Shown by the loop that lost it; SQL has `lost`."""
    IMPORTED = "imported"
    """It was run elsewhere, and has its score from there."""
    IMPORTED_PRUNED = "imported_pruned"
    """It was run elsewhere, and pruned there."""

    @property
    def fate(self) -> Fate:
        """What becomes of the trial. After a loss: where it may have another attempt, see
        MOST_LOSSES."""
        return _FATES.get(self, Fate.PUT_BACK)

    @property
    def is_success(self) -> bool:
        """Whether the trial has a score."""
        return self.fate is Fate.COMPLETE

    @property
    def is_usual(self) -> bool:
        """Whether it is how trials end where nothing is wrong."""
        return self.fate in (Fate.COMPLETE, Fate.PRUNED)

    @property
    def counts_as_loss(self) -> bool:
        """Whether it counts against the trial: it was not meant to end there."""
        return self in (TrialEnd.WORKER_LOST, TrialEnd.LOST)

    @property
    def is_put_back_on_purpose(self) -> bool:
        """Whether the trial goes on later, and nothing went wrong."""
        goes_on = self.fate in (Fate.PUT_BACK, Fate.PAUSED)
        return goes_on and not (self.counts_as_loss or self.next_is_alone)

    @property
    def next_is_alone(self) -> bool:
        """Whether the next attempt has a process to itself, which shows if it is the cause."""
        return self in (TrialEnd.WORKER_LOST, TrialEnd.SHARED_LOSS)


_FATES = {
    TrialEnd.COMPLETE: Fate.COMPLETE,
    TrialEnd.EARLY_STOPPED: Fate.COMPLETE,
    TrialEnd.TARGET: Fate.COMPLETE,
    TrialEnd.IMPORTED: Fate.COMPLETE,
    TrialEnd.PRUNED: Fate.PRUNED,
    TrialEnd.STOPPED: Fate.PRUNED,
    TrialEnd.IMPORTED_PRUNED: Fate.PRUNED,
    TrialEnd.AT_RUNG: Fate.PAUSED,
    TrialEnd.DIVERGED: Fate.INFEASIBLE,
    TrialEnd.OUT_OF_MEMORY: Fate.INFEASIBLE,
    TrialEnd.TIME_LIMIT: Fate.INFEASIBLE,
    TrialEnd.USER_ERROR: Fate.FAILED,
    TrialEnd.ERROR: Fate.FAILED,
}


def outcome(state: str, end: str | None) -> str:
    """How a trial ended, or its state before that: `worker_lost` says more than `pruned`. `state`:
    such as running; `end`: of its last attempt."""
    if state == "waiting" and end == TrialEnd.AT_RUNG:
        return "paused"
    if state in ("waiting", "running"):
        return f"{state} ({end})" if end else state
    return end or state


# A trial that was lost this often is infeasible.
MOST_LOSSES = 3


class StopReason(StrEnum):
    """Why a search stops before all its slots are done."""

    INTERRUPTED = "interrupted"
    """By a signal."""
    STOPPED = "stopped"
    """Someone asked the study's searches to stop."""
    TIMEOUT = "timeout"
    TARGET = "target"
    PATIENCE = "patience"
    """The last trials brought nothing better."""
    SURE = "sure"
    """Further trials are expected to bring little."""
    EXHAUSTED = "exhausted"
    """Every configuration of the space has its trial."""
    ERRORS = "errors"
    """Several trials in a row failed."""
    DELETED = "deleted"
    """Someone is about to delete the study."""
    PAUSED = "paused"
    """The study is paused: a daemon's search of it ends, one in the foreground waits."""

    @property
    def in_words(self) -> str:
        """Why the search has stopped, for people."""
        return _STOPPED_BECAUSE[self]

    @property
    def ends_trials(self) -> bool:
        """Whether running trials are put back at once. Otherwise they train to their end, and only
        no new one is begun."""
        return self not in (StopReason.PATIENCE, StopReason.SURE, StopReason.EXHAUSTED)

    @property
    def awaits_checkpoints(self) -> bool:
        """Whether running epochs may end first, so that the next attempts lose nothing."""
        return self in (StopReason.INTERRUPTED, StopReason.STOPPED, StopReason.TIMEOUT)

    @property
    def trial_end(self) -> TrialEnd:
        """How the attempts end that are put back. Where running trials train to their end none is,
        unless by an error."""
        if self is StopReason.STOPPED:
            return TrialEnd.INTERRUPTED
        return TrialEnd(self.value) if self.ends_trials else TrialEnd.ERROR


_STOPPED_BECAUSE = {
    StopReason.INTERRUPTED: "interrupted",
    StopReason.STOPPED: "another command asked it to stop",
    StopReason.TIMEOUT: "the time limit is reached",
    StopReason.TARGET: "the target is reached",
    StopReason.PATIENCE: "the last trials brought no better score",
    StopReason.SURE: "further trials are expected to bring little",
    StopReason.EXHAUSTED: "every configuration of the space has been tried",
    StopReason.ERRORS: "three trials in a row failed",
    StopReason.DELETED: "the study is being deleted",
    StopReason.PAUSED: "the study is paused",
}
