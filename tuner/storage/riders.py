"""What rides in Optuna's transactions: our rows that belong to a change of a trial's state."""

from collections.abc import Callable

import sqlalchemy as sa

from tuner.storage import leases, places, records
from tuner.storage.leases import Lease
from tuner.storage.places import Place
from tuner.storage.records import AttemptEnd
from tuner.storage.robust import AlreadyMade, Rider
from tuner.storage.store import Store

# What becomes of a place when its trial ends: `places.finish`, `places.free`, `places.put_back`.
Then = Callable[[sa.Connection, Lease, Place], None]


def binding(lease: Lease, place: Place) -> Rider:
    """A new trial is made for the place."""

    def write(connection: sa.Connection, trial_id: int) -> None:
        bound = places.bind(connection, lease, place, trial_id)
        if bound != trial_id:
            raise AlreadyMade(bound)

    return Rider(write)


def queueing(lease: Lease, trial_id: int) -> Rider:
    """Another trial is queued, as long as this one's place is the loop's."""
    return Rider(lambda connection, _: places.hold(lease, connection, trial_id))


def beginning(store: Store, lease: Lease, place: Place, worker: int) -> Rider:
    """The place's trial runs: its attempt `place.attempt` begins."""
    return Rider(
        lambda connection, _: places.begin_attempt(connection, lease, place, worker),
        lambda: places.has_begun(store, lease, place),
    )


def ending(store: Store, lease: Lease, place: Place, end: AttemptEnd, then: Then) -> Rider:
    """The place's trial ends, or is put back: its attempt is closed."""

    def write(connection: sa.Connection, _trial_id: int) -> None:
        then(connection, lease, place)
        records.close_attempt(connection, place, end)

    return Rider(write, lambda: records.has_ended(store, lease, place, end))


def settling(store: Store, lease: Lease, place: Place, then: Then) -> Rider:
    """The same for a place whose attempt, if it had one, is closed already."""
    return Rider(
        lambda connection, _: then(connection, lease, place),
        lambda: place.number not in leases.held(store, lease),
    )
