"""What anybody may ask of a study from any machine, and how its loops read it.

Commands write one row, and loops read their orders twice a second: nobody needs to reach a machine.
"""

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from tuner.errors import LeaseLost, StudyError
from tuner.storage import leases, slots
from tuner.storage.damage import Damage, json_object
from tuner.storage.leases import Holder, Lease, has_optuna_study
from tuner.storage.optuna_rows import has_number, state_of_trial
from tuner.storage.schema import StudyKey, loops, optuna_trials, slot_rows, studies
from tuner.storage.store import Store, now
from tuner.storage.studies import StudyRow
from tuner.study.ends import StopReason
from tuner.study.study_state import StudyState


@dataclass(frozen=True)
class LoopOrders:
    """What a loop has to do now. `stop`: why it must end. `paused`: its trials stop behind an epoch
    and none begins. `stopped_slots`: the numbers of its slots whose trials are to end. `total`: the
    study's number of slots."""

    stop: StopReason | None = None
    paused: bool = False
    stopped_slots: frozenset[int] = frozenset()
    total: int = 0


def read_orders(store: Store, lease: Lease) -> LoopOrders:
    """The loop's orders: one short query. Raises LeaseLost where the loop or its study is gone."""
    return store.read(_read_orders, lease)


def _read_orders(connection: sa.Connection, lease: Lease) -> LoopOrders:
    query = _orders_query(connection.dialect.name)
    rows = connection.execute(query, {"a_loop": lease.loop_id}).all()
    if not rows:
        raise LeaseLost
    first = rows[0]
    state = StudyState.read(first.state)
    stop = None
    if first.is_closed:
        stop = StopReason.DELETED
    elif state is StudyState.STOPPED or first.is_stopped:
        stop = StopReason.STOPPED
    stopped_slots = frozenset(row.number for row in rows if row.number is not None)
    return LoopOrders(stop, state is StudyState.PAUSED, stopped_slots, first.total or 0)


@functools.cache
def _orders_query(dialect: str) -> sa.Select[Any]:
    """A row for each slot whose trial is to end, or one without a number."""
    total = sa.select(sa.func.max(slot_rows.c.number)).where(
        slot_rows.c.study_id == studies.c.study_id
    )
    asked = slot_rows.alias()
    is_asked = (
        (asked.c.study_id == studies.c.study_id)
        & (asked.c.state == "claimed")
        & (asked.c.loop_id == loops.c.loop_id)
        & asked.c.stop_asked.is_(True)
    )
    return (
        sa.select(
            studies.c.state,
            (studies.c.stop_until > now(dialect)).label("is_closed"),
            (studies.c.stop_until >= loops.c.started_at).label("is_stopped"),
            total.scalar_subquery().label("total"),
            asked.c.number,
        )
        .select_from(
            loops.join(studies, studies.c.uuid == loops.c.study_uuid).outerjoin(asked, is_asked)
        )
        .where(loops.c.loop_id == sa.bindparam("a_loop", type_=sa.String), has_optuna_study())
    )


def set_state(store: Store, study: StudyKey, state: StudyState) -> list[Holder]:
    """Pause, stop or resume a study; the loops that work on it now. Those that run when it is
    stopped end, also if it is resumed meanwhile; daemons come back then. A study that is about to
    be deleted is left alone. Raises LeaseLost for one that was deleted."""
    return store.write(_set_state, study, state)


def _set_state(connection: sa.Connection, study: StudyKey, state: StudyState) -> list[Holder]:
    _check_exists(connection, study)
    working = leases.live_holders(connection, study)
    if leases.is_closed(connection, study):
        return working
    connection.execute(
        sa.update(studies).where(studies.c.uuid == study.uuid).values(state=state.value or None)
    )
    if state is StudyState.STOPPED and working:
        leases.ask_to_stop(connection, study)
    return working


def _check_exists(connection: sa.Connection, study: StudyKey) -> None:
    query = sa.select(studies.c.uuid).where(studies.c.uuid == study.uuid, has_optuna_study())
    if connection.execute(query).first() is None:
        raise LeaseLost("the study was deleted")


def set_priority(store: Store, study: StudyKey, priority: int) -> None:
    """Daemons take studies of a higher priority first. Raises LeaseLost for a study that was
    deleted."""

    def write(connection: sa.Connection) -> None:
        _check_exists(connection, study)
        row = sa.update(studies).where(studies.c.uuid == study.uuid)
        connection.execute(row.values(priority=priority))

    store.write(write)


def change_limits(store: Store, study: StudyKey, changes: Mapping[str, Any]) -> None:
    """Change what ends a daemon's search of the study early, by the names of `runner.Limits`; None
    removes a limit. Raises LeaseLost for a study that was deleted."""

    def write(connection: sa.Connection) -> None:
        _check_exists(connection, study)
        row = studies.c.uuid == study.uuid
        stored = connection.execute(sa.select(studies.c.limits).where(row).with_for_update())
        limits = Damage().optional("limits", json_object, stored.scalar()) or {}
        limits = {n: value for n, value in {**limits, **changes}.items() if value is not None}
        text = json.dumps(limits) if limits else None
        connection.execute(sa.update(studies).where(row).values(limits=text))

    store.write(write)


def set_total(store: Store, study: StudyKey, trials: int) -> int:
    """Give the study this total of trials, more or fewer than it has; the total it has then. Only
    slots whose trials have not begun can go, the last ones first, so that their numbers have no
    gap. Raises LeaseLost for a study that was deleted."""
    return store.write(_set_total, study, trials)


def _set_total(connection: sa.Connection, study: StudyKey, trials: int) -> int:
    present = slots.count_slots(connection, study)
    if trials > present:
        slots.insert_open(connection, study.study_id, present, trials)
        return trials
    of_study = slot_rows.c.study_id == study.study_id
    not_begun = (
        sa.select(slot_rows.c.number)
        .where(of_study, slot_rows.c.number > trials)
        .where(slot_rows.c.state == "open", slot_rows.c.trial_id.is_(None))
        # A loop that claims a slot waits for the study's lock: waiting for its slot would be a
        # deadlock.
        .with_for_update(skip_locked=True)
    )
    free = set(connection.execute(not_begun).scalars())
    total = present
    while total > trials and total in free:
        total -= 1
    connection.execute(sa.delete(slot_rows).where(of_study, slot_rows.c.number > total))
    return total


def stop_trial(store: Store, study: StudyRow, number: int) -> bool:
    """Have a trial end at its next report, with its running best as its score; whether it runs now.
    One that was put back ends when it goes on. Raises StudyError for a trial that has ended, or has
    not begun."""
    return store.write(_stop_trial, study, number)


def _stop_trial(connection: sa.Connection, study: StudyRow, number: int) -> bool:
    query = sa.select(optuna_trials.c.trial_id, state_of_trial().label("state")).where(
        optuna_trials.c.study_id == study.study_id, has_number(number)
    )
    trial = connection.execute(query).first()
    if trial is None:
        raise StudyError(f"study {study.name!r} has no trial {number}")
    asked = connection.execute(
        sa.update(slot_rows)
        .where(slot_rows.c.study_id == study.study_id, slot_rows.c.trial_id == trial.trial_id)
        .where(slot_rows.c.state != "done", slot_rows.c.attempt > 0)
        .values(stop_asked=True)
    )
    if asked.rowcount:
        return bool(trial.state == "RUNNING")
    where = f"trial {number} of study {study.name!r}"
    if trial.state == "WAITING":
        raise StudyError(f"{where} waits and has not begun: there is nothing to stop")
    raise StudyError(f"{where} has ended already: there is nothing to stop")
