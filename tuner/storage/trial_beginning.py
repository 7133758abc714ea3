"""The beginning of a trial's attempt: one transaction from an open slot to a RUNNING trial.

It claims the slot, creates a trial where the slot has none and no trial waits, sets it RUNNING and
opens the attempt. A retry after a COMMIT whose reply was lost finds the attempt that it has begun.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sa
from optuna.trial import FrozenTrial, TrialState, create_trial

from tuner.storage import frozen_trials, slots, trial_rows
from tuner.storage.frozen_trials import Chosen
from tuner.storage.leases import Lease
from tuner.storage.new_points import Room, has_room
from tuner.storage.slots import TrialSlot
from tuner.storage.store import Store
from tuner.study.messages import WorkerPlace

# The attributes by which Optuna gives a slot's new trial its configuration.
AttributesOf = Callable[[TrialSlot], Mapping[str, Any]]


@dataclass(frozen=True)
class Begun:
    """A claimed slot. `trial`: RUNNING, in its attempt `slot.attempt`; None where the slot's trial
    does not wait: then the slot has to be settled."""

    slot: TrialSlot
    trial: FrozenTrial | None


def begin_trial(
    store: Store,
    lease: Lease,
    limit: int,
    own_slots: frozenset[int] | None,
    may_be_alone: bool,
    worker: int,
    attributes_of: AttributesOf,
    place: WorkerPlace | None = None,
    room: Room | None = None,
    promoted: int | None = None,
) -> Begun | None:
    """Begin the trial of an open slot numbered at most `limit`; None where there is none to begin
    now. `place`: of the worker, None for this machine. `room`: for new trials, None where they
    never repeat each other. The rest is as for `slots.claim`. Raises SlotLost and LeaseLost."""
    return store.write(
        _begin, lease, limit, own_slots, may_be_alone, worker, attributes_of, place, room, promoted
    )


def _begin(
    connection: sa.Connection,
    lease: Lease,
    limit: int,
    own_slots: frozenset[int] | None,
    may_be_alone: bool,
    worker: int,
    attributes_of: AttributesOf,
    place: WorkerPlace | None,
    room: Room | None,
    promoted: int | None,
) -> Begun | None:
    slot = slots.claim_in(connection, lease, limit, own_slots, may_be_alone, promoted)
    if slot is None:
        return None
    if slot.trial_id is None:
        if room is not None and not has_room(connection, lease.study_id, room):
            slots.free(connection, lease, slot)
            return None
        trial = _new_trial(connection, lease.study_id, attributes_of(slot))
    elif slots.is_begun(connection, lease, slot):  # by a try whose COMMIT reply was lost
        return Begun(slot, _read(connection, slot))
    elif trial_rows.lock_trial(connection, slot.trial_id) == TrialState.WAITING:
        trial_rows.set_state(connection, slot.trial_id, TrialState.RUNNING)
        trial = _read(connection, slot)
    else:
        return Begun(slot, None)
    slot = replace(slot, trial_id=trial._trial_id, attempt=slot.attempt + 1)
    slots.begin_attempt(connection, lease, slot, worker, place)
    return Begun(slot, trial)


def _new_trial(
    connection: sa.Connection, study_id: int, attributes: Mapping[str, Any]
) -> FrozenTrial:
    trial = create_trial(state=TrialState.RUNNING, system_attrs=dict(attributes))
    trial._trial_id, trial.number = trial_rows.insert_trial(connection, study_id, trial)
    return trial


def _read(connection: sa.Connection, slot: TrialSlot) -> FrozenTrial:
    assert slot.trial_id is not None
    with frozen_trials.name_damage():
        [trial] = frozen_trials.read_whole(connection, Chosen.only(slot.study_id, [slot.trial_id]))
    return trial
