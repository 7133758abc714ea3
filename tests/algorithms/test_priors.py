"""Trials that are drawn from a prior, and those that are left to the sampler."""

from typing import Any

import numpy as np
import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from tuner.algorithms.portfolios import portfolio, portfolio_kinds
from tuner.algorithms.priors import (
    HALF_LIFE,
    SHARE,
    PriorSampler,
    default_centres,
    draw_near,
    from_unit,
    spread_out,
    unit_place,
)
from tuner.algorithms.samplers import SAMPLERS, make_sampler
from tuner.search_space import Space, load_space, parse_space
from tuner.study.prior_spec import PriorSpec
from tuner.study.spec import Choice

SPACE = load_space("mlp")
CENTRE = {
    "depth": 2,
    "width": 200,
    "activation": "gelu",
    "optimizer": "sgd",
    "momentum": 0.5,
    "learning_rate": 0.003,
}
PRIOR = PriorSpec(centres=(CENTRE,))

NUMBERS = st.one_of(
    st.builds(
        lambda low, width, log: FloatDistribution(low, low + width, log=log),
        st.floats(1e-6, 10),
        st.floats(0, 100),
        st.booleans(),
    ),
    st.builds(
        lambda low, width, step: IntDistribution(low, low + width * step, step=step),
        st.integers(-5, 5),
        st.integers(0, 20),
        st.integers(1, 7),
    ),
    st.builds(
        lambda low, width: IntDistribution(low, low + width, log=True),
        st.integers(1, 9),
        st.integers(0, 500),
    ),
    st.builds(
        lambda count: FloatDistribution(0.0, count / 8, step=0.125),
        st.integers(0, 9),
    ),
)


def points(sampler: optuna.samplers.BaseSampler, count: int = 40) -> list[dict[str, Any]]:
    study = optuna.create_study(sampler=sampler)
    for _ in range(count):
        trial = study.ask()
        SPACE.sample(trial)
        study.tell(trial, float(len(repr(sorted(trial.params.items())))))
    return [trial.params for trial in study.trials]


def is_near(params: dict[str, Any]) -> bool:
    """Whether most of a trial's values are its centre's, or near."""
    same = [params[name] == CENTRE[name] for name in ("activation", "optimizer")]
    distribution = SPACE.distributions()["learning_rate"]
    assert isinstance(distribution, FloatDistribution)
    places = [unit_place(v, distribution) for v in (params["learning_rate"], 0.003)]
    return all(same) and abs((places[0] or 0) - (places[1] or 0)) < 0.5


@given(NUMBERS, st.floats(0, 1))
def test_places_and_numbers_are_inverse(distribution: BaseDistribution, place: float) -> None:
    assert isinstance(distribution, IntDistribution | FloatDistribution)
    value = from_unit(place, distribution)
    assert distribution._contains(distribution.to_internal_repr(value))
    back = unit_place(value, distribution)
    assert back is not None and 0 <= back <= 1
    assert from_unit(back, distribution) == pytest.approx(value, rel=1e-9, abs=1e-12)


@given(
    NUMBERS,
    st.one_of(
        st.none(), st.integers(-100, 1000), st.floats(-1e9, 1e9), st.just("x"), st.booleans()
    ),
    st.sampled_from([0.0, 0.01, 0.15, 1.0]),
    st.integers(0, 1000),
)
def test_draws_are_values_of_the_range(
    distribution: BaseDistribution, centre: Any, width: float, seed: int
) -> None:
    value = draw_near(centre, distribution, width, np.random.default_rng(seed))
    assert distribution._contains(distribution.to_internal_repr(value))


def test_draws_lie_near_their_centre() -> None:
    generator = np.random.default_rng(0)
    rate = FloatDistribution(1e-5, 1e-1, log=True)
    places = [unit_place(draw_near(1e-3, rate, 0.1, generator), rate) for _ in range(2000)]
    assert np.mean(places) == pytest.approx(0.5, abs=0.01)
    assert np.std(places) == pytest.approx(0.1, abs=0.01)
    kinds = CategoricalDistribution(["a", "b", True, 1.5])
    drawn = [draw_near("b", kinds, 0.1, generator) for _ in range(2000)]
    # 80 % keep the centre's, the others are any.
    assert drawn.count("b") / 2000 == pytest.approx(0.85, abs=0.03)
    # 1 equals True in Python, but is no choice here.
    drawn = [draw_near(1, kinds, 0.1, generator) for _ in range(2000)]
    assert drawn.count("b") / 2000 == pytest.approx(0.25, abs=0.04)


@pytest.mark.parametrize("name", ["random", "nsgaii"])
def test_a_prior_draws_less_and_less(name: str) -> None:
    near = [is_near(p) for p in points(make_sampler(Choice(name=name), SPACE, 3, 1, PRIOR), 120)]
    expected = [SHARE * HALF_LIFE / (HALF_LIFE + number) for number in range(120)]
    # All parameters of a trial come from the prior, or none. About 0.7 of them keep both choices,
    # and one in fifteen of the others has them by chance.
    assert sum(near[:30]) >= 0.5 * sum(expected[:30])
    assert sum(near[:30]) > sum(near[60:90])


def test_tpe_goes_on_from_what_the_prior_has_drawn() -> None:
    sampler = make_sampler(Choice(name="tpe"), SPACE, 3, 1, PRIOR)
    assert len({repr(params) for params in points(sampler, 25)}) == 25


def test_equal_seeds_draw_equally_and_other_loops_draw_the_same_prior_trials() -> None:
    def sample(seed: int, loop: int) -> list[dict[str, Any]]:
        return points(make_sampler(Choice(name="random"), SPACE, seed, loop, PRIOR))

    one = sample(7, 1)
    assert one == sample(7, 1)
    assert one != sample(8, 1)
    shared = [a for a, b in zip(one, sample(7, 2), strict=True) if a == b]
    assert len(shared) > 3  # by number: whichever loop has the trial
    assert len({repr(sorted(params.items())) for params in shared}) == len(shared)


def test_no_prior_leaves_the_sampler_alone() -> None:
    for name in SAMPLERS:
        if name in ("tpe", "random"):
            plain = make_sampler(Choice(name=name), SPACE, 7, 1)
            assert not isinstance(plain, PriorSampler)


def test_the_first_trials_of_a_function_that_defines_its_space() -> None:
    first = [{"rate": 0.5, "kind": "b", "size": 99}, {"rate": 5.0, "kind": "c"}]
    sampler = PriorSampler(optuna.samplers.RandomSampler(seed=0), [], 0, first)
    study = optuna.create_study(sampler=sampler)
    drawn = []
    for _ in range(3):
        trial = study.ask()
        trial.suggest_float("rate", 0.0, 1.0)
        trial.suggest_categorical("kind", ["a", "b"])
        trial.suggest_int("size", 1, 10)
        study.tell(trial, 0.0)
        drawn.append(trial.params)
    assert drawn[0] == {"rate": 0.5, "kind": "b", "size": 10}
    assert drawn[1]["rate"] == 1.0
    assert drawn[2]["rate"] not in (0.5, 1.0)


def test_trials_that_ask_in_turn_get_what_they_would_get_alone() -> None:
    centres = [{"a": 0.1, "b": 0.2}, {"a": 0.9, "b": 0.8}]

    def ask(in_turn: bool) -> list[dict[str, Any]]:
        sampler = PriorSampler(optuna.samplers.RandomSampler(), centres, 5, share=1.0)
        study = optuna.create_study(sampler=sampler)
        trials = [study.ask() for _ in range(2)]
        asks = (
            [(t, n) for n in "ab" for t in trials]
            if in_turn
            else [(t, n) for t in trials for n in "ab"]
        )
        for trial, name in asks:
            trial.suggest_float(name, 0.0, 1.0)
        return [trial.params for trial in trials]

    assert ask(in_turn=True) == ask(in_turn=False)
    assert all(params["a"] != params["b"] for params in ask(in_turn=True))


def test_defaults_and_baselines_are_the_centres() -> None:
    centres = default_centres(SPACE)
    assert all(SPACE.flatten(baseline) in centres for baseline in SPACE.baselines)
    assert centres[0]["learning_rate"] == SPACE.defaults["learning_rate"]
    none = parse_space("network: mlp\nparameters: {depth: 1}", "test.yaml")
    assert default_centres(none) == []


def test_close_configurations_wait() -> None:
    rates = {"rate": FloatDistribution(0.0, 1.0)}
    given = [{"rate": rate} for rate in (0.5, 0.51, 0.5, 0.9, 0.52, 0.1)]
    chosen = [each["rate"] for each in spread_out(given, rates, 4)]
    assert chosen == [0.5, 0.9, 0.1, 0.51]
    assert spread_out(given, rates, 1) == [{"rate": 0.5}]


@pytest.mark.parametrize("kind", portfolio_kinds())
def test_shipped_portfolios_fit_the_shipped_spaces(kind: str) -> None:
    space: Space = load_space(kind)
    configurations = portfolio(kind)
    assert 1 <= len(configurations) <= 8
    for configuration in configurations:
        flat = space.transfer(configuration).flat
        assert "learning_rate" in flat


def test_a_trial_that_is_asked_for_again_is_drawn_anew_near_its_centre() -> None:
    """What was tried already is drawn again, by a new object of the same trial."""
    sampler = PriorSampler(optuna.samplers.RandomSampler(seed=3), [CENTRE], seed=3, share=1.0)
    study = optuna.create_study(sampler=sampler)
    trial = study._storage.get_trial(study.ask()._trial_id)
    rate = SPACE.distributions()["learning_rate"]
    drawn = []
    for _ in range(3):
        sampler.sample_relative(study, trial, sampler.infer_relative_search_space(study, trial))
        drawn.append(sampler.sample_independent(study, trial, "learning_rate", rate))
    assert len({*drawn}) == 3
    assert all(0.0003 < each < 0.03 for each in drawn)
