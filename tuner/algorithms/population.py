"""Population-based training: which member trains next, from whose weights, with which numbers.

Jaderberg et al. (2017), "Population Based Training of Neural Networks". Members train in
generations of some epochs. Behind each of them a member that is among the worst of its generation
copies one of the best, weights and all, and changes its numbers a little; the others go on as they
are. A member does not wait for all others: it is compared with those that have ended the same
generation. Nothing here knows Optuna, SQL or a clock.
"""

import math
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from tuner.search_space import Space
from tuner.search_space.parameter_types import Parameter, Role
from tuner.search_space.ranges import Choices, FloatRange, IntRange, Range
from tuner.study.lineage import Place
from tuner.values import Scalar


@dataclass(frozen=True)
class PopulationOptions:
    """The options of the sampler. `population`: how many members there are. `interval`: epochs of a
    generation. `quantile`: this share of a generation, the worst, copies from as many of the best.
    `shrink`, `grow`: what a number is multiplied by, one or the other at random.
    `resample_probability`: of drawing it anew instead."""

    population: int = 10
    interval: int = 3
    quantile: float = 0.2
    shrink: float = 0.8
    grow: float = 1.25
    resample_probability: float = 0.25

    @classmethod
    def of(cls, options: Mapping[str, Scalar]) -> Self:
        """From a study's sampler options, which were checked."""
        return cls(**options)  # type: ignore[arg-type]


@dataclass(frozen=True)
class MemberTrial:
    """A trial of a study, as far as its population is concerned. `score`: of one whose weights
    others can go on from; None where it has failed, or runs."""

    number: int
    place: Place
    has_ended: bool
    score: float | None = None

    @property
    def member(self) -> int:
        return self.place.member_of(self.number)

    @property
    def generation(self) -> int:
        return self.place.generation


class Population:
    """Decides from all trials of a study, but those that failed by their own code. `generations`:
    of a member, at least 2. `seed`: of the study; equal trials give equal decisions."""

    def __init__(
        self,
        trials: Iterable[MemberTrial],
        options: PopulationOptions,
        generations: int,
        *,
        maximize: bool,
        seed: int,
    ) -> None:
        self._options, self._last, self._seed = options, generations - 1, seed
        self._sign = -1.0 if maximize else 1.0
        everyone = list(trials)
        self._number = max((trial.place.population for trial in everyone), default=0)
        self._trials = [t for t in everyone if t.place.population == self._number]
        self._waiting_parents = {t.place.parent for t in everyone if not t.has_ended}
        self._latest: dict[int, MemberTrial] = {}
        for trial in self._trials:
            known = self._latest.get(trial.member)
            if known is None or trial.generation > known.generation:
                self._latest[trial.member] = trial

    def next_place(self) -> Place | None:
        """Where the next new trial stands; None where it has to wait for one that runs. The member
        that has come least far goes first, so that few are compared with too few."""
        alive = [trial for trial in self._latest.values() if not self._is_dead(trial)]
        if len(alive) < self._options.population:
            return Place(self._number)
        unfinished = [trial for trial in alive if trial.generation < self._last]
        for trial in sorted(unfinished, key=lambda t: (t.generation, t.member)):
            if (parent := self._parent_after(trial)) is not None:
                return Place(self._number, trial.member, trial.generation + 1, parent.number)
        return None if unfinished else Place(self._number + 1)

    def needed(self) -> set[int]:
        """The numbers of the trials whose last weights another generation may yet go on from."""
        alive = [trial for trial in self._latest.values() if not self._is_dead(trial)]
        is_full = len(alive) >= self._options.population
        behind = min((trial.generation for trial in alive), default=0) if is_full else 0
        needed = {
            trial.number
            for trial in self._trials
            if trial.score is not None and behind <= trial.generation < self._last
        }
        return needed | {parent for parent in self._waiting_parents if parent is not None}

    def _parent_after(self, trial: MemberTrial) -> MemberTrial | None:
        """Which trial the member goes on from: its own, or the better one that it copies. None
        where it cannot go on yet."""
        if not trial.has_ended:
            return None
        ranked = self._ranked(trial.generation)
        many = self._copied(len(ranked))
        best, worst = ranked[:many], ranked[len(ranked) - many :]
        others = [other for other in best if other.number != trial.number]
        if trial.score is not None and (trial not in worst or trial in best or not others):
            return trial
        chance = random.Random(f"{self._seed}/copy/{trial.number}")
        return chance.choice(others or ranked) if others or ranked else None

    def _copied(self, count: int) -> int:
        """How many of so many are copied, and how many copy."""
        if self._options.quantile == 0:
            return 0
        return min(max(round(count * self._options.quantile), 1), count // 2)

    def _ranked(self, generation: int) -> list[MemberTrial]:
        """Those that have ended the generation with a score, the best first."""
        scored = [(t, t.score) for t in self._trials if t.generation == generation]
        ranked = [(self._sign * score, t.number, t) for t, score in scored if score is not None]
        return [trial for _, _, trial in sorted(ranked, key=lambda each: each[:2])]

    def _is_dead(self, trial: MemberTrial) -> bool:
        """Whether the member has failed, and nobody will end its generation whom it could copy: a
        new member takes its place."""
        if not trial.has_ended or trial.score is not None or self._ranked(trial.generation):
            return False
        return not any(
            other.generation < trial.generation
            or (other.generation == trial.generation and not other.has_ended)
            for other in self._latest.values()
            if other is not trial and (other.score is not None or not other.has_ended)
        )


def perturbed(
    space: Space, flat: Mapping[str, Scalar], place: Place, options: PopulationOptions, seed: int
) -> dict[str, Scalar]:
    """The flat parameters of a trial that copies those of its parent: each number that a trial can
    change as it trains is drawn anew, or multiplied by one of the factors, within its range. A
    number that is off stays off, and one that is on stays on: weights and optimizer state fit."""
    chance = random.Random(f"{seed}/perturb/{place.population}/{place.member}/{place.generation}")
    changed = dict(flat)
    for name, (parameter, range_) in space.numbers_of_training().items():
        if name not in flat:
            continue
        value = _number(flat[name])
        if chance.random() < options.resample_probability:
            new = _drawn(range_, chance)
        else:
            new = _scaled(range_, value, chance.choice((options.shrink, options.grow)))
        if _is_same_kind(parameter, value, new):
            changed[name] = new
    return changed


def _number(value: Scalar) -> float:
    assert isinstance(value, int | float)  # `numbers_of_training` has no others
    return value


def _is_same_kind(parameter: Parameter, old: float, new: Scalar) -> bool:
    return parameter.role is Role.SCHEDULE or parameter.is_used(old) == parameter.is_used(new)


def _drawn(range_: Range, chance: random.Random) -> Scalar:
    if isinstance(range_, Choices):
        return chance.choice(range_.choices)
    low, high = float(range_.low), float(range_.top)
    if range_.log:
        return _nearest(range_, math.exp(chance.uniform(math.log(low), math.log(high))))
    return _nearest(range_, chance.uniform(low, high))


def _scaled(range_: Range, value: float, factor: float) -> Scalar:
    """The value times the factor. Where that is no other value of the range, the next one."""
    if isinstance(range_, Choices):
        return _neighbour(sorted(map(_number, range_.choices)), value, factor)
    new = _nearest(range_, value * factor)
    if new != value or factor == 1 or (isinstance(range_, FloatRange) and range_.step is None):
        return new
    step = float(range_.step or 0)
    return _nearest(range_, value + (step if factor > 1 else -step))


def _neighbour(choices: Sequence[float], value: float, factor: float) -> float:
    place = choices.index(value) + (factor > 1) - (factor < 1)
    return choices[min(max(place, 0), len(choices) - 1)]


def _nearest(range_: IntRange | FloatRange, number: float) -> Scalar:
    inside = min(max(number, float(range_.low)), float(range_.top))
    if isinstance(range_, FloatRange):
        return range_.canonical(inside)
    return range_.low + round((inside - range_.low) / range_.step) * range_.step
