"""A study as an `optuna.Study` that can only be read."""

import contextlib
from collections.abc import Callable, Container
from typing import Any, NoReturn, TypeVar

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
from tuner.storage.studies import StudyRow

T = TypeVar("T")

# Where Optuna keeps the names of a study's objectives.
_METRIC_NAMES = "study:metric_names"


def open_optuna_view(url: str, study: StudyRow) -> optuna.Study:
    """The study as Optuna's own, for its plots, importances and lists of trials. Each reading shows
    the study as it is then, and leaves no connection open. Whatever would write raises
    StudyError."""
    return optuna.load_study(study_name=study.name, storage=_ReadOnlyStorage(url, study))


class _ReadOnlyStorage(BaseStorage):
    """Optuna's storage of one study."""

    def __init__(self, url: str, study: StudyRow) -> None:
        self._url, self._study = url, study

    def _read(self, work: Callable[[sa.Connection], T]) -> T:
        """Raises StudyError where the study was deleted: its id may be another one's by now."""
        store = look_into(self._url)
        if store is None:
            raise self._is_gone()
        with contextlib.closing(store):
            return store.read(lambda connection: work(self._checked(connection)))

    def _checked(self, connection: sa.Connection) -> sa.Connection:
        if not study_exists(connection, self._study):
            raise self._is_gone()
        return connection

    def _is_gone(self) -> StudyError:
        return StudyError(f"study {self._study.name!r} was deleted")

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
        with name_damage():
            trials = self._read(
                lambda connection: read_whole(connection, Chosen(self._study.study_id))
            )
        return [trial for trial in trials if states is None or trial.state in states]

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
