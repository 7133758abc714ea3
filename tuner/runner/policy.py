"""What is done about a running trial: pure functions, without SQL, processes or a clock.

From what happened and the trial so far follows a Decision: what the worker is told, then how the
trial's attempt ends, if it does. The loop carries it out: the worker first, so that it goes on
while SQL is written.
"""

import math
from dataclasses import dataclass

from tuner.study.artifacts import Artifact
from tuner.study.ends import MOST_LOSSES, Fate, StopReason, TrialEnd
from tuner.study.messages import Ended, Failed, Lost, Reply, Report

GO_ON = Reply()
STOP = Reply(stop=True)
STOP_WITH_CHECKPOINT = Reply(stop=True, checkpoint=True)


@dataclass(frozen=True)
class TrialSoFar:
    """A running trial. `epochs`: those that it may train, None where that is not known. `best`: its
    running best. `ended`: how its training ended, while its network is being saved."""

    epochs: int | None
    best: float | None = None
    ended: Ended | None = None


@dataclass(frozen=True)
class Ending:
    """How an attempt ends, and what becomes of its trial.

    `training`: what the worker said at its end, where training came to one. `model`: its saved
    network. `detail`: for people. `shown_value`: what those who watch the search are shown.
    """

    end: TrialEnd
    fate: Fate
    training: Ended | None = None
    model: Artifact | None = None
    detail: str | None = None
    shown_value: float | None = None


@dataclass(frozen=True)
class Decision:
    """`reply` goes to the worker, None where it waits for none. `ending`: None while the trial
    goes on, or its network is being saved."""

    reply: Reply | None = None
    ending: Ending | None = None


def after_report(
    report: Report,
    trial: TrialSoFar,
    *,
    is_pruned: bool,
    search_is_stopping: bool,
    is_stopped: bool = False,
    is_surplus: bool = False,
    is_paused: bool = False,
) -> Decision:
    """A report was recorded, and the pruner asked. `search_is_stopping`: or it is paused.
    `is_stopped`: somebody ends this one trial. `is_surplus`: more trials run than may. `is_paused`:
    the pruner pauses this one."""
    if is_stopped and not _is_last(report, trial):
        return Decision(STOP, stopped(trial.best))
    if report.advisory:
        return Decision(STOP_WITH_CHECKPOINT if search_is_stopping else Reply(prune=is_pruned))
    if is_pruned:
        return Decision(STOP, pruned(trial.best))
    if (search_is_stopping or is_surplus or is_paused) and _can_resume_after(report, trial):
        return Decision(STOP_WITH_CHECKPOINT)
    return Decision(GO_ON)


def _is_last(report: Report, trial: TrialSoFar) -> bool:
    return report.whole and report.epoch == trial.epochs


def _can_resume_after(report: Report, trial: TrialSoFar) -> bool:
    """Whether a next attempt could go on after this report. A trial that has trained its last
    epoch, or has diverged, may say so instead."""
    is_finite = all(map(math.isfinite, report.metrics.values()))
    return report.whole and not _is_last(report, trial) and is_finite


def has_score(ended: Ended) -> bool:
    """Whether training ended with a score that can be compared."""
    if ended.end is TrialEnd.DIVERGED or ended.score is None:
        return False
    return math.isfinite(ended.score)


def after_training(ended: Ended, *, save_to: str | None) -> Decision:
    """Training has ended by itself. `save_to`: the name under which its network is to be
    saved, if it is: then the trial ends when that is done."""
    if ended.end is TrialEnd.PRUNED:  # by the trial's own code
        return Decision(STOP, Ending(ended.end, Fate.PRUNED, ended, shown_value=ended.score))
    if not has_score(ended):
        end = TrialEnd.DIVERGED
        ending = Ending(end, Fate.INFEASIBLE, training=ended, shown_value=ended.score)
        return Decision(STOP, ending)
    if save_to is not None:
        return Decision(Reply(stop=True, save_to=save_to))
    return Decision(STOP, completed(ended))


def after_saving(trial: TrialSoFar, model: Artifact) -> Decision:
    """The worker has saved the network of a trial whose training has ended."""
    assert trial.ended is not None
    return Decision(ending=completed(trial.ended, model=model))


def after_failure(failure: Failed, trial: TrialSoFar) -> Decision:
    """The training, or the saving of the network, raised."""
    if trial.ended is not None:  # only its network is missing: the score is no less true
        return Decision(ending=completed(trial.ended, detail=failure.detail))
    return Decision(ending=failed(failure.kind, failure.detail))


def after_loss(lost: Lost, trial: TrialSoFar, *, earlier_losses: int) -> Decision:
    """The worker process is gone. `earlier_losses`: of the trial's attempts before this one."""
    return Decision(ending=_ending_by_loss(lost, trial, earlier_losses))


def _ending_by_loss(lost: Lost, trial: TrialSoFar, earlier_losses: int) -> Ending:
    cause = lost.how
    if trial.ended is not None:
        return completed(trial.ended, detail=f"{cause} while saving the network")
    if lost.restarted:
        return put_back(TrialEnd.INTERRUPTED, cause)
    if lost.beside:
        # Any of them may be the cause: it counts against none. The next attempt is alone.
        return put_back(TrialEnd.SHARED_LOSS, cause)
    if lost.out_of_memory:
        return Ending(TrialEnd.OUT_OF_MEMORY, Fate.INFEASIBLE, detail=cause)
    losses = earlier_losses + 1
    if losses < MOST_LOSSES:
        return put_back(TrialEnd.WORKER_LOST, cause)
    detail = f"lost {losses} times; at last {cause}"
    return Ending(TrialEnd.WORKER_LOST, Fate.INFEASIBLE, detail=detail)


def after_time_limit(trial: TrialSoFar, limit_s: float, *, shares_process: bool) -> Ending:
    """The trial has trained for longer than `limit_s` seconds; its worker was ended."""
    detail = f"still training after {limit_s:g} s, the limit for one trial"
    if trial.ended is not None:
        return completed(trial.ended, detail=_unsaved(TrialEnd.TIME_LIMIT))
    if shares_process:
        # One lane computes at a time: it may have waited for the others. The next attempt is alone.
        return put_back(TrialEnd.SHARED_LOSS, f"{detail}, beside others")
    return Ending(TrialEnd.TIME_LIMIT, Fate.INFEASIBLE, detail=detail, shown_value=trial.best)


def after_checkpoint(
    leaves_as: TrialEnd, reason: StopReason | None, best: float | None = None
) -> Ending:
    """The trial has stopped behind a whole epoch. `leaves_as`: why it was asked to; `reason`: why
    the search ends, if it does by now; `best`: its running best."""
    if leaves_as is TrialEnd.AT_RUNG:  # also where the search ends: it has not earned more
        return Ending(leaves_as, leaves_as.fate, shown_value=best)
    return put_back(leaves_as if reason is None else reason.trial_end)


def after_stop(trial: TrialSoFar, reason: StopReason | None) -> Ending:
    """The search ends while the trial runs. `reason`: None for an error."""
    end = TrialEnd.ERROR if reason is None else reason.trial_end
    if trial.ended is not None:  # only its network is missing: what it has trained is not lost
        return completed(trial.ended, detail=_unsaved(end))
    return put_back(end)


def completed(ended: Ended, *, model: Artifact | None = None, detail: str | None = None) -> Ending:
    """The trial has its score."""
    return Ending(ended.end, Fate.COMPLETE, ended, model, detail, shown_value=ended.score)


def put_back(end: TrialEnd, detail: str | None = None) -> Ending:
    """The trial's next attempt goes on, here or in another loop."""
    return Ending(end, Fate.PUT_BACK, detail=detail)


def pruned(best: float | None) -> Ending:
    """The pruner ends the trial."""
    return Ending(TrialEnd.PRUNED, Fate.PRUNED, shown_value=best)


def stopped(best: float | None) -> Ending:
    """Somebody ends the trial: what it has reached counts."""
    return Ending(TrialEnd.STOPPED, TrialEnd.STOPPED.fate, shown_value=best)


def failed(kind: TrialEnd, detail: str) -> Ending:
    """The training raised: memory is no fault of the code, everything else is."""
    return Ending(kind, kind.fate, detail=detail)


def _unsaved(end: TrialEnd) -> str:
    return f"ended while it was saving its network ({end})"
