"""What the ends of trials and searches mean."""

import pickle

import pytest

from tuner.study.ends import Fate, StopReason, TrialEnd, outcome
from tuner.study.messages import Ended, Failed

# As they lie in the databases of existing studies.
STORED = {
    "complete", "early_stopped", "target", "pruned", "diverged", "out_of_memory", "time_limit",
    "user_error", "error", "worker_lost", "lost", "shared_loss", "interrupted", "timeout", "errors",
    "deleted", "imported", "imported_pruned", "stopped", "paused", "yielded",
    "at_rung",
}  # fmt: skip


def test_stored_words_stay() -> None:
    assert {str(end) for end in TrialEnd} == STORED | {"taken_over"}


def test_what_each_fate_means() -> None:
    assert {fate: (fate.optuna_state, fate.takes_slot) for fate in Fate} == {
        Fate.COMPLETE: ("COMPLETE", True),
        Fate.PRUNED: ("PRUNED", True),
        Fate.INFEASIBLE: ("PRUNED", True),
        Fate.FAILED: ("FAIL", False),
        Fate.PUT_BACK: ("WAITING", False),
        Fate.PAUSED: ("WAITING", False),
    }


def test_what_each_end_means() -> None:
    with_score = {"complete", "early_stopped", "target", "imported"}
    assert {end for end in TrialEnd if end.is_success} == with_score
    assert {end for end in TrialEnd if end.counts_as_loss} == {"worker_lost", "lost"}
    assert {end for end in TrialEnd if end.next_is_alone} == {"worker_lost", "shared_loss"}
    infeasible = {end for end in TrialEnd if end.fate is Fate.INFEASIBLE}
    assert infeasible == {"diverged", "out_of_memory", "time_limit"}
    assert {end for end in TrialEnd if end.fate is Fate.FAILED} == {"user_error", "error"}
    goes_on = {end for end in TrialEnd if end.fate is Fate.PUT_BACK}
    lost = {"worker_lost", "lost", "shared_loss"}
    assert {end for end in TrialEnd if end.fate is Fate.PAUSED} == {"at_rung"}
    assert {end for end in TrialEnd if end.is_put_back_on_purpose} == goes_on - lost | {"at_rung"}
    usual = {end for end in TrialEnd if end.is_usual}
    assert usual == with_score | {"pruned", "imported_pruned", "stopped"}


@pytest.mark.parametrize("reason", StopReason)
def test_each_reason_to_stop_names_an_end(reason: StopReason) -> None:
    lets_end = (StopReason.PATIENCE, StopReason.SURE, StopReason.EXHAUSTED)
    others = dict.fromkeys(lets_end, "error") | {StopReason.STOPPED: "interrupted"}
    assert reason.trial_end == others.get(reason, str(reason))
    assert reason.ends_trials == (reason not in lets_end)


def test_messages_take_the_word_for_an_end_and_keep_it_between_processes() -> None:
    ended = Ended("diverged", None, None, 1, 7)  # type: ignore[arg-type]
    failed = Failed("user_error", "", "")  # type: ignore[arg-type]
    assert pickle.loads(pickle.dumps(ended)).end is TrialEnd.DIVERGED
    assert pickle.loads(pickle.dumps(failed)).kind is TrialEnd.USER_ERROR
    with pytest.raises(ValueError, match="no such end"):
        Ended("no such end", None, None, 1, 7)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("state", "end", "text"),
    [
        ("pruned", "diverged", "diverged"),
        ("complete", "early_stopped", "early_stopped"),
        ("waiting", None, "waiting"),
        ("waiting", "interrupted", "waiting (interrupted)"),
        ("waiting", "at_rung", "paused"),
        ("running", "worker_lost", "running (worker_lost)"),
        ("fail", None, "fail"),
    ],
)
def test_a_trial_that_goes_on_has_not_ended(state: str, end: str | None, text: str) -> None:
    assert outcome(state, end) == text
