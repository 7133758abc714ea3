"""Samplers by name: options, seeds, and that each can run a conditional study."""

import inspect
import warnings
from importlib.util import find_spec
from typing import Any

import optuna
import pytest
from optuna.samplers import BaseSampler, TPESampler

import tuner.algorithms.samplers
from tuner.algorithms.samplers import (
    SAMPLERS,
    BoundedTPESampler,
    check_knows_space,
    check_sampler,
    make_sampler,
    seed_of_loop,
)
from tuner.errors import SpecError
from tuner.search_space import Space, load_space, parse_space
from tuner.search_space.function_kinds import FunctionKind
from tuner.study.spec import Choice
from tuner.values import Scalar

SPACE = load_space("mlp")
INSTALLED = [n for n, kind in SAMPLERS.items() if not kind.package or find_spec(kind.package)]
# The other two take their points from the space's grid or list.
RUNNABLE = [name for name in INSTALLED if name not in ("grid", "listed")]


def finite() -> Space:
    return parse_space(
        "network: mlp\nparameters: {depth: {type: int, low: 1, high: 3}}", "test.yaml"
    )


def points(sampler: optuna.samplers.BaseSampler, count: int = 12) -> list[dict[str, Scalar]]:
    """The parameters of `count` trials, scored by a rule that depends on all of them."""
    study = optuna.create_study(sampler=sampler)
    for _ in range(count):
        trial = study.ask()
        SPACE.sample(trial)
        study.tell(trial, float(len(repr(sorted(trial.params.items())))))
    return [trial.params for trial in study.trials]


@pytest.mark.parametrize("name", SAMPLERS)
def test_options_are_the_installed_constructors(name: str) -> None:
    kind = SAMPLERS[name]
    taken = inspect.signature(kind.build).parameters
    assert set(kind.options) | set(kind.settings) | {"seed"} <= set(taken)
    for option, said in kind.options.items():
        assert said.type.__name__ in str(taken[option].annotation)


@pytest.mark.parametrize("name", RUNNABLE)
def test_same_seed_and_loop_same_points(name: str) -> None:
    choice = Choice(name=name)
    assert points(make_sampler(choice, SPACE, 7, 1)) == points(make_sampler(choice, SPACE, 7, 1))


@pytest.mark.parametrize("name", [name for name in RUNNABLE if name != "qmc"])
def test_another_loop_other_points(name: str) -> None:
    one, other = (points(make_sampler(Choice(name=name), SPACE, 7, loop), 3) for loop in (1, 2))
    assert one != other


def _proposals(sampler: BaseSampler) -> list[dict[str, Any]]:
    """Of 30 trials of a conditional space; every third goes on running."""
    study = optuna.create_study(sampler=sampler)
    proposals = []
    for number in range(30):
        trial = study.ask()
        depth = trial.suggest_int("depth", 1, 4)
        rate = trial.suggest_float("rate", 1e-4, 1e-1, log=True)
        if trial.suggest_categorical("optimizer", ["adam", "sgd"]) == "sgd":
            trial.suggest_float("momentum", 0.0, 0.99)
        proposals.append(dict(trial.params))
        if number % 3:
            study.tell(trial, depth * rate)
    return proposals


def test_tpe_proposes_what_optunas_does_beside_running_trials() -> None:
    options = {"seed": 3, "multivariate": True, "group": True, "constant_liar": True}
    assert _proposals(BoundedTPESampler(**options)) == _proposals(TPESampler(**options))


def test_qmc_keeps_the_studys_seed() -> None:
    choice = Choice(name="qmc", options={"scramble": True})
    assert points(make_sampler(choice, SPACE, 7, 1)) == points(make_sampler(choice, SPACE, 7, 2))


def test_loop_seeds_do_not_depend_on_the_process() -> None:
    assert seed_of_loop(7, 1) == 3553817977
    assert seed_of_loop(None, 1) is None


def test_nothing_is_said_about_experiments() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name in RUNNABLE:
            points(make_sampler(Choice(name=name), SPACE, 0, 0))


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("tpr", {}, "unknown sampler 'tpr'; there are: tpe, "),
        ("tpe", {"n_startup": 5}, "no option 'n_startup'; it takes: n_startup_trials, "),
        ("tpe", {"n_startup_trials": 2.5}, "n_startup_trials must be a whole number, got 2.5"),
        ("tpe", {"n_startup_trials": True}, "n_startup_trials must be a whole number, got true"),
        ("tpe", {"n_startup_trials": -1}, "n_startup_trials must be >= 0, got -1"),
        ("tpe", {"group": "ja"}, "group must be true or false, got 'ja'"),
        ("tpe", {"group": True, "multivariate": False}, "sampler tpe: .*group.*multivariate"),
        ("random", {"seed": 3}, "sampler random has no option 'seed'; it takes: none"),
        ("qmc", {"qmc_type": "sobl"}, "qmc_type must be one of sobol, halton; got 'sobl'"),
        ("qmc", {"qmc_type": 5}, "qmc_type must be a word, got 5"),
        ("grid", {}, "sampler grid: .* dropout, .*, learning_rate, momentum, .* have no step"),
    ],
)
def test_mistakes(name: str, options: dict[str, Scalar], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        check_sampler(Choice(name=name, options=options), SPACE)


def test_a_multivariate_tpe_can_be_switched_off() -> None:
    sampler = make_sampler(Choice(name="tpe", options={"multivariate": False}), SPACE, 0, 0)
    assert isinstance(sampler, optuna.samplers.TPESampler)
    assert (sampler._multivariate, sampler._group) == (False, False)


def test_grid_takes_a_finite_space() -> None:
    check_sampler(Choice(name="grid"), finite())


@pytest.mark.parametrize(("name", "package"), [("cmaes", "cmaes"), ("gp", "torch")])
def test_missing_package_is_named(name: str, package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tuner.algorithms.samplers, "find_spec", lambda name: None)
    with pytest.raises(SpecError, match=f"needs the package {package}: .*pip install {package}"):
        check_sampler(Choice(name=name), SPACE)


@pytest.mark.skipif("cmaes" not in INSTALLED, reason="cmaes is not installed")
@pytest.mark.parametrize("options", [{"popsize": 4}, {"lr_adapt": True, "n_startup_trials": 0}])
def test_cmaes_options_run(options: dict[str, Scalar]) -> None:
    assert len(points(make_sampler(Choice(name="cmaes", options=options), SPACE, 0, 0))) == 12


@pytest.mark.skipif("cmaes" not in INSTALLED, reason="cmaes is not installed")
def test_cmaes_margin_needs_parameters_that_are_always_there() -> None:
    choice = Choice(name="cmaes", options={"with_margin": True})
    check_sampler(choice, finite())
    with pytest.raises(SpecError, match="with_margin does not work with conditional"):
        check_sampler(choice, SPACE)


def test_a_comparison_lists_what_a_function_asks_for() -> None:
    asks = parse_space("network: own.py:build_model\nparameters: {}", "s.yaml")
    asks = asks.of_kind(FunctionKind.HYPERMODEL)
    listed = Choice(name="listed")
    with pytest.raises(SpecError, match="sampler listed needs to know all parameters beforehand"):
        check_knows_space(listed, asks)
    chosen = asks.only({"units_0": 32, "rate [model=cnn]": 0.5})
    check_sampler(listed, chosen)
    (configuration,) = chosen.configurations()
    assert chosen.resolve(configuration)["units_0"] == 32
