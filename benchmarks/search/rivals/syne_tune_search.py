"""Syne Tune's schedulers: suggest, then each report, then the end of a trial, in the order in
which Syne Tune's own `Tuner` calls them, with the schedulers' defaults.

| form | scheduler |
|---|---|
| `asha` | random proposals, asynchronous successive halving (Li et al., 2020) |
| `bohb` | its density model behind the same halving (Falkner et al., 2018) |
| `cqr` | conformal quantile regression on whole trials (Salinas et al., 2023) |
| `asha-cqr` | the same model on the last report of each trial, behind the halving |

A trial that diverges is told as a failed one, as a training script that ends with an error.
"""

import logging
import math
from datetime import datetime
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
from scipy.special import ndtr, ndtri
from syne_tune import config_space as domains
from syne_tune.backend.trial_status import Trial
from syne_tune.optimizer.baselines import ASHA, ASHACQR, BOHB, CQR
from syne_tune.optimizer.scheduler import SchedulerDecision
from syne_tune.optimizer.schedulers.searchers.kde import kde_searcher

from benchmarks.search.contract import Answer, Method, NewTrial, PausedTrial, Setting
from benchmarks.search.rivals.library_spaces import GlobalRandom, choice_texts, decoded, searched
from benchmarks.search.spaces import TableParameter

VALUE = "value"
EPOCH = "epoch"
_HALVING = {"asha": ASHA, "bohb": BOHB, "asha-cqr": ASHACQR}
# Not any time of day: equal runs are to be equal.
_CREATED = datetime(2000, 1, 1)

logging.getLogger("syne_tune").setLevel(logging.CRITICAL)


def draw_truncated_normal(
    low: float, high: float, loc: float, scale: float, random_state: np.random.RandomState
) -> float:
    """As `scipy.stats.truncnorm.rvs`, which finds the same number in 200 µs instead of 5. `bohb`
    draws 64 numbers a parameter for a proposal, most of its time. `low` ≤ 0 ≤ `high`, in scales
    from `loc`."""
    share = ndtr(low) + random_state.uniform() * (ndtr(high) - ndtr(low))
    return float(loc + scale * ndtri(share))


kde_searcher.sps = SimpleNamespace(truncnorm=SimpleNamespace(rvs=draw_truncated_normal))


def build(form: str, setting: Setting) -> Method:
    """Raises ValueError for an unknown form."""
    domain_of = {parameter.name: _domain(parameter) for parameter in searched(setting.space)}
    common = {"metric": VALUE, "do_minimize": True, "random_seed": setting.seed}
    if form == "cqr":
        return SyneTuneSearch(partial(CQR, domain_of, **common), setting)
    if form in _HALVING:
        epochs = {"time_attr": EPOCH, "max_t": setting.max_epochs}
        return SyneTuneSearch(partial(_HALVING[form], domain_of, **common, **epochs), setting)
    raise ValueError(f"syne-tune has no method {form!r}; there are: cqr, {', '.join(_HALVING)}")


class SyneTuneSearch:
    """One scheduler. `make` builds it, within the method's own random numbers."""

    def __init__(self, make: Any, setting: Setting) -> None:
        self._space = setting.space
        self._random = GlobalRandom(setting.seed)
        with self._random:
            self._scheduler = make()
        self._running: dict[int, Trial] = {}
        self._paused: dict[int, Trial] = {}
        self._next = 0

    def ask(self) -> NewTrial | PausedTrial | None:
        with self._random:
            suggestion = self._scheduler.suggest()
            if suggestion is None:
                return None
            if not suggestion.spawn_new_trial_id:
                number = int(suggestion.checkpoint_trial_id)
                self._add(self._paused.pop(number))
                return PausedTrial(number)
            number = self._next
            self._next += 1
            self._add(Trial(number, suggestion.config, _CREATED))
        return NewTrial(number, decoded(self._space, suggestion.config))

    def report(self, trial: int, epoch: int, value: float) -> Answer:
        with self._random:
            decision = self._scheduler.on_trial_result(
                self._running[trial], {VALUE: value, EPOCH: epoch}
            )
            if decision == SchedulerDecision.CONTINUE:
                return Answer.GO_ON
            removed = self._running.pop(trial)
            self._scheduler.on_trial_remove(removed)
        if decision == SchedulerDecision.PAUSE:
            self._paused[trial] = removed
            return Answer.PAUSE
        return Answer.STOP

    def finished(self, trial: int, value: float) -> None:
        ended = self._running.pop(trial, None)
        if ended is None:  # the halving has stopped it at its last epoch
            return
        with self._random:
            if math.isnan(value):
                self._scheduler.on_trial_error(ended)
            else:
                self._scheduler.on_trial_complete(ended, {VALUE: value})

    def _add(self, trial: Trial) -> None:
        self._running[trial.trial_id] = trial
        self._scheduler.on_trial_add(trial)


def _domain(parameter: TableParameter) -> Any:
    if parameter.kind == "categorical":
        return domains.choice(choice_texts(parameter))
    if parameter.kind == "int":
        number = domains.lograndint if parameter.log else domains.randint
        return number(int(parameter.low), int(parameter.high))
    number = domains.loguniform if parameter.log else domains.uniform
    return number(parameter.low, parameter.high)
