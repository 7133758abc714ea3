"""Slots whose trials are paused at a rung: which there are, and how a loop ends those that never go
on. See `slots` for what a slot is."""

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from tuner.storage import attempt_rows, leases, slots
from tuner.storage.leases import Lease
from tuner.storage.schema import StudyKey, attempts, slot_rows
from tuner.storage.slots import TrialSlot
from tuner.storage.store import Store
from tuner.storage.transaction_hooks import TransactionHook
from tuner.study.ends import TrialEnd

# Databases limit how many values a statement may list, and others wait for the transaction.
_MOST_CLAIMED = 500


@dataclass(frozen=True)
class PausedSlots:
    """The paused slots of a study. `trial_ids`: of those up to a number that may go on. `stopped`:
    whether somebody ends one of the study's paused trials. `has_new`: whether a slot up to that
    number has no trial yet, so that more trials will come."""

    trial_ids: tuple[int, ...]
    stopped: bool
    has_new: bool


def read_paused(store: Store, study: StudyKey, limit: int) -> PausedSlots:
    """The paused slots of the study as one snapshot, those numbered at most `limit`."""
    return store.read(_read_paused, study, limit)


def _read_paused(connection: sa.Connection, study: StudyKey, limit: int) -> PausedSlots:
    of_study = slot_rows.c.study_id == study.study_id
    paused = sa.select(slot_rows.c.number, slot_rows.c.trial_id, slot_rows.c.stop_asked)
    rows = connection.execute(paused.where(of_study, slot_rows.c.state == "paused")).all()
    new = sa.select(slot_rows.c.number).where(of_study, slot_rows.c.state == "open")
    new = new.where(slot_rows.c.trial_id.is_(None), slot_rows.c.number <= limit).limit(1)
    going_on = (row.trial_id for row in rows if not row.stop_asked and row.number <= limit)
    return PausedSlots(
        trial_ids=tuple(going_on),
        stopped=any(row.stop_asked for row in rows),
        has_new=bool(rows) and connection.execute(new).first() is not None,
    )


def claim_stopped(store: Store, lease: Lease) -> list[TrialSlot]:
    """Claim slots of paused trials that somebody ends, up to some hundreds; the caller ends
    them."""
    return store.write(_claim, lease, slot_rows.c.stop_asked.is_(True))


def claim_last(store: Store, lease: Lease) -> list[TrialSlot]:
    """Claim paused slots, up to some hundreds, of a study in which nothing else is left to do: no
    slot is open, or claimed by any loop. None otherwise."""
    return store.write(_claim_last, lease)


def _claim_last(connection: sa.Connection, lease: Lease) -> list[TrialSlot]:
    # With the study's lock nobody adds slots meanwhile.
    leases.lock_study(connection, lease.study_id)
    busy = sa.select(slot_rows.c.number).where(
        slot_rows.c.study_id == lease.study_id,
        (slot_rows.c.state == "open") | ((slot_rows.c.state == "claimed") & ~_claimed_here(lease)),
    )
    if connection.execute(busy.limit(1)).first() is not None:
        return []
    return _claim(connection, lease)


def _claim(
    connection: sa.Connection, lease: Lease, *conditions: sa.ColumnElement[bool]
) -> list[TrialSlot]:
    leases.check(connection, lease)
    columns = (slot_rows.c.number, slot_rows.c.trial_id, slot_rows.c.attempt)
    rows = connection.execute(
        sa.select(*columns)
        .where(slot_rows.c.study_id == lease.study_id, *conditions)
        .where((slot_rows.c.state == "paused") | _claimed_here(lease))
        .order_by(slot_rows.c.number)
        .limit(_MOST_CLAIMED)
        .with_for_update(skip_locked=True)
    ).all()
    claimed = [
        TrialSlot(lease.study_id, lease.uuid, row.number, row.attempt, row.trial_id) for row in rows
    ]
    if claimed:
        connection.execute(
            sa.update(slot_rows)
            .where(slot_rows.c.study_id == lease.study_id)
            .where(slot_rows.c.number.in_([slot.number for slot in claimed]))
            .values(state="claimed", loop_id=lease.loop_id)
        )
    return claimed


def _claimed_here(lease: Lease) -> sa.ColumnElement[bool]:
    """Of a slot: whether its trial is paused, and the loop has claimed it to end it. An attempt
    whose COMMIT reply was lost did that: its slots are returned again."""
    at_rung = sa.exists().where(
        attempts.c.study_uuid == lease.uuid,
        attempts.c.trial_id == slot_rows.c.trial_id,
        attempts.c.attempt == slot_rows.c.attempt,
        attempts.c.end == TrialEnd.AT_RUNG.value,
    )
    is_own = (slot_rows.c.state == "claimed") & (slot_rows.c.loop_id == lease.loop_id)
    return is_own & at_rung.correlate(slot_rows)


def is_at_rung(store: Store, slot: TrialSlot) -> bool:
    """Whether the trial's last attempt ended at a rung, and no other has begun since."""
    query = sa.select(attempts.c.end).where(
        attempts.c.study_uuid == slot.uuid,
        attempts.c.trial_id == slot.trial_id,
        attempts.c.attempt == slot.attempt,
    )
    end = store.read(lambda connection: connection.execute(query).scalar())
    return bool(end == TrialEnd.AT_RUNG)


def end_paused(
    store: Store, lease: Lease, slot: TrialSlot, end: TrialEnd, score: float | None
) -> TransactionHook:
    """For `tell_trial`: the paused trial goes on no more, and its slot, which the loop has claimed,
    is done. Its last attempt ends as `end`, at the time at which it was paused."""
    values: dict[str, Any] = {"end": str(end), "score": score}

    def write(connection: sa.Connection, _trial_id: int) -> None:
        slots.finish(connection, lease, slot)
        attempt_rows.change_attempt(connection, slot, values)

    return TransactionHook(write, lambda: slot.number not in leases.held_slots(store, lease))
