"""Which studies have trials left: what a daemon asks several times a second."""

from collections import Counter
from dataclasses import dataclass

import sqlalchemy as sa

from tuner.storage.identity import is_process_dead
from tuner.storage.leases import has_optuna_study
from tuner.storage.schema import loops, slot_rows, studies
from tuner.storage.store import Store, now


@dataclass(frozen=True)
class StudyWork:
    """A study with slots that are not done. `open_slots`: those that nobody holds, counted up to
    the number asked for. `orphans`: those of loops that have died; `own_slots`: those that the
    daemon which asks holds."""

    study_id: int
    uuid: str
    name: str
    priority: int
    open_slots: int
    orphans: int = 0
    own_slots: int = 0

    @property
    def most(self) -> int:
        """How many trials the daemon could run now."""
        return self.open_slots + self.orphans + self.own_slots


def studies_with_work(store: Store, daemon_id: str, count_up_to: int) -> list[StudyWork]:
    """The studies whose trials may run, which have slots that are not done; oldest first. Paused,
    stopped and half-made ones, and those about to be deleted, are left out. No slot that is done is
    read. Raises StorageError."""
    return store.read(_studies_with_work, daemon_id, count_up_to)


def holds_slots(store: Store, daemon_id: str) -> bool:
    """Whether a loop of the daemon holds a slot, of any study. Raises StorageError."""
    query = (
        sa.select(slot_rows.c.number)
        .join(loops, loops.c.loop_id == slot_rows.c.loop_id)
        .where(loops.c.worker_id == daemon_id, slot_rows.c.state == "claimed")
    )
    return store.read(lambda connection: connection.execute(query.limit(1)).first() is not None)


def _studies_with_work(
    connection: sa.Connection, daemon_id: str, count_up_to: int
) -> list[StudyWork]:
    own, orphans = _count_claimed(connection, daemon_id)
    return [
        StudyWork(**row._mapping, orphans=orphans[row.uuid], own_slots=own[row.uuid])
        for row in connection.execute(_select_work(connection, count_up_to))
    ]


def _select_work(connection: sa.Connection, count_up_to: int) -> "sa.Select[tuple[object, ...]]":
    own = slot_rows.c.study_id == studies.c.study_id
    first_open = (
        sa.select(slot_rows.c.number)
        # Some of the paused ones go on, and the last of them must be ended.
        .where(own, slot_rows.c.state.in_(("open", "paused")))
        .limit(count_up_to)
        .correlate(studies)
        .subquery()
    )
    open_slots = sa.select(sa.func.count()).select_from(first_open).scalar_subquery()
    columns = (studies.c.study_id, studies.c.uuid, studies.c.name, studies.c.priority)
    is_closed = studies.c.stop_until > now(connection.dialect.name)
    return (
        sa.select(*columns, open_slots.label("open_slots"))
        .where(studies.c.state.is_(None), has_optuna_study())
        .where(sa.exists().where(own, slot_rows.c.state != "done"))
        .where(sa.or_(studies.c.stop_until.is_(None), ~is_closed))
        .order_by(studies.c.created_at, studies.c.uuid)
    )


def _count_claimed(connection: sa.Connection, daemon_id: str) -> tuple[Counter[str], Counter[str]]:
    """By study, how many of its claimed slots the daemon's loops hold, and how many belong to loops
    that may no longer write them: see `leases.lapsed_loops`."""
    is_alive = loops.c.expires_at >= now(connection.dialect.name)
    slots = sa.func.count().label("slots")
    columns = (studies.c.uuid, loops.c.process, loops.c.worker_id, is_alive.label("is_alive"))
    query = (
        sa.select(*columns, slots)
        .select_from(studies)
        .join(slot_rows, slot_rows.c.study_id == studies.c.study_id)
        .outerjoin(loops, loops.c.loop_id == slot_rows.c.loop_id)
        .where(slot_rows.c.state == "claimed")
        .group_by(*columns[:3], is_alive)
    )
    own, orphans = Counter[str](), Counter[str]()
    for row in connection.execute(query):
        if row.worker_id == daemon_id:
            own[row.uuid] += row.slots
        elif not row.is_alive or is_process_dead(row.process):
            orphans[row.uuid] += row.slots
    return own, orphans
