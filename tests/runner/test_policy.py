"""What is decided about a trial: no database, no worker, no clock."""

import math
from dataclasses import replace

import pytest

from tuner.runner import policy
from tuner.runner.policy import GO_ON, STOP, STOP_WITH_CHECKPOINT, Decision, Ending, TrialSoFar
from tuner.study.artifacts import Artifact
from tuner.study.ends import MOST_LOSSES, Fate, StopReason, TrialEnd
from tuner.study.messages import OUT_OF_MEMORY, Ended, Failed, Lost, Reply, Report

TRAINING = TrialSoFar(epochs=3, best=0.7)
ENDED = Ended(TrialEnd.COMPLETE, 0.8, 3, 3, 7)
SAVING = TrialSoFar(epochs=3, best=0.8, ended=ENDED)
MODEL = Artifact("trial-0/attempt-1.keras", 10, "0" * 64)


def report(epoch: int = 1, whole: bool = True, value: float = 0.5) -> Report:
    return Report(epoch, epoch, whole, {"loss": 1.0, "val_accuracy": value})


def after_report(of: Report, is_pruned: bool = False, search_is_stopping: bool = False) -> Decision:
    return policy.after_report(
        of, TRAINING, is_pruned=is_pruned, search_is_stopping=search_is_stopping
    )


def ending_of(decision: Decision) -> Ending:
    assert decision.reply is None
    assert decision.ending is not None
    return decision.ending


def test_a_trial_goes_on_after_a_report() -> None:
    assert after_report(report()) == Decision(GO_ON)


@pytest.mark.parametrize("stopping", [False, True])
def test_a_pruned_trial_stops_with_its_running_best(stopping: bool) -> None:
    decision = after_report(report(), is_pruned=True, search_is_stopping=stopping)
    assert decision == Decision(STOP, Ending(TrialEnd.PRUNED, Fate.PRUNED, shown_value=0.7))


@pytest.mark.parametrize(
    ("of", "reply"),
    [
        (report(epoch=2), STOP_WITH_CHECKPOINT),
        (report(epoch=2, whole=False), GO_ON),
        (report(epoch=3), GO_ON),  # its last epoch: it may say so
        (report(epoch=2, value=math.nan), GO_ON),  # it ends as diverged
    ],
)
def test_a_search_that_stops_waits_for_a_checkpoint(of: Report, reply: Reply) -> None:
    assert after_report(of, search_is_stopping=True) == Decision(reply)


@pytest.mark.parametrize("is_pruned", [False, True])
def test_a_trial_that_ends_itself_is_told_and_is_stopped_only_with_its_search(
    is_pruned: bool,
) -> None:
    of = replace(report(epoch=3), advisory=True)
    assert after_report(of, is_pruned) == Decision(Reply(prune=is_pruned))
    assert after_report(of, is_pruned, search_is_stopping=True) == Decision(STOP_WITH_CHECKPOINT)


@pytest.mark.parametrize("advisory", [False, True])
def test_a_trial_that_somebody_stops_keeps_its_running_best(advisory: bool) -> None:
    of = replace(report(epoch=2, whole=False), advisory=advisory)
    decision = policy.after_report(
        of, TRAINING, is_pruned=True, search_is_stopping=True, is_stopped=True
    )
    assert decision == Decision(STOP, Ending(TrialEnd.STOPPED, Fate.PRUNED, shown_value=0.7))
    last = replace(report(epoch=3), advisory=advisory)
    decision = policy.after_report(
        last, TRAINING, is_pruned=False, search_is_stopping=False, is_stopped=True
    )
    assert decision == Decision(GO_ON)  # it is over by itself


@pytest.mark.parametrize(
    ("of", "reply"),
    [
        (report(epoch=2), STOP_WITH_CHECKPOINT),
        (report(epoch=2, whole=False), GO_ON),
        (report(epoch=3), GO_ON),
        (replace(report(epoch=2), advisory=True), GO_ON),  # it would begin again
    ],
)
def test_a_surplus_trial_leaves_where_it_can_go_on(of: Report, reply: Reply) -> None:
    decision = policy.after_report(
        of, TRAINING, is_pruned=False, search_is_stopping=False, is_surplus=True
    )
    assert decision == Decision(reply)


@pytest.mark.parametrize(
    ("of", "reply"),
    [
        (report(epoch=2), STOP_WITH_CHECKPOINT),
        (report(epoch=2, whole=False), GO_ON),
        (report(epoch=3), GO_ON),
        (report(epoch=2, value=math.nan), GO_ON),
    ],
)
def test_a_trial_is_paused_where_it_can_go_on(of: Report, reply: Reply) -> None:
    decision = policy.after_report(
        of, TRAINING, is_pruned=False, search_is_stopping=False, is_paused=True
    )
    assert decision == Decision(reply)


@pytest.mark.parametrize("reason", [None, StopReason.STOPPED, StopReason.TARGET])
def test_a_paused_trial_stays_so_if_its_search_ends(reason: StopReason | None) -> None:
    ending = policy.after_checkpoint(TrialEnd.AT_RUNG, reason, 0.7)
    assert ending == Ending(TrialEnd.AT_RUNG, Fate.PAUSED, shown_value=0.7)


@pytest.mark.parametrize("leaves_as", [TrialEnd.PAUSED, TrialEnd.YIELDED])
def test_a_trial_that_left_is_put_back(leaves_as: TrialEnd) -> None:
    ending = policy.after_checkpoint(leaves_as, None)
    assert (ending.end, ending.fate) == (leaves_as, Fate.PUT_BACK)
    stopped = policy.after_checkpoint(leaves_as, StopReason.STOPPED)
    assert (stopped.end, stopped.fate) == (TrialEnd.INTERRUPTED, Fate.PUT_BACK)


def test_a_trial_that_has_pruned_itself_needs_no_score() -> None:
    ended = Ended(TrialEnd.PRUNED, None, None, 2, 0)
    decision = policy.after_training(ended, save_to=MODEL.path)
    assert decision == Decision(STOP, Ending(TrialEnd.PRUNED, Fate.PRUNED, ended))


@pytest.mark.parametrize(
    "ended",
    [
        Ended(TrialEnd.DIVERGED, 0.5, 1, 2, 7),
        Ended(TrialEnd.COMPLETE, None, None, 3, 7),
        Ended(TrialEnd.EARLY_STOPPED, math.inf, 1, 2, 7),
    ],
)
def test_training_without_a_finite_score_is_infeasible(ended: Ended) -> None:
    decision = policy.after_training(ended, save_to=None)
    expected = Ending(TrialEnd.DIVERGED, Fate.INFEASIBLE, ended, shown_value=ended.score)
    assert decision == Decision(STOP, expected)


@pytest.mark.parametrize("end", [TrialEnd.COMPLETE, TrialEnd.EARLY_STOPPED, TrialEnd.TARGET])
def test_a_trained_trial_is_complete(end: TrialEnd) -> None:
    ended = Ended(end, 0.8, 3, 3, 7)
    decision = policy.after_training(ended, save_to=None)
    assert decision == Decision(STOP, Ending(end, Fate.COMPLETE, ended, shown_value=0.8))


def test_a_network_is_saved_before_its_trial_ends() -> None:
    name = MODEL.path
    assert policy.after_training(ENDED, save_to=name) == Decision(Reply(stop=True, save_to=name))
    ending = ending_of(policy.after_saving(SAVING, MODEL))
    assert ending == Ending(TrialEnd.COMPLETE, Fate.COMPLETE, ENDED, MODEL, shown_value=0.8)


@pytest.mark.parametrize(
    ("kind", "fate"),
    [
        (TrialEnd.USER_ERROR, Fate.FAILED),
        (TrialEnd.ERROR, Fate.FAILED),
        (TrialEnd.OUT_OF_MEMORY, Fate.INFEASIBLE),
    ],
)
def test_what_raised_decides_the_fate(kind: TrialEnd, fate: Fate) -> None:
    ending = ending_of(policy.after_failure(Failed(kind, "ValueError", "Traceback"), TRAINING))
    assert ending == Ending(kind, fate, detail="Traceback")


@pytest.mark.parametrize(
    ("lost", "losses", "end", "fate"),
    [
        (Lost(9), 0, TrialEnd.WORKER_LOST, Fate.PUT_BACK),
        (Lost(9), MOST_LOSSES - 2, TrialEnd.WORKER_LOST, Fate.PUT_BACK),
        (Lost(9), MOST_LOSSES - 1, TrialEnd.WORKER_LOST, Fate.INFEASIBLE),
        (Lost(OUT_OF_MEMORY), 0, TrialEnd.OUT_OF_MEMORY, Fate.INFEASIBLE),
        # What happened to a trial beside it never counts against a trial.
        (Lost(9, beside=1), MOST_LOSSES, TrialEnd.SHARED_LOSS, Fate.PUT_BACK),
        (Lost(OUT_OF_MEMORY, beside=1), 0, TrialEnd.SHARED_LOSS, Fate.PUT_BACK),
        (Lost(None, restarted=True), MOST_LOSSES, TrialEnd.INTERRUPTED, Fate.PUT_BACK),
    ],
)
def test_a_lost_worker(lost: Lost, losses: int, end: TrialEnd, fate: Fate) -> None:
    ending = ending_of(policy.after_loss(lost, TRAINING, earlier_losses=losses))
    assert (ending.end, ending.fate) == (end, fate)
    assert lost.how in (ending.detail or "")


def test_too_many_losses_are_told_with_their_number() -> None:
    ending = ending_of(policy.after_loss(Lost(9), TRAINING, earlier_losses=MOST_LOSSES - 1))
    assert ending.detail == "lost 3 times; at last its worker ended with exit code 9"


@pytest.mark.parametrize("shares_process", [False, True])
def test_the_time_limit_counts_against_a_trial_that_is_alone(shares_process: bool) -> None:
    ending = policy.after_time_limit(TRAINING, 60.0, shares_process=shares_process)
    assert (ending.detail or "").startswith("still training after 60 s, the limit for one trial")
    if shares_process:
        assert (ending.end, ending.fate) == (TrialEnd.SHARED_LOSS, Fate.PUT_BACK)
    else:
        assert (ending.end, ending.fate) == (TrialEnd.TIME_LIMIT, Fate.INFEASIBLE)
        assert ending.shown_value == 0.7


@pytest.mark.parametrize("reason", [None, *StopReason])
def test_a_trial_that_runs_when_the_search_ends_is_put_back(reason: StopReason | None) -> None:
    ending = policy.after_stop(TRAINING, reason)
    assert ending.fate is Fate.PUT_BACK
    assert ending.end == (TrialEnd.ERROR if reason is None else reason.trial_end)


@pytest.mark.parametrize(
    ("ending", "detail"),
    [
        (ending_of(policy.after_failure(Failed(TrialEnd.ERROR, "", "disk full"), SAVING)), "disk"),
        (ending_of(policy.after_loss(Lost(9), SAVING, earlier_losses=9)), "while saving the netw"),
        (policy.after_time_limit(SAVING, 60.0, shares_process=True), "its network (time_limit)"),
        (policy.after_stop(SAVING, StopReason.TIMEOUT), "its network (timeout)"),
    ],
)
def test_a_score_outlives_a_network_that_is_not_saved(ending: Ending, detail: str) -> None:
    assert (ending.end, ending.fate, ending.training) == (TrialEnd.COMPLETE, Fate.COMPLETE, ENDED)
    assert (ending.shown_value, ending.model) == (0.8, None)
    assert detail in (ending.detail or "")
