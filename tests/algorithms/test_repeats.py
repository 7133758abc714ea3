"""Which configurations count as tried, and which are left."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.trial import FrozenTrial, TrialState, create_trial
from toy_training import NETWORK, PARAMETERS

from tuner.algorithms.repeats import TriedPoints, avoids_repeats, point_key
from tuner.search_space import Space, make_space
from tuner.study.spec import Choice

STEPS = {"type": "float", "low": 0.0, "high": 0.3, "step": 0.1}
KINDS = {"type": "categorical", "choices": ["a", "b"]}
ONLY_B = {"type": "float", "low": 0.0, "high": 1.0, "step": 0.5, "when": {"kind": "b"}}


def space_of(**parameters: object) -> Space:
    return make_space(NETWORK, PARAMETERS | {"x": STEPS, "kind": KINDS, "epochs": 3} | parameters)


def trial(number: int, state: TrialState, **params: object) -> FrozenTrial:
    has_value = state == TrialState.COMPLETE
    made = create_trial(state=state, value=0.5 if has_value else None)
    made._params, made._trial_id, made.number = dict(params), number, number
    return made


def test_a_point_is_its_active_parameters_to_twelve_digits() -> None:
    assert point_key({"a": 0.1 + 0.2, "b": 1}) == point_key({"b": 1.0, "a": 0.3})
    assert point_key({"a": 1}) != point_key({"a": True})
    space = space_of(extra=ONLY_B)
    assert space.grid_size() == 4 * (1 + 3)
    assert space.point({"x": 0.1, "kind": "a", "extra": 0.5}) == {"x": 0.1, "kind": "a"}
    assert space.point({"x": 0.1, "kind": "b"}) is None
    assert space.point({"x": 0.15, "kind": "a"}) is None


@pytest.mark.parametrize(
    ("state", "left"),
    [
        (TrialState.COMPLETE, 7),
        (TrialState.PRUNED, 7),
        (TrialState.RUNNING, 7),
        (TrialState.WAITING, 7),
        (TrialState.FAIL, 8),
    ],
)
def test_all_trials_but_failed_ones_take_their_point(state: TrialState, left: int) -> None:
    tried = TriedPoints(space_of())
    tried.count([trial(0, state, x=0.1, kind="a")])
    assert tried.left == left
    assert ({"x": 0.1, "kind": "a"} in tried) == (left == 7)


def test_trials_without_params_will_take_a_point() -> None:
    tried = TriedPoints(space_of())
    tried.count([trial(0, TrialState.RUNNING), trial(1, TrialState.RUNNING)], but_not=1)
    assert (tried.left, tried.unsampled, tried.last_id) == (7, {0}, 1)


def test_queued_configurations_are_tried() -> None:
    queued = trial(0, TrialState.WAITING)
    queued._system_attrs = {"fixed_params": {"x": 0.2, "kind": "b"}}
    tried = TriedPoints(space_of())
    tried.count([queued])
    assert {"x": 0.2, "kind": "b"} in tried


@given(st.lists(st.integers(0, 7), max_size=12), st.integers(0, 99))
def test_what_is_left_is_chosen_and_nothing_else(numbers: list[int], seed: int) -> None:
    space = space_of()
    grid = list(space.grid())
    tried = TriedPoints(space)
    tried.count([trial(n, TrialState.PRUNED, **grid[place]) for n, place in enumerate(numbers)])
    assert tried.left == 8 - len(set(numbers))
    chosen = tried.choose_new(random.Random(seed))
    assert (chosen is None) == (tried.left == 0)
    assert chosen is None or grid.index(chosen) not in numbers


@pytest.mark.parametrize(
    ("parameters", "sampler", "avoids"),
    [
        ({}, "tpe", True),
        ({}, "grid", False),
        ({}, "listed", False),
        ({"x": {"type": "float", "low": 0.0, "high": 1.0}}, "tpe", False),
        ({"extra": ONLY_B | {"step": None}}, "tpe", True),
        ({"x": 0.5, "kind": "a"}, "random", False),
    ],
)
def test_where_nothing_repeats_nothing_is_compared(
    parameters: dict[str, object], sampler: str, avoids: bool
) -> None:
    assert avoids_repeats(Choice(name=sampler), space_of(**parameters)) is avoids
