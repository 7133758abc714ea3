"""What trials leave behind comes back as it was."""

import math

import pytest
from optuna.trial import TrialState
from trial_writes import begin, begun, claimed, fail, put_back, tell

from tuner.artifacts import Artifact
from tuner.errors import TakenOver
from tuner.storage import Store, leases, places, records
from tuner.storage.leases import Lease
from tuner.storage.places import Place
from tuner.storage.records import AttemptEnd
from tuner.storage.studies import StudyRow
from tuner.training.events import Ended, Interval


@pytest.fixture
def lease(store: Store, study: StudyRow) -> Lease:
    return leases.open_lease(store, study)


@pytest.fixture
def place(store: Store, lease: Lease) -> Place:
    """A place whose trial runs."""
    places.ensure_places(store, lease, 1)
    return begun(store, lease, worker=3)


def attempts(store: Store, place: Place) -> list[records.AttemptRow]:
    assert place.trial_id is not None
    return records.read_attempts(store, place)[place.trial_id]


def test_metrics_that_are_no_numbers_survive(store: Store, lease: Lease, place: Place) -> None:
    metrics = {"loss": math.nan, "val_loss": math.inf, "a": -math.inf, "b": 1e-300, "c": 0.1}
    records.record_interval(store, lease, place, Interval(5, 2, True, metrics))
    assert place.trial_id is not None
    (row,) = records.read_intervals(store, place, place.trial_id, 1)
    assert (row.step, row.epoch, row.whole) == (5, 2, True)
    assert math.isnan(row.metrics.pop("loss"))
    assert row.metrics == {"val_loss": math.inf, "a": -math.inf, "b": 1e-300, "c": 0.1}


def test_intervals_come_in_order_from_a_step_on(store: Store, lease: Lease, place: Place) -> None:
    for step in (3, 1, 2):
        records.record_interval(store, lease, place, Interval(step, 1, step == 3, {"loss": step}))
    assert place.trial_id is not None
    rows = records.read_intervals(store, place, place.trial_id, 1, after_step=1)
    assert [(row.step, row.whole, row.metrics["loss"]) for row in rows] == [
        (2, False, 2.0),
        (3, True, 3.0),
    ]
    assert records.read_intervals(store, place, place.trial_id, 2) == []


def test_an_attempt_is_open_until_its_end_is_recorded(
    store: Store, lease: Lease, place: Place
) -> None:
    (running,) = attempts(store, place)
    assert (running.attempt, running.worker, running.end, running.ended_at) == (1, 3, None, None)
    assert running.seconds == {}
    ended = Ended("early_stopped", 0.75, 4, 9, 10**12, {"train": 1.5, "prepare": 0.25}, "xla")
    saved = Artifact("a/trial-0.keras", 3, "0a")
    end = AttemptEnd.of("early_stopped", ended, model=saved)
    tell(store, lease, place, end, TrialState.COMPLETE, 0.75)
    (row,) = attempts(store, place)
    assert (row.end, row.score, row.best_epoch, row.epochs) == ("early_stopped", 0.75, 4, 9)
    assert (row.parameter_count, row.engine, row.seconds) == (10**12, "xla", ended.seconds)
    assert (row.model, row.detail) == (saved, None)
    assert row.ended_at is not None
    assert 0 <= row.ended_at - row.started_at < 60


def test_an_attempt_moves_to_another_worker(store: Store, lease: Lease, place: Place) -> None:
    records.move(store, lease, place, 1)
    assert [attempt.worker for attempt in attempts(store, place)] == [1]
    with pytest.raises(TakenOver):
        records.move(store, leases.open_lease(store, lease), place, 2)
    assert [attempt.worker for attempt in attempts(store, place)] == [1]


def test_what_was_ended_from_outside_has_its_engine(
    store: Store, lease: Lease, place: Place
) -> None:
    last = Interval(1, 1, True, {"val_accuracy": 0.5}, engine="xla")
    tell(store, lease, place, AttemptEnd.unfinished("pruned", 0.5, last), TrialState.PRUNED)
    assert attempts(store, place)[0].engine == "xla"
    # Nothing is known of a trial that has said nothing.
    assert AttemptEnd.unfinished("pruned", None, None).values["engine"] is None


def test_a_failure_keeps_its_traceback_whole(store: Store, lease: Lease, place: Place) -> None:
    detail = (
        "Traceback (most recent call last):\n  …\nValueError: 100 % of {braces} 'quoted' \\ ü 🙂"
    )
    fail(store, lease, place, detail)
    (row,) = attempts(store, place)
    assert (row.detail, row.score, row.epochs) == (detail, None, None)


def test_a_resumed_attempt_has_the_whole_curve(store: Store, lease: Lease, place: Place) -> None:
    def train(place: Place, *epochs: int) -> None:
        for epoch in epochs:
            records.record_interval(store, lease, place, Interval(epoch, epoch, True, {"e": epoch}))

    def curve(place: Place) -> list[int]:
        assert place.trial_id is not None
        return [
            row.epoch for row in records.read_intervals(store, place, place.trial_id, place.attempt)
        ]

    train(place, 1, 2, 3)
    assert place.trial_id is not None
    assert records.known_epochs(store, place, place.trial_id) == 3
    put_back(store, lease, place, "worker_lost")
    second = begin(store, lease, claimed(store, lease))
    assert curve(second) == []
    records.resume(store, lease, second, 2)
    records.resume(store, lease, second, 2)  # repeated, as after a lost answer
    train(second, 3, 4)
    put_back(store, lease, second, "worker_lost")
    third = begin(store, lease, claimed(store, lease))
    records.resume(store, lease, third, 3)
    train(third, 4)
    assert (curve(place), curve(second), curve(third)) == ([1, 2, 3], [1, 2, 3, 4], [1, 2, 3, 4])
    assert [row.resumed_epoch for row in attempts(store, place)] == [None, 2, 3]


def test_an_interval_recorded_twice_is_there_once(store: Store, lease: Lease, place: Place) -> None:
    for _ in range(2):
        records.record_interval(store, lease, place, Interval(1, 1, True, {"loss": 0.5}))
    assert place.trial_id is not None
    assert len(records.read_intervals(store, place, place.trial_id, 1)) == 1
