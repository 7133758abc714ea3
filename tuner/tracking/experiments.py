"""The experiment that a study's runs are made in. Names are used only to create it: whoever renames
it in MLflow's UI splits nothing."""

import hashlib
import re
from pathlib import Path
from typing import Any

from tuner.errors import TrackingError
from tuner.storage.studies import StudyRow
from tuner.system.locations import local_path
from tuner.tracking import content
from tuner.tracking.client import Client, artifact_location, local_folder
from tuner.tracking.ownership import UUID_TAG, all_experiments, is_active

# MLflow's UI shows training runs first, and does not ask what the experiment is.
_KIND = {"mlflow.experimentKind": "custom_model_development"}
# The folder beside a local store that an experiment was made with, also where the store is now.
FOLDER_TAG = "tuner.folder"


def is_shared(study: StudyRow) -> bool:
    """Whether the study was told to share an experiment."""
    return study.experiment != study.name


def taken_out(client: Client, experiment_id: str) -> str:
    """The experiment's id, after it was taken out of the bin where needed."""
    if not is_active(client.get_experiment(experiment_id)):
        client.restore_experiment(experiment_id)
    return experiment_id


def open_experiment(client: Client, study: StudyRow) -> str:
    """The id of the experiment for a study that has no runs yet, made where needed."""
    if is_shared(study):
        return _shared(client, study.experiment)
    mine = list(all_experiments(client, f"tags.`{UUID_TAG}` = '{study.uuid}'"))
    if mine:
        mine.sort(key=lambda one: (not is_active(one), int(one.creation_time or 0)))
        return taken_out(client, mine[0].experiment_id)
    return _made(client, study)


def _shared(client: Client, name: str) -> str:
    name = content.experiment_name(name)
    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        made = _create(client, name, folder_of(name), {})
        # Another study's tracker may have made it meanwhile.
        experiment = client.get_experiment(made) if made else client.get_experiment_by_name(name)
    if experiment is None:
        raise TrackingError(f"MLflow has no experiment {name!r}, and does not let us make it")
    return taken_out(client, str(experiment.experiment_id))


def _made(client: Client, study: StudyRow) -> str:
    """The study's own. Where its name is taken, by somebody else's study perhaps, a part of the
    UUID follows the name."""
    for suffix in ("", f" ({study.uuid[:8]})", f" ({study.uuid})"):
        name = content.experiment_name(study.experiment, suffix)
        folder = f"{_plain(study.experiment)}-{study.uuid[:8]}"
        made = _create(client, name, folder, {UUID_TAG: study.uuid})
        if made is not None:
            return made
    raise TrackingError(f"MLflow has experiments of every name that {study.experiment!r} may have")


def _create(client: Client, name: str, folder: str, tags: dict[str, str]) -> str | None:
    """The new experiment's id; None where the name is taken, also by one in the bin."""
    from mlflow.exceptions import MlflowException

    parent = local_folder(client.tracking_uri)
    location = None
    if parent is not None:
        # MLflow's own default would follow the working directory. It is made at once, so that a
        # project that was moved is known by it.
        (parent / folder).mkdir(parents=True, exist_ok=True)
        location, tags = artifact_location(parent / folder), tags | {FOLDER_TAG: folder}
    try:
        return str(client.create_experiment(name, location, tags=_KIND | tags))
    except MlflowException as error:
        if error.error_code == "RESOURCE_ALREADY_EXISTS":
            return None
        raise


def folder_of(name: str) -> str:
    """The folder of an experiment that is known by its name."""
    digest = hashlib.sha256(name.encode()).hexdigest()[:8]
    plain = _plain(name)
    return plain if plain == name else f"{plain}-{digest}"


def _plain(name: str) -> str:
    return re.sub(r"[^\w-]+", "-", name)[:80]


def claim_experiment(client: Client, study: StudyRow, experiment_id: str) -> None:
    """Mark the study's own experiment that an earlier version made."""
    experiment = client.get_experiment(experiment_id)
    if not is_shared(study) and experiment.name == study.name and UUID_TAG not in experiment.tags:
        client.set_experiment_tag(experiment_id, UUID_TAG, study.uuid)


def inside_store(client: Client, location: str) -> bool:
    """Whether files may be removed there: in a copied project, a local store knows files of the
    original. A server's files are a server's."""
    folder = local_folder(client.tracking_uri)
    if folder is None:
        return True
    path = local_path(location)
    return path is not None and is_below(path, folder)


def is_below(path: Path, folder: Path) -> bool:
    path, folder = path.resolve(), folder.resolve()
    return path != folder and path.is_relative_to(folder)


def is_empty(client: Client, experiment: Any) -> bool:
    """Whether no run outside the bin is left in it."""
    return not client.search_runs([experiment.experiment_id], max_results=1)
