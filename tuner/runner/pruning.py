"""What the pruner is told of a running trial, and what it answers."""

import math

import optuna

from tuner.algorithms.pruners import PRUNERS, rungs
from tuner.study.messages import Ended, Report
from tuner.study.spec import StudySpec


class TrialPruning:
    """Reports one trial's values to Optuna and asks whether it should be pruned.

    Optuna is told the running best: an epoch that happens to be worse is no reason to prune, and a
    pruned trial's value is then its score. While no epoch is over, that is the best report. Pruners
    that look for a trend read the raw values. `reported`: the step up to which an earlier attempt
    of the trial has reported, without being pruned. `epochs`: None where the trial's last one is
    not known.
    """

    def __init__(
        self, spec: StudySpec, trial: optuna.Trial, epochs: int | None, reported: int = -1
    ) -> None:
        self._spec, self._trial, self._epochs = spec, trial, epochs
        self._reported = reported
        self._goal = spec.goal()
        self._pruner = PRUNERS[spec.pruner.name]
        # Its loop may have died before a trial was paused: it is asked again about the same report.
        self._pauses = self._pruner.pauses
        self._best_inside: float | None = None
        self._best_whole: float | None = None

    @property
    def best(self) -> float | None:
        """The best whole epoch's value, or the best report's while there is none."""
        return self._best_whole if self._best_whole is not None else self._best_inside

    def should_prune(self, report: Report) -> bool:
        """Tell the report. The pruner is not asked after the last epoch: that trial is complete."""
        value = report.metrics.get(self._spec.metric)
        if self._spec.further_objectives:
            return False
        if value is None:
            return False  # a comparison reads its metric after the last epoch only
        if report.own_step is not None:
            return self._should_prune_own(value, report.own_step)
        if not all(math.isfinite(v) for v in report.metrics.values()):
            return False  # the training ends as diverged by itself
        self.remember(value, report.whole)
        if report.step < self._reported or (report.step == self._reported and not self._pauses):
            return False  # an earlier attempt reported it, and was not pruned
        told_value = value if self._pruner.reads_raw else self.best
        assert told_value is not None
        if report.step > self._reported:
            self._trial.report(told_value, report.step)
        if report.whole and self._epochs is not None and report.epoch >= self._epochs:
            return False
        return self._trial.should_prune()

    def _should_prune_own(self, value: float, step: int) -> bool:
        """The same for code that reports and asks as it does with Optuna: the value as it is, at
        its own step."""
        if math.isfinite(value):
            self.remember(value, whole=True)
        if step <= self._reported:
            return False
        self._trial.report(value, step)
        return self._trial.should_prune()

    def remember(self, value: float, whole: bool) -> None:
        """Take a value into the running best. It was reported now or by an earlier attempt."""
        if whole and self._goal.better(value, self._best_whole):
            self._best_whole = value
        if not whole and self._goal.better(value, self._best_inside):
            self._best_inside = value

    def fill_rungs(self, ended: Ended) -> None:
        """After an early stop, report the score at the remaining rungs, so that later trials are
        compared with it there. To be called inside `RobustStorage.one_transaction`: a trial of 27
        epochs has up to 27 reports left."""
        longest = self._spec.max_step
        if ended.score is None or self._pruner.reads_raw or longest is None:
            return
        done = max(ended.epochs * self._spec.first_epoch_reports, self._reported)
        for step in rungs(self._spec.pruner, longest, self._spec.first_epoch_reports):
            if step > done:
                self._trial.report(ended.score, step)
                if self._pruner.keeps_rungs:
                    self._trial.should_prune()  # the answer does not matter, it stores the rung
