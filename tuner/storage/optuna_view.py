"""A study as an `optuna.Study` that can only be read: for the Python API as it is at each reading,
for charts as it was once."""

import contextlib
import copy
import math
from collections.abc import Callable, Collection, Container, Sequence
from typing import Any, NoReturn

import optuna
import sqlalchemy as sa
from optuna.storages import BaseStorage
from optuna.study import StudyDirection
from optuna.study._frozen import FrozenStudy
from optuna.trial import FrozenTrial, TrialState

from tuner.errors import StudyError
from tuner.storage.frozen_trials import Chosen, name_damage, read_whole
from tuner.storage.leases import study_exists
from tuner.storage.opening import look_into
from tuner.storage.store import Store
from tuner.storage.studies import StudyRow

# Where Optuna keeps the names of a study's objectives.
_METRIC_NAMES = "study:metric_names"


def open_optuna_view(url: str, study: StudyRow) -> optuna.Study:
    """The study as Optuna's own, for its plots, importances and lists of trials. Each reading shows
    the study as it is then, and leaves no connection open. Whatever would write raises
    StudyError."""

    def read() -> list[FrozenTrial]:
        store = look_into(url)
        if store is None:
            raise _is_gone(study)
        with contextlib.closing(store):
            return read_optuna_trials(store, study)

    return _view(study, read)


def view_of_trials(study: StudyRow, trials: Sequence[FrozenTrial]) -> optuna.Study:
    """The study with these trials, which must be all of its trials, by number, or a sample."""
    return _view(study, lambda: copy.deepcopy(list(trials)))


def read_optuna_trials(
    store: Store, study: StudyRow, only: Collection[int] | None = None
) -> list[FrozenTrial]:
    """All trials of the study as they are now, by number, or those with these ids. A trial whose
    value is no finite number counts as failed. Raises StudyError where the study was deleted,
    StorageError for damaged trials."""
    with name_damage():
        trials = store.read(_read_trials, study, only)
    for trial in trials:
        if trial.value is not None and not math.isfinite(trial.value):
            trial.values, trial.state = None, TrialState.FAIL
    return trials


def _read_trials(
    connection: sa.Connection, study: StudyRow, only: Collection[int] | None = None
) -> list[FrozenTrial]:
    if not study_exists(connection, study):  # its id may be another one's by now
        raise _is_gone(study)
    study_id = study.study_id
    return read_whole(connection, Chosen(study_id) if only is None else Chosen.only(study_id, only))


def _is_gone(study: StudyRow) -> StudyError:
    return StudyError(f"study {study.name!r} was deleted")


def _view(study: StudyRow, read: Callable[[], list[FrozenTrial]]) -> optuna.Study:
    return optuna.Study(study.name, _ReadOnlyStorage(study, read))


class _ReadOnlyStorage(BaseStorage):
    """Optuna's storage of one study. `read`: its trials, which the caller may change."""

    def __init__(self, study: StudyRow, read: Callable[[], list[FrozenTrial]]) -> None:
        self._study, self._read = study, read

    # The study

    def get_study_id_from_name(self, study_name: str) -> int:
        return self._study.study_id

    def get_study_name_from_id(self, study_id: int) -> str:
        return self._study.name

    def get_study_directions(self, study_id: int) -> list[StudyDirection]:
        return [StudyDirection[self._study.spec.direction.upper()]]

    def get_study_user_attrs(self, study_id: int) -> dict[str, Any]:
        return {}

    def get_study_system_attrs(self, study_id: int) -> dict[str, Any]:
        return {_METRIC_NAMES: [self._study.spec.metric]}

    def get_all_studies(self) -> list[FrozenStudy]:
        study_id = self._study.study_id
        return [
            FrozenStudy(
                study_name=self._study.name,
                direction=None,
                directions=self.get_study_directions(study_id),
                user_attrs=self.get_study_user_attrs(study_id),
                system_attrs=self.get_study_system_attrs(study_id),
                study_id=study_id,
            )
        ]

    # Its trials

    def get_all_trials(
        self,
        study_id: int,
        deepcopy: bool = True,
        states: Container[TrialState] | None = None,
    ) -> list[FrozenTrial]:
        return [trial for trial in self._read() if states is None or trial.state in states]

    def get_trial(self, trial_id: int) -> FrozenTrial:
        for trial in self.get_all_trials(self._study.study_id):
            if trial._trial_id == trial_id:
                return trial
        raise KeyError(trial_id)

    # Writing

    def _refuse(self, *_: Any, **__: Any) -> NoReturn:
        raise StudyError(
            f"optuna_study of study {self._study.name!r} is read-only; to train trials call "
            "Study.optimize, to queue one Study.enqueue_trial"
        )

    create_new_study = delete_study = _refuse
    set_study_user_attr = set_study_system_attr = _refuse
    create_new_trial = set_trial_param = _refuse
    set_trial_state_values = set_trial_intermediate_value = _refuse
    set_trial_user_attr = set_trial_system_attr = _refuse
