"""Optuna as its users drive it: `optuna:SAMPLER` or `optuna:SAMPLER+PRUNER`, all by default.

Samplers: tpe, random. Pruners: hyperband, asha, median. Trials report raw values and are told their
best; one that diverges fails.
"""

import math
from collections.abc import Callable

import optuna
from optuna.pruners import (
    BasePruner,
    HyperbandPruner,
    MedianPruner,
    NopPruner,
    SuccessiveHalvingPruner,
)
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.trial import TrialState

from benchmarks.search.contract import Answer, NewTrial, Setting
from benchmarks.search.spaces import Params, TableParameter, TableSpace, applies

SAMPLERS: dict[str, Callable[[int], BaseSampler]] = {
    "tpe": lambda seed: TPESampler(seed=seed),
    "random": lambda seed: RandomSampler(seed=seed),
}
PRUNERS: dict[str, Callable[[int], BasePruner]] = {
    "none": lambda longest: NopPruner(),
    "hyperband": lambda longest: HyperbandPruner(max_resource=longest),
    "asha": lambda longest: SuccessiveHalvingPruner(),
    "median": lambda longest: MedianPruner(),
}


class OptunaSearch:
    """A study in memory, driven by ask and tell. A subclass says what is told in another way."""

    def __init__(self, setting: Setting, sampler: BaseSampler, pruner: BasePruner) -> None:
        self._setting = setting
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        # Hyperband chooses a trial's bracket by the study's name and the trial's number.
        self.study = optuna.create_study(
            study_name=f"bench {setting.seed}", sampler=sampler, pruner=pruner
        )
        self.running: dict[int, optuna.Trial] = {}

    def ask(self) -> NewTrial:
        trial = self.study.ask()
        params = self.suggest(trial)
        self.running[trial.number] = trial
        return NewTrial(trial.number, params)

    def report(self, trial: int, epoch: int, value: float) -> Answer:
        running = self.running[trial]
        running.report(self.told_value(trial, value), epoch)
        # Not asked after the last epoch: that trial is complete.
        if epoch == self._setting.max_epochs or not running.should_prune():
            return Answer.GO_ON
        return self.pruned(trial)

    def pruned(self, trial: int) -> Answer:
        """What becomes of a trial that the pruner says to prune."""
        self.end(trial, TrialState.PRUNED)
        return Answer.STOP

    def finished(self, trial: int, value: float) -> None:
        if math.isfinite(value):
            self.end(trial, TrialState.COMPLETE, value)
        else:
            self.tell_diverged(trial)

    def suggest(self, trial: optuna.Trial) -> Params:
        return suggest_params(self._setting.space, trial)

    def told_value(self, trial: int, value: float) -> float:
        """What Optuna is told at a report."""
        return value

    def tell_diverged(self, trial: int) -> None:
        self.end(trial, TrialState.FAIL)

    def end(self, trial: int, state: TrialState, value: float | None = None) -> None:
        self.study.tell(self.running.pop(trial), value, state=state)


def suggest_params(space: TableSpace, trial: optuna.Trial) -> Params:
    params: Params = {}
    for parameter in space.parameters:
        if applies(parameter, params):
            params[parameter.name] = _suggest(parameter, trial)
    return params


def _suggest(parameter: TableParameter, trial: optuna.Trial) -> bool | int | float | str:
    name, low, high, log = parameter.name, parameter.low, parameter.high, parameter.log
    if parameter.kind == "categorical":
        return trial.suggest_categorical(name, parameter.choices)  # type: ignore[return-value]
    if parameter.kind == "int":
        return trial.suggest_int(name, int(low), int(high), log=log)
    return trial.suggest_float(name, low, high, log=log)


def build(form: str, setting: Setting) -> OptunaSearch:
    sampler, _, pruner = form.partition("+")
    pruner = pruner or "none"
    if sampler not in SAMPLERS or pruner not in PRUNERS:
        raise ValueError(
            f"optuna:{form}: samplers are {', '.join(SAMPLERS)}, pruners {', '.join(PRUNERS)}"
        )
    built_pruner = PRUNERS[pruner](setting.max_epochs)
    return OptunaSearch(setting, SAMPLERS[sampler](setting.seed), built_pruner)
