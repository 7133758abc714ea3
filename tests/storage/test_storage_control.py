"""Orders for loops, who is at work, and a study's progress: rows that commands and loops share."""

import threading

import pytest
import sqlalchemy as sa
from toy_study import toy_spec
from trial_writes import begun, complete, fail, put_back

from tuner.errors import LeaseLost, StudyError
from tuner.storage import Store, attempt_rows, daemon_rows, leases, slots, study_control
from tuner.storage.running_trials import running_trials
from tuner.storage.schema import loops, slot_rows, studies, workers
from tuner.storage.studies import StudyRow, create_study, delete_study, load_study
from tuner.storage.study_control import LoopOrders, read_orders
from tuner.storage.study_progress import EndedTrial, ProgressReader
from tuner.study.ends import StopReason, TrialEnd
from tuner.study.messages import Report, WorkerPlace
from tuner.study.study_state import StudyState


@pytest.fixture
def study(store: Store) -> StudyRow:
    return create_study(store, "toy", toy_spec())


def numbers(store: Store) -> list[int]:
    query = sa.select(slot_rows.c.number).order_by(slot_rows.c.number)
    return store.read(lambda connection: list(connection.execute(query).scalars()))


def test_a_loop_reads_its_orders(store: Store, study: StudyRow) -> None:
    slots.ensure_slots(store, study, 3)
    lease, other = (leases.open_lease(store, study) for _ in range(2))
    slot, theirs = begun(store, lease), begun(store, other)
    assert read_orders(store, lease) == LoopOrders(total=3)
    assert study_control.stop_trial(store, study, 1)
    assert read_orders(store, lease) == LoopOrders(total=3)
    assert read_orders(store, other).stopped_slots == {theirs.number}
    assert len(study_control.set_state(store, study, StudyState.PAUSED)) == 2
    assert read_orders(store, lease) == LoopOrders(paused=True, total=3)
    study_control.set_state(store, study, StudyState.STOPPED)
    assert read_orders(store, lease).stop is StopReason.STOPPED
    # A search that begins in the foreground goes on; one that was to stop still does.
    third = leases.open_lease(store, study)
    assert load_study(store).state is StudyState.RUNNING
    assert (read_orders(store, third).stop, read_orders(store, other).stop) == (
        None,
        StopReason.STOPPED,
    )
    study_control.set_state(store, study, StudyState.STOPPED)
    daemon = leases.open_lease(store, study, daemon_id="a daemon")
    assert read_orders(store, daemon).stop is StopReason.STOPPED
    assert leases.open_lease(store, study, begins_trials=False)  # as `study repair`
    assert load_study(store).state is StudyState.STOPPED
    complete(store, lease, slot)
    delete_study(store, study, even_while_searched=True)
    with pytest.raises(LeaseLost):
        read_orders(store, lease)
    with pytest.raises(LeaseLost, match="was deleted"):
        study_control.set_state(store, study, StudyState.PAUSED)


def test_only_what_runs_or_goes_on_can_be_stopped(store: Store, study: StudyRow) -> None:
    slots.ensure_slots(store, study, 3)
    lease = leases.open_lease(store, study)
    first = begun(store, lease)
    assert study_control.stop_trial(store, study, 0)
    put_back(store, lease, first, "paused")
    assert not study_control.stop_trial(store, study, 0)
    again = begun(store, lease)
    assert read_orders(store, lease).stopped_slots == {again.number}
    # Its code fails: the slot's next trial was not meant.
    fail(store, lease, again)
    other = begun(store, lease)
    assert (other.number, other.trial_id != again.trial_id) == (again.number, True)
    assert read_orders(store, lease).stopped_slots == frozenset()
    complete(store, lease, other)
    store.optuna.create_trial(study.study_id)
    for number, why in ((0, "has ended already"), (1, "has ended already"), (7, "has no trial 7")):
        with pytest.raises(StudyError, match=why):
            study_control.stop_trial(store, study, number)


def test_a_study_that_is_about_to_be_deleted_keeps_its_state(store: Store, study: StudyRow) -> None:
    leases.close_to_loops(store, study, 60.0)
    assert study_control.set_state(store, study, StudyState.STOPPED) == []
    leases.open_to_loops(store, study)
    assert load_study(store).state is StudyState.RUNNING


def test_a_total_changes_both_ways_and_leaves_no_gap(store: Store, study: StudyRow) -> None:
    assert study_control.set_total(store, study, 5) == 5
    lease = leases.open_lease(store, study)
    held = [begun(store, lease) for _ in range(3)]
    complete(store, lease, held[0])
    put_back(store, lease, held[1], "paused")
    fail(store, lease, held[2])
    # The trial of slot 2 goes on later; slot 3 has none any more.
    assert study_control.set_total(store, study, 1) == 2
    assert numbers(store) == [1, 2]
    assert study_control.set_total(store, study, 4) == 4
    assert numbers(store) == [1, 2, 3, 4]
    assert slots.slot_counts(store, study) == {"done": 1, "open": 3}
    with pytest.raises(LeaseLost):
        delete_study(store, study, even_while_searched=True)
        study_control.set_total(store, study, 9)


def test_a_total_is_lowered_while_loops_claim(store: Store, study: StudyRow) -> None:
    """No slot that a loop has just claimed goes, and nobody waits for anybody's lock."""
    slots.ensure_slots(store, study, 60)
    lease = leases.open_lease(store, study)
    claimed: set[int] = set()

    def claim() -> None:
        while (slot := slots.claim(store, lease, 60, None)) is not None:
            claimed.add(slot.number)

    loop = threading.Thread(target=claim)
    loop.start()
    totals = [study_control.set_total(store, study, total) for total in range(55, 0, -5)]
    loop.join(60)
    assert not loop.is_alive()
    left = numbers(store)
    assert left == list(range(1, totals[-1] + 1)) == sorted(claimed)
    assert totals == sorted(totals, reverse=True)


def test_priority_and_limits_are_kept(store: Store, study: StudyRow) -> None:
    study_control.set_priority(store, study, -3)
    study_control.change_limits(store, study, {"target": 0.9, "patience_trials": 5})
    study_control.change_limits(store, study, {"target": None, "trial_timeout_s": 60.0})
    row = load_study(store)
    assert (row.priority, row.limits) == (-3, {"patience_trials": 5, "trial_timeout_s": 60.0})
    assert row == study  # it is the same one
    with store.writing() as connection:
        connection.execute(sa.update(studies).values(state="hibernating"))
    # What a later version means by it is not known: no trial begins.
    assert load_study(store).state is StudyState.PAUSED


def report(store: Store, lease: leases.Lease, slot: slots.TrialSlot, epoch: int) -> None:
    metrics = {"val_accuracy": 0.1 * epoch}
    attempt_rows.record_report(store, lease, slot, Report(epoch, epoch, True, metrics))
    store.optuna.set_trial_intermediate_value(slot.trial_id, epoch, 0.1 * epoch)


def expire(store: Store, table: sa.Table) -> None:
    with store.writing() as connection:
        connection.execute(sa.update(table).values(expires_at=1.0))


def test_running_trials_are_those_of_live_loops(store: Store, study: StudyRow) -> None:
    slots.ensure_slots(store, study, 3)
    lease = leases.open_lease(store, study, daemon_id="a daemon")
    first, second = begun(store, lease, worker=1), begun(store, lease)
    for epoch in (1, 2):
        report(store, lease, first, epoch)
    trials = running_trials(store)
    assert trials == running_trials(store, study)
    assert [(t.study, t.number, t.attempt, t.epoch, t.epochs, t.best) for t in trials] == [
        ("toy", 0, 1, 2, 3, 0.2),
        ("toy", 1, 1, 0, 3, None),
    ]
    assert {(t.worker, t.daemon_id) for t in trials} == {(1, "a daemon"), (0, "a daemon")}
    attempt_rows.move(store, lease, first, 1, WorkerPlace("rack-1", "6c414144aa"))
    assert [trial.place_text for trial in running_trials(store)] == ["rack-1/6c414144", None]
    put_back(store, lease, second, "paused")
    assert [trial.number for trial in running_trials(store)] == [0]
    assert [loop.study for loop in daemon_rows.list_loops(store)] == ["toy"]
    expire(store, loops)
    assert running_trials(store) == []
    assert daemon_rows.list_loops(store) == []


def test_daemons_are_listed_while_they_live(store: Store) -> None:
    daemon = daemon_rows.register(store, 4, ["vision-*"])
    daemon_rows.register(store, 2)
    assert daemon_rows.renew(store, daemon, "working", {"toy": "its data are missing"})
    first, second = daemon_rows.list_daemons(store)
    assert (first.daemon_id, first.state, first.processes) == (daemon.daemon_id, "working", 4)
    assert (first.patterns, first.skipped) == (("vision-*",), {"toy": "its data are missing"})
    assert (second.patterns, second.skipped) == (None, {})
    daemon_rows.remove(store, second)
    assert daemon_rows.list_daemons(store) == [first]
    expire(store, workers)
    assert daemon_rows.list_daemons(store) == []
    daemon_rows.register(store, 1)
    # Its row had expired, and others have cleared it away: it registers again.
    assert not daemon_rows.renew(store, daemon, "working", {})


def test_progress_tells_each_end_once(store: Store, study: StudyRow) -> None:
    slots.ensure_slots(store, study, 3)
    lease = leases.open_lease(store, study)
    complete(store, lease, begun(store, lease), 0.3)
    reader = ProgressReader(store, study)
    first = reader.read()
    assert (first.total, first.done, first.best, first.ended) == (3, 1, (0.3, 0), ())
    running = begun(store, lease)
    assert [trial.number for trial in reader.read().running] == [1]
    put_back(store, lease, running, "paused")
    assert reader.read().ended == (EndedTrial(1, TrialEnd.PAUSED, None),)
    complete(store, lease, begun(store, lease), 0.7)
    last = reader.read()
    assert (last.best, last.done, last.is_done) == ((0.7, 1), 2, False)
    assert [(end.number, end.end) for end in last.ended] == [(1, TrialEnd.COMPLETE)]
    assert reader.read().ended == ()
    complete(store, lease, begun(store, lease), 0.1)
    assert reader.read().is_done
    delete_study(store, study, even_while_searched=True)
    with pytest.raises(StudyError, match="was deleted"):
        reader.read()
