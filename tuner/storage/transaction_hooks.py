"""What rides in Optuna's transactions: our rows that belong to a change of a trial's state."""

from collections.abc import Callable

import sqlalchemy as sa

from tuner.storage import attempt_rows, leases, slots
from tuner.storage.attempt_rows import AttemptEnd
from tuner.storage.leases import Lease
from tuner.storage.optuna_storage import AlreadyMade, TransactionHook
from tuner.storage.slots import TrialSlot
from tuner.storage.store import Store

# What becomes of a place when its trial ends: `places.finish`, `places.free`, `places.put_back`.
Then = Callable[[sa.Connection, Lease, TrialSlot], None]


def binding(lease: Lease, slot: TrialSlot) -> TransactionHook:
    """A new trial is made for the place."""

    def write(connection: sa.Connection, trial_id: int) -> None:
        bound = slots.bind(connection, lease, slot, trial_id)
        if bound != trial_id:
            raise AlreadyMade(bound)

    return TransactionHook(write)


def queueing(lease: Lease, trial_id: int) -> TransactionHook:
    """Another trial is queued, as long as this one's place is the loop's."""
    return TransactionHook(lambda connection, _: slots.hold(lease, connection, trial_id))


def beginning(store: Store, lease: Lease, slot: TrialSlot, worker: int) -> TransactionHook:
    """The place's trial runs: its attempt `place.attempt` begins."""
    return TransactionHook(
        lambda connection, _: slots.begin_attempt(connection, lease, slot, worker),
        lambda: slots.has_begun(store, lease, slot),
    )


def ending(
    store: Store, lease: Lease, slot: TrialSlot, end: AttemptEnd, then: Then
) -> TransactionHook:
    """The place's trial ends, or is put back: its attempt is closed."""

    def write(connection: sa.Connection, _trial_id: int) -> None:
        then(connection, lease, slot)
        attempt_rows.close_attempt(connection, slot, end)

    return TransactionHook(write, lambda: attempt_rows.has_ended(store, lease, slot, end))


def settling(store: Store, lease: Lease, slot: TrialSlot, then: Then) -> TransactionHook:
    """The same for a place whose attempt, if it had one, is closed already."""
    return TransactionHook(
        lambda connection, _: then(connection, lease, slot),
        lambda: slot.number not in leases.held(store, lease),
    )
