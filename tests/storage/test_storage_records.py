"""What trials leave behind comes back as it was."""

import math

import optuna
import pytest

from tuner.storage import Store, places, records
from tuner.storage.places import Place
from tuner.storage.studies import StudyRow
from tuner.training.events import Ended, Interval


@pytest.fixture
def place(store: Store, study: StudyRow) -> Place:
    """A place whose trial runs."""
    lease = places.open_lease(store, study.study_id)
    places.ensure_places(store, study.study_id, 1)
    trial = optuna.load_study(study_name=study.name, storage=store.optuna).ask()
    place = places.claim(store, lease, 1)
    assert place is not None
    return places.begin_attempt(store, lease, place, trial._trial_id, worker=3)


def attempts(store: Store, place: Place) -> list[records.AttemptRow]:
    assert place.trial_id is not None
    return records.read_attempts(store, place.study_id)[place.trial_id]


def test_metrics_that_are_no_numbers_survive(store: Store, place: Place) -> None:
    metrics = {"loss": math.nan, "val_loss": math.inf, "a": -math.inf, "b": 1e-300, "c": 0.1}
    records.record_interval(store, place, Interval(5, 2, True, metrics))
    assert place.trial_id is not None
    (row,) = records.read_intervals(store, place.trial_id, 1)
    assert (row.step, row.epoch, row.whole) == (5, 2, True)
    assert math.isnan(row.metrics.pop("loss"))
    assert row.metrics == {"val_loss": math.inf, "a": -math.inf, "b": 1e-300, "c": 0.1}


def test_intervals_come_in_order_from_a_step_on(store: Store, place: Place) -> None:
    for step in (3, 1, 2):
        records.record_interval(store, place, Interval(step, 1, step == 3, {"loss": step}))
    assert place.trial_id is not None
    rows = records.read_intervals(store, place.trial_id, 1, after_step=1)
    assert [(row.step, row.whole, row.metrics["loss"]) for row in rows] == [
        (2, False, 2.0),
        (3, True, 3.0),
    ]
    assert records.read_intervals(store, place.trial_id, 2) == []


def test_an_attempt_is_open_until_its_end_is_recorded(store: Store, place: Place) -> None:
    (running,) = attempts(store, place)
    assert (running.attempt, running.worker, running.end, running.ended_at) == (1, 3, None, None)
    assert running.seconds == {}
    ended = Ended("early_stopped", 0.75, 4, 9, 10**12, {"train": 1.5, "prepare": 0.25}, "xla")
    records.record_end(store, place, "early_stopped", ended, model_path="/models/trial-0.keras")
    (row,) = attempts(store, place)
    assert (row.end, row.score, row.best_epoch, row.epochs) == ("early_stopped", 0.75, 4, 9)
    assert (row.parameter_count, row.engine, row.seconds) == (10**12, "xla", ended.seconds)
    assert (row.model_path, row.detail) == ("/models/trial-0.keras", None)
    assert row.ended_at is not None
    assert 0 <= row.ended_at - row.started_at < 60


def test_a_failure_keeps_its_traceback_whole(store: Store, place: Place) -> None:
    detail = (
        "Traceback (most recent call last):\n  …\nValueError: 100 % of {braces} 'quoted' \\ ü 🙂"
    )
    records.record_end(store, place, "user_error", detail=detail)
    (row,) = attempts(store, place)
    assert (row.detail, row.score, row.epochs) == (detail, None, None)


def test_putting_back_does_not_overwrite_a_recorded_end(store: Store, place: Place) -> None:
    records.record_end(store, place, "complete", Ended("complete", 0.5, 1, 1, 7))
    places.put_back(store, place, "lost")
    assert [(row.end, row.score) for row in attempts(store, place)] == [("complete", 0.5)]
