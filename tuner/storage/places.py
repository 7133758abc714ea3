"""Places, leases and attempts: who may run what, exactly N times together.

A place is one of a study's `--trials N`. A loop claims a place in one transaction before it asks
Optuna, so several loops on one study do exactly N trials between them.
"""

import os
import socket
import sys
import uuid
from dataclasses import dataclass, replace

import sqlalchemy as sa

from tuner.storage.store import Store, now
from tuner.storage.tables import attempts, loops, optuna_trials, places

LEASE_S = 60.0
MOST_ATTEMPTS = 3
_LOCK_KEY = 7310542


@dataclass(frozen=True)
class Place:
    """A claimed place. `trial_id` is None until it is given a trial; `attempt` is the trial's last
    one, 0 before the first."""

    study_id: int
    number: int
    attempt: int
    trial_id: int | None


@dataclass(frozen=True)
class Lease:
    """A loop's time-limited right to write its trials; `number` counts a study's loops from 0."""

    loop_id: str
    study_id: int
    number: int


def open_lease(store: Store, study_id: int) -> Lease:
    loop_id = str(uuid.uuid4())
    with store.writing() as connection:
        # Two loops with one number would draw the same points.
        _one_at_a_time(connection, study_id)
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
                expires_at=clock + LEASE_S,
            )
        )
    return Lease(loop_id, study_id, number)


def renew_lease(store: Store, lease: Lease, lasts_s: float = LEASE_S) -> None:
    """Extend the lease from now; 0 ends it."""
    with store.writing() as connection:
        clock = now(connection.dialect.name)
        connection.execute(
            sa.update(loops)
            .where(loops.c.loop_id == lease.loop_id)
            .values(expires_at=clock + lasts_s)
        )


def ensure_places(store: Store, study_id: int, total: int) -> None:
    """Make places 1..total exist. Repeating it changes nothing."""
    with store.writing() as connection:
        _open_new(connection, study_id, _count(connection, study_id), total)


def add_places(store: Store, study_id: int, more: int, most: int = sys.maxsize) -> int:
    """Add `more` places, but none beyond `most` in all; the new total."""
    with store.writing() as connection:
        have = _count(connection, study_id)
        total = max(have, min(have + more, most))
        _open_new(connection, study_id, have, total)
    return total


def _open_new(connection: sa.Connection, study_id: int, have: int, total: int) -> None:
    rows = [
        {"study_id": study_id, "number": number, "state": "open"}
        for number in range(have + 1, total + 1)
    ]
    if rows:
        connection.execute(sa.insert(places), rows)


def _count(connection: sa.Connection, study_id: int) -> int:
    # Two loops must not both add place N+1.
    _one_at_a_time(connection, study_id)
    query = sa.select(sa.func.max(places.c.number)).where(places.c.study_id == study_id)
    return connection.execute(query).scalar() or 0


def _one_at_a_time(connection: sa.Connection, study_id: int) -> None:
    """Wait until no other transaction of this kind runs on the study, where there is no row yet
    that could be locked. SQLite has one writer at a time anyway."""
    if connection.dialect.name == "postgresql":
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK_KEY, study_id)))


def claim(store: Store, lease: Lease, limit: int) -> Place | None:
    """Claim an open place numbered at most `limit`, those with a trial to go on with first. Any
    other is given the first trial that waits, if one does."""
    with store.writing() as connection:
        row = connection.execute(
            sa.select(places.c.number, places.c.trial_id, places.c.attempt)
            .where(places.c.study_id == lease.study_id)
            .where(places.c.state == "open", places.c.number <= limit)
            .order_by(places.c.trial_id.is_(None), places.c.number)
            .limit(1)
            .with_for_update(skip_locked=True)
        ).first()
        if row is None:
            return None
        trial_id = row.trial_id or _first_waiting(connection, lease.study_id)
        place = Place(lease.study_id, row.number, row.attempt, trial_id)
        _take(connection, lease, place)
    return place


def bind(store: Store, lease: Lease, place: Place) -> Place:
    """Give a claimed place the first trial that waits, if one does."""
    with store.writing() as connection:
        place = replace(place, trial_id=_first_waiting(connection, place.study_id))
        _take(connection, lease, place)
    return place


def _first_waiting(connection: sa.Connection, study_id: int) -> int | None:
    """The first trial that waits and has no place; ours until the transaction ends."""
    _one_at_a_time(connection, study_id)
    query = (
        sa.select(sa.func.min(optuna_trials.c.trial_id))
        .where(optuna_trials.c.study_id == study_id)
        .where(sa.cast(optuna_trials.c.state, sa.String(16)) == "WAITING")
        .where(~sa.exists().where(places.c.trial_id == optuna_trials.c.trial_id))
    )
    return connection.execute(query).scalar()


def _take(connection: sa.Connection, lease: Lease, place: Place) -> None:
    connection.execute(
        _update(place).values(
            state="claimed",
            loop_id=lease.loop_id,
            attempt=place.attempt,
            trial_id=place.trial_id,
        )
    )


def begin_attempt(store: Store, lease: Lease, place: Place, trial_id: int, worker: int) -> Place:
    """Open the next attempt of the place's trial. The place as it is now."""
    with store.writing() as connection:
        place = replace(place, attempt=place.attempt + 1, trial_id=trial_id)
        _take(connection, lease, place)
        connection.execute(
            sa.insert(attempts).values(
                trial_id=trial_id,
                attempt=place.attempt,
                study_id=place.study_id,
                loop_id=lease.loop_id,
                worker=worker,
                started_at=now(connection.dialect.name),
            )
        )
    return place


def finish(store: Store, place: Place) -> None:
    """The place's trial is told: the place is taken for good."""
    with store.writing() as connection:
        connection.execute(_update(place).values(state="done", loop_id=None))


def put_back(store: Store, place: Place, end: str) -> None:
    """Open the place for its trial's next attempt; this attempt ended as `end`."""
    with store.writing() as connection:
        _close_attempt(connection, place, end)
        _open(connection, place, keeps_trial=True)


def free(store: Store, place: Place) -> None:
    """Open the place for another trial: this one failed by the user's own code."""
    with store.writing() as connection:
        _open(connection, place, keeps_trial=False)


def _open(connection: sa.Connection, place: Place, keeps_trial: bool) -> None:
    values: dict[str, object] = {"state": "open", "loop_id": None}
    if not keeps_trial:
        values |= {"trial_id": None, "attempt": 0}
    connection.execute(_update(place).values(**values))


def _close_attempt(connection: sa.Connection, place: Place, end: str) -> None:
    connection.execute(
        sa.update(attempts)
        .where(attempts.c.trial_id == place.trial_id, attempts.c.attempt == place.attempt)
        .where(attempts.c.ended_at.is_(None))
        .values(end=end, ended_at=now(connection.dialect.name))
    )


def _update(place: Place) -> sa.Update:
    return sa.update(places).where(
        places.c.study_id == place.study_id, places.c.number == place.number
    )


def take_over_orphans(store: Store, lease: Lease) -> list[Place]:
    """Claim, for this loop, the places whose loop's lease has expired; their attempts are closed
    as lost. The caller puts them back or finishes them by their trials' state."""
    with store.writing() as connection:
        clock = now(connection.dialect.name)
        rows = connection.execute(
            sa.select(places.c.number, places.c.trial_id, places.c.attempt)
            .join(loops, loops.c.loop_id == places.c.loop_id)
            .where(places.c.study_id == lease.study_id, places.c.state == "claimed")
            .where(loops.c.expires_at < clock)
            .with_for_update(skip_locked=True, of=places)
        ).all()
        orphans = [Place(lease.study_id, row.number, row.attempt, row.trial_id) for row in rows]
        for orphan in orphans:
            _close_attempt(connection, orphan, "lost")
            _take(connection, lease, orphan)
    return orphans


def count_losses(store: Store, trial_id: int) -> int:
    """How many attempts of a trial ended because its worker or its loop died."""
    query = (
        sa.select(sa.func.count())
        .select_from(attempts)
        .where(attempts.c.trial_id == trial_id, attempts.c.end.in_(("worker_lost", "lost")))
    )
    with store.reading() as connection:
        return connection.execute(query).scalar_one()


def bound_trials(store: Store, study_id: int) -> set[int]:
    """The trial ids that have a place."""
    with store.reading() as connection:
        query = sa.select(places.c.trial_id).where(places.c.study_id == study_id)
        return {trial_id for trial_id in connection.execute(query).scalars() if trial_id}


def place_counts(store: Store, study_id: int, limit: int | None = None) -> dict[str, int]:
    """Places by state, of those numbered at most `limit`."""
    query = (
        sa.select(places.c.state, sa.func.count())
        .where(places.c.study_id == study_id)
        .group_by(places.c.state)
    )
    if limit is not None:
        query = query.where(places.c.number <= limit)
    with store.reading() as connection:
        return {row[0]: row[1] for row in connection.execute(query)}
