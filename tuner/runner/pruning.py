"""What Optuna is told of a running trial, and what it answers."""

import math

import optuna

from tuner.algorithms.pruners import reads_raw
from tuner.study.messages import Ended, Goal, Report
from tuner.study.spec import StudySpec

_KEEP_RUNGS = ("hyperband", "asha")


class Verdicts:
    """Reports one trial's values and asks whether it should go on.

    Optuna sees the running best: an epoch that happens to be worse is no reason to prune, and a
    pruned trial's value is then its score. While no epoch is over, that is the best interval.
    Pruners that look for a trend read the raw values. Up to the step `judged` an earlier attempt
    of the trial has reported, and was let go on.
    """

    def __init__(self, spec: StudySpec, trial: optuna.Trial, epochs: int, judged: int = 0) -> None:
        self._spec, self._trial, self._epochs = spec, trial, epochs
        self._judged = judged
        self._goal = Goal(spec.metric, spec.direction)
        self._raw = reads_raw(spec.pruner)
        self._inside: float | None = None
        self._whole: float | None = None

    @property
    def best(self) -> float | None:
        """The best whole epoch's value, or the best interval's while there is none."""
        return self._whole if self._whole is not None else self._inside

    def should_prune(self, interval: Report) -> bool:
        """Report the interval. Not asked after the last epoch: that trial is complete."""
        value = interval.metrics.get(self._spec.metric)
        if value is None:
            return False  # a comparison looks at its metric after the last epoch alone
        if not all(math.isfinite(v) for v in interval.metrics.values()):
            return False  # the training ends as diverged by itself
        self.recall(value, interval.whole)
        if interval.step <= self._judged:
            return False
        shown = value if self._raw else self.best
        assert shown is not None
        self._trial.report(shown, interval.step)
        if interval.whole and interval.epoch >= self._epochs:
            return False
        return self._trial.should_prune()

    def recall(self, value: float, whole: bool) -> None:
        """Remember a value that was reported, now or by an earlier attempt."""
        if whole and self._goal.better(value, self._whole):
            self._whole = value
        if not whole and self._goal.better(value, self._inside):
            self._inside = value

    def fill(self, ended: Ended) -> None:
        """After an early stop, stand at the remaining rungs with the best, so that later trials
        are compared with it there. Hyperband and ASHA are asked, since they keep a trial's values
        by themselves; the answers do not matter. To be called where writes are held back
        (`RobustStorage.one_transaction`): a trial of 27 epochs has up to 27 reports left."""
        if ended.score is None or self._raw:
            return
        done = max(ended.epochs * self._spec.intervals, self._judged)
        for step in _rungs(self._spec):
            if step > done:
                self._trial.report(ended.score, step)
                if self._spec.pruner.name in _KEEP_RUNGS:
                    self._trial.should_prune()


def _rungs(spec: StudySpec) -> list[int]:
    """The steps at which the pruner compares trials."""
    if spec.pruner.name == "none":
        return []
    if spec.pruner.name in _KEEP_RUNGS:
        options = spec.pruner.options
        factor = int(options.get("reduction_factor", 3))
        step = int(options.get("min_resource", 1))
        rungs = []
        while step <= spec.max_step:
            rungs.append(step)
            step *= factor
        return rungs
    return [epoch * spec.intervals for epoch in range(1, spec.epochs + 1)]
