"""Which studies a daemon finds work in, and of which it sends what another daemon has not sent."""

import sqlalchemy as sa
from toy_study import toy_spec
from trial_writes import begun, complete

from tuner.storage import Store, deliveries, leases, slots, study_control
from tuner.storage.deliveries import Delivery
from tuner.storage.leases import Lease
from tuner.storage.schema import loops
from tuner.storage.studies import StudyRow, create_study
from tuner.storage.study_work import holds_slots, studies_to_deliver, studies_with_work
from tuner.study.study_state import StudyState

ME, OTHER = "a daemon", "another one"


def made(store: Store, name: str, trials: int) -> StudyRow:
    study = create_study(store, name, toy_spec())
    slots.ensure_slots(store, study, trials)
    return study


def names_with_work(store: Store) -> list[str]:
    return [each.name for each in studies_with_work(store, ME, 9)]


def killed(store: Store, lease: Lease) -> None:
    """Its lease has run out."""
    row = sa.update(loops).where(loops.c.loop_id == lease.loop_id).values(expires_at=1.0)
    store.write(lambda connection: connection.execute(row))


def test_work_is_what_is_open_own_or_orphaned(store: Store) -> None:
    study = made(store, "toy", 9)
    mine, theirs, dead = (
        leases.open_lease(store, study, daemon_id=each) for each in (ME, OTHER, OTHER)
    )
    for lease, trials in ((mine, 1), (theirs, 2), (dead, 3)):
        for _ in range(trials):
            begun(store, lease)
    complete(store, theirs, begun(store, theirs))
    killed(store, dead)
    [work] = studies_with_work(store, ME, 9)
    assert (work.open_slots, work.own_slots, work.orphans, work.most) == (2, 1, 3, 6)
    [work] = studies_with_work(store, ME, 1)
    assert work.open_slots == 1  # it needs no more
    assert (holds_slots(store, ME), holds_slots(store, "nobody")) == (True, False)


def test_what_may_not_run_is_no_work(store: Store) -> None:
    paused, stopped, _ = (made(store, name, 2) for name in ("paused", "stopped", "running"))
    create_study(store, "without trials", toy_spec())
    study_control.set_state(store, paused, StudyState.PAUSED)
    study_control.set_state(store, stopped, StudyState.STOPPED)
    assert names_with_work(store) == ["running"]
    study_control.set_state(store, paused, StudyState.RUNNING)
    assert names_with_work(store) == ["paused", "running"]  # the oldest first
    leases.close_to_loops(store, paused, 60.0)
    assert names_with_work(store) == ["running"]


def test_what_a_daemon_left_unsent_is_found(store: Store) -> None:
    by_hand, unsent = made(store, "by hand", 1), made(store, "unsent", 2)
    lease = leases.open_lease(store, by_hand)
    complete(store, lease, begun(store, lease))
    lease = leases.open_lease(store, unsent, daemon_id=OTHER)
    trials = [begun(store, lease) for _ in range(2)]
    complete(store, lease, trials[0])
    assert studies_to_deliver(store) == []  # whoever does the other one sends both
    complete(store, lease, trials[1])
    for trial, sent in zip(trials, ("RUNNING", "COMPLETE"), strict=True):
        assert [each.name for each in studies_to_deliver(store)] == ["unsent"]
        assert trial.trial_id is not None
        deliveries.mark(store, unsent, trial.trial_id, Delivery("a run", 1, 3, sent))
    assert [each.name for each in studies_to_deliver(store)] == ["unsent"]
    assert trials[0].trial_id is not None
    deliveries.mark(store, unsent, trials[0].trial_id, Delivery("a run", 1, 3, "COMPLETE"))
    assert studies_to_deliver(store) == []
