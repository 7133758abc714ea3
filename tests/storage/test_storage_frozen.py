"""Optuna's trials by plain queries: as Optuna reads them itself; and a trial's writes at once."""

import math
from collections.abc import Callable
from typing import Any

import optuna
import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lost_answers import LostAnswers
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState, create_trial

from tuner.errors import SlotLost, StorageError
from tuner.storage import Store, frozen_trials
from tuner.storage.studies import StudyRow

RANGES: dict[str, tuple[BaseDistribution, st.SearchStrategy[Any]]] = {
    "rate": (FloatDistribution(1e-5, 1.0, log=True), st.floats(1e-5, 1.0)),
    "width": (IntDistribution(1, 99), st.integers(1, 99)),
    "step": (FloatDistribution(0.0, 1.0, step=0.25), st.sampled_from([0.0, 0.25, 1.0])),
    "kind": (CategoricalDistribution([None, "ä", True, 3]), st.sampled_from([None, "ä", True, 3])),
}
SCORES = st.floats(allow_nan=False)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text("aé\n", max_size=4),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text("kz"), inner, max_size=2),
    max_leaves=4,
)
KEYS = st.sampled_from(["end", "completed_rung_0", "completed_rung_1", "constraints", "other"])


@st.composite
def trials(draw: st.DrawFn) -> FrozenTrial:
    names = draw(st.permutations(list(RANGES)))[: draw(st.integers(0, 4))]
    state = draw(st.sampled_from(list(TrialState)))
    score = draw(SCORES) if state == TrialState.COMPLETE else None
    return create_trial(
        state=state,
        value=score,
        params={name: draw(RANGES[name][1]) for name in names},
        distributions={name: RANGES[name][0] for name in names},
        user_attrs=draw(st.dictionaries(KEYS, JSON, max_size=3)),
        system_attrs=draw(st.dictionaries(KEYS, JSON, max_size=3)),
        intermediate_values=draw(st.dictionaries(st.integers(0, 40), st.floats(), max_size=4)),
    )


def facts(trial: FrozenTrial) -> dict[str, Any]:
    """All of a trial, in a form that compares nan and the order of params."""
    values = {k: repr(v) for k, v in sorted(trial.intermediate_values.items())}
    attributes = (trial.user_attrs, trial.system_attrs)
    return {
        **{name: getattr(trial, name) for name in ("number", "state", "values", "_trial_id")},
        "times": (trial.datetime_start, trial.datetime_complete),
        "params": [(name, value, type(value)) for name, value in trial.params.items()],
        "distributions": list(trial.distributions.items()),
        "attributes": attributes,
        "reports": values,
    }


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    made=st.lists(trials(), min_size=1, max_size=6),
    most_ids=st.sampled_from([2, 5000]),
    data=st.data(),
)
def test_trials_are_read_as_optuna_reads_them(
    store: Store, made: list[FrozenTrial], most_ids: int, data: st.DataObject
) -> None:
    other, study = (
        optuna.create_study(storage=store.optuna, study_name=optuna_name())._study_id
        for _ in range(2)
    )
    for trial in made:
        store.optuna.create_new_trial(other, trial)
        store.optuna.create_new_trial(study, trial)
    ids = [t._trial_id for t in RDBStorage._get_trials(store.optuna, study, None, set(), -1)]
    after = data.draw(st.sampled_from([-1, *ids]))
    included = set(data.draw(st.lists(st.sampled_from(ids))))
    states = data.draw(st.none() | st.sets(st.sampled_from(list(TrialState)), min_size=1))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(frozen_trials, "_MOST_IDS", most_ids)
        ours = store.optuna._get_trials(study, states, included, after)
    if after < 0:
        included = set()
    theirs = RDBStorage._get_trials(store.optuna, study, states, included, after)
    assert [facts(t) for t in ours] == [facts(t) for t in theirs]


@pytest.mark.parametrize(("many_ids", "most_ids"), [(100, 5000), (1, 5000), (1, 1)])
def test_a_loops_own_trials_are_left_out_however_many_they_are(
    store: Store, study: StudyRow, monkeypatch: pytest.MonkeyPatch, many_ids: int, most_ids: int
) -> None:
    for score in range(6):
        distributions = {"width": RANGES["width"][0]}
        trial = create_trial(value=score, params={"width": 3}, distributions=distributions)
        store.optuna.create_new_trial(study.study_id, trial)
    every = store.optuna._get_trials(study.study_id, None, set(), -1)
    ids = [trial._trial_id for trial in every]
    monkeypatch.setattr(frozen_trials, "_MANY_IDS", many_ids)
    monkeypatch.setattr(frozen_trials, "_MOST_IDS", most_ids)
    chosen = frozen_trials.Chosen(study.study_id, ids[2], {ids[0], ids[1]}, but_not=ids[1:4])
    read = store.optuna.read_trials(chosen)
    assert [facts(trial) for trial in read] == [facts(every[i]) for i in (0, 4, 5)]
    all_own = frozen_trials.Chosen(study.study_id, ids[2], but_not=ids[3:])
    assert store.optuna.read_trials(all_own) == []


_names = iter(range(10**9))


def optuna_name() -> str:
    return f"generated-{next(_names)}"


def test_a_study_that_is_not_there(store: Store) -> None:
    with pytest.raises(KeyError):
        store.optuna._get_trials(4711, None, set(), -1)


@pytest.mark.parametrize("with_reports", [False, True])
def test_an_outline_has_what_pruners_need_of_other_trials(
    store: Store, study: StudyRow, with_reports: bool
) -> None:
    for i in range(4):
        trial = create_trial(
            value=i / 10,
            params={"width": 3},
            distributions={"width": RANGES["width"][0]},
            user_attrs={"end": "complete"},
            system_attrs={"completed_rung_0": 0.5, "constraints:feasible": 1.0, "other": "x" * 99},
            intermediate_values={1: 0.25},
        )
        store.optuna.create_new_trial(study.study_id, trial)
    every = store.optuna._get_trials(study.study_id, None, set(), -1)
    whole = {every[1]._trial_id, every[3]._trial_id}
    store.optuna.outlining = frozen_trials.Outlining(lambda _trials: whole, with_reports)
    try:
        read = store.optuna._get_trials(study.study_id, None, set(), -1)
    finally:
        store.optuna.outlining = None
    assert [facts(read[i]) for i in (1, 3)] == [facts(every[i]) for i in (1, 3)]
    for i in (0, 2):
        assert (read[i].number, read[i].state, read[i].value) == (i, TrialState.COMPLETE, i / 10)
        assert read[i].constraints == {"feasible": 1.0}
        assert read[i].system_attrs["completed_rung_0"] == 0.5
        assert read[i].intermediate_values == ({1: 0.25} if with_reports else {})
        assert (read[i].params, read[i].user_attrs) == ({}, {})
        assert "other" not in read[i].system_attrs


def running(store: Store, study: StudyRow) -> optuna.Trial:
    loaded = optuna.load_study(study_name=study.name, storage=store.optuna)
    return loaded.ask()


def write_all(trial: optuna.Trial) -> None:
    for step in (1, 2, 3):
        trial.report(step / 10, step)
    trial.set_user_attr("end", "complete")
    trial.set_constraint("feasible", 1.0)
    trial.report(math.inf, 4)


def written(store: Store, trial: optuna.Trial) -> tuple[Any, ...]:
    told = store.optuna.get_trial(trial._trial_id)
    return told.intermediate_values, told.user_attrs, told.constraints


def test_a_trials_reports_and_attributes_are_one_transaction(store: Store, study: StudyRow) -> None:
    apart, together = running(store, study), running(store, study)
    write_all(apart)
    fenced: list[int] = []
    store.optuna.fence = lambda _connection, trial_id: fenced.append(trial_id)
    try:
        with store.optuna.one_transaction(together._trial_id):
            write_all(together)
    finally:
        store.optuna.fence = None
    assert fenced == [together._trial_id]
    assert written(store, together) == written(store, apart)
    assert store.optuna.get_trial(together._trial_id).intermediate_values[4] == math.inf


def test_what_is_held_back_is_seen_by_the_pruner(store: Store, study: StudyRow) -> None:
    trial, other = running(store, study), running(store, study)
    with store.optuna.one_transaction(trial._trial_id):
        store.optuna.set_trial_system_attr(trial._trial_id, "completed_rung_0", 0.5)
        store.optuna.set_trial_system_attr(other._trial_id, "completed_rung_0", 0.25)
        for seen in (store.optuna, trial.study._storage):
            assert seen.get_trial_system_attrs(trial._trial_id)["completed_rung_0"] == 0.5
        assert (
            "completed_rung_0"
            not in RDBStorage.get_trial(store.optuna, trial._trial_id).system_attrs
        )
        assert store.optuna.get_trial_system_attrs(other._trial_id)["completed_rung_0"] == 0.25
    assert store.optuna.get_trial(trial._trial_id).system_attrs["completed_rung_0"] == 0.5


def refuse(_connection: sa.Connection, trial_id: int) -> None:
    raise SlotLost(trial_id)


def fail(_connection: sa.Connection, _trial_id: int) -> None:
    raise AssertionError("nothing is to be written")


@pytest.mark.parametrize(
    ("fence", "inside", "error"),
    [(refuse, None, SlotLost), (fail, ValueError("in the middle"), ValueError)],
)
def test_all_of_it_is_refused_or_none_written(
    store: Store,
    study: StudyRow,
    fence: Callable[[sa.Connection, int], None],
    inside: Exception | None,
    error: type[Exception],
) -> None:
    trial = running(store, study)
    before = written(store, trial)
    store.optuna.fence = fence
    try:
        with pytest.raises(error), store.optuna.one_transaction(trial._trial_id):
            write_all(trial)
            if inside is not None:
                raise inside
    finally:
        store.optuna.fence = None
    assert written(store, trial) == before


def test_it_is_written_once_though_the_answer_is_lost(store: Store, study: StudyRow) -> None:
    trial = running(store, study)
    with LostAnswers(1).of(store), store.optuna.one_transaction(trial._trial_id):
        write_all(trial)
    other = running(store, study)
    write_all(other)
    assert written(store, trial) == written(store, other)


@pytest.mark.parametrize(
    "damaged",
    [
        "UPDATE trial_params SET distribution_json = 'x'",
        "UPDATE trial_params SET param_value = 99 WHERE param_name = 'kind'",
        "UPDATE trial_user_attributes SET value_json = '{'",
        "UPDATE trial_system_attributes SET value_json = ''",
        "UPDATE trial_values SET value = NULL",
    ],
)
def test_damaged_rows_are_told_in_one_line(store: Store, study: StudyRow, damaged: str) -> None:
    trial = create_trial(
        value=0.5,
        params={"kind": True},
        distributions={"kind": RANGES["kind"][0]},
        user_attrs={"end": "complete"},
        system_attrs={"completed_rung_0": 0.5},
    )
    store.optuna.create_new_trial(study.study_id, trial)
    with store.writing() as connection:
        connection.execute(sa.text(damaged))
    with pytest.raises(
        StorageError, match=r"a trial of the study is damaged .* its list of trials"
    ):
        store.optuna._get_trials(study.study_id, None, set(), -1)
