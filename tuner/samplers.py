"""Optuna's samplers by name.

To add one: a line in SAMPLERS, with the options that its constructor takes.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec

import optuna
from optuna.samplers import (
    BaseSampler,
    CmaEsSampler,
    GPSampler,
    QMCSampler,
    RandomSampler,
    TPESampler,
)

from tuner.errors import SpecError
from tuner.options import COUNT, FLAG, POSITIVE, Option, check_options, quiet, unknown
from tuner.parameters import Scalar
from tuner.space import Space
from tuner.spec import Choice


@dataclass(frozen=True)
class SamplerKind:
    """`options`: what the user may set. `settings`: our own choices, under the user's.
    `package`: what must be installed beside Optuna. `shared_seed`: see `make_sampler`."""

    build: Callable[..., BaseSampler]
    options: Mapping[str, Option] = field(default_factory=dict)
    settings: Mapping[str, Scalar] = field(default_factory=dict)
    package: str | None = None
    shared_seed: bool = False


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
    return _build(choice, own_seed)


def check_sampler(choice: Choice, space: Space) -> None:
    """Raises SpecError for an unknown name or option, a value that does not fit, a missing
    package, or a grid of a space that has none."""
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
    _build(choice, 0)


def seed_of_loop(seed: int | None, loop: int | str) -> int | None:
    """A seed that is the same on every machine, unlike Python's own hash."""
    if seed is None:
        return None
    return int.from_bytes(hashlib.sha256(f"{seed}/{loop}".encode()).digest()[:4], "big")


def _build(choice: Choice, seed: int | None) -> BaseSampler:
    kind = SAMPLERS[choice.name]
    settings = {**kind.settings, **choice.options}
    if settings.get("multivariate") is False and "group" not in choice.options:
        settings["group"] = False  # TPE refuses a group of independent parameters
    with quiet():
        try:
            return kind.build(seed=seed, **settings)
        except (ValueError, TypeError) as error:
            raise SpecError(f"sampler {choice.name}: {error}") from error
