"""Slots, leases, attempts: N trials together, whoever runs them and whoever dies."""

from dataclasses import replace

import optuna
import pytest
import sqlalchemy as sa
from optuna.trial import TrialState, create_trial
from toy_study import toy_spec
from trial_writes import begin, begun, bound, claimed, complete, fail, put_back

from tuner.errors import SlotLost
from tuner.storage import Store, leases, slots
from tuner.storage.attempt_rows import read_attempts
from tuner.storage.identity import is_process_dead, process_identity
from tuner.storage.leases import Lease
from tuner.storage.schema import loops
from tuner.storage.schema import slot_rows as rows
from tuner.storage.slots import TrialSlot
from tuner.storage.studies import StudyRow, create_study


@pytest.fixture
def lease(store: Store, study: StudyRow) -> Lease:
    return leases.open_lease(store, study)


def waiting(store: Store) -> int:
    study = optuna.load_study(study_name="toy", storage=store.optuna)
    study.add_trial(create_trial(state=TrialState.WAITING))
    return int(study.get_trials()[-1]._trial_id)


def expire(store: Store, lease: Lease) -> None:
    with store.writing() as connection:
        connection.execute(
            sa.update(loops).where(loops.c.loop_id == lease.loop_id).values(expires_at=0.0)
        )


def ends(store: Store, lease: Lease) -> list[str | None]:
    found = read_attempts(store, lease)
    return [attempt.end for attempts in found.values() for attempt in attempts]


def test_ensuring_slots_twice_adds_none(store: Store, study: StudyRow) -> None:
    for total in (3, 3, 2, 5):
        slots.ensure_slots(store, study, total)
    assert slots.slot_counts(store, study) == {"open": 5}
    assert slots.slot_counts(store, study, limit=2) == {"open": 2}


def test_adding_slots(store: Store, study: StudyRow) -> None:
    assert slots.add_slots(store, study, 2) == 2
    assert slots.add_slots(store, study, 3) == 5
    assert slots.add_slots(store, study, 3, most=6) == 6
    assert slots.add_slots(store, study, 3, most=4) == 6
    assert slots.slot_counts(store, study) == {"open": 6}


def test_studies_do_not_share_slots(store: Store, study: StudyRow, lease: Lease) -> None:
    slots.ensure_slots(store, create_study(store, "other", toy_spec()), 5)
    assert slots.claim(store, lease, 99) is None


def test_only_slots_up_to_the_limit_are_claimed(store: Store, lease: Lease) -> None:
    slots.ensure_slots(store, lease, 5)
    assert [claimed(store, lease, limit=2).number for _ in range(2)] == [1, 2]
    assert slots.claim(store, lease, limit=2) is None


def test_queued_trials_are_given_out_in_order_and_once(store: Store, lease: Lease) -> None:
    queued = [waiting(store) for _ in range(3)]
    slots.ensure_slots(store, lease, 5)
    assert [claimed(store, lease).trial_id for _ in range(5)] == [*queued, None, None]


def test_a_new_trial_is_bound_to_its_slot_as_it_is_made(store: Store, lease: Lease) -> None:
    slots.ensure_slots(store, lease, 2)
    first, second = claimed(store, lease), claimed(store, lease)
    trial_id = bound(store, lease, second).trial_id
    # Made again, as after a lost reply: the slot keeps the trial it has.
    assert bound(store, lease, second).trial_id == trial_id
    assert len(store.optuna.get_all_trials(lease.study_id)) == 1
    assert bound(store, lease, first).trial_id not in (None, trial_id)


def test_a_claim_whose_answer_was_lost_is_given_again(store: Store, lease: Lease) -> None:
    slots.ensure_slots(store, lease, 3)
    kept, lost = claimed(store, lease), claimed(store, lease)
    again = slots.claim(store, lease, 99, own_slots=frozenset([kept.number]))
    assert again == lost
    known = frozenset([kept.number, lost.number])
    third = slots.claim(store, lease, 99, known)
    assert third is not None
    assert third.number == 3


def test_a_lost_claim_is_found_beside_a_slot_that_another_loop_took(
    store: Store, lease: Lease
) -> None:
    slots.ensure_slots(store, lease, 3)
    taken, lost = claimed(store, lease), claimed(store, lease)
    heir = leases.open_lease(store, lease)
    with store.writing() as connection:
        connection.execute(
            sa.update(rows).where(rows.c.number == taken.number).values(loop_id=heir.loop_id)
        )
    # The loop holds as many slots as it knows, but another one.
    assert slots.claim(store, lease, 99, own_slots=frozenset([taken.number])) == lost


def test_what_was_put_back_comes_first_to_its_own_slot(store: Store, lease: Lease) -> None:
    slots.ensure_slots(store, lease, 3)
    _, slot = begun(store, lease), begun(store, lease)
    queued = waiting(store)
    put_back(store, lease, slot, "interrupted")
    again = claimed(store, lease)
    assert (again.number, again.trial_id, again.attempt) == (slot.number, slot.trial_id, 1)
    assert claimed(store, lease).trial_id == queued
    assert begin(store, lease, again).attempt == 2
    assert ends(store, lease) == [None, "interrupted", None]


def test_claiming_alone_is_no_attempt(store: Store, lease: Lease) -> None:
    slots.ensure_slots(store, lease, 1)
    assert claimed(store, lease).attempt == 0
    for _ in range(3):  # loops that die before they begin
        expire(store, lease)
        lease = leases.open_lease(store, lease)
        (orphan,) = slots.take_over_orphans(store, lease)
        open_again(store, lease, orphan)
        assert claimed(store, lease).attempt == 0
    assert read_attempts(store, lease) == {}


def test_a_finished_slot_is_never_open_again(store: Store, lease: Lease) -> None:
    slots.ensure_slots(store, lease, 1)
    complete(store, lease, begun(store, lease))
    assert slots.claim(store, lease, 99) is None
    assert slots.slot_counts(store, lease) == {"done": 1}


def test_a_freed_slot_forgets_its_trial(store: Store, lease: Lease) -> None:
    slots.ensure_slots(store, lease, 1)
    fail(store, lease, begun(store, lease))
    again = claimed(store, lease)
    assert (again.number, again.trial_id, again.attempt) == (1, None, 0)


def test_orphans_are_taken_only_from_an_expired_lease(store: Store, lease: Lease) -> None:
    slots.ensure_slots(store, lease, 4)
    slot, other = begun(store, lease), claimed(store, lease)
    complete(store, lease, begun(store, lease))
    second = leases.open_lease(store, lease)
    kept = begun(store, second)
    assert slots.take_over_orphans(store, second) == []
    expire(store, lease)
    found = slots.take_over_orphans(store, second)
    assert sorted(orphan.number for orphan in found) == [slot.number, other.number]
    assert slots.take_over_orphans(store, second) == []
    assert ends(store, lease) == ["lost", "complete", None]
    assert kept.number not in [orphan.number for orphan in found]


def test_a_renewed_lease_holds_and_an_ended_one_does_not(store: Store, lease: Lease) -> None:
    slots.ensure_slots(store, lease, 1)
    begun(store, lease)
    second = leases.open_lease(store, lease)
    expire(store, lease)
    leases.renew_lease(store, lease)
    assert slots.take_over_orphans(store, second) == []
    leases.renew_lease(store, lease, lasts_s=-1.0)
    assert len(slots.take_over_orphans(store, second)) == 1


def test_losses_are_counted_and_interruptions_are_not(store: Store, lease: Lease) -> None:
    slots.ensure_slots(store, lease, 1)
    for end in ("worker_lost", "interrupted", "timeout", "lost"):
        slot = begun(store, lease)
        put_back(store, lease, slot, end)
    assert slot.trial_id is not None
    assert slots.count_losses(store, lease, slot.trial_id) == 2
    assert ends(store, lease) == ["worker_lost", "interrupted", "timeout", "lost"]


def open_again(store: Store, lease: Lease, slot: TrialSlot) -> None:
    store.write(lambda connection: slots.put_back(connection, lease, slot))


def test_a_loop_that_died_on_this_machine_is_not_waited_for(store: Store, lease: Lease) -> None:
    slots.ensure_slots(store, lease, 1)
    slot = begun(store, lease)
    second = leases.open_lease(store, lease)
    assert slots.take_over_orphans(store, second) == []
    dead = process_identity().replace('"started": "', '"started": "1')
    with store.writing() as connection:
        mine = loops.c.loop_id == lease.loop_id
        connection.execute(sa.update(loops).where(mine).values(process=dead))
    assert slots.take_over_orphans(store, second) == [replace(slot)]


def test_of_processes_on_other_machines_nothing_is_known() -> None:
    assert not is_process_dead(None)
    assert not is_process_dead(process_identity())
    assert not is_process_dead('{"machine": "another", "pid": 1, "started": "0"}')
    assert is_process_dead(process_identity().replace('"started": "', '"started": "1'))


def test_what_was_taken_over_can_no_longer_be_written(store: Store, lease: Lease) -> None:
    slots.ensure_slots(store, lease, 1)
    slot = begun(store, lease)
    expire(store, lease)
    second = leases.open_lease(store, lease)
    (orphan,) = slots.take_over_orphans(store, second)
    leases.renew_lease(store, lease)  # it wakes
    assert leases.held_slots(store, lease) == set()
    for write in (complete, fail, lambda *held: put_back(*held, "interrupted")):
        with pytest.raises(SlotLost):
            write(store, lease, slot)
    trial = store.optuna.get_trial(slot.trial_id)
    assert (trial.state.name, trial.value) == ("RUNNING", None)
    assert ends(store, lease) == ["lost"]
    complete(store, second, replace(orphan, attempt=slot.attempt))
    assert store.optuna.get_trial(slot.trial_id).state.name == "COMPLETE"


def test_the_fence_guards_every_write_to_a_trial(store: Store, lease: Lease) -> None:
    slots.ensure_slots(store, lease, 1)
    slot = begun(store, lease)
    store.optuna.fence = lambda connection, trial_id: slots.hold(connection, lease, trial_id)
    study = optuna.load_study(study_name="toy", storage=store.optuna)
    trial = optuna.Trial(study, slot.trial_id)
    trial.report(0.25, 1)
    with store.writing() as connection:
        connection.execute(sa.update(rows).values(loop_id="another"))
    writes = [
        lambda: trial.report(0.5, 2),
        lambda: trial.suggest_float("x", 0, 1),
        lambda: trial.set_user_attr("end", "pruned"),
        lambda: trial.set_constraint("feasible", 1.0),
        lambda: study.tell(trial, 0.5),
    ]
    for write in writes:
        with pytest.raises(SlotLost):
            write()
    store.optuna.fence = None
    untouched = store.optuna.get_trial(slot.trial_id)
    assert (untouched.state.name, untouched.intermediate_values) == ("RUNNING", {1: 0.25})
    assert (untouched.params, untouched.user_attrs) == ({}, {})


def test_an_attempt_begins_only_with_its_trial(store: Store, lease: Lease) -> None:
    slots.ensure_slots(store, lease, 1)
    slot = bound(store, lease, claimed(store, lease))
    store.optuna.set_trial_state_values(slot.trial_id, TrialState.RUNNING)  # by someone else
    with pytest.raises(AssertionError):
        begin(store, lease, slot)
    assert read_attempts(store, lease) == {}


def test_the_first_open_slot_is_read_by_the_index(store: Store, study: StudyRow) -> None:
    slots.ensure_slots(store, study, 2000)
    keys = {"a_study": study.study_id, "a_uuid": study.uuid, "most": 2000}
    with store.writing() as connection:
        explain = "EXPLAIN QUERY PLAN"
        if connection.dialect.name == "postgresql":
            connection.execute(sa.text(f"ANALYZE {rows.name}"))
            explain = "EXPLAIN"
        for query in (slots._OPEN_SLOT, slots._OPEN_TO_COMPANY):
            statement = query.params(**keys).compile(
                dialect=connection.dialect, compile_kwargs={"literal_binds": True}
            )
            plan = [str(row[-1]) for row in connection.exec_driver_sql(f"{explain} {statement}")]
            assert sum("tuner_places_state" in line for line in plan) == 2, plan
            sorts = [line for line in plan if "Sort Key" in line or "B-TREE" in line]
            assert len(sorts) <= 1, plan  # of the few that have a trial
