"""Logged models: the networks of trials in MLflow. What a model's files hold: model_folders.py."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tuner.data import Dataset
from tuner.errors import ArtifactError, ArtifactsUnavailable, TrackingError
from tuner.preparation.served_network import NETWORK_FILE
from tuner.storage.attempt_rows import AttemptRow
from tuner.storage.studies import StudyRow
from tuner.study.artifacts import artifacts_at
from tuner.system.locations import local_path
from tuner.system.temporary_folders import OwnFolder
from tuner.tracking.client import Client, download_file, is_not_found, local_folder
from tuner.tracking.content import UUID_TAG
from tuner.tracking.experiments import find_models, inside_store
from tuner.tracking.model_folders import DATA, NetworkFile, read_network, write_model

_MODEL_NAME = "model"
_TAGS = ("study", "trial")
# MLflow's own, of a logged model: its versions of registered models, as JSON.
VERSIONS_TAG = "mlflow.modelVersions"


def saved_network(networks: str | Path, attempt: AttemptRow) -> NetworkFile:
    """The network that the attempt saved. `networks`: the project's store, a folder or a URL.
    Raises ArtifactError, one line, where this machine does not have its file, or it cannot be
    used; ArtifactsUnavailable where the store cannot be asked."""
    if attempt.model is None:
        raise ArtifactError("no network was saved")
    try:
        file = artifacts_at(networks).get(attempt.model)
    except ArtifactsUnavailable:
        raise
    except ArtifactError as error:
        raise ArtifactError(f"{Path(attempt.model.path).name} cannot be read here") from error
    return read_network(file)


def is_readable(networks: str | Path, attempt: AttemptRow) -> bool:
    """Whether the network that the attempt saved can be logged from here."""
    try:
        saved_network(networks, attempt)
    except ArtifactError:
        return False
    return True


def log_model(
    client: Client, run_id: str, network: NetworkFile, study: StudyRow, dataset: Dataset | None
) -> str:
    """Log the network as the run's output, and return the model's id. A repeated call continues an
    interrupted one, and writes missing files again. `dataset`: gives the input example.

    Raises ArtifactError for a network that cannot be logged, else whatever MLflow raises.
    """
    run = client.get_run(run_id)
    model = next(linked_models(client, run), None)
    if model is None:
        model = _unlinked(client, run) or _begin(client, run, study)
        # Linked before it has files: after an interruption the run leads to it.
        client.log_outputs(run_id, [_output(model)])
    elif UUID_TAG not in model.tags:
        client.set_logged_model_tags(model.model_id, {UUID_TAG: study.uuid})
    size = network.file.stat().st_size
    if str(model.status) != "READY" or not has_files(client, model, size):
        _send_files(client, model, network, study, dataset)
        if not has_files(client, model, size):
            raise TrackingError(f"MLflow has not kept the files of model {model.model_id}")
        client.finalize_logged_model(model.model_id, "READY")
    return str(model.model_id)


def _send_files(
    client: Client, model: Any, network: NetworkFile, study: StudyRow, dataset: Dataset | None
) -> None:
    with OwnFolder("tuner-model-") as folder:
        content = Path(folder) / "model"  # everything in it is sent to MLflow
        content.mkdir()
        write_model(content, network, study.spec, dataset, model)
        client.log_model_artifacts(model.model_id, str(content))


def drop_broken_models(client: Client, run_id: str, size: int | None) -> None:
    """Delete the run's models whose files are gone, if they are not registered. MLflow could not
    load them, and their network is not here to write the files again."""
    for model in linked_models(client, client.get_run(run_id)):
        if not has_files(client, model, size) and not is_registered(model):
            client.delete_logged_model(model.model_id)


def linked_models(client: Client, run: Any) -> Iterator[Any]:
    """The run's models that still exist in MLflow."""
    for output in run.outputs.model_outputs if run.outputs else []:
        try:
            yield client.get_logged_model(output.model_id)
        except Exception as error:
            if not is_not_found(error):
                raise


def has_files(client: Client, model: Any, size: int | None = None) -> bool:
    """Whether the model's files exist, as far as this machine can tell. `size`: of its network in
    bytes, if known."""
    if model.artifact_location.startswith("mlflow-artifacts:"):
        names = {file.path for file in client.list_logged_model_artifacts(model.model_id)}
        return {"MLmodel", DATA} <= names
    folder = local_path(model.artifact_location)
    if folder is None or local_folder(client.tracking_uri) is None:
        return True  # the server's own disk, or a store that only it may list
    network = folder / DATA / NETWORK_FILE
    if not (folder / "MLmodel").is_file() or not network.is_file():
        return False
    return size is None or network.stat().st_size == size


def remove_models(client: Client, run: Any) -> tuple[int, int]:
    """Delete the models of one of our runs, except registered ones. Returns how many were deleted,
    and how many stay."""
    models = [model for model in linked_models(client, run) if is_ours(model, run)]
    registered = sum(not remove_model(client, model) for model in models)
    return len(models) - registered, registered


def is_ours(model: Any, run: Any) -> bool:
    """Whether we created the model: a user may link any model to a run."""
    uuid = model.tags.get(UUID_TAG)
    if uuid is None:  # an earlier version made it
        return bool(model.source_run_id == run.info.run_id)
    return bool(uuid == run.data.tags.get(UUID_TAG))


def remove_model(client: Client, model: Any) -> bool:
    """Delete the model and return True; a registered one is in use, and stays. Files are deleted
    only if they belong to this store: in a copied project they belong to the original."""
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    if is_registered(model):
        return False
    location = model.artifact_location
    if inside_store(client, location):
        get_artifact_repository(location, tracking_uri=client.tracking_uri).delete_artifacts()
    client.delete_logged_model(model.model_id)
    return True


def is_registered(model: Any) -> bool:
    return bool(model.tags.get(VERSIONS_TAG))


def has_users_tags(model: Any) -> bool:
    """Whether a user has tagged the model."""
    tags = set(model.tags) - {*_TAGS, UUID_TAG}
    return any(not tag.startswith("mlflow.") for tag in tags)


def _unlinked(client: Client, run: Any) -> Any:
    """The run's model that was created, but is not linked: MLflow's reply was lost."""
    number = run.data.tags["trial"]
    models = find_models(client, run.info.experiment_id, f"tags.trial = '{number}'")
    return next((model for model in models if model.source_run_id == run.info.run_id), None)


def _output(model: Any) -> Any:
    from mlflow.entities import LoggedModelOutput

    return LoggedModelOutput(model.model_id, step=0)


def _begin(client: Client, run: Any, study: StudyRow) -> Any:
    return client.create_logged_model(
        run.info.experiment_id,
        name=_MODEL_NAME,
        source_run_id=run.info.run_id,
        tags={key: run.data.tags[key] for key in _TAGS} | {UUID_TAG: study.uuid},
        params=run.data.params,
    )


def download_model(client: Client, run_id: str, folder: Path) -> Path | None:
    """Download the .keras file of the run's logged model into `folder`; None if it has none. Raises
    whatever MLflow raises."""
    model = next(linked_models(client, client.get_run(run_id)), None)
    if model is None or str(model.status) != "READY":
        return None
    return download_file(client, f"{model.artifact_location}/{DATA}/{NETWORK_FILE}", folder)
