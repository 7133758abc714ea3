"""A study's trials as Optuna's own, for its analyses and plots.

These only read, but Optuna's study needs a storage that may be written: a copy in memory is one,
also where the database may only be read, and whatever is done with it changes nothing.
"""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tuner.storage.store import Store
from tuner.storage.studies import StudyRow

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial


def read_optuna_trials(store: Store, study: StudyRow) -> "list[FrozenTrial]":
    """All trials of the study as they are now, by number. A trial whose value is no finite number
    counts as failed. Raises StorageError for damaged trials."""
    from optuna.trial import TrialState

    from tuner.storage.frozen_trials import Chosen, name_damage, read_whole

    with name_damage():
        trials = store.read(read_whole, Chosen(study.study_id))
    for trial in trials:
        if trial.value is not None and not math.isfinite(trial.value):
            trial.values, trial.state = None, TrialState.FAIL
    return trials


def copy_to_memory(study: StudyRow, trials: "Sequence[FrozenTrial]") -> "optuna.Study":
    """A study of Optuna's in memory with copies of these trials, which must be all of the study's,
    by number."""
    import optuna
    from optuna.storages import InMemoryStorage
    from optuna.study import StudyDirection

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    storage = InMemoryStorage()
    direction = StudyDirection[study.spec.direction.upper()]
    study_id = storage.create_new_study([direction], study.name)
    for trial in trials:
        storage.create_new_trial(study_id, template_trial=trial)
    return optuna.Study(study.name, storage)
