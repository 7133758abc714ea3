"""A study as charts need it: what they draw is read when they ask for it, and only once."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from tuner.algorithms.options import unknown
from tuner.reports.charts import Axis, evenly, value_axis
from tuner.storage import Store
from tuner.storage.studies import StudyRow, no_finished_trial
from tuner.storage.trial_outcomes import TrialOutcome, read_outcomes
from tuner.study.messages import rank

if TYPE_CHECKING:
    import optuna
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial


@dataclass(frozen=True)
class PlottedStudy:
    """`only`: the parameters to draw; all that vary by default. `most`: of a larger study, the
    params of a sample of so many trials are read, its best one among them; None for all."""

    store: Store
    study: StudyRow
    only: Sequence[str] = ()
    most: int | None = None

    @property
    def metric(self) -> str:
        return self.study.spec.metric

    @cached_property
    def outcomes(self) -> list[TrialOutcome]:
        """All trials, by number, without their params."""
        return read_outcomes(self.store, self.study)

    @cached_property
    def scored(self) -> list[TrialOutcome]:
        """The completed trials, by number. Raises StudyError where there is none."""
        scored = [outcome for outcome in self.outcomes if outcome.is_complete]
        if not scored:
            raise no_finished_trial(self.study)
        return scored

    @cached_property
    def pruned(self) -> list[TrialOutcome]:
        """The trials that were ended early and have a value, infeasible ones too, by number."""
        return [each for each in self.outcomes if each.state == "PRUNED" and each.value is not None]

    @cached_property
    def best(self) -> TrialOutcome:
        """The completed trial with the best score; the earliest among equals."""
        direction = self.study.spec.direction
        return min(self.scored, key=lambda outcome: rank(value_of(outcome), direction))

    @cached_property
    def trials(self) -> "list[FrozenTrial]":
        """All trials, or a sample of those with a value, by number, with their params."""
        from tuner.storage.optuna_view import read_optuna_trials

        valued = [*self.scored, *self.pruned]
        if self.most is None or len(valued) <= self.most:
            return read_optuna_trials(self.store, self.study)
        ids = {each.trial_id for each in evenly(valued, self.most - 1)} | {self.best.trial_id}
        return read_optuna_trials(self.store, self.study, ids)

    @cached_property
    def complete(self) -> "list[FrozenTrial]":
        """Those of them that are completed."""
        from optuna.trial import TrialState

        complete = [trial for trial in self._valued if trial.state == TrialState.COMPLETE]
        if not complete:
            raise no_finished_trial(self.study)
        return complete

    @cached_property
    def others(self) -> "list[FrozenTrial]":
        """Those of them that were pruned."""
        from optuna.trial import TrialState

        return [trial for trial in self._valued if trial.state == TrialState.PRUNED]

    @property
    def _valued(self) -> "list[FrozenTrial]":
        return [trial for trial in self.trials if trial.value is not None]

    @cached_property
    def params(self) -> "dict[str, BaseDistribution]":
        """The varying parameters to draw, with their distributions; those of one layer each, as
        `width_1`. Raises SpecError for an unknown one in `only`."""
        return _varying(self.complete, self.only)

    def optuna_study(self) -> "optuna.Study":
        """The study with these trials, for Optuna's own functions."""
        import optuna

        from tuner.storage.optuna_view import view_of_trials

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        return view_of_trials(self.study, self.trials)

    def title(self, text: str) -> str:
        return f"study {self.study.name}: {text}"

    def value_axis(self) -> Axis:
        """The axis of the scores."""
        return value_axis(self.metric, values_of(self.scored), self.study.spec.direction)

    def count_all(self) -> str:
        """How many completed trials there are."""
        return f"{len(self.scored):,} completed trial{'s' * (len(self.scored) != 1)}"

    def count(self) -> str:
        """The same; of a sample, also how many it has."""
        drawn = len(self.complete)
        is_sample = drawn < len(self.scored)
        return f"a sample of {drawn:,} of {self.count_all()}" if is_sample else self.count_all()

    def best_first(self) -> "list[FrozenTrial]":
        """The completed trials, best score first; the earlier among equals."""
        direction = self.study.spec.direction
        return sorted(self.complete, key=lambda trial: rank(value_of(trial), direction))


def value_of(trial: "FrozenTrial | TrialOutcome") -> float:
    """The value of a trial that has one."""
    assert trial.value is not None
    return trial.value


def values_of(trials: "Iterable[FrozenTrial | TrialOutcome]") -> list[float]:
    return [value_of(trial) for trial in trials]


def _varying(trials: "Iterable[FrozenTrial]", only: Sequence[str]) -> "dict[str, BaseDistribution]":
    """The parameters that vary, in the order in which trials have them. `width` in `only` means
    all of `width_1`, `width_2`, … if each layer has its own."""
    params: dict[str, BaseDistribution] = {}
    for trial in trials:
        for name, distribution in trial.distributions.items():
            if not distribution.single():
                params.setdefault(name, distribution)
    chosen: dict[str, BaseDistribution] = {}
    for name in only:
        of_layers = re.compile(rf"{re.escape(name)}_[0-9]+")
        matching = (
            [name] if name in params else [each for each in params if of_layers.fullmatch(each)]
        )
        if not matching:
            raise unknown("parameter", name, params)
        chosen |= {each: params[each] for each in matching}
    return chosen or params
