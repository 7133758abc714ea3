"""KerasTuner's Hyperband (Li et al., 2018), driven through its oracle.

The oracle makes a new trial of its own for each rung. Here a configuration is one trial, which is
paused at each rung and goes on when the oracle promotes it, as KerasTuner's trainer goes on from
the checkpoint. The oracle is told every epoch and takes the best of those of the rung.

KerasTuner's trainer notices no divergence: the trial has completed with its best finite epoch, and
a promotion of it yields only NaN. Therefore a promoted trial that has diverged is told as NaN at
once, and costs nothing.
"""

import itertools
import math
import os
import warnings
from contextlib import nullcontext
from typing import Any

# Keras without TensorFlow: the oracle computes nothing with it.
os.environ.setdefault("KERAS_BACKEND", "torch")

import keras_tuner

from benchmarks.search.contract import Answer, Method, NewTrial, PausedTrial, Setting
from benchmarks.search.rivals.library_spaces import choice_texts, decoded, encoded, searched
from benchmarks.search.spaces import TableSpace

VALUE = "value"
# As many as a search has time for, and never the end of a search by failures.
_WITHOUT_END = 10**6
# The oracle takes one number for each parameter of each trial, counted up from its seed.
_SEED_STEP = 10**6


def build(form: str, setting: Setting) -> Method:
    """Raises ValueError for an unknown form."""
    if form != "hyperband":
        raise ValueError(f"keras-tuner has no method {form!r}; there is: hyperband")
    return KerasTunerSearch(setting)


class UnsavedHyperband(keras_tuner.oracles.HyperbandOracle):
    """Writes no files: they only serve to go on after an interruption."""

    def save(self, fname: str | None = None) -> None:
        pass

    def _save_trial(self, trial: Any) -> None:
        pass


class KerasTunerSearch:
    def __init__(self, setting: Setting) -> None:
        self._space = setting.space
        self._max_epochs = setting.max_epochs
        self._oracle = UnsavedHyperband(
            objective=keras_tuner.Objective(VALUE, "min"),
            max_epochs=setting.max_epochs,
            hyperband_iterations=_WITHOUT_END,
            # It takes 0 for "none".
            seed=setting.seed * _SEED_STEP + 1,
            hyperparameters=_hyperparameters(setting.space),
            max_consecutive_failed_trials=_WITHOUT_END,
        )
        self._oracle.verbose = 0
        self._running: dict[int, Any] = {}
        self._number_of: dict[str, int] = {}  # the oracle's trial: ours
        self._diverged: set[int] = set()
        self._asks = itertools.count()
        self._numbers = itertools.count()

    def ask(self) -> NewTrial | PausedTrial | None:
        while True:
            trial = self._oracle.create_trial(f"worker-{next(self._asks)}")
            if trial.status != "RUNNING":
                return None
            values = trial.hyperparameters.values
            earlier = values.get("tuner/trial_id")
            if earlier is None:
                number = next(self._numbers)
                self._start(trial, number)
                return NewTrial(number, decoded(self._space, values))
            number = self._number_of[earlier]
            self._start(trial, number)
            if number not in self._diverged:
                return PausedTrial(number)
            self._end(number, math.nan, step=int(values["tuner/initial_epoch"]))

    def report(self, trial: int, epoch: int, value: float) -> Answer:
        running = self._running[trial]
        if epoch < running.hyperparameters.values["tuner/epochs"]:
            self._oracle.update_trial(running.trial_id, {VALUE: value}, step=epoch)
            return Answer.GO_ON
        self._end(trial, value, step=epoch)
        return Answer.GO_ON if epoch >= self._max_epochs else Answer.PAUSE

    def finished(self, trial: int, value: float) -> None:
        if math.isnan(value):
            self._diverged.add(trial)
            self._end(trial, value, step=self._max_epochs)

    def _start(self, trial: Any, number: int) -> None:
        self._running[number] = trial
        self._number_of[trial.trial_id] = number

    def _end(self, number: int, value: float, step: int) -> None:
        trial = self._running.pop(number)
        self._oracle.update_trial(trial.trial_id, {VALUE: value}, step=step)
        trial.status = "COMPLETED"
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "All-NaN axis", RuntimeWarning)
            self._oracle.end_trial(trial)


def _hyperparameters(space: TableSpace) -> Any:
    hp = keras_tuner.HyperParameters()
    parents = {parameter.name: parameter for parameter in space.parameters}
    names = {parameter.name for parameter in searched(space)}
    for parameter in searched(space):
        scope: Any = nullcontext()
        if parameter.condition is not None and parameter.condition[0] in names:
            parent, values = parameter.condition
            scope = hp.conditional_scope(parent, [encoded(parents[parent], v) for v in values])
        sampling = "log" if parameter.log else "linear"
        with scope:
            if parameter.kind == "categorical":
                hp.Choice(parameter.name, choice_texts(parameter))
            elif parameter.kind == "int":
                hp.Int(parameter.name, int(parameter.low), int(parameter.high), sampling=sampling)
            else:
                hp.Float(parameter.name, parameter.low, parameter.high, sampling=sampling)
    return hp
