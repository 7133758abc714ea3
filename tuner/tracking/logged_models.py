"""Logged models: MLflow's Keras flavour of a .keras file, written without TensorFlow.

The files are laid out as `mlflow.keras.save_model` does it, which would load the model first.

A network that takes float64 (`Dataset.shift`) gets a loader of its own: Keras' predict() makes
NumPy's float64 float32 before the network can subtract its offsets. The loader's code is part of
the logged model, so that loading does not need tuner.
"""

import json
import platform
import shutil
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import yaml

from tuner.data import Dataset
from tuner.errors import ArtifactError
from tuner.storage.attempt_rows import AttemptRow
from tuner.storage.studies import StudyRow
from tuner.study.artifacts import FolderArtifacts, Input
from tuner.study.spec import StudySpec
from tuner.system.locations import local_path
from tuner.system.temporary_folders import OwnFolder
from tuner.tracking.client import Client, is_not_found, local_folder
from tuner.tracking.content import UUID_TAG, input_example
from tuner.tracking.experiments import find_models, inside_store

_MODEL_NAME = "model"
_DATA = "data"
_NETWORK = "model.keras"
_TAGS = ("study", "trial")
_PACKAGES = ("mlflow", "keras", "tensorflow")
_LOADER_MODULE = "exact_inputs"
_CODE_FOLDER = "code"
_LOADER = '''"""Gives this network float64 inputs: Keras' own predict() would make them float32."""

import os

import keras
import numpy as np
import pandas as pd

BATCH = 1024


class Network:
    def __init__(self, model):
        self.model = model

    def get_raw_model(self):
        return self.model

    def predict(self, data, **_):
        table = data if isinstance(data, pd.DataFrame) else None
        rows = np.asarray(data if table is None else table.to_numpy(), "float64")
        batches = [rows[start : start + BATCH] for start in range(0, max(1, len(rows)), BATCH)]
        result = np.concatenate([self.model.predict_on_batch(batch) for batch in batches])
        return result if table is None else pd.DataFrame(result, index=table.index)


def _load_pyfunc(path, *_, **__):
    return Network(keras.saving.load_model(os.path.join(path, "model.keras")))
'''


def saved_network(networks: Path, attempt: AttemptRow) -> Path | None:
    """The network that the attempt saved; None if this machine does not have it."""
    if attempt.model is None:
        return None
    try:
        return FolderArtifacts(networks).get(attempt.model)
    except ArtifactError:
        return None


def log_model(
    client: Client,
    run_id: str,
    keras_file: Path,
    takes: Input,
    study: StudyRow,
    dataset: Dataset | None,
) -> str:
    """Log the model as the run's output, and return its id. A repeated call continues an
    interrupted one, and writes missing files again."""
    run = client.get_run(run_id)
    model = next(linked_models(client, run), None)
    if model is None:
        model = _unlinked(client, run) or _begin(client, run, study)
        # Linked before it has files: after an interruption the run leads to it.
        client.log_outputs(run_id, [_output(model)])
    elif UUID_TAG not in model.tags:
        client.set_logged_model_tags(model.model_id, {UUID_TAG: study.uuid})
    size = keras_file.stat().st_size
    if str(model.status) != "READY" or not has_files(client, model, size):
        with OwnFolder("tuner-model-") as folder:
            content = Path(folder) / "model"  # everything in it is sent to MLflow
            content.mkdir()
            _write(content, keras_file, takes, study.spec, dataset, model)
            client.log_model_artifacts(model.model_id, str(content))
        client.finalize_logged_model(model.model_id, "READY")
    return str(model.model_id)


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
        return {"MLmodel", _DATA} <= names
    folder = local_path(model.artifact_location)
    if folder is None or local_folder(client.tracking_uri) is None:
        return True  # the server's own disk, or a store that only it may list
    network = folder / _DATA / _NETWORK
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
    return bool(model.tags.get("mlflow.modelVersions"))


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


def _write(
    folder: Path,
    keras_file: Path,
    takes: Input,
    spec: StudySpec,
    dataset: Dataset | None,
    logged: Any,
) -> None:
    """The model's folder: the network, its flavours, its environment, its example."""
    from mlflow.models import Model

    (folder / _DATA).mkdir()
    shutil.copyfile(keras_file, folder / _DATA / _NETWORK)
    (folder / _DATA / "keras_module.txt").write_text("keras")
    model = Model(
        artifact_path=logged.artifact_location,
        run_id=logged.source_run_id,
        model_id=logged.model_id,
        model_uuid=logged.model_id,
        signature=_signature(takes, _outputs(spec, dataset), dataset),
        saved_input_example_info=_write_example(folder, input_example(dataset, takes.shape)),
        metadata=_metadata(spec, dataset),
    )
    _add_flavors(model, folder, takes)
    model.model_size_bytes = keras_file.stat().st_size
    model.save(str(folder / "MLmodel"))
    _write_environment(folder)


def _add_flavors(model: Any, folder: Path, takes: Input) -> None:
    """How MLflow loads the model: as a Keras network, and by its general interface."""
    from mlflow import pyfunc

    model.add_flavor(
        "keras",
        data=_DATA,
        keras_version=version("keras"),
        keras_backend="tensorflow",
        save_exported_model=False,
    )
    if takes.dtype == "float64":
        _add_float64_loader(model, folder, _DATA)
    else:
        pyfunc.add_to_model(
            model,
            loader_module="mlflow.keras",
            conda_env="conda.yaml",
            python_env="python_env.yaml",
        )


def _add_float64_loader(model: Any, folder: Path, data: str) -> None:
    """Make pyfunc load `model` (MLflow's), in its folder, by our own loader."""
    from mlflow import pyfunc

    (folder / _CODE_FOLDER).mkdir()
    (folder / _CODE_FOLDER / f"{_LOADER_MODULE}.py").write_text(_LOADER)
    pyfunc.add_to_model(
        model,
        loader_module=_LOADER_MODULE,
        data=data,
        code=_CODE_FOLDER,
        conda_env="conda.yaml",
        python_env="python_env.yaml",
    )


def _outputs(spec: StudySpec, dataset: Dataset | None) -> int:
    """Units of the head; -1 if only the data could tell."""
    if dataset is not None:
        return dataset.outputs
    return -1 if spec.task == "classes" else 1


def _signature(takes: Input, outputs: int, dataset: Dataset | None) -> Any:
    import numpy as np
    from mlflow.models import ModelSignature
    from mlflow.types.schema import Schema, TensorSpec

    exact = dataset is not None and bool(dataset.target_shift)
    given = np.dtype(np.float64 if exact else np.float32)
    taken = np.dtype(np.float64 if takes.dtype == "float64" else np.float32)
    return ModelSignature(
        inputs=Schema([TensorSpec(taken, (-1, *takes.shape))]),
        outputs=Schema([TensorSpec(given, (-1, outputs))]),
    )


def _metadata(spec: StudySpec, dataset: Dataset | None) -> dict[str, Any]:
    metadata = {"task": spec.task, "data": spec.data.source, "fingerprint": spec.fingerprint}
    return metadata | ({"labels": list(dataset.labels)} if dataset and dataset.labels else {})


def _write_example(folder: Path, example: Any) -> dict[str, str]:
    """Write the example as a caller passes it, and as a served model receives it."""
    rows = example.tolist()
    (folder / "input_example.json").write_text(json.dumps(rows))
    (folder / "serving_input_example.json").write_text(json.dumps({"inputs": rows}))
    return {
        "artifact_path": "input_example.json",
        "serving_input_path": "serving_input_example.json",
        "type": "ndarray",
    }


def _write_environment(folder: Path) -> None:
    pinned = [f"{name}=={number}" for name in _PACKAGES if (number := _version(name))]
    (folder / "requirements.txt").write_text("\n".join(pinned) + "\n")
    python = platform.python_version()
    environments: dict[str, dict[str, Any]] = {
        "python_env.yaml": {
            "python": python,
            "build_dependencies": ["pip", "setuptools", "wheel"],
            "dependencies": ["-r requirements.txt"],
        },
        "conda.yaml": {
            "name": "mlflow-env",
            "channels": ["conda-forge"],
            "dependencies": [f"python={python}", "pip", {"pip": pinned}],
        },
    }
    for name, content in environments.items():
        (folder / name).write_text(yaml.safe_dump(content, sort_keys=False))


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def download_model(client: Client, run_id: str, folder: Path) -> Path | None:
    """Download the .keras file of the run's logged model into `folder`; None if it has none. Raises
    whatever MLflow raises."""
    from mlflow.artifacts import download_artifacts

    model = next(linked_models(client, client.get_run(run_id)), None)
    if model is None or str(model.status) != "READY":
        return None
    network = download_artifacts(
        # Not models:/…, which MLflow looks up in the process' own store, not in this one.
        artifact_uri=f"{model.artifact_location}/{_DATA}/{_NETWORK}",
        dst_path=str(folder),
        tracking_uri=client.tracking_uri,
    )
    return Path(network)
