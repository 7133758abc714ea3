"""A sampler that learns from every report: of trials that run, are paused, were pruned or ended."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
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
LATEST_SEEN = 250
_TREES = 10
_FINISHED = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)
# Of a trial that has ended: a paused one is shown as pruned too, and changes when it goes on.
_Version = tuple[TrialState, int, datetime | None]


@dataclass(frozen=True)
class _Seen:
    """What is known of a trial, to be minimised. `steps`: of its reports, rising. `bests`: the best
    value up to each of them, inf if the trial violates a constraint. Both empty if there is none.
    """

    point: Floats
    steps: NDArray[np.int64]
    bests: Floats


class CurveSampler(BaseSampler):
    """Extremely randomised trees (Geurts et al., 2006) over the trials' order.

    Every two trials are compared by their best values up to the last step that both have reported,
    whatever their states. A trial's place is the number of trials that are better in that. The
    trees learn its logarithm, so that the best ones are told apart best, and no scale of the
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
        self._finished: dict[int, tuple[_Version, _Seen]] = {}
        self._distributions: dict[str, BaseDistribution] = {}
        self._known: set[int] = set()
        # What was seen for the trial that is asked for, and how often that was asked for before.
        self._asked, self._again = -1, 0
        self._seen_now: list[_Seen] = []

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
        self._again = self._again + 1 if self._asked == trial.number else 0
        self._asked = trial.number
        seen = self._seen_now = self._seen(study.direction, others) if len(self._space) else []
        informative = sum(len(known.steps) > 0 for known in seen)
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
        seen = self._seen_now
        random = self._random(trial.number, "candidates")
        candidates = self._space.rounded(random.random((self._n_candidates, len(self._space))))
        features = self._space.features(candidates)
        apart = self._are_apart(features, np.stack([known.point for known in seen]))
        if apart.any():
            candidates, features = candidates[apart], features[apart]
        forecasts = self._forecast(seen, features, seed=int(random.integers(2**31 - _TREES)))
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
            of_version, known = self._finished.get(trial._number, (None, None))
            version = trial.state, len(trial.intermediate_values), trial.datetime_complete
            if known is None or of_version != version:
                point = self._space.point(trial.params, self._random(trial._number, "absent"))
                features = self._space.features(point[None])[0]
                known = _Seen(features, *_reports(trial, direction))
                if trial.state in _FINISHED:
                    self._finished[trial._number] = version, known
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
        from sklearn.tree import ExtraTreeRegressor

        known = [trial for trial in seen if len(trial.steps)]
        points = np.stack([trial.point for trial in known]).astype(np.float32)
        places = np.log1p(_better_ones(known))
        asked = features.astype(np.float32)
        forecast = np.zeros(len(asked))
        # Not scikit-learn's forest: handing the trees to its threads took half of the time.
        for number in range(_TREES):
            tree = ExtraTreeRegressor(random_state=seed + number)
            forecast += tree.fit(points, places, check_input=False).predict(asked, False)
        return forecast

    def _random(self, number: int, purpose: str) -> np.random.Generator:
        """Own draws for each trial and purpose. They depend on what was asked before only where the
        same trial is asked for again, since its proposal was tried already."""
        again = f"/{self._again}" if self._again and number == self._asked else ""
        return np.random.default_rng([self._entropy, number, *f"{purpose}{again}".encode()])


def _violates(trial: FrozenTrial) -> bool:
    return any(violated > 0 for violated in trial.constraints.values())


def _reports(trial: FrozenTrial, direction: StudyDirection) -> tuple[NDArray[np.int64], Floats]:
    """The steps and bests of `_Seen`."""
    if trial.state == TrialState.FAIL:  # the user's code raised: this says nothing of the point
        return np.array([], dtype=np.int64), np.array([])
    if _violates(trial):
        return np.zeros(1, dtype=np.int64), np.array([math.inf])
    values = dict(trial.intermediate_values)
    if trial.values is not None and not values:
        values[0] = trial.values[0]  # a trial that does not report
    sign = -1.0 if direction == StudyDirection.MAXIMIZE else 1.0
    steps = sorted(step for step, value in values.items() if not math.isnan(value))
    signed = np.array([sign * values[step] for step in steps], dtype=np.float64)
    return np.array(steps, dtype=np.int64), np.minimum.accumulate(signed)


def _in_view(seen: list[_Seen]) -> list[_Seen]:
    if len(seen) <= BEST_SEEN + LATEST_SEEN:
        return seen
    earlier = [trial for trial in seen[:-LATEST_SEEN] if len(trial.steps)]
    best = sorted(earlier, key=lambda trial: float(trial.bests[-1]))[:BEST_SEEN]
    return best + seen[-LATEST_SEEN:]


def _better_ones(seen: Sequence[_Seen]) -> Floats:
    """For each trial the number of better ones; an equal one counts half. A trial with an infinite
    best is worse than all others at any step."""
    steps = np.unique(np.concatenate([trial.steps for trial in seen]))
    bests = np.stack([_at_steps(trial, steps) for trial in seen])
    last = np.searchsorted(steps, [trial.steps[-1] for trial in seen])
    last[np.isinf(bests[:, 0])] = len(steps) - 1
    common = np.minimum(last[:, None], last)
    own = np.take_along_axis(bests, common, axis=1)  # of each trial, beside each other
    better, equal = (own > own.T).sum(axis=1), (own == own.T).sum(axis=1)
    return np.asarray(better + (equal - 1) / 2)


def _at_steps(trial: _Seen, steps: NDArray[np.int64]) -> Floats:
    """The best up to each step; before the first report, that one."""
    index = np.searchsorted(trial.steps, steps, side="right") - 1
    return trial.bests[np.maximum(index, 0)]
