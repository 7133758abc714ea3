"""tuner's samplers with a pruner that pauses: `tuner:SAMPLER+promotion`, see tuner_search."""

import copy
from collections.abc import Container
from typing import Any

from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

from benchmarks.search.contract import Answer, NewTrial, PausedTrial, Setting
from benchmarks.search.methods.tuner_search import TunerSearch
from tuner.algorithms.pruners import PromotionPruner
from tuner.study.spec import Choice


class PausedSearch(TunerSearch):
    """As `runner/` does it: a free worker goes on with a paused trial that has earned it, or else
    begins a new one. The sampler sees paused trials as pruned after their last report."""

    def __init__(
        self, setting: Setting, sampler: Choice, pruner: Choice, patience: int | None = None
    ) -> None:
        self.paused: set[int] = set()
        super().__init__(setting, sampler, pruner, patience)
        shown: Any = _PausedShown(self.study._storage, self.paused)
        self.study._storage = shown

    def ask(self) -> NewTrial | PausedTrial:
        pruner = self.study.pruner
        assert isinstance(pruner, PromotionPruner)
        promoted = pruner.choose(self.study, self.paused, is_closing=False)
        if promoted is None:
            return super().ask()
        self.paused.remove(promoted)
        return PausedTrial(promoted)

    def pruned(self, trial: int) -> Answer:
        self.paused.add(trial)
        return Answer.PAUSE


class _PausedShown:
    """A storage that lists paused trials as PRUNED, as `storage.frozen_trials.OrderedCache`."""

    def __init__(self, storage: BaseStorage, paused: set[int]) -> None:
        self._storage, self._paused = storage, paused

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        trials = self._storage.get_all_trials(study_id, deepcopy=deepcopy)
        shown = [_as_pruned(t) if t.number in self._paused else t for t in trials]
        return [trial for trial in shown if states is None or trial.state in states]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._storage, name)


def _as_pruned(trial: FrozenTrial) -> FrozenTrial:
    pruned = copy.copy(trial)
    pruned.state = TrialState.PRUNED
    pruned._values = [trial.intermediate_values[max(trial.intermediate_values)]]
    return pruned
