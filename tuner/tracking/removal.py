"""Taking a study out of MLflow again."""

import shutil
from dataclasses import dataclass
from typing import Any

from tuner.locations import local_path
from tuner.storage import Store, tracked
from tuner.storage.studies import StudyRow
from tuner.tracking.client import Client, artifacts_of, find_runs, open_client, tracking_errors
from tuner.tracking.content import STUDY_TAG


@dataclass(frozen=True)
class Removed:
    """How many runs and models went; models in MLflow's registry stay, with their files."""

    runs: int
    models: int
    registered: int


def remove_study(tracking_uri: str, study: StudyRow, store: Store | None = None) -> Removed:
    """`remove`, by MLflow's address. With `store`, MLflow is not asked about a study of which
    nothing was ever delivered. Raises TrackingError."""
    if store is not None and tracked.read_delivery(store, study) is None:
        return Removed(0, 0, 0)
    with tracking_errors():
        return remove(open_client(tracking_uri), study)


def remove(client: Client, study: StudyRow) -> Removed:
    """Delete a study's runs and models, and its experiment where that was its own. MLflow keeps
    what it deleted in a bin, which `mlflow gc` empties; the models' files go at once."""
    experiment = client.get_experiment_by_name(study.experiment)
    if experiment is None or experiment.lifecycle_stage == "deleted":
        return Removed(0, 0, 0)
    runs = find_runs(client, experiment.experiment_id, "study", study.name)
    runs += find_runs(client, experiment.experiment_id, STUDY_TAG, study.name)
    removed = [_remove_model(client, output.model_id) for output in _models(runs)]
    for run in runs:
        client.delete_run(run.info.run_id)
    if study.experiment == study.name and all(removed):
        _remove_experiment(client, experiment)
    return Removed(len(runs), sum(removed), len(removed) - sum(removed))


def _models(runs: list[Any]) -> list[Any]:
    return [output for run in runs if run.outputs for output in run.outputs.model_outputs]


def _remove_model(client: Client, model_id: str) -> bool:
    """Whether the model went; a registered one is in use."""
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    model = client.get_logged_model(model_id)
    if model.tags.get("mlflow.modelVersions"):
        return False
    repository = get_artifact_repository(model.artifact_location, tracking_uri=client.tracking_uri)
    repository.delete_artifacts()
    client.delete_logged_model(model_id)
    return True


def _remove_experiment(client: Client, experiment: Any) -> None:
    """An experiment with nothing left in it. It goes into the bin under another name: taken out
    for a new study of that name, it would bring the old runs back."""
    if client.search_runs([experiment.experiment_id], max_results=1):
        return
    folder = artifacts_of(client, experiment.name)
    experiment_id = experiment.experiment_id
    # MLflow's names have 256 characters on PostgreSQL.
    client.rename_experiment(experiment_id, f"{experiment.name[:200]} (deleted {experiment_id})")
    client.delete_experiment(experiment_id)
    path = None if folder is None else local_path(folder)
    if path is not None and local_path(experiment.artifact_location) == path:
        shutil.rmtree(path, ignore_errors=True)
