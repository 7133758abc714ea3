"""What a loop writes for a trial, without a loop."""

from dataclasses import replace

from optuna.trial import TrialState, create_trial

from tuner.storage import Store, slots, transaction_hooks
from tuner.storage.attempt_rows import AttemptEnd
from tuner.storage.leases import Lease
from tuner.storage.slots import TrialSlot
from tuner.storage.trial_beginning import begin_trial


def claimed(store: Store, lease: Lease, limit: int = 99) -> TrialSlot:
    slot = slots.claim(store, lease, limit)
    assert slot is not None
    return slot


def bound(store: Store, lease: Lease, slot: TrialSlot) -> TrialSlot:
    """A claimed slot with a trial, a new one if it has none."""
    if slot.trial_id is not None:
        return slot
    store.optuna.create_trial(
        lease.study_id,
        create_trial(state=TrialState.WAITING),
        hook=transaction_hooks.bind_slot(lease, slot),
    )
    return replace(slot, trial_id=slots.bound_trial(store, slot))


def begin(store: Store, lease: Lease, slot: TrialSlot, worker: int = 0) -> TrialSlot:
    """The slot's trial runs: its next attempt begins."""
    slot = bound(store, lease, slot)
    attempt = replace(slot, attempt=slot.attempt + 1)
    hook = transaction_hooks.begin_attempt(store, lease, attempt, worker)
    assert store.optuna.set_trial_state(slot.trial_id, TrialState.RUNNING, hook=hook)
    return attempt


def begun(store: Store, lease: Lease, worker: int = 0) -> TrialSlot:
    """A slot, claimed now, whose trial runs, as a loop begins it."""
    trial = begin_trial(store, lease, 99, None, True, worker, lambda slot: {})
    assert trial is not None
    assert trial.trial is not None
    return trial.slot


def put_back(store: Store, lease: Lease, slot: TrialSlot, end: str) -> None:
    tell(store, lease, slot, AttemptEnd.of(end), TrialState.WAITING)


def complete(store: Store, lease: Lease, slot: TrialSlot, score: float = 0.5) -> None:
    tell(store, lease, slot, AttemptEnd.of("complete"), TrialState.COMPLETE, score)


def fail(store: Store, lease: Lease, slot: TrialSlot, detail: str = "") -> None:
    tell(store, lease, slot, AttemptEnd.of("user_error", detail=detail), TrialState.FAIL)


def tell(
    store: Store,
    lease: Lease,
    slot: TrialSlot,
    end: AttemptEnd,
    state: TrialState,
    value: float | None = None,
) -> None:
    """Change the state of the slot's trial, and close its attempt."""
    changes = {TrialState.WAITING: slots.put_back, TrialState.FAIL: slots.free}
    change = changes.get(state, slots.finish)
    hook = transaction_hooks.end_attempt(store, lease, slot, end, change)
    values = None if value is None else [value]
    store.optuna.set_trial_state(slot.trial_id, state, values, hook=hook)
