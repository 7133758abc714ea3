"""A study's trials as a study of Optuna's in memory, for Optuna's analyses and plots.

They only read, but Optuna's study needs a storage that may be written: a copy is one, also where
the database may only be read, and whatever is done with it changes nothing.
"""

import math
from typing import TYPE_CHECKING

from tuner.storage.store import Store
from tuner.storage.studies import StudyRow

if TYPE_CHECKING:
    import optuna


def copy_to_memory(store: Store, study: StudyRow) -> "optuna.Study":
    """The study with its trials as they are now. A trial whose score is no finite number counts as
    failed. Raises StorageError for damaged trials."""
    import optuna
    from optuna.storages import InMemoryStorage
    from optuna.study import StudyDirection
    from optuna.trial import TrialState

    from tuner.storage.frozen_trials import Chosen, name_damage, read_whole

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with name_damage():
        trials = store.read(read_whole, Chosen(study.study_id))
    storage = InMemoryStorage()
    direction = StudyDirection[study.spec.direction.upper()]
    study_id = storage.create_new_study([direction], study.name)
    for trial in trials:
        if trial.value is not None and not math.isfinite(trial.value):
            trial.values, trial.state = None, TrialState.FAIL
        storage.create_new_trial(study_id, template_trial=trial)
    return optuna.Study(study.name, storage)
