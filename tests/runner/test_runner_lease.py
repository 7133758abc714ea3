"""The lease of a loop that is busy: renewed while it works, never after it has ended."""

import sqlite3
import threading
import time
from dataclasses import replace
from typing import Any

import optuna
import pytest
import sqlalchemy as sa
from optuna.samplers import RandomSampler
from toy_study import Bench
from trial_writes import begun
from waiting import wait_until

from tuner.errors import LeaseLost, SlotLost, StudyError
from tuner.runner.policy import put_back
from tuner.runner.trial_writer import TrialWriter
from tuner.storage import Store, connections, leases, open_store, slots
from tuner.storage.corrections import CorrectionRefused, correct_study
from tuner.storage.leases import LEASE_S, Lease, LeaseKeeper
from tuner.storage.schema import loops
from tuner.storage.schema import slot_rows as rows
from tuner.storage.studies import StudyRow
from tuner.study.ends import TrialEnd

SQLITE = pytest.mark.parametrize("store", ["sqlite"], indirect=True)


def left_s(store: Store) -> list[float]:
    """How long each lease has left to live."""
    query = sa.select(loops.c.expires_at - leases.now(store.url.get_backend_name()))
    with store.reading() as connection:
        return list(connection.execute(query).scalars())


def test_a_slow_sampler_does_not_lose_the_lease(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    lasts_s, left = 3.0, []
    sample = RandomSampler.sample_independent

    def slowly(*args: Any) -> Any:
        time.sleep(1.2 * lasts_s)
        left.extend(left_s(bench.store))
        return sample(*args)

    monkeypatch.setattr(RandomSampler, "sample_independent", slowly)
    bench.create()
    outcome = bench.run(2, workers=2, asked={"lease_s": lasts_s})
    assert outcome.status.done_here == 2
    assert len(left) == 2
    assert min(left) > 0, left
    assert "lease" not in {thread.name for thread in threading.enumerate()}
    assert max(left_s(bench.store)) <= 0


def opened(bench: Bench, lasts_s: float) -> tuple[Store, StudyRow, Lease]:
    study = bench.create()
    slots.ensure_slots(bench.store, study, 3)
    return bench.store, study, leases.open_lease(bench.store, study, lasts_s)


def test_a_loop_that_hangs_loses_its_lease(bench: Bench) -> None:
    store, _, lease = opened(bench, lasts_s=0.4)
    with LeaseKeeper(store, lease, silence_s=1.0) as keeper:
        time.sleep(0.8)
        keeper.hear()
        assert left_s(store)[0] > 0
        wait_until(lambda: left_s(store)[0] < 0)


def test_nothing_is_renewed_once_it_has_stopped(bench: Bench) -> None:
    store, _, lease = opened(bench, lasts_s=0.1)
    with LeaseKeeper(store, lease) as keeper:
        time.sleep(0.3)
        keeper.stop()
        leases.renew_lease(store, lease, lasts_s=0.0)
        time.sleep(0.3)
        assert left_s(store)[0] <= 0
    leases.renew_unless(store, lease, has_ended=lambda: True)
    assert left_s(store)[0] <= 0


def test_a_loop_that_is_asked_to_stop_is_not_kept_alive(bench: Bench) -> None:
    store, study, lease = opened(bench, lasts_s=0.4)
    with LeaseKeeper(store, lease):
        leases.close_to_loops(store, study, for_s=60)
        wait_until(lambda: left_s(store)[0] < 0)


def test_a_lease_that_is_gone_is_not_made_anew(bench: Bench) -> None:
    store, _, lease = opened(bench, lasts_s=0.1)
    with LeaseKeeper(store, lease):
        with store.writing() as connection:
            connection.execute(sa.delete(loops))
        time.sleep(0.3)
        assert left_s(store) == []
    with pytest.raises(LeaseLost):
        leases.renew_lease(store, lease)


def test_renewing_again_gives_no_right_to_what_was_taken_over(bench: Bench) -> None:
    store, study, lease = opened(bench, lasts_s=60)
    slot = begun(store, lease)
    leases.renew_lease(store, lease, lasts_s=-1.0)
    heir = leases.open_lease(store, study)
    assert [p.number for p in slots.take_over_orphans(store, heir)] == [slot.number]
    with LeaseKeeper(store, replace(lease, lasts_s=0.1)):
        wait_until(lambda: max(left_s(store)[:1]) > 0)
    with store.writing() as connection, pytest.raises(SlotLost):
        slots.hold(connection, lease, slot.trial_id)


@SQLITE
@pytest.mark.parametrize("engine", ["writer", "reader"])
def test_a_wait_for_the_database_is_much_shorter_than_a_lease(bench: Bench, engine: str) -> None:
    with getattr(bench.store, engine).begin() as connection:
        waits_ms = connection.exec_driver_sql("PRAGMA busy_timeout").scalar()
    assert 1000 <= waits_ms <= LEASE_S * 1000 / 3


@SQLITE
def test_who_waits_longer_than_its_lease_finds_its_trial_taken_over(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the wait is made of many, each ended by the busy timeout."""
    monkeypatch.setattr(connections, "_BUSY_S", 0.1)
    study = bench.create()
    slots.ensure_slots(bench.store, study, 1)
    store = open_store(bench.url)
    lease = leases.open_lease(store, study, lasts_s=0.5)
    loaded = optuna.load_study(study_name=study.name, storage=store.optuna)
    writer = TrialWriter(store, loaded, study.spec, lease)
    running = writer.begin(0, 1)
    assert running is not None
    other = sqlite3.connect(str(store.url.database), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    refused: list[BaseException] = []
    waiting = threading.Thread(target=_put_back, args=(writer, running, refused))
    waiting.start()
    time.sleep(1.5)
    other.execute(f"UPDATE {rows.name} SET loop_id = 'another loop'")
    other.execute("COMMIT")
    waiting.join(20)
    assert [type(error) for error in refused] == [SlotLost]
    assert bench.states == ["RUNNING"]
    store.close()


def _put_back(writer: TrialWriter, running: Any, refused: list[BaseException]) -> None:
    try:
        writer.end(running, put_back(TrialEnd.INTERRUPTED))
    except BaseException as error:
        refused.append(error)


@SQLITE
def test_a_study_that_is_corrected_as_a_search_begins(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = bench.create()
    open_lease = leases.open_lease

    def corrected_before(store: Store, row: StudyRow, *rest: Any, **more: Any) -> Lease:
        definition = row.definition.replace('"code":', ' "code":')
        done = correct_study(store, row, definition, changes_data=False)
        assert not isinstance(done, CorrectionRefused), done
        return open_lease(store, row, *rest, **more)

    monkeypatch.setattr(leases, "open_lease", corrected_before)
    with pytest.raises(StudyError, match="was corrected just now"):
        bench.run(1)
    assert bench.slots == {"open": 1}
    assert leases.holders(bench.store, study) == []
