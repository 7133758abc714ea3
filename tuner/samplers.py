"""Optuna's samplers by name.

To add one: a line in SAMPLERS, with the options that its constructor takes.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import (
    BaseSampler,
    CmaEsSampler,
    GPSampler,
    QMCSampler,
    RandomSampler,
    TPESampler,
)
from optuna.trial import FrozenTrial

from tuner.errors import SpaceError, SpecError
from tuner.options import COUNT, FLAG, POSITIVE, Option, check_options, quiet, unknown
from tuner.parameters import Scalar
from tuner.space import Space
from tuner.spec import Choice


@dataclass(frozen=True)
class SamplerKind:
    """`options`: what the user may set. `settings`: our own choices, under the user's.
    `package`: what must be installed beside Optuna. `shared_seed`: see `make_sampler`. `lists`:
    it is given the space's configurations."""

    build: Callable[..., BaseSampler]
    options: Mapping[str, Option] = field(default_factory=dict)
    settings: Mapping[str, Scalar] = field(default_factory=dict)
    package: str | None = None
    shared_seed: bool = False
    lists: bool = False


class ListedSampler(BaseSampler):
    """Configurations (flat parameters) in turn, again and again: trial number n gets number
    n % len(configurations). So any number of loops deal them out evenly, without a queue."""

    def __init__(self, configurations: Sequence[Mapping[str, Scalar]], seed: int | None) -> None:
        self._configurations = configurations

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        return {}

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return {}

    def sample_independent(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        return self._configurations[trial.number % len(self._configurations)][param_name]


SAMPLERS: dict[str, SamplerKind] = {
    "tpe": SamplerKind(
        TPESampler,
        {
            "n_startup_trials": COUNT,
            "n_ei_candidates": POSITIVE,
            "multivariate": FLAG,
            "group": FLAG,
            "constant_liar": FLAG,
        },
        # group: without it a multivariate TPE draws conditional parameters independently.
        # constant_liar: loops side by side do not propose the same point.
        {"multivariate": True, "group": True, "constant_liar": True},
    ),
    "random": SamplerKind(RandomSampler),
    # The loop enqueues the points of `Space.grid`; this only stands in as the study's sampler.
    "grid": SamplerKind(RandomSampler),
    "listed": SamplerKind(ListedSampler, lists=True),
    "qmc": SamplerKind(
        QMCSampler,
        {"qmc_type": Option(str, choices=("sobol", "halton")), "scramble": FLAG},
        {"warn_independent_sampling": False, "warn_asynchronous_seeding": False},
        shared_seed=True,
    ),
    "cmaes": SamplerKind(
        CmaEsSampler,
        {
            "n_startup_trials": COUNT,
            "popsize": Option(int, low=4),  # cmaes divides by zero below
            "consider_pruned_trials": FLAG,
            "use_separable_cma": FLAG,
            "with_margin": FLAG,
            "lr_adapt": FLAG,
        },
        {"warn_independent_sampling": False},
        package="cmaes",
    ),
    "gp": SamplerKind(
        GPSampler,
        {"n_startup_trials": COUNT, "deterministic_objective": FLAG},
        {"warn_independent_sampling": False},
        package="torch",
    ),
}


def make_sampler(choice: Choice, space: Space, seed: int | None, loop: int | str) -> BaseSampler:
    """The sampler of one loop's start, seeded from the study's seed and `loop`, so that a
    restarted loop does not propose its first points again. The loops of a QMC study share the
    study's seed, because together they walk one sequence. Raises SpecError."""
    check_sampler(choice, space)
    optuna.logging.set_verbosity(optuna.logging.ERROR)  # its warnings are meant for programmers
    own_seed = seed if SAMPLERS[choice.name].shared_seed else seed_of_loop(seed, loop)
    return _build(choice, space, own_seed)


def check_sampler(choice: Choice, space: Space) -> None:
    """Raises SpecError for an unknown name or option, a value that does not fit, a missing
    package, a grid of a space that has none, or a list with something left open."""
    if choice.name not in SAMPLERS:
        raise unknown("sampler", choice.name, SAMPLERS)
    kind = SAMPLERS[choice.name]
    check_options("sampler", choice.name, choice.options, kind.options)
    if kind.package and find_spec(kind.package) is None:
        raise SpecError(
            f"sampler {choice.name} needs the package {kind.package}: "
            f"install it with pip install {kind.package}"
        )
    if choice.name == "grid" and space.grid_size() is None:
        raise SpecError(f"sampler grid: {space.why_no_grid()}")
    if choice.options.get("with_margin") and space.is_conditional():
        # Optuna mixes points of different length then, and fails in the middle of a study.
        raise SpecError("sampler cmaes: with_margin does not work with conditional parameters")
    _build(choice, space, 0)


def seed_of_loop(seed: int | None, loop: int | str) -> int | None:
    """A seed that is the same on every machine, unlike Python's own hash."""
    if seed is None:
        return None
    return int.from_bytes(hashlib.sha256(f"{seed}/{loop}".encode()).digest()[:4], "big")


def _build(choice: Choice, space: Space, seed: int | None) -> BaseSampler:
    kind = SAMPLERS[choice.name]
    settings: dict[str, Any] = {**kind.settings, **choice.options}
    if kind.lists:
        settings["configurations"] = _configurations(choice, space)
    if settings.get("multivariate") is False and "group" not in choice.options:
        settings["group"] = False  # TPE refuses a group of independent parameters
    with quiet():
        try:
            return kind.build(seed=seed, **settings)
        except (ValueError, TypeError) as error:
            raise SpecError(f"sampler {choice.name}: {error}") from error


def _configurations(choice: Choice, space: Space) -> list[dict[str, Scalar]]:
    try:
        return space.configurations()
    except SpaceError as error:
        raise SpecError(f"sampler {choice.name}: {error}") from error
