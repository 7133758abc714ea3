"""A study that is deleted while a search runs on it: nothing of it reaches any other study."""

import contextlib
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import optuna
import pytest
import sqlalchemy as sa
from toy_study import Bench, Loop, any_of, toy_spec
from trial_writes import begun, complete, fail, put_back
from waiting import wait_until, waits_for_a_lock

from tuner.errors import LeaseLost, StudyError, TrackingError
from tuner.manage.deletion import closed_to_searches
from tuner.runner import open_writer, stop_searches
from tuner.storage import Store, attempt_rows, leases, slots
from tuner.storage.attempt_rows import read_attempts
from tuner.storage.deliveries import PARENT, Delivery, mark
from tuner.storage.schema import attempts, deliveries, loops, metadata, reports, studies
from tuner.storage.schema import slot_rows as slot_rows
from tuner.storage.studies import StudyRow, create_study, delete_study, load_study
from tuner.storage.study_control import read_orders
from tuner.study.ends import StopReason
from tuner.study.messages import Report
from tuner.study.spec import Choice

# A trial that takes a minute: whatever is done to its study is done in the middle of it.
LONG = {"pace": 0.1, "epochs": 600, "patience": 600}
SHORT_LEASE = {"lease_s": 3.0}


@pytest.fixture
def searching(bench: Bench) -> Iterator[Loop]:
    """A search in another process, which trains."""
    bench.create(LONG, name="first")
    process = bench.start(5, asked=SHORT_LEASE)
    wait_until(lambda: _recorded(bench.store) > 0 or process.poll() is not None, 120)
    assert process.poll() is None, process.communicate()[0]
    yield process
    process.kill()
    process.communicate()


def _recorded(store: Store) -> int:
    with store.reading() as connection:
        query = sa.select(sa.func.count()).select_from(reports)
        return int(connection.execute(query).scalar_one())


def _by_tuner(store: Store, study: StudyRow) -> None:
    delete_study(store, study, even_while_searched=True)


def _by_optuna(store: Store, study: StudyRow) -> None:
    store.optuna.delete_study(study.study_id)


@contextlib.contextmanager
def _slow_deletes(store: Store) -> Iterator[None]:
    """Inside, a deletion goes on, once it has read what there is, while the search reports."""
    waited: list[str] = []

    @sa.event.listens_for(store.writer, "before_cursor_execute")
    def wait(_connection, _cursor, statement, *_rest) -> None:
        if statement.startswith("DELETE") and not waited:
            waited.append(statement)
            time.sleep(0.5)

    try:
        yield
    finally:
        sa.event.remove(store.writer, "before_cursor_execute", wait)
    assert waited


@pytest.mark.parametrize("delete", [_by_tuner, _by_optuna])
def test_its_search_ends_and_the_next_study_stays_clean(
    bench: Bench, searching: Loop, delete: Callable[[Store, StudyRow], None]
) -> None:
    with _slow_deletes(bench.store):
        delete(bench.store, load_study(bench.store))
    second = create_study(bench.store, "second", toy_spec(), first_trials=[{"x": 0.5}])
    output, _ = searching.communicate(timeout=120)
    assert searching.returncode == 1
    assert "the study was deleted while this search ran" in output
    assert read_attempts(bench.store, second) == {}
    assert bench.states == ["WAITING"]
    with bench.store.reading() as connection:
        for table in (attempts, reports, slot_rows):
            assert connection.execute(sa.select(table)).all() == []


def test_deleting_is_refused_while_it_is_searched(bench: Bench, searching: Loop) -> None:
    study = load_study(bench.store)
    refused = pytest.raises(StudyError, match=rf"searched by .*pid {searching.pid}.*--force")
    with refused, closed_to_searches(bench.store, study, force=False, say=print):
        pass
    with pytest.raises(StudyError, match="searched"):
        delete_study(bench.store, study)
    assert load_study(bench.store) == study


def test_forced_the_search_is_asked_to_stop_and_stops(bench: Bench, searching: Loop) -> None:
    study = load_study(bench.store)
    said: list[str] = []
    with closed_to_searches(bench.store, study, force=True, say=said.append):
        assert f"pid {searching.pid}" in said[0]
        assert leases.holders(bench.store, study) == []
        output, _ = searching.communicate(timeout=120)
        assert "the study was deleted" in output
        # It gave its trial back before it went.
        assert bench.states == ["WAITING"]
        with pytest.raises(LeaseLost, match="about to be deleted"):
            leases.open_lease(bench.store, study)
        delete_study(bench.store, study)
    with bench.store.reading() as connection:
        assert not any(connection.execute(sa.select(t)).first() for t in metadata.sorted_tables)


def test_a_search_that_stands_still_is_waited_for_no_longer_than_its_lease(
    bench: Bench, searching: Loop
) -> None:
    study = load_study(bench.store)
    bench.freeze(searching)
    began = time.monotonic()
    with closed_to_searches(bench.store, study, force=True, say=print):
        assert time.monotonic() - began < 30
        delete_study(bench.store, study, even_while_searched=True)
    second = create_study(bench.store, "second", toy_spec())
    searching.send_signal(signal.SIGCONT)
    output, _ = searching.communicate(timeout=120)
    assert "the study was deleted while this search ran" in output
    assert read_attempts(bench.store, second) == {}


def test_a_search_elsewhere_is_asked_to_stop(bench: Bench, searching: Loop) -> None:
    study = load_study(bench.store)
    (asked,) = stop_searches(bench.store, study)
    assert asked.pid == searching.pid
    output, _ = searching.communicate(timeout=60)
    assert "stopped done_here=0 put_back=1" in output
    (trial,) = bench.trials
    assert (trial.state, trial.end) == ("WAITING", "interrupted")
    assert stop_searches(bench.store, study) == []
    later = leases.open_lease(bench.store, study)
    assert read_orders(bench.store, later).stop is None


def test_a_stop_does_not_open_a_study_that_is_being_deleted(store: Store) -> None:
    study = create_study(store, "toy", toy_spec())
    lease = leases.open_lease(store, study)
    leases.close_to_loops(store, study, 60.0)
    stop_searches(store, study)
    assert read_orders(store, lease).stop is StopReason.DELETED
    leases.open_to_loops(store, study)
    assert read_orders(store, lease).stop is None


def test_a_stop_mark_loses_its_force(store: Store) -> None:
    study = create_study(store, "toy", toy_spec())
    lease = leases.open_lease(store, study)
    leases.close_to_loops(store, study, 60.0)
    assert leases.renew_lease(store, lease)
    with store.writing() as connection:
        connection.execute(sa.update(studies).values(stop_until=1.0))
    assert not leases.renew_lease(store, lease)
    leases.open_lease(store, study)


def test_each_write_of_a_search_needs_its_lease(store: Store) -> None:
    """One who has stood still finds neither its lease nor its study, whatever it writes first."""
    study = create_study(store, "toy", toy_spec())
    lease = leases.open_lease(store, study)
    slots.ensure_slots(store, study, 3)
    slot = begun(store, lease)
    delete_study(store, study, even_while_searched=True)
    again = create_study(store, "toy", toy_spec())
    other = leases.open_lease(store, again)
    slots.ensure_slots(store, again, 3)
    theirs = begun(store, other)
    assert slot.trial_id is not None
    writes: list[Callable[[], object]] = [
        lambda: slots.claim(store, lease, 3),
        lambda: slots.ensure_slots(store, study, 5),
        lambda: slots.add_slots(store, study, 5),
        lambda: slots.take_over_orphans(store, lease),
        lambda: attempt_rows.record_report(store, lease, slot, Report(1, 1, True, {"loss": 1.0})),
        lambda: attempt_rows.resume(store, lease, slot, 1),
        lambda: attempt_rows.move(store, lease, slot, 1),
        lambda: leases.renew_lease(store, lease),
        lambda: leases.open_lease(store, study),
        lambda: begun(store, lease),
        lambda: complete(store, lease, slot),
        lambda: fail(store, lease, slot),
        lambda: put_back(store, lease, slot, "interrupted"),
    ]
    for write in writes:
        with pytest.raises((LeaseLost, KeyError)):
            write()
    (attempt,) = read_attempts(store, again)[theirs.trial_id or 0]
    assert attempt.end is None
    assert slots.slot_counts(store, again) == {"claimed": 1, "open": 2}


@pytest.mark.parametrize("sampler", ["qmc", "random"])
def test_what_a_sampler_keeps_in_its_study_reaches_no_other(store: Store, sampler: str) -> None:
    first = create_study(store, "first", toy_spec(sampler=Choice(name=sampler)))
    slots.ensure_slots(store, first, 1)
    writer = open_writer(store, first, leases.open_lease(store, first))
    writer.study.set_user_attr("mine", 1)  # while it has its lease, it may
    assert writer.study.user_attrs == {"mine": 1}
    delete_study(store, first, even_while_searched=True)
    again = create_study(store, "again", toy_spec())
    if store.url.get_backend_name() == "sqlite":
        assert again.study_id == first.study_id
    left = store.optuna.get_study_system_attrs(again.study_id)
    space = {"x": optuna.distributions.FloatDistribution(0.0, 1.0)}
    trial = optuna.trial.create_trial(params={}, state=optuna.trial.TrialState.WAITING)
    writes: list[Callable[[], object]] = [
        lambda: writer.study.set_user_attr("late", 1),
        lambda: store.optuna.set_study_system_attr(first.study_id, "late", 1),
        lambda: writer.study.sampler.sample_relative(writer.study, trial, space),
    ]
    for write in writes[: None if sampler == "qmc" else -1]:
        with pytest.raises((LeaseLost, KeyError)):
            write()
    assert store.optuna.get_study_system_attrs(again.study_id) == left
    assert store.optuna.get_study_user_attrs(again.study_id) == {}
    store.optuna.fence = store.optuna.study_fence = None


def test_names_are_no_identity(bench: Bench) -> None:
    """A loop goes on with the study it began with, not with another one of that name."""
    study = bench.create({"x": any_of(0.5)})
    delete_study(bench.store, study)
    create_study(bench.store, study.name, toy_spec())
    with pytest.raises(LeaseLost):
        leases.open_lease(bench.store, study)


def test_a_deletion_that_fails_leaves_the_study_to_searches(store: Store) -> None:
    study = create_study(store, "toy", toy_spec())
    with pytest.raises(TrackingError), closed_to_searches(store, study, False, print):
        raise TrackingError("MLflow does not answer")
    leases.open_lease(store, study)


@pytest.mark.parametrize("store", ["postgresql"], indirect=True)
@pytest.mark.parametrize(
    ("table", "write"),
    [
        (slot_rows, lambda store, study: slots.ensure_slots(store, study, 3)),
        (slot_rows, lambda store, study: slots.add_slots(store, study, 3)),
        (loops, leases.open_lease),
        (
            deliveries,
            lambda store, study: mark(store, study, PARENT, Delivery("run", 0, 0, "sent")),
        ),
    ],
)
def test_what_is_written_as_the_study_is_deleted_is_deleted_too(
    store: Store, table: sa.Table, write: Callable[[Store, StudyRow], object]
) -> None:
    """SQLite has one writer at a time."""
    study = create_study(store, "toy", toy_spec())
    deletions: list[Future[None]] = []

    def delete() -> None:
        store.optuna.delete_study(study.study_id)
        create_study(store, "toy", toy_spec())

    @sa.event.listens_for(store.writer, "after_cursor_execute")
    def meanwhile(_connection, _cursor, statement, *_rest) -> None:
        if statement.startswith(f"INSERT INTO {table.name}"):
            deletions.append(pool.submit(delete))
            wait_until(lambda: deletions[0].done() or waits_for_a_lock(store))

    with ThreadPoolExecutor() as pool:
        try:
            write(store, study)
        finally:
            sa.event.remove(store.writer, "after_cursor_execute", meanwhile)
        deletions[0].result(30)
    with store.reading() as connection:
        assert connection.execute(sa.select(table)).all() == []
