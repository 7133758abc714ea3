"""Transaction hooks: our rows that are written inside Optuna's own transactions.

A change of a trial's state and our record of it are committed together, or neither is. A hook is
an argument of `create_trial`, `set_trial_state` and `tell_trial` (see `optuna_storage`).
"""

import json
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import sqlalchemy as sa
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial

from tuner.storage import attempt_rows, leases, slots, trial_rows
from tuner.storage.attempt_rows import AttemptEnd
from tuner.storage.leases import Lease
from tuner.storage.optuna_tables import PARAMS, REPORTS, SYSTEM_ATTRIBUTES, USER_ATTRIBUTES
from tuner.storage.schema import MADE, optuna_trial_attributes
from tuner.storage.slots import TrialSlot
from tuner.storage.store import Store

# What happens to a slot when its trial ends: `slots.finish`, `slots.free` or `slots.put_back`.
SlotChange = Callable[[sa.Connection, Lease, TrialSlot], None]


@dataclass(frozen=True)
class TransactionHook:
    """What we write in one of Optuna's transactions. `write` gets the connection and the trial's
    id; what it raises rolls the transaction back. `has_committed` says whether an earlier try was
    committed although the reply to its COMMIT was lost."""

    write: Callable[[sa.Connection, int], None]
    has_committed: Callable[[], bool] = lambda: False


class AlreadyCreated(Exception):
    """Raised by a hook of `create_trial`: an earlier try, whose COMMIT reply was lost, has created
    the trial."""

    def __init__(self, trial_id: int) -> None:
        super().__init__(trial_id)
        self.trial_id = trial_id


# A parameter's name, its value as Optuna stores it, its distribution, and one that the study has
# used before, if that is known.
DeferredParam = tuple[str, float, BaseDistribution, BaseDistribution | None]


@dataclass
class DeferredWrites:
    """What is written of one trial later, in one transaction. `own_reports`: rows of our own table
    of reports."""

    trial_id: int
    params: list[DeferredParam] = field(default_factory=list)
    reports: dict[int, float] = field(default_factory=dict)
    user_attributes: dict[str, Any] = field(default_factory=dict)
    system_attributes: dict[str, Any] = field(default_factory=dict)
    own_reports: list[trial_rows.Row] = field(default_factory=list)

    def __bool__(self) -> bool:
        return any(getattr(self, each.name) for each in fields(self) if each.name != "trial_id")

    def add_to(self, trial: FrozenTrial) -> None:
        trial.intermediate_values |= self.reports
        trial._user_attrs |= self.user_attributes
        trial._system_attrs |= self.system_attributes

    def write(self, connection: sa.Connection) -> None:
        write_deferred(connection, [self])


def write_deferred(connection: sa.Connection, deferred: Sequence[DeferredWrites]) -> None:
    """Write what was collected of different trials, by one statement a table."""
    rows: dict[sa.Table, list[trial_rows.Row]] = {}
    for writes in deferred:
        trial_id = writes.trial_id
        for name, value, distribution, previous in writes.params:
            trial_rows.check_param(connection, trial_id, name, distribution, previous)
            row = trial_rows.param_row(trial_id, name, value, distribution)
            rows.setdefault(PARAMS, []).append(row)
        for table, more in (
            (REPORTS, trial_rows.report_rows(trial_id, writes.reports)),
            (USER_ATTRIBUTES, trial_rows.attribute_rows(trial_id, writes.user_attributes)),
            (SYSTEM_ATTRIBUTES, trial_rows.attribute_rows(trial_id, writes.system_attributes)),
        ):
            rows.setdefault(table, []).extend(more)
    for table, of_table in rows.items():
        trial_rows.put(connection, table, of_table)
    attempt_rows.insert_reports(connection, [row for each in deferred for row in each.own_reports])


def mark_trial() -> Callable[[sa.Connection, int], None]:
    """For `create_trial`: what marks the new trial. If an earlier attempt, whose COMMIT reply was
    lost, has created a trial with that mark, it raises AlreadyCreated."""
    table = optuna_trial_attributes
    value = json.dumps(uuid.uuid4().hex)

    def write(connection: sa.Connection, trial_id: int) -> None:
        query = sa.select(table.c.trial_id).where(table.c.key == MADE, table.c.value_json == value)
        if (created := connection.execute(query).scalar()) is not None:
            raise AlreadyCreated(created)
        values = {"trial_id": trial_id, "key": MADE, "value_json": value}
        connection.execute(sa.insert(table).values(**values))

    return write


def bind_slot(lease: Lease, slot: TrialSlot) -> TransactionHook:
    """For `create_trial`: the new trial gets the slot."""

    def write(connection: sa.Connection, trial_id: int) -> None:
        bound = slots.bind(connection, lease, slot, trial_id)
        if bound != trial_id:
            raise AlreadyCreated(bound)

    return TransactionHook(write)


def check_slot(lease: Lease, trial_id: int) -> TransactionHook:
    """For `create_trial`: another trial is queued only while this loop holds the slot of the trial
    `trial_id`."""
    mark = mark_trial()

    def write(connection: sa.Connection, new_trial_id: int) -> None:
        slots.hold(connection, lease, trial_id)
        mark(connection, new_trial_id)

    return TransactionHook(write)


def begin_attempt(store: Store, lease: Lease, slot: TrialSlot, worker: int) -> TransactionHook:
    """The slot's trial becomes RUNNING: its attempt `slot.attempt` begins."""
    return TransactionHook(
        lambda connection, _: slots.begin_attempt(connection, lease, slot, worker),
        lambda: slots.has_begun(store, lease, slot),
    )


def end_attempt(
    store: Store, lease: Lease, slot: TrialSlot, end: AttemptEnd, change: SlotChange
) -> TransactionHook:
    """The slot's trial ends, or is put back: its attempt is closed."""

    def write(connection: sa.Connection, _trial_id: int) -> None:
        change(connection, lease, slot)
        attempt_rows.close_attempt(connection, slot, end)

    return TransactionHook(write, lambda: attempt_rows.has_ended(store, lease, slot, end))


def release_slot(
    store: Store, lease: Lease, slot: TrialSlot, change: SlotChange
) -> TransactionHook:
    """The same for a slot whose attempt, if it had one, is closed already."""
    return TransactionHook(
        lambda connection, _: change(connection, lease, slot),
        lambda: slot.number not in leases.held_slots(store, lease),
    )
