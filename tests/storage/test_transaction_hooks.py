"""Our rows in Optuna's transactions: both are committed, or neither; and only in that one call."""

import math
import threading
from collections.abc import Callable

import optuna
import pytest
import sqlalchemy as sa
from lost_answers import LostAnswers
from optuna.storages import BaseStorage, RDBStorage
from optuna.storages._cached_storage import _CachedStorage
from optuna.trial import TrialState, create_trial

from tuner.errors import SlotLost
from tuner.storage import Store
from tuner.storage.optuna_storage import RobustStorage, tell_trial
from tuner.storage.schema import deliveries
from tuner.storage.studies import StudyRow
from tuner.storage.transaction_hooks import AlreadyCreated, TransactionHook

# What RobustStorage inherits from Optuna: it calls other methods, or concerns no rows of ours.
_INHERITED = {
    "check_trial_is_updatable",
    "create_new_trial",
    "get_all_trials",
    "get_best_trial",
    "get_n_trials",
    "get_trial_number_from_id",
    "get_trial_params",
    "remove_session",
    "set_trial_param",
}


def written(store: Store) -> list[int]:
    """The trials whose hook has written a row."""
    query = sa.select(deliveries.c.trial_id).order_by(deliveries.c.trial_id)
    return store.read(lambda connection: list(connection.execute(query).scalars()))


def insert_row(connection: sa.Connection, trial_id: int) -> None:
    row = {"study_uuid": "hook", "trial_id": trial_id, "run_id": "", "state": ""}
    connection.execute(sa.insert(deliveries).values(**row))


def insert_and_fail(connection: sa.Connection, trial_id: int) -> None:
    insert_row(connection, trial_id)
    raise SlotLost(trial_id)


WRITES, FAILS = TransactionHook(insert_row), TransactionHook(insert_and_fail)


def new_trial(store: Store, study: StudyRow, hook: TransactionHook | None = None) -> int:
    template = create_trial(state=TrialState.WAITING)
    trial_id: int = store.optuna.create_trial(study.study_id, template, hook=hook)
    return trial_id


def test_a_hook_writes_in_the_call_that_it_is_given_to(store: Store, study: StudyRow) -> None:
    first, second = new_trial(store, study, WRITES), new_trial(store, study)
    assert written(store) == [first]
    assert store.optuna.set_trial_state(second, TrialState.RUNNING, hook=WRITES)
    store.optuna.set_trial_user_attr(second, "end", "complete")
    store.optuna.set_trial_state(first, TrialState.RUNNING)
    assert written(store) == [first, second]


def test_what_a_hook_raises_undoes_optunas_write(store: Store, study: StudyRow) -> None:
    with pytest.raises(SlotLost):
        new_trial(store, study, FAILS)
    assert store.optuna.get_all_trials(study.study_id) == []
    trial_id = new_trial(store, study)
    with pytest.raises(SlotLost):
        store.optuna.set_trial_state(trial_id, TrialState.RUNNING, hook=FAILS)
    assert store.optuna.get_trial(trial_id).state == TrialState.WAITING
    assert written(store) == []


def test_a_trial_that_does_not_wait_is_not_started(store: Store, study: StudyRow) -> None:
    trial_id = new_trial(store, study)
    assert store.optuna.set_trial_state(trial_id, TrialState.RUNNING)
    assert not store.optuna.set_trial_state(trial_id, TrialState.RUNNING, hook=WRITES)
    assert written(store) == []


def test_an_earlier_attempts_trial_is_returned_again(store: Store, study: StudyRow) -> None:
    earlier = new_trial(store, study)

    def write(_connection: sa.Connection, _trial_id: int) -> None:
        raise AlreadyCreated(earlier)

    assert new_trial(store, study, TransactionHook(write)) == earlier
    assert len(store.optuna.get_all_trials(study.study_id)) == 1


@pytest.mark.parametrize("has_committed", [True, False])
def test_after_a_lost_reply_the_hook_says_whether_it_committed(
    store: Store, study: StudyRow, has_committed: bool
) -> None:
    trial_id = new_trial(store, study)
    hook = TransactionHook(lambda _connection, _trial_id: None, lambda: has_committed)
    with LostAnswers(1).of(store):
        started = store.optuna.set_trial_state(trial_id, TrialState.RUNNING, hook=hook)
    # Without what the hook knows, the trial looks like one that somebody else has started.
    assert started is has_committed
    assert store.optuna.get_trial(trial_id).state == TrialState.RUNNING


def test_a_hook_is_not_seen_by_other_threads(store: Store, study: StudyRow) -> None:
    first, second = new_trial(store, study), new_trial(store, study)
    hooked: list[int] = []
    other = threading.Thread(
        target=store.optuna.set_trial_user_attr, args=(second, "from", "another thread")
    )

    def write(_connection: sa.Connection, trial_id: int) -> None:
        hooked.append(trial_id)
        other.start()  # on SQLite it waits until this transaction has ended

    store.optuna.set_trial_state(first, TrialState.RUNNING, hook=TransactionHook(write))
    other.join(30)
    assert store.optuna.get_trial(second).user_attrs == {"from": "another thread"}
    assert hooked == [first]


def test_a_fence_given_to_a_call_replaces_the_storages_own(store: Store, study: StudyRow) -> None:
    def refuse(_connection: sa.Connection, trial_id: int) -> None:
        raise SlotLost(trial_id)

    trial_id, passed = new_trial(store, study), []
    store.optuna.fence = refuse
    try:
        with pytest.raises(SlotLost):
            store.optuna.set_trial_state(trial_id, TrialState.RUNNING)
        store.optuna.set_trial_state(
            trial_id, TrialState.RUNNING, fence=lambda _connection, trial: passed.append(trial)
        )
    finally:
        store.optuna.fence = None
    assert passed == [trial_id]


class RecordingSampler(optuna.samplers.RandomSampler):
    """Remembers what it was told of ended trials."""

    def __init__(self) -> None:
        super().__init__(seed=1)
        self.ended: list[tuple[TrialState, list[float] | None]] = []

    def after_trial(self, study: object, trial: object, state: TrialState, values: object) -> None:
        self.ended.append((state, values))  # type: ignore[arg-type]


Tell = Callable[[optuna.Study, optuna.Trial, TrialState, float | None], object]
Ends = list[tuple[TrialState, float | None, dict[int, float]]]


def tell_all(store: Store, name: str, tell: Tell) -> tuple[Ends, RecordingSampler]:
    """The states, values and reports of trials that `tell` has ended in every way."""
    sampler = RecordingSampler()
    # A pruner whose brackets filter the study.
    pruner = optuna.pruners.HyperbandPruner()
    study = optuna.create_study(
        storage=store.optuna, study_name=name, sampler=sampler, pruner=pruner
    )
    for state, value, reports in [
        (TrialState.COMPLETE, 0.5, []),
        (TrialState.COMPLETE, math.inf, [0.1]),
        (TrialState.PRUNED, None, [0.3, 0.2]),
        (TrialState.PRUNED, None, []),
        (TrialState.PRUNED, None, [0.3, math.nan]),
        (TrialState.FAIL, None, [0.1]),
    ]:
        trial = study.ask()
        for step, report in enumerate(reports):
            trial.report(report, step)
        tell(study, trial, state, value)
    trials = study.get_trials()
    return [(t.state, t.value, t.intermediate_values) for t in trials], sampler


def test_a_trial_ends_as_optunas_own_tell_ends_it(store: Store) -> None:
    hooked: list[int] = []
    hook = TransactionHook(lambda _connection, trial_id: hooked.append(trial_id))
    theirs, their_sampler = tell_all(
        store, "theirs", lambda study, trial, state, value: study.tell(trial, value, state=state)
    )
    ours, our_sampler = tell_all(
        store,
        "ours",
        lambda study, trial, state, value: tell_trial(
            study, trial._trial_id, state, value, hook=hook
        ),
    )
    assert str(ours) == str(theirs)  # NaN is not equal to itself
    assert our_sampler.ended == their_sampler.ended
    assert len(hooked) == len(ours)


def test_what_cannot_be_told_is_refused(store: Store, study: StudyRow) -> None:
    loaded = optuna.load_study(study_name=study.name, storage=store.optuna)
    trial_id = loaded.ask()._trial_id
    for value in (None, math.nan):
        with pytest.raises(ValueError, match="has no score"):
            tell_trial(loaded, trial_id, TrialState.COMPLETE, value)
    tell_trial(loaded, trial_id, TrialState.FAIL)
    with pytest.raises(ValueError, match="only RUNNING"):
        tell_trial(loaded, trial_id, TrialState.FAIL)
    tell_trial(loaded, trial_id, TrialState.COMPLETE, 0.5, skip_if_finished=True)
    assert store.optuna.get_trial(trial_id).state == TrialState.FAIL


def test_every_method_that_optuna_calls_is_written_out() -> None:
    """A newer Optuna may call methods that are neither repeated nor fenced yet."""
    called = {name for name in vars(BaseStorage) if not name.startswith("__")}
    called |= {
        name
        for name in _CachedStorage.create_new_trial.__code__.co_names
        + _CachedStorage.set_trial_param.__code__.co_names
        + _CachedStorage.get_best_trial.__code__.co_names
        + _CachedStorage._read_trials_from_remote_storage.__code__.co_names
        if hasattr(RDBStorage, name)
    }
    missing = {name for name in called if name not in vars(RobustStorage)} - _INHERITED
    assert missing == set()
