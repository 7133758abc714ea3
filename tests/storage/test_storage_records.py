"""What trials leave behind comes back as it was."""

import math

import pytest
from optuna.trial import TrialState
from trial_writes import begin, begun, claimed, fail, put_back, tell

from tuner.errors import SlotLost
from tuner.storage import Store, attempt_rows, leases, slots
from tuner.storage.attempt_rows import AttemptEnd
from tuner.storage.leases import Lease
from tuner.storage.slots import TrialSlot
from tuner.storage.studies import StudyRow
from tuner.storage.trial_beginning import begin_trial
from tuner.study.artifacts import Artifact
from tuner.study.messages import Ended, Report, WorkerPlace


@pytest.fixture
def lease(store: Store, study: StudyRow) -> Lease:
    return leases.open_lease(store, study)


@pytest.fixture
def slot(store: Store, lease: Lease) -> TrialSlot:
    """A slot whose trial runs."""
    slots.ensure_slots(store, lease, 1)
    return begun(store, lease, worker=3)


def attempts(store: Store, slot: TrialSlot) -> list[attempt_rows.AttemptRow]:
    assert slot.trial_id is not None
    return attempt_rows.read_attempts(store, slot)[slot.trial_id]


def test_metrics_that_are_no_numbers_survive(store: Store, lease: Lease, slot: TrialSlot) -> None:
    metrics = {"loss": math.nan, "val_loss": math.inf, "a": -math.inf, "b": 1e-300, "c": 0.1}
    attempt_rows.record_report(store, lease, slot, Report(5, 2, True, metrics))
    assert slot.trial_id is not None
    (row,) = attempt_rows.read_reports(store, slot, slot.trial_id, 1)
    assert (row.step, row.epoch, row.whole) == (5, 2, True)
    assert math.isnan(row.metrics.pop("loss"))
    assert row.metrics == {"val_loss": math.inf, "a": -math.inf, "b": 1e-300, "c": 0.1}


def test_intervals_come_in_order_from_a_step_on(
    store: Store, lease: Lease, slot: TrialSlot
) -> None:
    for step in (3, 1, 2):
        attempt_rows.record_report(store, lease, slot, Report(step, 1, step == 3, {"loss": step}))
    assert slot.trial_id is not None
    rows = attempt_rows.read_reports(store, slot, slot.trial_id, 1, after_step=1)
    assert [(row.step, row.whole, row.metrics["loss"]) for row in rows] == [
        (2, False, 2.0),
        (3, True, 3.0),
    ]
    assert attempt_rows.read_reports(store, slot, slot.trial_id, 2) == []


def test_an_attempt_is_open_until_its_end_is_recorded(
    store: Store, lease: Lease, slot: TrialSlot
) -> None:
    (running,) = attempts(store, slot)
    assert (running.attempt, running.worker, running.end, running.ended_at) == (1, 3, None, None)
    assert running.seconds == {}
    ended = Ended("early_stopped", 0.75, 4, 9, 10**12, {"train": 1.5, "prepare": 0.25}, "xla")
    saved = Artifact("a/trial-0.keras", 3, "0a")
    end = AttemptEnd.of("early_stopped", ended, model=saved)
    tell(store, lease, slot, end, TrialState.COMPLETE, 0.75)
    (row,) = attempts(store, slot)
    assert (row.end, row.score, row.best_epoch, row.epochs) == ("early_stopped", 0.75, 4, 9)
    assert (row.parameter_count, row.engine, row.seconds) == (10**12, "xla", ended.seconds)
    assert (row.model, row.detail) == (saved, None)
    assert row.ended_at is not None
    assert 0 <= row.ended_at - row.started_at < 60


def test_an_attempt_moves_to_another_worker(store: Store, lease: Lease, slot: TrialSlot) -> None:
    attempt_rows.move(store, lease, slot, 1)
    assert [attempt.worker for attempt in attempts(store, slot)] == [1]
    with pytest.raises(SlotLost):
        attempt_rows.move(store, leases.open_lease(store, lease), slot, 2)
    assert [attempt.worker for attempt in attempts(store, slot)] == [1]


def test_where_an_attempt_is_trained(store: Store, lease: Lease) -> None:
    slots.ensure_slots(store, lease, 1)
    here, there = WorkerPlace("rack-1", "6c414144aa"), WorkerPlace("rack-2", "8720332abb")
    begun = begin_trial(store, lease, 1, None, True, 0, lambda slot: {}, here)
    assert begun is not None
    assert [(each.host, each.node) for each in attempts(store, begun.slot)] == [here]
    assert attempts(store, begun.slot)[0].place_text == "rack-1/6c414144"
    attempt_rows.move(store, lease, begun.slot, 1, there)
    assert [(each.host, each.node) for each in attempts(store, begun.slot)] == [there]
    attempt_rows.move(store, lease, begun.slot, 2)
    [back] = attempts(store, begun.slot)
    assert (back.host, back.node, back.place_text) == (None, None, None)


def test_what_was_ended_from_outside_has_its_engine(
    store: Store, lease: Lease, slot: TrialSlot
) -> None:
    last = Report(1, 1, True, {"val_accuracy": 0.5}, engine="xla")
    tell(store, lease, slot, AttemptEnd.unfinished("pruned", 0.5, last), TrialState.PRUNED)
    assert attempts(store, slot)[0].engine == "xla"
    # Nothing is known of a trial that has said nothing.
    assert AttemptEnd.unfinished("pruned", None, None).values["engine"] is None


def test_a_failure_keeps_its_traceback_whole(store: Store, lease: Lease, slot: TrialSlot) -> None:
    detail = (
        "Traceback (most recent call last):\n  …\nValueError: 100 % of {braces} 'quoted' \\ ü 🙂"
    )
    fail(store, lease, slot, detail)
    (row,) = attempts(store, slot)
    assert (row.detail, row.score, row.epochs) == (detail, None, None)


def test_a_resumed_attempt_has_the_whole_curve(store: Store, lease: Lease, slot: TrialSlot) -> None:
    def train(slot: TrialSlot, *epochs: int) -> None:
        for epoch in epochs:
            attempt_rows.record_report(store, lease, slot, Report(epoch, epoch, True, {"e": epoch}))

    def curve(slot: TrialSlot) -> list[int]:
        assert slot.trial_id is not None
        return [
            row.epoch for row in attempt_rows.read_reports(store, slot, slot.trial_id, slot.attempt)
        ]

    train(slot, 1, 2, 3)
    assert slot.trial_id is not None
    assert attempt_rows.known_epochs(store, slot, slot.trial_id) == 3
    put_back(store, lease, slot, "worker_lost")
    second = begin(store, lease, claimed(store, lease))
    assert curve(second) == []
    attempt_rows.resume(store, lease, second, 2)
    attempt_rows.resume(store, lease, second, 2)  # repeated, as after a lost answer
    train(second, 3, 4)
    put_back(store, lease, second, "worker_lost")
    third = begin(store, lease, claimed(store, lease))
    attempt_rows.resume(store, lease, third, 3)
    train(third, 4)
    assert (curve(slot), curve(second), curve(third)) == ([1, 2, 3], [1, 2, 3, 4], [1, 2, 3, 4])
    assert [row.resumed_epoch for row in attempts(store, slot)] == [None, 2, 3]


def test_an_interval_recorded_twice_is_there_once(
    store: Store, lease: Lease, slot: TrialSlot
) -> None:
    for _ in range(2):
        attempt_rows.record_report(store, lease, slot, Report(1, 1, True, {"loss": 0.5}))
    assert slot.trial_id is not None
    assert len(attempt_rows.read_reports(store, slot, slot.trial_id, 1)) == 1
