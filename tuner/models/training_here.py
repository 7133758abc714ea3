"""Training one trial in this process: to have its network again, or its final one."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tuner.errors import StorageError, StudyError
from tuner.settings import Settings
from tuner.storage.damage import is_identity
from tuner.storage.studies import StudyRow
from tuner.storage.trials import TrialRow
from tuner.study.ends import TrialEnd
from tuner.system.redirecting import output_to

if TYPE_CHECKING:
    from tuner.data import Dataset
    from tuner.study.messages import Ended, Event, TrialRequest
    from tuner.training.session import TrainingSession


@dataclass(frozen=True)
class Training:
    """What is trained. `doing`: in words, as "trained again". `lanes`: as WorkerSetup.
    `before_last_epoch` is called once before the last epoch begins."""

    study: StudyRow
    trial: TrialRow
    request: "TrialRequest"
    doing: str
    lanes: int = 1
    before_last_epoch: Callable[[], None] = lambda: None


def train_here(settings: Settings, training: Training, dataset: "Dataset", target: Path) -> "Ended":
    """Train on `dataset`, and write the network to `target`. What training prints goes to the
    study's search log.

    Raises StudyError where training fails or diverges, CodeError for code of the study that may not
    run here.
    """
    from tuner.data import save_dataset
    from tuner.runner.study_files import scratch_folder

    with scratch_folder(settings) as folder:
        save_dataset(dataset, folder / "data")
        with output_to(_log_file(settings, training.study, folder)):
            # XLA prints notes when the first program is compiled.
            session = _open_session(settings, training, folder / "data")
            ended = _run(session, training)
            session.save(target.absolute())
    return ended


def _log_file(settings: Settings, study: StudyRow, folder: Path) -> Path:
    """The file for what training in this process prints: the study's search log if there is one
    here, else one in a folder that is removed."""
    from tuner.runner.study_files import search_log

    if not is_identity(study.uuid):  # else it would name another folder
        return folder / "training.log"
    log = search_log(settings.checkpoints, study.uuid)
    return log if log.parent.is_dir() else folder / "training.log"


def _open_session(settings: Settings, training: Training, data: Path) -> "TrainingSession":
    from tuner.manage.stored_functions import user_metrics, user_network
    from tuner.study.messages import StudyOrigin, WorkerSetup
    from tuner.system.machine import data_budget_bytes, gpus
    from tuner.training.session import open_session

    study = training.study
    return open_session(
        WorkerSetup(
            data=data,
            budget_bytes=data_budget_bytes(1),
            code=user_network(settings, study.spec),
            function_kind=study.spec.function_kind,
            metrics=user_metrics(settings, study.spec),
            gpu=next(iter(gpus()), None),
            lanes=training.lanes,
            study=StudyOrigin(study.name, study.uuid),
        )
    )


def _run(session: "TrainingSession", training: Training) -> "Ended":
    """Raises StudyError where the training fails, or gives no network."""
    from tuner.study.messages import Ended, Event, Reply, Suggest

    trial = training.trial
    failed = f"trial {trial.number} cannot be {training.doing}"
    last_epoch = training.request.ends_after
    ended: Ended | None = None

    def hear(event: Event) -> Reply:
        nonlocal ended
        if isinstance(event, Suggest):  # the trial's own value
            value = training.request.params.get(event.name)
            return Reply(value=None if isinstance(value, list) else value)
        if isinstance(event, Ended):
            ended = event
        elif _epochs_done(event) == last_epoch - 1:
            training.before_last_epoch()
        return Reply()

    if last_epoch == 1:
        training.before_last_epoch()
    try:
        session.run(training.request, hear)
    except StorageError:  # of before_last_epoch
        raise
    except Exception as error:
        raise StudyError(f"{failed}: {session.failure(error).message}") from error
    assert ended is not None
    if ended.end is TrialEnd.DIVERGED or ended.score is None or not math.isfinite(ended.score):
        raise StudyError(
            f"{failed}: it diverged in epoch {ended.epochs}, and had {trial.value!r} in the "
            "search; no network is written"
        )
    return ended


def _epochs_done(event: "Event") -> int:
    """How many epochs are over with this event; -1 for one within an epoch."""
    from tuner.study.messages import Report, Resumed

    if isinstance(event, Resumed):
        return event.epoch
    return event.epoch if isinstance(event, Report) and event.whole else -1
