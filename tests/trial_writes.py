"""What a loop writes of a trial, without a loop."""

from dataclasses import replace

import optuna
from optuna.trial import TrialState, create_trial

from tuner.storage import Store, places, riders
from tuner.storage.leases import Lease
from tuner.storage.places import Place
from tuner.storage.records import AttemptEnd


def claimed(store: Store, lease: Lease, limit: int = 99) -> Place:
    place = places.claim(store, lease, limit)
    assert place is not None
    return place


def bound(store: Store, lease: Lease, place: Place) -> Place:
    """A claimed place with a trial, a new one if it has none."""
    if place.trial_id is not None:
        return place
    name = store.optuna.get_study_name_from_id(lease.study_id)
    study = optuna.load_study(study_name=name, storage=store.optuna)
    with store.optuna.carrying(riders.binding(lease, place)):
        study.add_trial(create_trial(state=TrialState.WAITING))
    return replace(place, trial_id=places.bound_trial(store, place))


def begin(store: Store, lease: Lease, place: Place, worker: int = 0) -> Place:
    """The place's trial runs: its next attempt."""
    place = bound(store, lease, place)
    attempt = replace(place, attempt=place.attempt + 1)
    with store.optuna.carrying(riders.beginning(store, lease, attempt, worker)):
        assert store.optuna.set_trial_state_values(place.trial_id, TrialState.RUNNING)
    return attempt


def begun(store: Store, lease: Lease, worker: int = 0) -> Place:
    """A place, claimed now, whose trial runs."""
    return begin(store, lease, claimed(store, lease), worker)


def put_back(store: Store, lease: Lease, place: Place, end: str) -> None:
    tell(store, lease, place, AttemptEnd.of(end), TrialState.WAITING)


def complete(store: Store, lease: Lease, place: Place, score: float = 0.5) -> None:
    tell(store, lease, place, AttemptEnd.of("complete"), TrialState.COMPLETE, score)


def fail(store: Store, lease: Lease, place: Place, detail: str = "") -> None:
    tell(store, lease, place, AttemptEnd.of("user_error", detail=detail), TrialState.FAIL)


def tell(
    store: Store,
    lease: Lease,
    place: Place,
    end: AttemptEnd,
    state: TrialState,
    value: float | None = None,
) -> None:
    """Change the state of the place's trial, and close its attempt."""
    then = {TrialState.WAITING: places.put_back, TrialState.FAIL: places.free}
    rider = riders.ending(store, lease, place, end, then.get(state, places.finish))
    values = None if value is None else [value]
    with store.optuna.carrying(rider):
        store.optuna.set_trial_state_values(place.trial_id, state, values)
