"""Optuna's cache of a study's trials, which keeps them in order."""

import copy
from collections.abc import Container

from optuna.storages._cached_storage import _CachedStorage
from optuna.trial import FrozenTrial, TrialState


class OrderedCache(_CachedStorage):
    """Optuna's own sorts all trials whenever it is asked for them, several times for each trial of
    a search: 30 ms with 50 000. Here they are sorted when one comes late, which is rare."""

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        self._read_trials_from_remote_storage(study_id)
        with self._lock:
            found = self._studies[study_id].trials.values()
            trials = [t for t in found if states is None or t.state in states]
        return copy.deepcopy(trials) if deepcopy else trials

    def _add_trials_to_cache(self, study_id: int, trials: list[FrozenTrial]) -> None:
        kept = self._studies[study_id].trials
        last = next(reversed(kept), -1)
        new = [trial.number for trial in trials if trial.number not in kept]
        super()._add_trials_to_cache(study_id, trials)
        if [last, *new] != sorted([last, *new]):
            self._studies[study_id].trials = dict(sorted(kept.items()))
