"""Which studies a daemon finds work in."""

import sqlalchemy as sa
from toy_study import toy_spec
from trial_writes import begun, complete

from tuner.storage import Store, leases, slots, study_control
from tuner.storage.leases import Lease
from tuner.storage.schema import loops
from tuner.storage.studies import StudyRow, create_study
from tuner.storage.study_work import holds_slots, studies_with_work
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
