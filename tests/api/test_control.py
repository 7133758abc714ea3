"""Pausing, stopping and resuming studies from Python."""

import pytest
from api_studies import QUICK, toy
from toy_study import Bench

import tuner
from tuner import StudyError, UsageError
from tuner.storage import slots
from tuner.storage.studies import load_study
from tuner.study.study_state import StudyState


def test_a_study_is_paused_resumed_and_stopped(bench: Bench) -> None:
    study = toy(bench)
    for change, state in (
        (study.pause, StudyState.PAUSED),
        (study.resume, StudyState.RUNNING),
        (study.stop, StudyState.STOPPED),
    ):
        change()
        assert load_study(bench.store).state is state
    study.optimize(trials=1, **QUICK)
    assert load_study(bench.store).state is StudyState.RUNNING


def test_only_a_trial_that_has_begun_can_be_stopped(bench: Bench) -> None:
    study = toy(bench)
    trial = study.enqueue_trial({"x": 0.5})
    for waiting in (0, trial):
        with pytest.raises(StudyError, match="trial 0 of study 'toy' waits and has not begun"):
            study.stop_trial(waiting)
    with pytest.raises(UsageError, match="a trial is a Trial or its number"):
        study.stop_trial("0")  # type: ignore[arg-type]


def test_a_study_is_created_with_its_total(bench: Bench) -> None:
    options = {"data": "iris", "space": "tabular"}
    tuner.create_study("iris", **options, trials=4, priority=3)
    row = load_study(bench.store, "iris")
    assert (slots.total_slots(bench.store, row), row.priority) == (4, 3)
    tuner.create_study("iris", **options, trials=2)
    assert slots.total_slots(bench.store, row) == 4
    limits = {"target_score": 0.9, "patience_trials": 7, "trial_timeout": "1m", "until_sure": "2%"}
    tuner.create_study("iris", **options, **limits)
    assert load_study(bench.store, "iris").limits == {
        "target": 0.9,
        "patience_trials": 7,
        "trial_timeout_s": 60.0,
        "until_sure": "2%",
    }
    with pytest.raises(UsageError, match="target_score must be"):
        tuner.create_study("other", **options, target_score="high")
    for wrong in ({"trials": 0}, {"trials": True}, {"priority": 0.5}):
        with pytest.raises(UsageError, match=f"^{next(iter(wrong))} must be"):
            tuner.create_study("other", **options, **wrong)
