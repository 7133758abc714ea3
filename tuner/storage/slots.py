"""Places and attempts: who may run what, exactly N times together.

A place is one of a study's `--trials N`. A loop claims a place in one transaction before it begins
a trial, so several loops on one study do exactly N trials between them. The claimed place, with its
attempt, is what gives the right to write the trial: a take-over moves it to another loop, and what
the first one still tries to write is refused in the same transaction (`hold`).

Functions marked `@writes` may be repeated after a commit whose answer was lost.
"""

import sys
import uuid
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from tuner.errors import LeaseLost, SlotLost
from tuner.storage.leases import Lease, check, is_there, lapsed, one_at_a_time
from tuner.storage.schema import (
    StudyKey,
    attempts,
    optuna_trial_values,
    optuna_trials,
    slot_rows,
    studies,
)
from tuner.storage.store import Store, now, reads, writes
from tuner.study.ends import TrialEnd

# Ends of attempts, as stored: those that count against the trial, and those after which the next
# attempt has a process to itself.
LOSSES = tuple(end.value for end in TrialEnd if end.counts_as_loss)
_ALONE_AFTER = tuple(end.value for end in TrialEnd if end.next_is_alone)


@dataclass(frozen=True)
class TrialSlot:
    """A claimed place. `trial_id` is None until it is given a trial; `attempt` is the trial's last
    one, 0 before the first. `alone`: the trial's next attempt is to share its process with none."""

    study_id: int
    uuid: str
    number: int
    attempt: int
    trial_id: int | None
    alone: bool = False


@writes
def ensure_slots(connection: sa.Connection, study: StudyKey, total: int) -> None:
    """Make places 1..total exist. Repeating it changes nothing. Raises LeaseLost for a study that
    was deleted."""
    _open_new(connection, study.study_id, _count(connection, study), total)


def add_slots(store: Store, study: StudyKey, more: int, most: int = sys.maxsize) -> int:
    """Add `more` places, but none beyond `most` in all; the new total. Raises LeaseLost."""
    return _add_slots(store, study, more, most, str(uuid.uuid4()))


@writes
def _add_slots(
    connection: sa.Connection, study: StudyKey, more: int, most: int, added_by: str
) -> int:
    have = _count(connection, study)
    mine = sa.select(sa.func.max(slot_rows.c.number)).where(slot_rows.c.added_by == added_by)
    if (added := connection.execute(mine).scalar()) is not None:
        return added
    total = max(have, min(have + more, most))
    _open_new(connection, study.study_id, have, total, added_by)
    return total


def _open_new(
    connection: sa.Connection, study_id: int, have: int, total: int, added_by: str | None = None
) -> None:
    rows = [
        {"study_id": study_id, "number": number, "state": "open", "added_by": added_by}
        for number in range(have + 1, total + 1)
    ]
    if rows:
        connection.execute(sa.insert(slot_rows), rows)


def _count(connection: sa.Connection, study: StudyKey) -> int:
    # Two loops must not both add place N+1.
    one_at_a_time(connection, study.study_id)
    if not is_there(connection, study):
        raise LeaseLost
    query = sa.select(sa.func.max(slot_rows.c.number)).where(slot_rows.c.study_id == study.study_id)
    return connection.execute(query).scalar() or 0


@writes
def claim(
    connection: sa.Connection,
    lease: Lease,
    limit: int,
    known: frozenset[int] | None = None,
    may_be_alone: bool = True,
) -> TrialSlot | None:
    """Claim an open place numbered at most `limit`, those with a trial to go on with first. Any
    other is given the first trial that waits, if one does. `known`: the numbers of the loop's
    places; one beyond them was claimed by a try whose answer was lost, and is given again.
    `may_be_alone`: those whose trial has to be alone, too. Raises LeaseLost."""
    check(connection, lease)
    lost = None if known is None else _unanswered(connection, lease, known)
    row = lost or _open_slot(connection, lease, limit, may_be_alone)
    if row is None:
        return None
    trial_id = row.trial_id or _first_waiting(connection, lease.study_id)
    slot = TrialSlot(lease.study_id, lease.uuid, row.number, row.attempt, trial_id, bool(row.alone))
    connection.execute(
        _update(slot).values(
            state="claimed", loop_id=lease.loop_id, attempt=slot.attempt, trial_id=trial_id
        )
    )
    return slot


def _unanswered(
    connection: sa.Connection, lease: Lease, known: frozenset[int]
) -> sa.Row[Any, Any, Any, Any] | None:
    query = (
        sa.select(
            slot_rows.c.number,
            slot_rows.c.trial_id,
            slot_rows.c.attempt,
            _alone(lease).label("alone"),
        )
        .where(slot_rows.c.study_id == lease.study_id, slot_rows.c.loop_id == lease.loop_id)
        .where(slot_rows.c.state == "claimed", slot_rows.c.number.not_in(known))
    )
    return connection.execute(query.limit(1)).first()


def _open_slot(
    connection: sa.Connection, lease: Lease, limit: int, may_be_alone: bool
) -> sa.Row[Any, Any, Any, Any] | None:
    query = (
        sa.select(
            slot_rows.c.number,
            slot_rows.c.trial_id,
            slot_rows.c.attempt,
            _alone(lease).label("alone"),
        )
        .where(slot_rows.c.study_id == lease.study_id)
        .where(slot_rows.c.state == "open", slot_rows.c.number <= limit)
        .order_by(slot_rows.c.trial_id.is_(None), slot_rows.c.number)
    )
    if not may_be_alone:
        query = query.where(~_alone(lease))
    return connection.execute(query.limit(1).with_for_update(skip_locked=True)).first()


def _alone(lease: Lease) -> sa.ColumnElement[bool]:
    """Of a place: whether its trial's last attempt ended so that the next is to be alone."""
    return sa.exists().where(
        attempts.c.study_uuid == lease.uuid,
        attempts.c.trial_id == slot_rows.c.trial_id,
        attempts.c.attempt == slot_rows.c.attempt,
        attempts.c.end.in_(_ALONE_AFTER),
    )


def _first_waiting(connection: sa.Connection, study_id: int) -> int | None:
    """The first trial that waits and has no place; ours until the transaction ends."""
    one_at_a_time(connection, study_id)
    query = (
        sa.select(sa.func.min(optuna_trials.c.trial_id))
        .where(optuna_trials.c.study_id == study_id)
        .where(sa.cast(optuna_trials.c.state, sa.String(16)) == "WAITING")
        .where(~sa.exists().where(is_slot_of(optuna_trials)))
    )
    return connection.execute(query).scalar()


def is_slot_of(trials: sa.TableClause) -> sa.ColumnElement[bool]:
    """The condition that a place is that of a row of Optuna's trials."""
    return (slot_rows.c.study_id == trials.c.study_id) & (slot_rows.c.trial_id == trials.c.trial_id)


def bind(connection: sa.Connection, lease: Lease, slot: TrialSlot, trial_id: int) -> int:
    """Give a claimed place its new trial. The trial it has, which is another one if a try whose
    answer was lost has given it one. Raises SlotLost."""
    row = _locked(connection, lease, slot)
    if row.trial_id is not None:
        return row.trial_id
    connection.execute(_update(slot).values(trial_id=trial_id))
    return trial_id


def bound_trial(store: Store, slot: TrialSlot) -> int | None:
    """The trial that the place has now."""
    query = sa.select(slot_rows.c.trial_id).where(
        slot_rows.c.study_id == slot.study_id, slot_rows.c.number == slot.number
    )
    return store.read(lambda connection: connection.execute(query).scalar())


def hold(connection: sa.Connection, lease: Lease, trial_id: int | None) -> None:
    """Make sure, until the transaction ends, that the trial's place is the loop's. Raises SlotLost
    where it is another's or there is none, LeaseLost where the study or the lease is gone."""
    check(connection, lease)
    query = (
        sa.select(slot_rows.c.loop_id)
        .where(slot_rows.c.trial_id == trial_id, slot_rows.c.study_id == lease.study_id)
        .with_for_update()
    )
    row = connection.execute(query).first()
    if row is None or row.loop_id != lease.loop_id:
        raise SlotLost(trial_id)


def _locked(connection: sa.Connection, lease: Lease, slot: TrialSlot) -> sa.Row[Any, Any]:
    """The claimed place's trial and attempt, ours until the transaction ends. Raises SlotLost, and
    LeaseLost."""
    check(connection, lease)
    query = (
        sa.select(slot_rows.c.trial_id, slot_rows.c.attempt)
        .where(slot_rows.c.study_id == slot.study_id, slot_rows.c.number == slot.number)
        .where(slot_rows.c.loop_id == lease.loop_id, slot_rows.c.state == "claimed")
        .with_for_update()
    )
    row = connection.execute(query).first()
    if row is None:
        raise SlotLost(slot.trial_id)
    return row


def begin_attempt(connection: sa.Connection, lease: Lease, slot: TrialSlot, worker: int) -> None:
    """Open the attempt `place.attempt` of the place's trial. Raises SlotLost."""
    _locked(connection, lease, slot)
    connection.execute(_update(slot).values(attempt=slot.attempt))
    connection.execute(
        sa.insert(attempts).values(
            study_uuid=slot.uuid,
            trial_id=slot.trial_id,
            attempt=slot.attempt,
            loop_id=lease.loop_id,
            worker=worker,
            started_at=now(connection.dialect.name),
        )
    )


@reads
def has_begun(connection: sa.Connection, lease: Lease, slot: TrialSlot) -> bool:
    """Whether the place's attempt is one of this loop, and has not ended."""
    query = sa.select(attempts.c.trial_id).where(
        attempts.c.study_uuid == slot.uuid,
        attempts.c.trial_id == slot.trial_id,
        attempts.c.attempt == slot.attempt,
        attempts.c.loop_id == lease.loop_id,
        attempts.c.ended_at.is_(None),
    )
    return connection.execute(query).first() is not None


def finish(connection: sa.Connection, lease: Lease, slot: TrialSlot) -> None:
    """The place's trial is told: the place is taken for good. Raises SlotLost."""
    _give_up(connection, lease, slot, state="done")


def put_back(connection: sa.Connection, lease: Lease, slot: TrialSlot) -> None:
    """Open the place for its trial's next attempt. Raises SlotLost."""
    _give_up(connection, lease, slot, state="open")


def free(connection: sa.Connection, lease: Lease, slot: TrialSlot) -> None:
    """Open the place for another trial: this one failed by user code. Raises SlotLost."""
    _give_up(connection, lease, slot, state="open", trial_id=None, attempt=0)


def _give_up(connection: sa.Connection, lease: Lease, slot: TrialSlot, **values: object) -> None:
    _locked(connection, lease, slot)
    connection.execute(_update(slot).values(loop_id=None, **values))


def _update(slot: TrialSlot) -> sa.Update:
    return sa.update(slot_rows).where(
        slot_rows.c.study_id == slot.study_id, slot_rows.c.number == slot.number
    )


@writes
def take_over_orphans(connection: sa.Connection, lease: Lease) -> list[TrialSlot]:
    """Claim, for this loop, the places of loops whose lease has expired, or that are known to be
    dead; their attempts are closed as lost. The caller puts them back or finishes them."""
    check(connection, lease)
    rows = connection.execute(
        sa.select(slot_rows.c.number, slot_rows.c.trial_id, slot_rows.c.attempt)
        .where(slot_rows.c.study_id == lease.study_id, slot_rows.c.state == "claimed")
        .where(slot_rows.c.loop_id.in_(lapsed(connection, lease)))
        .order_by(slot_rows.c.number)
        .with_for_update(skip_locked=True)
    ).all()
    orphans = [
        TrialSlot(lease.study_id, lease.uuid, row.number, row.attempt, row.trial_id) for row in rows
    ]
    for orphan in orphans:
        _close_as_lost(connection, orphan)
        connection.execute(_update(orphan).values(loop_id=lease.loop_id))
    return orphans


def _close_as_lost(connection: sa.Connection, slot: TrialSlot) -> None:
    connection.execute(
        sa.update(attempts)
        .where(attempts.c.study_uuid == slot.uuid, attempts.c.trial_id == slot.trial_id)
        .where(attempts.c.attempt == slot.attempt, attempts.c.ended_at.is_(None))
        .values(end=TrialEnd.LOST.value, ended_at=now(connection.dialect.name))
    )


def strays() -> tuple[sa.ColumnElement[bool], ...]:
    """The conditions that single out attempts without an end that no claimed place is at."""
    at_work = (
        sa.exists()
        .where(studies.c.uuid == attempts.c.study_uuid, studies.c.study_id == slot_rows.c.study_id)
        .where(slot_rows.c.trial_id == attempts.c.trial_id, slot_rows.c.state == "claimed")
        .where(slot_rows.c.attempt == attempts.c.attempt)
        .correlate(attempts)
    )
    return attempts.c.ended_at.is_(None), ~at_work


@writes
def close_strays(connection: sa.Connection, study: StudyKey) -> int:
    """Close as lost the attempts that no claimed place is at; how many there were."""
    closed = connection.execute(
        sa.update(attempts)
        .where(attempts.c.study_uuid == study.uuid, *strays())
        .values(end=TrialEnd.LOST.value, ended_at=now(connection.dialect.name))
    )
    return int(closed.rowcount)


@reads
def count_losses(connection: sa.Connection, study: StudyKey, trial_id: int) -> int:
    """How many attempts of a trial ended because its worker or its loop died."""
    query = (
        sa.select(sa.func.count())
        .select_from(attempts)
        .where(attempts.c.study_uuid == study.uuid, attempts.c.trial_id == trial_id)
        .where(attempts.c.end.in_(LOSSES))
    )
    return connection.execute(query).scalar_one()


@reads
def unbound_trials(connection: sa.Connection, study: StudyKey) -> list[int]:
    """The ids of trials that are RUNNING without a slot, by number."""
    query = (
        sa.select(optuna_trials.c.trial_id)
        .where(optuna_trials.c.study_id == study.study_id)
        .where(sa.cast(optuna_trials.c.state, sa.String(16)) == "RUNNING")
        .where(~sa.exists().where(is_slot_of(optuna_trials)))
        .order_by(optuna_trials.c.number)
    )
    return list(connection.execute(query).scalars())


@reads
def best_score(
    connection: sa.Connection, study: StudyKey, direction: str, but_not: int | None = None
) -> tuple[float, int] | None:
    """The best finite score of the study's COMPLETE trials, and the number of the first trial that
    has it. `but_not`: the id of a trial to leave out."""
    values = optuna_trial_values
    score = values.c.value.desc() if direction == "maximize" else values.c.value.asc()
    query = (
        sa.select(values.c.value, optuna_trials.c.number)
        .join(optuna_trials, optuna_trials.c.trial_id == values.c.trial_id)
        .where(optuna_trials.c.study_id == study.study_id)
        .where(sa.cast(optuna_trials.c.state, sa.String(16)) == "COMPLETE")
        .where(sa.cast(values.c.value_type, sa.String(16)) == "FINITE")
        .order_by(score, optuna_trials.c.number)
    )
    if but_not is not None:
        query = query.where(optuna_trials.c.trial_id != but_not)
    row = connection.execute(query.limit(1)).first()
    return None if row is None else (row.value, row.number)


@reads
def slot_counts(
    connection: sa.Connection, study: StudyKey, limit: int | None = None
) -> dict[str, int]:
    """Places by state, of those numbered at most `limit`."""
    query = (
        sa.select(slot_rows.c.state, sa.func.count())
        .where(slot_rows.c.study_id == study.study_id)
        .group_by(slot_rows.c.state)
    )
    if limit is not None:
        query = query.where(slot_rows.c.number <= limit)
    return {row[0]: row[1] for row in connection.execute(query)}
