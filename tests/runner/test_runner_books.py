"""Several loops on one study: exactly its places, nothing twice."""

from collections import Counter

import optuna
import pytest
import sqlalchemy as sa
from at_once import at_once, run_toy, search
from toy_study import Bench

from tuner.runner import trial_writer
from tuner.runner.policy import completed
from tuner.runner.trial_writer import TrialWriter
from tuner.search_space import Space
from tuner.storage import Store, attempt_rows, leases, open_store, slots, trial_rows
from tuner.storage.schema import slot_rows
from tuner.storage.studies import StudyRow
from tuner.storage.transaction_hooks import DeferredWrites
from tuner.study.messages import Ended, Report


def test_four_loops_do_exactly_the_slots_and_no_attempt_twice(bench: Bench) -> None:
    queued = [i / 20 for i in range(6)]
    study = bench.create(baselines=[{"x": x} for x in queued])
    slots.ensure_slots(bench.store, study, 14)
    found = at_once(search, bench.url, 14)
    assert all(isinstance(did, list) for did in found), found
    did = [entry for process in found for entry in process]
    attempts = Counter((trial, attempt) for trial, attempt, _ in did)
    assert set(attempts.values()) == {1}
    completed = [trial for trial, _, what in did if what == "complete"]
    assert sorted(completed) == list(range(14))
    assert bench.states == ["COMPLETE"] * 14
    assert [trial.params["x"] for trial in bench.trials][:6] == queued
    for trial in bench.trials:
        assert [row.attempt for row in trial.attempts] == list(range(1, len(trial.attempts) + 1))


def test_two_loops_do_the_total_between_them(bench: Bench) -> None:
    bench.create({"pace": 0.02})
    done = at_once(run_toy, str(bench.folder), bench.url, 12, count=2)
    assert sum(done) == 12
    assert bench.states == ["COMPLETE"] * 12
    assert bench.slots == {"done": 12}
    assert [len(trial.attempts) for trial in bench.trials] == [1] * 12
    assert len({trial.params["x"] for trial in bench.trials}) == 12


def open_writer(bench: Bench, study: StudyRow) -> TrialWriter:
    store = open_store(bench.url)  # as each loop has one of its own
    optuna_study = optuna.load_study(study_name=study.name, storage=store.optuna)
    lease = leases.open_lease(store, study)
    return TrialWriter(store, optuna_study, study.spec, lease)


class DiedError(Exception):
    pass


@pytest.mark.parametrize("store", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("module", "moment"),
    [
        (slots, "claim_in"),
        (trial_rows, "insert_trial"),
        (slots, "begin_attempt"),
        (Space, "sample"),
        (attempt_rows, "report_row"),
        (attempt_rows, "insert_reports"),
        (optuna.Trial, "report"),
        (DeferredWrites, "write"),
        (optuna.Trial, "set_user_attr"),
        (trial_writer, "tell_trial"),
        (slots, "finish"),
        (attempt_rows, "close_attempt"),
    ],
)
def test_a_loop_may_die_between_any_two_writes(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, module: object, moment: str
) -> None:
    study = bench.create()
    slots.ensure_slots(bench.store, study, 2)
    dead, heir = open_writer(bench, study), open_writer(bench, study)
    with monkeypatch.context() as patch, pytest.raises(DiedError):
        patch.setattr(module, moment, _die)
        run_one(dead)
    leases.renew_lease(bench.store, dead.lease, lasts_s=-1.0)
    heir.repair()
    while set(bench.slots) != {"done"}:
        run_one(heir)
    assert bench.states == ["COMPLETE"] * 2
    assert bench.slots == {"done": 2}
    # One that had begun has lost an attempt, and no more.
    before = ("claim_in", "insert_trial", "begin_attempt")
    attempts = sum(len(trial.attempts) for trial in bench.trials)
    assert attempts == (2 if moment in before else 3)


def _die(*_args: object, **_options: object) -> None:
    raise DiedError


def run_one(writer: TrialWriter) -> None:
    running = writer.begin(0, 2)
    assert running is not None
    writer.record_report(running, Report(1, 1, True, {"val_accuracy": 0.5}))
    writer.end(running, completed(Ended("complete", 0.5, 1, 1, 7)))


@pytest.mark.parametrize("losses", [0, 3])
def test_a_slot_that_is_taken_over_during_repair_hinders_no_other(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, losses: int
) -> None:
    """Between taking places over and settling them, a loop may lose the first to another one."""
    study = bench.create()
    slots.ensure_slots(bench.store, study, 3)
    dead, heir, other = (open_writer(bench, study) for _ in range(3))
    begun = [dead.begin(0, 3) for _ in range(3)]
    leases.renew_lease(bench.store, dead.lease, lasts_s=0.0)
    monkeypatch.setattr(slots, "count_losses", lambda *_: losses)
    take_over = slots.take_over_orphans

    def and_lose_one(store: Store, lease: leases.Lease) -> list[slots.TrialSlot]:
        orphans = take_over(store, lease)
        first = slot_rows.c.number == orphans[0].number
        with store.writing() as connection:
            moved = sa.update(slot_rows).where(first).values(loop_id=other.lease.loop_id)
            connection.execute(moved)
        return orphans

    monkeypatch.setattr(slots, "take_over_orphans", and_lose_one)
    assert None not in begun
    assert heir.repair().settled == 2
    expected = "PRUNED" if losses else "WAITING"
    assert sorted(bench.states) == sorted(["RUNNING", expected, expected])
    assert leases.held_slots(bench.store, other.lease) == {1}
    assert leases.held_slots(bench.store, heir.lease) == set()
