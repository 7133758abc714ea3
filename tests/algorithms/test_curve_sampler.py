"""The sampler that learns from every report."""

from collections.abc import Callable
from typing import Any

import numpy as np
import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState, create_trial

from tuner.algorithms.curve_sampler import CurveSampler, _better_ones, _Seen

Params = dict[str, Any]
SPACE = {
    "x": FloatDistribution(0.0, 1.0),
    "rate": FloatDistribution(1e-4, 1.0, log=True),
    "kind": CategoricalDistribution(["a", "b"]),
}


def study_of(
    scores: Callable[[Params], float],
    direction: str = "minimize",
    state: TrialState = TrialState.PRUNED,
    count: int = 40,
) -> optuna.Study:
    """`count` trials at fixed points, each with one report of its score."""
    study = optuna.create_study(direction=direction, sampler=CurveSampler(seed=1, random_share=0.0))
    random = np.random.default_rng(5)
    for _ in range(count):
        params = {
            "x": random.random(),
            "rate": float(10 ** random.uniform(-4, 0)),
            "kind": str(random.choice(["a", "b"])),
        }
        score = scores(params)
        study.add_trial(
            create_trial(
                params=params,
                distributions=SPACE,
                state=state,
                intermediate_values={1: score},
                value=score if state == TrialState.COMPLETE else None,
            )
        )
    return study


def proposals(study: optuna.Study, count: int = 8) -> list[Params]:
    """Trials that go on running."""
    return [study.ask(SPACE).params for _ in range(count)]


def bowl(params: Params) -> float:
    """Least at x = 0.8 and the rate 0.01 of kind b."""
    near = (params["x"] - 0.8) ** 2 + (np.log10(params["rate"]) + 2) ** 2 / 16
    return float(near + 0.3 * (params["kind"] == "a"))


def mean_bowl(points: list[Params]) -> float:
    return float(np.mean([bowl(params) for params in points]))


@pytest.mark.parametrize("state", [TrialState.PRUNED, TrialState.RUNNING, TrialState.COMPLETE])
def test_it_learns_from_reports_whatever_the_trials_state(state: TrialState) -> None:
    study = study_of(bowl, state=state)
    drawn = mean_bowl([trial.params for trial in study.trials])
    assert mean_bowl(proposals(study)) < drawn / 3


def test_it_maximises() -> None:
    points = proposals(study_of(lambda params: -bowl(params), direction="maximize"))
    assert points == proposals(study_of(bowl))


def test_no_scale_of_the_objective_matters() -> None:
    points = proposals(study_of(bowl))
    assert points == proposals(study_of(lambda params: 1e6 * np.exp(bowl(params))))


def test_a_violated_constraint_is_worse_than_any_score() -> None:
    study = optuna.create_study(sampler=CurveSampler(seed=1, random_share=0.0))
    for _ in range(40):
        trial = study.ask()
        x = trial.suggest_float("x", 0.0, 1.0)
        trial.report(x, 1)
        trial.set_constraint("feasible", 1.0 if x < 0.5 else 0.0)
        study.tell(trial, state=TrialState.PRUNED)
    later = [trial.params["x"] for trial in study.trials[20:]]
    assert np.mean([x < 0.5 for x in later]) < 0.3


def test_a_trial_that_failed_teaches_nothing() -> None:
    study = study_of(bowl, state=TrialState.FAIL)
    space = study.sampler.infer_relative_search_space(study, study.ask()._get_latest_trial())
    assert space == {}


def test_what_a_paused_trial_reports_later_is_seen() -> None:
    study = study_of(bowl)
    sampler, trials = study.sampler, study.trials
    assert isinstance(sampler, CurveSampler)
    sampler._learn_space(trials)
    before = sampler._seen(study.direction, trials)
    last = max(trials[3].intermediate_values)
    trials[3].intermediate_values[last + 1] = -9.0
    after = sampler._seen(study.direction, trials)
    assert after[3].bests[-1] == -9.0
    assert all(after[n] is before[n] for n in range(len(trials)) if n != 3)


def test_trials_side_by_side_are_apart() -> None:
    study = study_of(bowl)
    places = np.array([[p["x"], np.log10(p["rate"]) / 4] for p in proposals(study, 12)])
    distances = np.linalg.norm(places[:, None] - places[None], axis=2) + np.eye(12)
    assert distances.min() > 0.02


def test_a_restarted_loop_proposes_the_same() -> None:
    study = study_of(bowl)
    first = proposals(study, 3)
    again = study_of(bowl)
    for params in first[:2]:
        again.add_trial(create_trial(state=TrialState.RUNNING, params=params, distributions=SPACE))
    assert proposals(again, 1) == [first[2]]


def test_another_seed_proposes_other_points() -> None:
    study, other = study_of(bowl), study_of(bowl)
    other.sampler = CurveSampler(seed=2, random_share=0.0)
    assert proposals(study) != proposals(other)


def test_what_a_trial_lacks_is_no_reason_to_propose_it() -> None:
    """Half of the trials lack the momentum, and are better the larger x is."""
    study = optuna.create_study(sampler=CurveSampler(seed=3, random_share=0.0))
    for _ in range(40):
        trial = study.ask()
        x = trial.suggest_float("x", 0.0, 1.0)
        if trial.suggest_categorical("optimizer", ["adam", "sgd"]) == "sgd":
            trial.suggest_float("momentum", 0.0, 1.0)
        trial.report(-x, 1)
        study.tell(trial, state=TrialState.PRUNED)
    later = study.trials[20:]
    assert np.mean([trial.params["x"] for trial in later]) > 0.75
    assert {trial.params["optimizer"] for trial in later} == {"adam", "sgd"}


def test_parameters_may_change_while_a_function_asks_for_them() -> None:
    study = optuna.create_study(sampler=CurveSampler(seed=3, n_startup_trials=2))
    for number in range(12):
        trial = study.ask()
        depth = trial.suggest_int("depth", 1, 1 + number)
        trial.suggest_float(f"rate {number}", 0.0, 1.0)
        trial.report(-depth, 1)
        study.tell(trial, state=TrialState.PRUNED)
    assert max(trial.params["depth"] for trial in study.trials) > 6


def test_a_finite_space_may_be_used_up() -> None:
    study = optuna.create_study(sampler=CurveSampler(seed=3, n_startup_trials=1))
    space = {"depth": IntDistribution(1, 3), "only": IntDistribution(2, 2)}
    for _ in range(10):
        study.tell(study.ask(space), 1.0)
    assert {trial.params["depth"] for trial in study.trials} == {1, 2, 3}


def test_many_trials_are_seen_in_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tuner.algorithms.curve_sampler.BEST_SEEN", 10)
    monkeypatch.setattr("tuner.algorithms.curve_sampler.LATEST_SEEN", 10)
    study = study_of(bowl)
    assert mean_bowl(proposals(study)) < mean_bowl([trial.params for trial in study.trials]) / 2


def test_several_objectives_are_refused() -> None:
    study = optuna.create_study(directions=["minimize"] * 2, sampler=CurveSampler(seed=0))
    with pytest.raises(ValueError, match="CurveSampler"):
        study.ask(SPACE)


def seen(*bests: float, first: int = 1) -> _Seen:
    return _Seen(np.zeros(1), np.arange(first, first + len(bests)), np.array(bests))


def test_trials_are_compared_at_the_last_step_that_both_have() -> None:
    slow, fast, broken = seen(5.0, 3.0, 1.0), seen(4.0), seen(np.inf)
    np.testing.assert_array_equal(_better_ones([slow, fast, broken]), [1, 0, 2])
    fast = seen(4.0, 4.0, 4.0)
    np.testing.assert_array_equal(_better_ones([slow, fast, broken]), [0, 1, 2])


@settings(max_examples=50, deadline=None)
@given(st.lists(st.lists(st.integers(-5, 5), min_size=1, max_size=6), min_size=2, max_size=12))
def test_the_comparison_is_that_of_every_pair(reported: list[list[int]]) -> None:
    curves = [np.minimum.accumulate(np.array(values, dtype=float)) for values in reported]
    expected = []
    for own in curves:
        places = [
            0.5 * (np.sign(own[m] - other[m]) + 1) for other in curves for m in [_last(own, other)]
        ]
        expected.append(sum(places) - 0.5)
    result = _better_ones([seen(*curve) for curve in curves])
    np.testing.assert_allclose(result, expected)


def _last(own: Any, other: Any) -> int:
    return min(len(own), len(other)) - 1


def test_a_trial_that_is_asked_for_again_is_proposed_another_point() -> None:
    """What was tried already is drawn again, by a new object of the same trial."""
    study = study_of(bowl)
    first = study.ask(SPACE)
    sampler, trial = study.sampler, study._storage.get_trial(first._trial_id)
    again = sampler.sample_relative(study, trial, sampler.infer_relative_search_space(study, trial))
    assert again != first.params
    assert bowl(again) < bowl({"x": 0.5, "rate": 0.5, "kind": "a"})
