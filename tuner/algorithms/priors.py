"""A prior over a search space, around any sampler: some of its trials are drawn near configurations
that are expected to be good, the fewer the longer the study lasts.

Sources: the decay of a prior's weight with the number of trials, pi-BO (Hvarfner et al., 2022);
drawing from prior and model side by side, with less from a prior that misleads, PriorBand (Mallik
et al., 2023).
"""

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np
import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalChoiceType,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState

from tuner.search_space import Space
from tuner.values import Scalar

# Measured on TaskSet's tables (docs/decisions/search-priors.md).
SHARE = 0.5  # of the first trials that are drawn from the prior
HALF_LIFE = 5  # trials after which that share has halved
WIDTH = 0.15  # standard deviation around a centre, as a share of a parameter's range
KEPT = 0.8  # probability that a categorical parameter has its centre's value
CLOSE = 0.05  # mean distance of the parameters of two configurations that are alike
_STANDARD = NormalDist()


class PriorSampler(BaseSampler):
    """Draws trial n from the prior with probability SHARE * HALF_LIFE / (HALF_LIFE + n), and leaves
    all other trials to `sampler`.

    `centres`: flat parameters of configurations that are expected to be good; one is chosen for a
    trial, and each parameter is drawn near its value there. What a centre lacks, and values that
    do not fit the parameter, are drawn from the whole range. `first`: configurations that the first
    trials have as they are, where they cannot be queued because the ranges are not known. What is
    drawn depends on `seed`, the trial's number and how often it was asked for, so that a restarted
    loop, or one beside it, repeats nothing.
    """

    def __init__(
        self,
        sampler: BaseSampler,
        centres: Sequence[Mapping[str, Scalar]],
        seed: int | None,
        first: Sequence[Mapping[str, Scalar]] = (),
        *,
        share: float = SHARE,
        half_life: float = HALF_LIFE,
        width: float = WIDTH,
    ) -> None:
        self._sampler = sampler
        self._centres, self._first = list(centres), list(first)
        self._seed = int(np.random.default_rng().integers(2**32)) if seed is None else seed
        self._share, self._half_life, self._width = share, half_life, width
        self._drawing = _Drawing(number=-1)
        self._asked, self._again = -1, 0

    def reseed_rng(self) -> None:
        self._sampler.reseed_rng()

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        # A trial is asked for again where its proposal was tried already.
        self._again = self._again + 1 if self._asked == trial.number else 0
        self._asked = trial.number
        return self._sampler.infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        # Asked also for a trial of the prior: CMA-ES and NSGA-II note with each of their trials
        # which generation it belongs to.
        proposed = self._sampler.sample_relative(study, trial, search_space)
        return proposed if self._draw(trial).centre is None else {}

    def sample_independent(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        drawing = self._draw(trial)
        if drawing.centre is None:
            return self._sampler.sample_independent(study, trial, param_name, param_distribution)
        # By the parameter's name: trials that ask one by one, as they run, ask in any order.
        again = f"{param_name}/{self._again}" if self._again else param_name
        generator = self._generator(trial.number, again)
        value = drawing.centre.get(param_name)
        return draw_near(value, param_distribution, drawing.width, generator)

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

    def _draw(self, trial: FrozenTrial) -> "_Drawing":
        """What the trial is drawn from: the same whenever it is asked."""
        number = trial.number
        if self._drawing.number != number:
            self._drawing = self._decide(number)
        return self._drawing

    def _decide(self, number: int) -> "_Drawing":
        if number < len(self._first):
            return _Drawing(number, self._first[number], 0.0)
        generator = self._generator(number)
        share = self._share * self._half_life / (self._half_life + number)
        if not self._centres or generator.random() >= share:
            return _Drawing(number)
        chosen = self._centres[int(generator.integers(len(self._centres)))]
        return _Drawing(number, chosen, self._width)

    def _generator(self, number: int, parameter: str = "") -> np.random.Generator:
        digest = hashlib.sha256(f"prior/{self._seed}/{number}/{parameter}".encode()).digest()
        return np.random.default_rng(int.from_bytes(digest[:8], "big"))


class _Drawing(NamedTuple):
    """How one trial is drawn. `centre`: None leaves it to the sampler. `width`: 0 takes the
    centre's own values."""

    number: int
    centre: Mapping[str, Scalar] | None = None
    width: float = WIDTH


def draw_near(
    centre: Scalar | None,
    distribution: BaseDistribution,
    width: float,
    generator: np.random.Generator,
) -> Scalar:
    """A value of the distribution near `centre`; from its whole range where that is None, or no
    value of it. `width`: the standard deviation, as a share of the range; 0 takes `centre`."""
    if isinstance(distribution, CategoricalDistribution):
        choices = distribution.choices
        keeps = width == 0.0 or generator.random() < KEPT
        if keeps and (same := _equal_choice(centre, choices)) is not None:
            return _scalar(choices[same])
        return _scalar(choices[int(generator.integers(len(choices)))])
    assert isinstance(distribution, IntDistribution | FloatDistribution)
    place = unit_place(centre, distribution)
    uniform = float(generator.random())
    if place is None or width == 0.0:
        return from_unit(uniform if place is None else place, distribution)
    # A normal distribution cut off at both ends of the range, by its inverse.
    low, high = (_STANDARD.cdf((end - place) / width) for end in (0.0, 1.0))
    quantile = min(max(low + uniform * (high - low), 1e-12), 1 - 1e-12)
    return from_unit(place + width * _STANDARD.inv_cdf(quantile), distribution)


def _scalar(choice: CategoricalChoiceType) -> Scalar:
    assert choice is not None  # no choice of a search space
    return choice


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
    return round(value) if isinstance(distribution, IntDistribution) else value


def default_centres(space: Space) -> list[dict[str, Scalar]]:
    """Where a prior from experience expects good configurations, as flat parameters: the defaults
    of what the space searches, in its own ranges, and its baselines. Empty where it has neither."""
    searched = set(space.varying())
    defaults = {name: value for name, value in space.defaults.items() if name in searched}
    found = [space.transfer(defaults).flat, *(space.flatten(each) for each in space.baselines)]
    return [flat for number, flat in enumerate(found) if flat and flat not in found[:number]]


def spread_out(
    configurations: Iterable[Mapping[str, Scalar]],
    distributions: Mapping[str, BaseDistribution],
    count: int,
) -> list[dict[str, Scalar]]:
    """At most `count` different ones of these, in their order; one that is close to an earlier one
    waits until nothing else is left."""
    chosen: list[dict[str, Scalar]] = []
    close: list[dict[str, Scalar]] = []
    for each in map(dict, configurations):
        if each in chosen or each in close:
            continue
        is_close = any(_distance(each, other, distributions) < CLOSE for other in chosen)
        (close if is_close else chosen).append(each)
    return (chosen + close)[:count]


def _distance(
    one: Mapping[str, Scalar],
    other: Mapping[str, Scalar],
    distributions: Mapping[str, BaseDistribution],
) -> float:
    """The mean distance of their values, from 0 to 1; a value that only one of them has lies as far
    away as can be."""
    names = one.keys() | other.keys()
    distances = [_value_distance(one.get(n), other.get(n), distributions.get(n)) for n in names]
    return sum(distances) / max(len(distances), 1)


def _value_distance(
    one: Scalar | None, other: Scalar | None, distribution: BaseDistribution | None
) -> float:
    if isinstance(distribution, IntDistribution | FloatDistribution):
        places = unit_place(one, distribution), unit_place(other, distribution)
        if places[0] is not None and places[1] is not None:
            return abs(places[0] - places[1])
    return float(one != other)
