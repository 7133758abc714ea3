"""A sampler that learns from every report: of trials that run, are paused, were pruned or ended."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from tuner.algorithms.unit_space import Floats, UnitSpace

# Of a large study the model sees the best trials, which it is to tell apart, and the latest.
BEST_SEEN = 150
LATEST_SEEN = 350
_TREES = 10
_FINISHED = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)


@dataclass(frozen=True)
class _Seen:
    """What is known of a trial. `score`: its best report, to be minimised; inf if it violates a
    constraint, None if there is none yet."""

    point: Floats
    score: float | None


class CurveSampler(BaseSampler):
    """Extremely randomised trees (Geurts et al., 2006) over the trials' order.

    A trial counts with the best value that it has reported so far, whatever its state. The trees
    learn the logarithm of its rank, so that the best ones are told apart best and no scale of the
    objective matters. Of `n_candidates` points, drawn evenly, the one with the best forecast is
    proposed, unless a trial is too near: trials side by side do not repeat one another.

    All is read from the study's trials, and drawn from the seed and the trial's number: a restarted
    loop knows the same. `n_startup_trials`: those with reports that are needed before it learns.
    `random_share`: of later trials so many are drawn at random, in [0, 1]. `spacing`: the least
    distance to other trials, in shares of their typical distance; 0 for none."""

    def __init__(
        self,
        seed: int | None = None,
        n_startup_trials: int = 10,
        n_candidates: int = 600,
        random_share: float = 0.1,
        spacing: float = 0.5,
    ) -> None:
        self._entropy = np.random.SeedSequence(seed).entropy
        self._random_sampler = RandomSampler(seed=seed)
        self._n_startup_trials, self._n_candidates = n_startup_trials, n_candidates
        self._random_share, self._spacing = random_share, spacing
        self._space = UnitSpace({})
        self._finished: dict[int, _Seen] = {}
        self._distributions: dict[str, BaseDistribution] = {}
        self._known: set[int] = set()

    def reseed_rng(self) -> None:
        self._entropy = np.random.SeedSequence().entropy
        self._random_sampler.reseed_rng()

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """All parameters that trials have had. One that does not apply to this trial is not asked
        for. Raises ValueError for a study with several objectives."""
        self._raise_error_if_multi_objective(study)
        others = self._others(study, trial)
        self._learn_space(others)
        seen = self._seen(study.direction, others) if len(self._space) else []
        informative = sum(known.score is not None for known in seen)
        if informative < max(1, self._n_startup_trials):
            return {}
        if self._random(trial.number, "share").random() < self._random_share:
            return {}
        return self._space.distributions

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        if not search_space:
            return {}
        seen = self._seen(study.direction, self._others(study, trial))
        random = self._random(trial.number, "candidates")
        candidates = self._space.rounded(random.random((self._n_candidates, len(self._space))))
        features = self._space.features(candidates)
        apart = self._are_apart(features, np.stack([known.point for known in seen]))
        if apart.any():
            candidates, features = candidates[apart], features[apart]
        forecasts = self._forecast(seen, features, seed=int(random.integers(2**31)))
        return self._space.params(candidates[forecasts.argmin()])

    def sample_independent(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        return self._random_sampler.sample_independent(study, trial, param_name, param_distribution)

    def _others(self, study: optuna.Study, trial: FrozenTrial) -> list[FrozenTrial]:
        trials = study._get_trials(deepcopy=False, use_cache=True)
        return [other for other in trials if other._number != trial._number and other.params]

    def _learn_space(self, trials: Sequence[FrozenTrial]) -> None:
        """Parameters can be new with any trial: conditional ones, or those of a function that asks
        for them while it runs."""
        before = dict(self._distributions)
        for trial in trials:
            if trial._number not in self._known:
                self._distributions.update(trial.distributions)  # of two ranges the newer
            if trial.state in _FINISHED:
                self._known.add(trial._number)
        if before != self._distributions:
            varied = {name: d for name, d in self._distributions.items() if not d.single()}
            self._space = UnitSpace(varied)
            self._finished.clear()

    def _seen(self, direction: StudyDirection, trials: Sequence[FrozenTrial]) -> list[_Seen]:
        seen = []
        for trial in trials:
            known = self._finished.get(trial._number)
            if known is None:
                point = self._space.point(trial.params, self._random(trial._number, "absent"))
                features = self._space.features(point[None])[0]
                known = _Seen(features, _score(trial, direction))
                if trial.state in _FINISHED:
                    self._finished[trial._number] = known
            seen.append(known)
        return _in_view(seen)

    def _are_apart(self, features: Floats, tried: Floats) -> NDArray[np.bool_]:
        """Which candidates are farther from every trial than `spacing` allows. In a unit cube of
        d dimensions n random points are about sqrt(d / 6) n^(-1/d) apart."""
        dimensions = len(self._space)
        typical = math.sqrt(dimensions / 6) * len(tried) ** (-1 / dimensions)
        squares = (features**2).sum(axis=1)[:, None] + (tried**2).sum(axis=1)
        nearest = (squares - 2 * features @ tried.T).min(axis=1)
        # Rounding leaves equal points a little apart.
        return np.asarray(nearest > max((self._spacing * typical) ** 2, 1e-9))

    def _forecast(self, seen: Sequence[_Seen], features: Floats, seed: int) -> Floats:
        # Imported here: it takes a second, and a study may never come so far.
        from sklearn.ensemble import ExtraTreesRegressor

        known = [(trial.point, trial.score) for trial in seen if trial.score is not None]
        points = np.stack([point for point, _ in known])
        ranks = _ranks(np.array([score for _, score in known]))
        forest = ExtraTreesRegressor(_TREES, max_features=1.0, random_state=seed)
        forest.fit(points, np.log(ranks))
        return np.asarray(forest.predict(features))

    def _random(self, number: int, purpose: str) -> np.random.Generator:
        """Own draws for each trial and purpose: they do not depend on what was asked before."""
        return np.random.default_rng([self._entropy, number, *purpose.encode()])


def _violates(trial: FrozenTrial) -> bool:
    return any(violated > 0 for violated in trial.constraints.values())


def _score(trial: FrozenTrial, direction: StudyDirection) -> float | None:
    if _violates(trial):
        return math.inf
    if trial.state == TrialState.FAIL:
        return None  # the user's code raised: this says nothing of the point
    sign = -1.0 if direction == StudyDirection.MAXIMIZE else 1.0
    values = [*trial.intermediate_values.values(), *(trial.values or ())]
    return min((sign * value for value in values if not math.isnan(value)), default=None)


def _in_view(seen: list[_Seen]) -> list[_Seen]:
    if len(seen) <= BEST_SEEN + LATEST_SEEN:
        return seen
    earlier = [trial for trial in seen[:-LATEST_SEEN] if trial.score is not None]
    best = sorted(earlier, key=lambda trial: trial.score or 0.0)[:BEST_SEEN]
    return best + seen[-LATEST_SEEN:]


def _ranks(scores: Floats) -> Floats:
    """From 1 for the least; equal scores share the mean of their ranks."""
    _, index, counts = np.unique(scores, return_inverse=True, return_counts=True)
    return np.asarray((counts.cumsum() - (counts - 1) / 2)[index])
