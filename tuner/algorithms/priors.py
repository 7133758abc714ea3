"""A prior over a search space, around any sampler: some of its trials are drawn near configurations
that are expected to be good, the fewer the longer the study lasts.

Sources: the decay of a prior's weight with the number of trials, pi-BO (Hvarfner et al., 2022);
drawing from prior and model side by side, with less from a prior that misleads, PriorBand (Mallik
et al., 2023).
"""

import hashlib
import math
from collections.abc import Mapping, Sequence
from statistics import NormalDist
from typing import Any

import numpy as np
import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState

from tuner.values import Scalar

# Measured on TaskSet's tables (docs/decisions/search-methods.md).
SHARE = 0.5  # of the first trials that are drawn from the prior
HALF_LIFE = 10  # trials after which that share has halved
WIDTH = 0.15  # standard deviation around a centre, as a share of a parameter's range
KEPT = 0.8  # probability that a categorical parameter has its centre's value
_STANDARD = NormalDist()


class PriorSampler(BaseSampler):
    """Draws trial n from the prior with probability SHARE * HALF_LIFE / (HALF_LIFE + n), and leaves
    all other trials to `sampler`.

    `centres`: flat parameters of configurations that are expected to be good; one is chosen for a
    trial, and each parameter is drawn near its value there. What a centre lacks, and values that
    do not fit the parameter, are drawn from the whole range. What is drawn depends on `seed` and
    the trial's number alone, so that a restarted loop, or one beside it, repeats nothing.

    The share follows the evidence too (`trust`): once EVIDENCE trials have finished, a prior whose
    trials are rarer among the best quarter than among all is drawn from less.
    """

    def __init__(
        self,
        sampler: BaseSampler,
        centres: Sequence[Mapping[str, Scalar]],
        seed: int | None,
        share: float = SHARE,
        half_life: float = HALF_LIFE,
        width: float = WIDTH,
    ) -> None:
        self._sampler = sampler
        self._centres = list(centres)
        self._seed = seed
        self._share, self._half_life, self._width = share, half_life, width
        self._decided: tuple[int, np.random.Generator | None] = (-1, None)
        self._centre: Mapping[str, Scalar] = {}

    def reseed_rng(self) -> None:
        self._sampler.reseed_rng()

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        if self._prior_draws(study, trial) is not None:
            return {}
        return self._sampler.infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        if self._prior_draws(study, trial) is not None:
            return {}
        return self._sampler.sample_relative(study, trial, search_space)

    def sample_independent(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        generator = self._prior_draws(study, trial)
        if generator is None:
            return self._sampler.sample_independent(study, trial, param_name, param_distribution)
        return draw_near(self._centre.get(param_name), param_distribution, self._width, generator)

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        self._sampler.before_trial(study, trial)

    def after_trial(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        state: TrialState,
        values: Sequence[float] | None,
    ) -> None:
        self._sampler.after_trial(study, trial, state, values)

    def _prior_draws(self, study: optuna.Study, trial: FrozenTrial) -> np.random.Generator | None:
        """Random numbers for a trial that is drawn from the prior; None for any other."""
        number, generator = self._decided
        if number == trial.number:
            return generator
        generator = np.random.default_rng(_seed_of_trial(self._seed, trial.number))
        share = self._share * self._half_life / (self._half_life + trial.number)
        is_drawn = bool(self._centres) and generator.random() < share
        if is_drawn:
            self._centre = self._centres[int(generator.integers(len(self._centres)))]
        self._decided = trial.number, generator if is_drawn else None
        return self._decided[1]


def _seed_of_trial(seed: int | None, number: int) -> int | None:
    if seed is None:
        return None
    return int.from_bytes(hashlib.sha256(f"prior/{seed}/{number}".encode()).digest()[:8], "big")


def draw_near(
    centre: Scalar | None,
    distribution: BaseDistribution,
    width: float,
    generator: np.random.Generator,
) -> Scalar:
    """A value of the distribution near `centre`; from its whole range where that is None, or no
    value of it. `width`: the standard deviation, as a share of the range."""
    if isinstance(distribution, CategoricalDistribution):
        choices = distribution.choices
        keeps = generator.random() < KEPT
        if keeps and (same := _equal_choice(centre, choices)) is not None:
            return choices[same]
        return choices[int(generator.integers(len(choices)))]
    assert isinstance(distribution, IntDistribution | FloatDistribution)
    place = unit_place(centre, distribution)
    uniform = float(generator.random())
    if place is None:
        return from_unit(uniform, distribution)
    # A normal distribution cut off at both ends of the range, by its inverse.
    low, high = (_STANDARD.cdf((end - place) / width) for end in (0.0, 1.0))
    quantile = min(max(low + uniform * (high - low), 1e-12), 1 - 1e-12)
    return from_unit(place + width * _STANDARD.inv_cdf(quantile), distribution)


def _equal_choice(value: Scalar | None, choices: Sequence[Any]) -> int | None:
    for index, choice in enumerate(choices):
        if choice == value and isinstance(choice, bool) == isinstance(value, bool):
            return index
    return None


def unit_place(
    value: Scalar | None, distribution: IntDistribution | FloatDistribution
) -> float | None:
    """Where a number lies in the range, from 0 to 1, on the scale on which it is searched; at an
    end if it lies outside. None for what is no number."""
    if value is None or isinstance(value, bool | str):
        return None
    low, high = float(distribution.low), float(distribution.high)
    clipped = min(max(float(value), low), high)
    if high == low:
        return 0.5
    if distribution.log:
        return math.log(clipped / low) / math.log(high / low)
    return (clipped - low) / (high - low)


def from_unit(place: float, distribution: IntDistribution | FloatDistribution) -> int | float:
    """The number at that place of the range; the inverse of `unit_place`, rounded to a step."""
    low, high = float(distribution.low), float(distribution.high)
    place = min(max(place, 0.0), 1.0)
    value = low * (high / low) ** place if distribution.log else low + place * (high - low)
    if distribution.step is not None and not distribution.log:
        value = low + round((value - low) / distribution.step) * distribution.step
    value = min(max(value, low), high)
    return int(round(value)) if isinstance(distribution, IntDistribution) else value
