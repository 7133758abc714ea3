"""Leases: a loop's time-limited right to write its trials, by the database's clock."""

import os
import socket
import uuid
from dataclasses import dataclass

import sqlalchemy as sa

from tuner.storage.process import identity, is_dead
from tuner.storage.store import Store, now, reads, writes
from tuner.storage.tables import loops, places

LEASE_S = 60.0
_LOCK_KEY = 7310542


@dataclass(frozen=True)
class Lease:
    """A loop's time-limited right to write its trials; `number` counts a study's loops from 0."""

    loop_id: str
    study_id: int
    number: int
    lasts_s: float = LEASE_S


def open_lease(store: Store, study_id: int, lasts_s: float = LEASE_S) -> Lease:
    loop_id = str(uuid.uuid4())
    return Lease(loop_id, study_id, _open_lease(store, study_id, loop_id, lasts_s), lasts_s)


@writes
def _open_lease(connection: sa.Connection, study_id: int, loop_id: str, lasts_s: float) -> int:
    # Two loops with one number would draw the same points.
    one_at_a_time(connection, study_id)
    mine = sa.select(loops.c.number).where(loops.c.loop_id == loop_id)
    if (opened := connection.execute(mine).scalar()) is not None:
        return opened
    clock = now(connection.dialect.name)
    number = connection.execute(
        sa.select(sa.func.count()).select_from(loops).where(loops.c.study_id == study_id)
    ).scalar_one()
    connection.execute(
        sa.insert(loops).values(
            loop_id=loop_id,
            study_id=study_id,
            number=number,
            host=socket.gethostname(),
            pid=os.getpid(),
            started_at=clock,
            expires_at=clock + lasts_s,
            process=identity(),
        )
    )
    return number


@writes
def renew_lease(connection: sa.Connection, lease: Lease, lasts_s: float | None = None) -> None:
    """Extend the lease from now; 0 ends it. What was taken over meanwhile stays so."""
    clock = now(connection.dialect.name)
    connection.execute(
        sa.update(loops)
        .where(loops.c.loop_id == lease.loop_id)
        .values(expires_at=clock + (lease.lasts_s if lasts_s is None else lasts_s))
    )


@reads
def held(connection: sa.Connection, lease: Lease) -> set[int]:
    """The numbers of the places that are the loop's."""
    query = sa.select(places.c.number).where(
        places.c.study_id == lease.study_id,
        places.c.loop_id == lease.loop_id,
        places.c.state == "claimed",
    )
    return set(connection.execute(query).scalars())


def lapsed(connection: sa.Connection, lease: Lease) -> list[str]:
    """The study's other loops that hold places and may no longer write them: their lease has
    expired, or they are known to be dead."""
    alive = loops.c.expires_at >= now(connection.dialect.name)
    query = (
        sa.select(loops.c.loop_id, loops.c.process, alive.label("alive"))
        .where(loops.c.study_id == lease.study_id, loops.c.loop_id != lease.loop_id)
        .where(sa.exists().where(places.c.loop_id == loops.c.loop_id))
    )
    rows = connection.execute(query).all()
    return [row.loop_id for row in rows if not row.alive or is_dead(row.process)]


def one_at_a_time(connection: sa.Connection, study_id: int) -> None:
    """Wait until no other transaction of this kind runs on the study, where there is no row yet
    that could be locked. SQLite has one writer at a time anyway."""
    if connection.dialect.name == "postgresql":
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK_KEY, study_id)))
