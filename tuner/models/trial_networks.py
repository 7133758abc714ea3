"""Networks of finished trials.

A network is the file that its worker saved, or else MLflow's copy of it, or else the trial trained
again. Every function that returns a network says which of the three it is.
"""

import shutil
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from tempfile import TemporaryDirectory

from tuner.data.preparing import describe_network
from tuner.errors import (
    ArtifactError,
    ArtifactsUnavailable,
    StudyError,
    TrackingError,
    TunerError,
)
from tuner.manage.carried_code import UntrustedCode
from tuner.models.model import Model, load_file
from tuner.models.training_here import Training, train_here
from tuner.preparation.keras_file import has_description, has_own_parts, write_description
from tuner.settings import Settings
from tuner.storage import Store
from tuner.storage.attempt_rows import AttemptRow
from tuner.storage.deliveries import read_delivery
from tuner.storage.studies import StudyRow
from tuner.storage.trials import TrialRow
from tuner.study.artifacts import Artifact, check_file, input_of, open_artifacts
from tuner.study.messages import FunctionCode, StudyOrigin
from tuner.system.names import command, in_command
from tuner.system.temporary_folders import OwnFolder, written_whole


class NetworkSource(StrEnum):
    """Where a network comes from."""

    SAVED = "copied from its saved file"
    MLFLOW = "copied from MLflow"
    TRAINED = "trained again"


@dataclass(frozen=True)
class WrittenNetwork:
    """A network that was written. `remarks`: lines for the user, about a file that was not used or
    a score that differs."""

    source: NetworkSource
    remarks: list[str] = field(default_factory=list)


def save_network(
    settings: Settings,
    store: Store,
    study: StudyRow,
    trial: TrialRow,
    target: Path,
    data: str | None = None,
) -> WrittenNetwork:
    """Write a trial's best network to `target`, a .keras file that carries its preparation, for
    Keras and for tuner. `data`: where the data lie now, if elsewhere than when the study was
    created.

    Raises StudyError where it cannot be written or trained again, DatasetError where the data are
    no longer those of the study.
    """
    written = _write(settings, store, study, trial, target, data)
    written.remarks.extend(_float64_remarks(target))
    return written


def copy_network(
    settings: Settings,
    store: Store,
    study: StudyRow,
    trial: TrialRow,
    target: Path,
    data: str | None = None,
) -> WrittenNetwork:
    """The same for tuner alone, without remarks on its use in Keras. Raises StudyError too for a
    network that a function has trained on data of its own: tuner cannot prepare rows for it."""
    written = _write(settings, store, study, trial, target, data)
    if study.spec.function_kind.trains and not has_description(target):
        raise StudyError(
            f"trial {trial.number} of study {study.name} was trained on data that the study does "
            "not know, or takes other inputs, so tuner cannot prepare rows for its network: load "
            f"it with Keras, from {_save_command(study, trial, '.keras')}"
        )
    return written


def _write(
    settings: Settings,
    store: Store,
    study: StudyRow,
    trial: TrialRow,
    target: Path,
    data: str | None,
) -> WrittenNetwork:
    if study.spec.function_kind.trains:
        _check_saved_by_function(study, trial, target)
    elif target.suffix != ".keras":
        raise StudyError(f"{target}: the file's name must end in .keras")
    if not target.parent.is_dir():
        raise StudyError(f"{target}: the folder {target.parent} does not exist")
    remarks: list[str] = []
    try:
        with written_whole(target) as partial:
            source = _write_network(settings, store, study, trial, partial, remarks, data)
            if not study.spec.function_kind.trains and not has_description(partial):
                remarks += _describe_again(settings, study, trial, partial, data)
    except ArtifactsUnavailable:
        raise
    except OSError as error:
        raise StudyError(f"{target}: cannot be written: {error.strerror or error}") from error
    return WrittenNetwork(source, remarks)


def _check_saved_by_function(study: StudyRow, trial: TrialRow, target: Path) -> None:
    """What a function's trial has saved is copied as it is, or not at all."""
    saved = trial.last.model if trial.last is not None else None
    if saved is None:
        raise StudyError(
            f"trial {trial.number} of study {study.name} has no network: "
            f"{study.spec.space.network} trains by itself, and a trial's network is what it gives "
            "to trial.save; those of the best trials are kept (--keep-models)"
        )
    suffix = Path(saved.path).suffix
    if target.suffix != suffix:
        raise StudyError(
            f"trial {trial.number} of study {study.name} has saved a {suffix} file, no "
            f"{target.suffix or 'file without an ending'}; {_save_command(study, trial, suffix)} "
            "writes it as it is"
        )


def _save_command(study: StudyRow, trial: TrialRow, suffix: str) -> str:
    name = in_command(study.name)
    return command("study", "best", name, "--save", f"trial-{trial.number}{suffix}")


def load_network(
    settings: Settings,
    store: Store,
    study: StudyRow,
    trial: TrialRow,
    data: str | None = None,
) -> tuple[Model, WrittenNetwork]:
    """A trial's best network with its preparation, and where it came from. Otherwise as
    `save_network`; raises UntrustedCode too, for layers whose code may not run here."""
    with OwnFolder("tuner-network-") as folder:
        file = Path(folder) / "network.keras"
        written = copy_network(settings, store, study, trial, file, data)
        source = f"trial {trial.number} of study {study.name}"
        return load_file(file, source, settings=settings), written


def _float64_remarks(network: Path) -> list[str]:
    takes = input_of(network)
    if takes is None or takes.dtype != "float64":
        return []
    return [
        "the network takes float64, since float32 would round some of these data too much: tuner "
        "gives it that; in Keras call it as model.predict_on_batch(x), since model.predict(x) "
        "makes NumPy arrays float32"
    ]


def _describe_again(
    settings: Settings, study: StudyRow, trial: TrialRow, network: Path, data: str | None
) -> list[str]:
    """Give a network that an earlier version saved its preparation, learnt again from the study's
    data. Returns a remark where they are not there."""
    from tuner.manage.stored_functions import user_network
    from tuner.runner import trained_on

    try:
        dataset = trained_on(settings, study.spec, data)
        own = user_network(settings, study.spec) if has_own_parts(network) else None
    except UntrustedCode:
        raise
    except TunerError as error:
        return [
            "an earlier version of tuner saved this network, without its preparation, which cannot "
            f"be learnt again: {error}"
        ]
    origin = StudyOrigin(study.name, study.uuid)
    description = describe_network(
        dataset, study.spec.metric, origin, trial.number, {} if own is None else _texts(own)
    )
    write_description(network, description)
    return []


def _texts(own: FunctionCode) -> dict[str, str]:
    from tuner.networks.custom import CustomNetwork

    return CustomNetwork(*own).texts()


def _write_network(
    settings: Settings,
    store: Store,
    study: StudyRow,
    trial: TrialRow,
    target: Path,
    remarks: list[str],
    data: str | None,
) -> NetworkSource:
    unavailable = None
    try:
        if _copy_saved(settings, trial, target, remarks):
            return NetworkSource.SAVED
    except ArtifactsUnavailable as error:
        unavailable = error
        remarks.append(f"{error}; it is not used")
    if _copy_logged(settings, store, study, trial, target, remarks):
        return NetworkSource.MLFLOW
    if unavailable is not None:  # training it again may take hours, and the store be back by then
        raise unavailable
    if not trial.params:
        raise StudyError(
            f"trial {trial.number} of study {study.name!r} has no network yet: it has not begun"
        )
    if study.spec.function_kind.trains:
        raise StudyError(
            f"the network of trial {trial.number} of study {study.name} is not here, and "
            f"{study.spec.space.network} trains by itself: only a search runs it"
        )
    remarks += _train_again(settings, store, study, trial, target, data)
    return NetworkSource.TRAINED


def _copy_saved(settings: Settings, trial: TrialRow, target: Path, remarks: list[str]) -> bool:
    saved = trial.last.model if trial.last is not None else None
    if saved is None:
        return False
    try:
        artifacts = open_artifacts(settings)
        if not artifacts.exists(saved.path):
            return False  # on another machine, or deleted: nothing to remark
        shutil.copyfile(artifacts.get(saved), target)
    except ArtifactsUnavailable:
        raise
    except ArtifactError as error:
        remarks.append(f"{error}; it is not used")
        return False
    return True


def _copy_logged(
    settings: Settings,
    store: Store,
    study: StudyRow,
    trial: TrialRow,
    target: Path,
    remarks: list[str],
) -> bool:
    """Copy MLflow's copy, from the run that SQL records. Without such a run MLflow is not
    opened."""
    delivery = read_delivery(store, study, trial.trial_id)
    if trial.last is None or delivery is None or delivery.attempt != trial.last.attempt:
        return False
    from tuner.tracking.client import open_existing_client, tracking_errors
    from tuner.tracking.logged_models import download_model

    try:
        client = open_existing_client(settings.tracking_uri)
        if client is None:
            return False
        with tracking_errors(), TemporaryDirectory(dir=target.parent) as folder:
            downloaded = download_model(client, delivery.run_id, Path(folder))
            if downloaded is None:
                return False
            downloaded.replace(target)
    except TrackingError as error:
        remarks.append(f"no copy from MLflow: {error}")
        return False
    if not _is_saved_file(trial.last, target):
        remarks.append(f"MLflow's copy (run {delivery.run_id}) is another file; it is not used")
        return False
    return True


def _is_saved_file(attempt: AttemptRow, copy: Path) -> bool:
    """Whether the copy is the file that the attempt saved, as far as SQL has recorded that."""
    try:
        check_file(copy, Artifact(copy.name, attempt.model_bytes, attempt.model_sha256))
    except (ArtifactError, OSError):
        return False
    return True


def _train_again(
    settings: Settings,
    store: Store,
    study: StudyRow,
    trial: TrialRow,
    target: Path,
    data: str | None,
) -> list[str]:
    """Train the trial as the search did, and write its network. Returns remarks on its score."""
    from tuner.runner import trained_on
    from tuner.runner.requests import lineage_of, request_again
    from tuner.storage.lineages import read_ancestors
    from tuner.study.engines import LANES

    in_lanes = trial.last is not None and trial.last.engine == LANES
    lineage = lineage_of(study.spec, trial, read_ancestors(store, study, trial.number))
    training = Training(
        study,
        trial,
        request_again(study.spec, trial, lineage),
        doing="trained again",
        # A trial gives the same weights however many others are trained beside it.
        lanes=2 if in_lanes else 1,
    )
    ended = train_here(settings, training, trained_on(settings, study.spec, data), target)
    recorded = trial.last.score if trial.last is not None else trial.value
    remark = _compare_scores(study, trial, recorded, ended.score)
    return [] if remark is None else [remark]


def _compare_scores(
    study: StudyRow, trial: TrialRow, recorded: float | None, score: float | None
) -> str | None:
    """A line where the score is not the recorded one, to the last bit; None where it is."""
    if recorded == score:
        return None
    return (
        f"trial {trial.number} was trained again and is not the same network: {study.spec.metric} "
        f"{score!r}, in the search {recorded!r} (other versions, threads or device)"
    )
