"""`train(params, trial)`: the trial that such a function is given, and how it is run."""

import math
import numbers
from pathlib import Path
from typing import Any

from tuner.errors import NetworkError, TrialPruned
from tuner.functions.calls import Call
from tuner.search_space.parameter_types import Params
from tuner.study.ends import TrialEnd
from tuner.study.messages import Ended, Noted, Report


class Diverged(Exception):
    """A reported value is not finite: the trial ends as diverged."""


class TrainingTrial:
    """A running trial, as `train(params, trial)` is given it.

    `number`: the trial's in its study, from 0. `params`: its parameters. `seed`: a whole number of
    31 bits, another one in each trial, the same in its later attempts. `attempt`: from 1; each
    interruption begins another one.
    """

    def __init__(self, call: Call) -> None:
        self._call = call
        request = call.request
        self.number = request.number or 0
        self.params: Params = dict(request.params)
        self.seed = request.seed
        self.attempt = request.checkpoints.attempt if request.checkpoints else 1
        self._goal = request.goal
        self._last_epoch = 0
        self._best: float | None = None
        self._best_epoch: int | None = None
        self._is_pruned = False

    @property
    def epochs(self) -> int | None:
        """The most epochs that it may train (`--epochs`), None where none were given."""
        epochs = self.params.get("epochs")
        return None if epochs is None else int(epochs)  # type: ignore[arg-type]

    @property
    def directory(self) -> Path:
        """A folder of the trial's own. It outlasts an interruption: the trial's next attempt finds
        there what this one wrote. It is removed when the trial has ended."""
        return self._call.files.directory()

    @property
    def should_prune(self) -> bool:
        """Whether the trial is pruned: `report` raises TrialPruned then."""
        return self._is_pruned

    def report(self, epoch: int, **metrics: float) -> bool:
        """Tell the values of metrics after an epoch, or any other step, counted from 1.

        Returns whether the objective is the best of the trial so far: a good time to `save`. Raises
        TrialPruned when the trial is pruned; NetworkError for values that are none.
        """
        values = self._checked(epoch, metrics)
        value = values[self._goal.metric]
        self._last_epoch = epoch
        reply = self._call.tell(Report(epoch, epoch, True, values, advisory=True))
        if not all(map(math.isfinite, values.values())):
            raise Diverged
        is_best = self._goal.better(value, self._best)
        if is_best:
            self._best, self._best_epoch = value, epoch
        if reply.prune:
            self._is_pruned = True
            raise TrialPruned(f"trial {self.number} is pruned after epoch {epoch}")
        return is_best

    def save(self, model: Any) -> None:
        """Keep a network as the trial's own, in place of what was saved before: a keras.Model, the
        path of a file, bytes, or any object that can be pickled. Raises NetworkError for anything
        else."""
        self._call.files.save(model)

    def log(self, **values: Any) -> None:
        """Keep facts of the trial: numbers, texts, and lists of them, by name."""
        self._call.tell(Noted(values))

    def _checked(self, epoch: int, metrics: dict[str, Any]) -> dict[str, float]:
        where = f"{self._call.where}: trial.report"
        if isinstance(epoch, bool) or not isinstance(epoch, numbers.Integral):
            raise NetworkError(f"{where}: the epoch must be a whole number, got {epoch!r}")
        if epoch <= self._last_epoch:
            raise NetworkError(
                f"{where}: epochs count from 1 and must increase, got {epoch} after "
                f"{self._last_epoch}"
            )
        if self._goal.metric not in metrics:
            names = ", ".join(metrics) or "nothing"
            raise NetworkError(
                f"{where}: the objective {self._goal.metric} is missing, it reports {names}"
            )
        return {name: self._number(where, name, value) for name, value in metrics.items()}

    def _number(self, where: str, name: str, value: Any) -> float:
        try:
            if isinstance(value, str | bytes):
                raise TypeError
            return float(value)
        except (TypeError, ValueError) as error:
            raise NetworkError(f"{where}: {name} must be a number, got {value!r}") from error

    def ended(self, end: TrialEnd, returned: Any = None) -> Ended:
        """How the trial ended. `returned`: by the function."""
        score, best_epoch = self._best, self._best_epoch
        if end is TrialEnd.COMPLETE and score is None:
            score = self._score_of(returned)
        saved = self._call.files.saved()
        suffix = "" if saved is None else saved.suffix
        return Ended(end, score, best_epoch, self._last_epoch, 0, network=suffix)

    def _score_of(self, returned: Any) -> float:
        metric = self._goal.metric
        if isinstance(returned, dict):
            self.report(1, **returned)
            assert self._best is not None
            return self._best
        if returned is None:
            raise NetworkError(
                f"{self._call.where} has neither reported {metric} nor returned it: call "
                f"trial.report(epoch, {metric}=…), or return its value"
            )
        return self._number(self._call.where, metric, returned)


def run_training(call: Call) -> Ended:
    """Call `train(params, trial)`. The score is the best value that it reports, or what it returns
    where it reports nothing."""
    trial = TrainingTrial(call)
    try:
        returned = call.function(trial.params, trial)
    except TrialPruned:
        return trial.ended(TrialEnd.PRUNED)
    except Diverged:
        return trial.ended(TrialEnd.DIVERGED)
    return trial.ended(TrialEnd.PRUNED if trial.should_prune else TrialEnd.COMPLETE, returned)
