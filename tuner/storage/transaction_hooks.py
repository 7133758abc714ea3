"""Transaction hooks: our rows that are written inside Optuna's own transactions.

A change of a trial's state and our record of it are committed together, or neither is. A hook is
an argument of `create_trial`, `set_trial_state` and `tell_trial` (see `optuna_storage`).
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from optuna.storages import RDBStorage
from optuna.storages._rdb.models import TrialSystemAttributeModel, TrialUserAttributeModel
from optuna.trial import FrozenTrial
from sqlalchemy.orm import Session

from tuner.storage import attempt_rows, leases, slots
from tuner.storage.attempt_rows import AttemptEnd
from tuner.storage.leases import Lease
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


@dataclass
class DeferredWrites:
    """Reports and attributes of one trial that are written later, in one transaction."""

    trial_id: int
    reports: dict[int, float] = field(default_factory=dict)
    user_attributes: dict[str, Any] = field(default_factory=dict)
    system_attributes: dict[str, Any] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.reports or self.user_attributes or self.system_attributes)

    def add_to(self, trial: FrozenTrial) -> None:
        trial.intermediate_values |= self.reports
        trial._user_attrs |= self.user_attributes
        trial._system_attrs |= self.system_attributes

    def write(self, storage: RDBStorage, session: Session) -> None:
        for step, value in self.reports.items():
            storage._set_trial_intermediate_value_without_commit(
                session, self.trial_id, step, value
            )
        for model, attributes in (
            (TrialUserAttributeModel, self.user_attributes),
            (TrialSystemAttributeModel, self.system_attributes),
        ):
            for key, value in attributes.items():
                storage._set_trial_attr_without_commit(session, model, self.trial_id, key, value)


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
    return TransactionHook(lambda connection, _: slots.hold(connection, lease, trial_id))


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
