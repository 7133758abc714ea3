"""Trial slots and attempts: several loops run exactly N trials together.

A slot is one of a study's `--trials N`. A loop claims a slot in one transaction before it begins a
trial, so several loops on one study run exactly N trials together. The claimed slot, with its
attempt, gives the right to write the trial: a takeover moves it to another loop, and what the first
loop still tries to write is refused in the same transaction (`hold`).

A slot is open, claimed, or done; or it is paused: its trial waits at a rung until it has earned to
go on. Then no loop holds it, and any may claim it.

Functions of a store may be repeated after a COMMIT whose reply was lost. Functions of a connection
are parts of a transaction.
"""

import functools
import sys
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from tuner.errors import SlotLost
from tuner.storage.leases import (
    Lease,
    check,
    is_of_study,
    keep_study,
    lapsed_loops,
    lock_study,
)
from tuner.storage.schema import (
    StudyKey,
    attempts,
    loops,
    optuna_trial_values,
    optuna_trials,
    slot_rows,
    studies,
)
from tuner.storage.store import Store, now
from tuner.study.ends import TrialEnd
from tuner.study.messages import WorkerPlace

# Ends of attempts, as stored: those that count against the trial, and those after which the next
# attempt has a process to itself.
LOSSES = tuple(end.value for end in TrialEnd if end.counts_as_loss)
_ALONE_AFTER = tuple(end.value for end in TrialEnd if end.next_is_alone)


@dataclass(frozen=True)
class TrialSlot:
    """A claimed slot. `trial_id` is None until it gets a trial; `attempt` is the trial's last one,
    0 before the first. `alone`: the trial's next attempt may share its process with no other."""

    study_id: int
    uuid: str
    number: int
    attempt: int
    trial_id: int | None
    alone: bool = False


def ensure_slots(store: Store, study: StudyKey, total: int) -> None:
    """Make slots 1..total exist. Repeating it changes nothing. Raises LeaseLost for a study that
    was deleted."""

    def write(connection: sa.Connection) -> None:
        insert_open(connection, study.study_id, count_slots(connection, study), total)

    store.write(write)


def total_slots(store: Store, study: StudyKey) -> int:
    """The study's total of trials: how many slots it has."""
    return store.read(total_slots_in, study)


def total_slots_in(connection: sa.Connection, study: StudyKey) -> int:
    """The same within a transaction."""
    query = sa.select(sa.func.max(slot_rows.c.number)).where(slot_rows.c.study_id == study.study_id)
    return connection.execute(query).scalar() or 0


def add_slots(store: Store, study: StudyKey, more: int, most: int = sys.maxsize) -> int:
    """Add `more` slots, but none beyond `most` in all; the new total. Raises LeaseLost."""
    return store.write(_add_slots, study, more, most, str(uuid.uuid4()))


def _add_slots(
    connection: sa.Connection, study: StudyKey, more: int, most: int, added_by: str
) -> int:
    present = count_slots(connection, study)
    own_rows = sa.select(sa.func.max(slot_rows.c.number)).where(slot_rows.c.added_by == added_by)
    if (added_before := connection.execute(own_rows).scalar()) is not None:
        return added_before
    total = max(present, min(present + more, most))
    insert_open(connection, study.study_id, present, total, added_by)
    return total


def insert_open(
    connection: sa.Connection, study_id: int, present: int, total: int, added_by: str | None = None
) -> None:
    """Add open slots up to the number `total`, within a transaction that has called
    `count_slots`."""
    rows = [
        {"study_id": study_id, "number": number, "state": "open", "added_by": added_by}
        for number in range(present + 1, total + 1)
    ]
    if rows:
        connection.execute(sa.insert(slot_rows), rows)


def count_slots(connection: sa.Connection, study: StudyKey) -> int:
    """The study's total of slots, which no other transaction changes until this one ends. Raises
    LeaseLost for a study that was deleted."""
    # Two loops must not both add slot N+1.
    lock_study(connection, study.study_id)
    keep_study(connection, study)
    return total_slots_in(connection, study)


def claim(
    store: Store,
    lease: Lease,
    limit: int,
    own_slots: frozenset[int] | None = None,
    may_be_alone: bool = True,
    promoted: int | None = None,
) -> TrialSlot | None:
    """Claim an open slot numbered at most `limit`, those with a trial to go on with first. A slot
    without a trial gets the first trial that waits, if one does. `promoted`: the id of a paused
    trial that goes on before a new one begins, if it is still paused.

    `own_slots`: the numbers of the slots that the loop knows it holds. One that the database has
    beyond them was claimed by an attempt whose COMMIT reply was lost; it is returned again.
    `may_be_alone`: also slots whose trial has to run alone. Raises LeaseLost."""
    return store.write(claim_in, lease, limit, own_slots, may_be_alone, promoted)


def claim_in(
    connection: sa.Connection,
    lease: Lease,
    limit: int,
    own_slots: frozenset[int] | None,
    may_be_alone: bool,
    promoted: int | None = None,
) -> TrialSlot | None:
    """The same within a transaction."""
    check(connection, lease)
    claimed = None if own_slots is None else _claimed_before(connection, lease, own_slots)
    row = claimed or _open_slot(connection, lease, limit, may_be_alone)
    if promoted is not None and claimed is None and (row is None or row.trial_id is None):
        keys = _keys_of(lease) | {"a_trial": promoted}
        row = connection.execute(_PAUSED_SLOT, keys).first() or row
    if row is None:
        return None
    trial_id = row.trial_id or _first_waiting(connection, lease.study_id)
    slot = TrialSlot(lease.study_id, lease.uuid, row.number, row.attempt, trial_id, bool(row.alone))
    change = {"state": "claimed", "loop_id": lease.loop_id, "trial_id": trial_id}
    _change(connection, slot, change | {"attempt": slot.attempt})
    return slot


def _claimed_before(
    connection: sa.Connection, lease: Lease, own_slots: frozenset[int]
) -> sa.Row[Any, Any, Any, Any] | None:
    keys = _keys_of(lease) | {"a_loop": lease.loop_id}
    # A loop may hold a thousand slots, and to list them takes 10 ms: mostly it knows them all.
    if tuple(connection.execute(_CLAIMED, keys).one()) == (len(own_slots), sum(own_slots)):
        return None
    return connection.execute(_CLAIMED_BEFORE, keys | {"own": list(own_slots)}).first()


def _open_slot(
    connection: sa.Connection, lease: Lease, limit: int, may_be_alone: bool
) -> sa.Row[Any, Any, Any, Any] | None:
    query = _OPEN_SLOT if may_be_alone else _OPEN_TO_COMPANY
    return connection.execute(query, _keys_of(lease) | {"most": limit}).first()


def _keys_of(lease: Lease) -> dict[str, Any]:
    return {"a_study": lease.study_id, "a_uuid": lease.uuid}


def _first_waiting(connection: sa.Connection, study_id: int) -> int | None:
    """The first trial that waits and has no slot; no other loop gets it until the transaction
    ends."""
    first = connection.execute(_FIRST_WAITING, {"a_study": study_id}).scalar()
    if first is None:
        return None  # mostly so: then loops need not wait for each other
    lock_study(connection, study_id)
    return connection.execute(_FIRST_WAITING, {"a_study": study_id}).scalar()


def is_slot_of(trials: sa.TableClause) -> sa.ColumnElement[bool]:
    """The condition that a slot belongs to a row of Optuna's trials."""
    return (slot_rows.c.study_id == trials.c.study_id) & (slot_rows.c.trial_id == trials.c.trial_id)


# Statements of each trial, built once: to build one anew takes longer than to execute it.
_study, _uuid = sa.bindparam("a_study", type_=sa.Integer), sa.bindparam("a_uuid", type_=sa.String)
_loop, _number = sa.bindparam("a_loop", type_=sa.String), sa.bindparam("a_number", type_=sa.Integer)
# Of a slot: whether its trial's last attempt ended so that the next must run alone.
_must_run_alone = sa.exists().where(
    attempts.c.study_uuid == _uuid,
    attempts.c.trial_id == slot_rows.c.trial_id,
    attempts.c.attempt == slot_rows.c.attempt,
    attempts.c.end.in_(_ALONE_AFTER),
)
_slots_of_study = sa.select(
    slot_rows.c.number,
    slot_rows.c.trial_id,
    slot_rows.c.attempt,
    _must_run_alone.label("alone"),
).where(slot_rows.c.study_id == _study)
_is_claimed = (slot_rows.c.loop_id == _loop) & (slot_rows.c.state == "claimed")
_CLAIMED = sa.select(sa.func.count(), sa.func.coalesce(sa.func.sum(slot_rows.c.number), 0)).where(
    slot_rows.c.study_id == _study, _is_claimed
)
_CLAIMED_BEFORE = _slots_of_study.where(
    _is_claimed, slot_rows.c.number.not_in(sa.bindparam("own", expanding=True))
).limit(1)

_PAUSED_SLOT = _slots_of_study.where(
    slot_rows.c.state == "paused",
    slot_rows.c.trial_id == sa.bindparam("a_trial", type_=sa.Integer),
).with_for_update(skip_locked=True)


def _first_open(may_be_alone: bool) -> sa.CompoundSelect[Any]:
    """The first open slot with a trial to go on with, or else the first without one: two queries in
    one statement, each by the index, since a sort of 100 000 open slots takes 80 ms."""
    is_open, most = slot_rows.c.state == "open", sa.bindparam("most", type_=sa.Integer)
    # Written so that SQLite reads them by the index of states: there are few of them.
    has_trial = (slot_rows.c.trial_id >= 0, slot_rows.c.number + 0 <= most)
    begun = _slots_of_study.where(is_open, *has_trial)
    if not may_be_alone:
        begun = begun.where(~_must_run_alone)
    begun = begun.order_by(slot_rows.c.number).limit(1).with_for_update(skip_locked=True)
    first = begun.cte("first_begun")
    new = _slots_of_study.where(is_open, slot_rows.c.trial_id.is_(None), slot_rows.c.number <= most)
    # In the index's order: PostgreSQL makes nothing of it that none of these has a trial.
    new = new.where(~sa.exists(first.select())).order_by(slot_rows.c.trial_id, slot_rows.c.number)
    second = new.limit(1).with_for_update(skip_locked=True).cte("first_new")
    return first.select().union_all(second.select()).limit(1)


_OPEN_SLOT, _OPEN_TO_COMPANY = _first_open(True), _first_open(False)
_FIRST_WAITING = (
    sa.select(sa.func.min(optuna_trials.c.trial_id))
    .where(optuna_trials.c.study_id == _study)
    .where(sa.cast(optuna_trials.c.state, sa.String(16)) == "WAITING")
    .where(~sa.exists().where(is_slot_of(optuna_trials)))
)
# Locks the loop's row first, as `leases.check` does: who deletes the study wants it first too.
_HELD = (
    sa.select(slot_rows.c.trial_id)
    .select_from(loops.join(slot_rows, loops.c.loop_id == slot_rows.c.loop_id))
    .where(slot_rows.c.study_id == _study, slot_rows.c.loop_id == _loop)
    .where(slot_rows.c.trial_id.in_(sa.bindparam("trials", expanding=True)))
    .where(*is_of_study(_uuid))
    .order_by(slot_rows.c.trial_id)
    .with_for_update()
)
_OWN_SLOT = (
    sa.select(slot_rows.c.trial_id)
    .where(slot_rows.c.study_id == _study, slot_rows.c.number == _number)
    .where(slot_rows.c.loop_id == _loop, slot_rows.c.state == "claimed")
    .with_for_update()
)


@functools.cache
def _update_of(columns: tuple[str, ...], only_own: bool = False) -> sa.Update:
    """Changes these columns of one slot. `only_own`: if a loop has claimed it."""
    is_own = (slot_rows.c.loop_id == _loop, slot_rows.c.state == "claimed") if only_own else ()
    return (
        sa.update(slot_rows)
        .where(slot_rows.c.study_id == _study, slot_rows.c.number == _number, *is_own)
        .values(
            {name: sa.bindparam(f"new_{name}", type_=slot_rows.c[name].type) for name in columns}
        )
    )


@functools.cache
def _insert_attempt(dialect: str) -> sa.Insert:
    return sa.insert(attempts).values(started_at=now(dialect))


def bind(connection: sa.Connection, lease: Lease, slot: TrialSlot, trial_id: int) -> int:
    """Give a claimed slot its new trial; the trial that it has then. That is another one if an
    attempt whose COMMIT reply was lost has bound one before. Raises SlotLost."""
    row = _lock_slot(connection, lease, slot)
    if row.trial_id is not None:
        return row.trial_id
    _change(connection, slot, {"trial_id": trial_id})
    return trial_id


def bound_trial(store: Store, slot: TrialSlot) -> int | None:
    """The id of the trial that the slot has now."""
    query = sa.select(slot_rows.c.trial_id).where(
        slot_rows.c.study_id == slot.study_id, slot_rows.c.number == slot.number
    )
    return store.read(lambda connection: connection.execute(query).scalar())


def hold(connection: sa.Connection, lease: Lease, *trial_ids: int | None) -> None:
    """Make sure, until the transaction ends, that the loop holds the slots of these trials. Raises
    SlotLost, of the first of them that another loop holds or that has none, and LeaseLost where the
    study or the lease is gone."""
    keys = _keys_of(lease) | {"a_loop": lease.loop_id, "trials": list(trial_ids)}
    held = set(connection.execute(_HELD, keys).scalars())
    for trial_id in trial_ids:
        if trial_id not in held:
            check(connection, lease)
            raise SlotLost(trial_id)


def _lock_slot(connection: sa.Connection, lease: Lease, slot: TrialSlot) -> sa.Row[Any, Any]:
    """The trial and the attempt of a slot that the loop holds; nobody else changes them until the
    transaction ends. Raises SlotLost and LeaseLost."""
    check(connection, lease)
    keys = {"a_study": slot.study_id, "a_number": slot.number, "a_loop": lease.loop_id}
    row = connection.execute(_OWN_SLOT, keys).first()
    if row is None:
        raise SlotLost(slot.trial_id)
    return row


def place_columns(place: WorkerPlace | None) -> dict[str, str | None]:
    """The place of an attempt as its row has it; None for the machine of its loop."""
    host, node = place or (None, None)
    return {"host": host, "node": node}


def begin_attempt(
    connection: sa.Connection,
    lease: Lease,
    slot: TrialSlot,
    worker: int,
    place: WorkerPlace | None = None,
) -> None:
    """Open the attempt `slot.attempt` of the slot's trial, within a transaction that has checked
    the lease. Raises SlotLost."""
    change = {"attempt": slot.attempt, "trial_id": slot.trial_id}
    _change_own(connection, lease, slot, change)
    row = {
        "study_uuid": slot.uuid,
        "trial_id": slot.trial_id,
        "attempt": slot.attempt,
        "loop_id": lease.loop_id,
        "worker": worker,
        **place_columns(place),
    }
    connection.execute(_insert_attempt(connection.dialect.name), row)


def has_begun(store: Store, lease: Lease, slot: TrialSlot) -> bool:
    """Whether this loop has begun the slot's attempt, and it has not ended."""
    return store.read(is_begun, lease, slot)


def is_begun(connection: sa.Connection, lease: Lease, slot: TrialSlot) -> bool:
    """The same within a transaction."""
    query = sa.select(attempts.c.trial_id).where(
        attempts.c.study_uuid == slot.uuid,
        attempts.c.trial_id == slot.trial_id,
        attempts.c.attempt == slot.attempt,
        attempts.c.loop_id == lease.loop_id,
        attempts.c.ended_at.is_(None),
    )
    return connection.execute(query).first() is not None


def finish(connection: sa.Connection, lease: Lease, slot: TrialSlot) -> None:
    """The slot's trial has ended: the slot is done. Raises SlotLost."""
    _release(connection, lease, slot, state="done")


def put_back(connection: sa.Connection, lease: Lease, slot: TrialSlot) -> None:
    """Open the slot for its trial's next attempt. Raises SlotLost."""
    _release(connection, lease, slot, state="open")


def pause(connection: sa.Connection, lease: Lease, slot: TrialSlot) -> None:
    """Keep the slot for its trial, which waits at a rung. Raises SlotLost."""
    _release(connection, lease, slot, state="paused")


def free(connection: sa.Connection, lease: Lease, slot: TrialSlot) -> None:
    """Open the slot for another trial: the user's code failed in this one. Raises SlotLost."""
    _release(connection, lease, slot, state="open", trial_id=None, attempt=0, stop_asked=None)


def _release(connection: sa.Connection, lease: Lease, slot: TrialSlot, **values: object) -> None:
    _change_own(connection, lease, slot, {"loop_id": None, **values})


def _change_own(
    connection: sa.Connection, lease: Lease, slot: TrialSlot, values: Mapping[str, object]
) -> None:
    """Change a slot that the loop holds. Raises SlotLost and LeaseLost."""
    keys = {"a_study": slot.study_id, "a_number": slot.number, "a_loop": lease.loop_id}
    new = {f"new_{name}": value for name, value in values.items()}
    if not connection.execute(_update_of(tuple(values), only_own=True), keys | new).rowcount:
        check(connection, lease)
        raise SlotLost(slot.trial_id)


def _change(connection: sa.Connection, slot: TrialSlot, values: Mapping[str, object]) -> None:
    keys = {"a_study": slot.study_id, "a_number": slot.number}
    new = {f"new_{name}": value for name, value in values.items()}
    connection.execute(_update_of(tuple(values)), keys | new)


def take_over_orphans(store: Store, lease: Lease) -> list[TrialSlot]:
    """Claim, for this loop, the slots of loops whose lease has expired or that are known to be
    dead; their attempts are closed as lost. The caller puts the slots back or finishes them."""
    return store.write(_take_over_orphans, lease)


def _take_over_orphans(connection: sa.Connection, lease: Lease) -> list[TrialSlot]:
    check(connection, lease)
    rows = connection.execute(
        sa.select(slot_rows.c.number, slot_rows.c.trial_id, slot_rows.c.attempt)
        .where(slot_rows.c.study_id == lease.study_id, slot_rows.c.state == "claimed")
        .where(slot_rows.c.loop_id.in_(lapsed_loops(connection, lease)))
        .order_by(slot_rows.c.number)
        .with_for_update(skip_locked=True)
    ).all()
    orphans = [
        TrialSlot(lease.study_id, lease.uuid, row.number, row.attempt, row.trial_id) for row in rows
    ]
    for orphan in orphans:
        _close_as_lost(connection, orphan)
        _change(connection, orphan, {"loop_id": lease.loop_id})
    return orphans


def _close_as_lost(connection: sa.Connection, slot: TrialSlot) -> None:
    connection.execute(
        sa.update(attempts)
        .where(attempts.c.study_uuid == slot.uuid, attempts.c.trial_id == slot.trial_id)
        .where(attempts.c.attempt == slot.attempt, attempts.c.ended_at.is_(None))
        .values(end=TrialEnd.LOST.value, ended_at=now(connection.dialect.name))
    )


def is_stray() -> sa.ColumnElement[bool]:
    """Of an attempt: whether it has no end, and no claimed slot is at it."""
    has_slot = (
        sa.exists()
        .where(studies.c.uuid == attempts.c.study_uuid, studies.c.study_id == slot_rows.c.study_id)
        .where(slot_rows.c.trial_id == attempts.c.trial_id, slot_rows.c.state == "claimed")
        .where(slot_rows.c.attempt == attempts.c.attempt)
        .correlate(attempts)
    )
    return attempts.c.ended_at.is_(None) & ~has_slot


def close_strays(store: Store, study: StudyKey) -> int:
    """Close as lost the attempts without an end that no claimed slot is at; how many there were."""

    def write(connection: sa.Connection) -> int:
        closed = connection.execute(
            sa.update(attempts)
            .where(attempts.c.study_uuid == study.uuid, is_stray())
            .values(end=TrialEnd.LOST.value, ended_at=now(connection.dialect.name))
        )
        return int(closed.rowcount)

    return store.write(write)


def count_losses(store: Store, study: StudyKey, trial_id: int) -> int:
    """How many attempts of a trial ended because its worker or its loop died."""
    query = (
        sa.select(sa.func.count())
        .select_from(attempts)
        .where(attempts.c.study_uuid == study.uuid, attempts.c.trial_id == trial_id)
        .where(attempts.c.end.in_(LOSSES))
    )
    return store.read(lambda connection: connection.execute(query).scalar_one())


def unbound_trials(store: Store, study: StudyKey) -> list[int]:
    """The ids of trials that are RUNNING without a slot, in the order of their numbers."""
    query = (
        sa.select(optuna_trials.c.trial_id)
        .where(optuna_trials.c.study_id == study.study_id)
        .where(sa.cast(optuna_trials.c.state, sa.String(16)) == "RUNNING")
        .where(~sa.exists().where(is_slot_of(optuna_trials)))
        .order_by(optuna_trials.c.number)
    )
    return store.read(lambda connection: list(connection.execute(query).scalars()))


def best_score(
    store: Store, study: StudyKey, direction: str, but_not: int | None = None
) -> tuple[float, int] | None:
    """The best finite score of the study's COMPLETE trials, and the number of the first trial that
    has it. `but_not`: the id of a trial to leave out."""
    return store.read(best_score_in, study, direction, but_not)


def best_score_in(
    connection: sa.Connection, study: StudyKey, direction: str, but_not: int | None = None
) -> tuple[float, int] | None:
    """The same within a transaction."""
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


def count_spoken_for(store: Store, study: StudyKey) -> int:
    """How many slots the study's trials have or wait for."""
    has_trial = (slot_rows.c.study_id == study.study_id) & slot_rows.c.trial_id.is_not(None)
    bound = sa.select(sa.func.count()).select_from(slot_rows).where(has_trial)
    queued = (
        sa.select(sa.func.count())
        .select_from(optuna_trials)
        .where(optuna_trials.c.study_id == study.study_id)
        .where(sa.cast(optuna_trials.c.state, sa.String(16)) == "WAITING")
        .where(~sa.exists().where(is_slot_of(optuna_trials)))
    )
    return store.read(
        lambda connection: (
            connection.execute(bound).scalar_one() + connection.execute(queued).scalar_one()
        )
    )


def slot_counts(store: Store, study: StudyKey, limit: int | None = None) -> dict[str, int]:
    """Slots by state, of those numbered at most `limit`."""
    query = (
        sa.select(slot_rows.c.state, sa.func.count())
        .where(slot_rows.c.study_id == study.study_id)
        .group_by(slot_rows.c.state)
    )
    if limit is not None:
        query = query.where(slot_rows.c.number <= limit)
    rows = store.read(lambda connection: connection.execute(query).all())
    return {row[0]: row[1] for row in rows}


def has_unfinished(store: Store, study: StudyKey) -> bool:
    """Whether a trial that has a slot of the study has not ended."""
    query = sa.select(slot_rows.c.number).where(
        slot_rows.c.study_id == study.study_id,
        slot_rows.c.state != "done",
        slot_rows.c.trial_id.is_not(None),
    )
    return store.read(lambda connection: connection.execute(query.limit(1)).first() is not None)


def has_state(store: Store, study: StudyKey, *states: str) -> bool:
    """Whether a slot of the study is in one of these states."""
    query = sa.select(slot_rows.c.number).where(
        slot_rows.c.study_id == study.study_id, slot_rows.c.state.in_(states)
    )
    return store.read(lambda connection: connection.execute(query.limit(1)).first() is not None)
