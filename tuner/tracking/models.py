"""Logged models: MLflow's Keras flavour of a .keras file, written without TensorFlow.

The layout is what `mlflow.keras.save_model` makes, which would load the model to look at it.
"""

import json
import platform
import shutil
import tempfile
import zipfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import yaml

from tuner.data import Dataset
from tuner.spec import StudySpec
from tuner.tracking.client import Client
from tuner.tracking.inputs import input_example

NAME = "model"

_DATA = "data"
_PACKAGES = ("mlflow", "keras", "tensorflow")


def input_shape(keras_file: Path) -> tuple[int, ...] | None:
    """The shape of one row of what a saved model takes; None for what cannot be read."""
    try:
        with zipfile.ZipFile(keras_file) as archive:
            layers = json.loads(archive.read("config.json"))["config"]["layers"]
        inputs = [layer for layer in layers if layer["class_name"] == "InputLayer"]
        return tuple(int(size) for size in inputs[0]["config"]["batch_shape"][1:])
    except (OSError, zipfile.BadZipFile, LookupError, TypeError, ValueError):
        return None


def log_model(
    client: Client,
    run_id: str,
    keras_file: Path,
    shape: tuple[int, ...],
    spec: StudySpec,
    dataset: Dataset | None,
) -> str:
    """Log the model as the run's output; its id. Repeating it goes on with what an interrupted
    call began."""
    run = client.get_run(run_id)
    model = _linked(client, run)
    if model is None:
        model = _unlinked(client, run) or _begin(client, run)
        # Linked before it is filled: whoever goes on after a break finds it by its run.
        client.log_outputs(run_id, [_output(model)])
    if str(model.status) != "READY":
        with tempfile.TemporaryDirectory(prefix="tuner-model-") as folder:
            _write(Path(folder), keras_file, shape, spec, dataset, model)
            client.log_model_artifacts(model.model_id, folder)
        client.finalize_logged_model(model.model_id, "READY")
    return str(model.model_id)


def _linked(client: Client, run: Any) -> Any:
    outputs = run.outputs.model_outputs if run.outputs else []
    return client.get_logged_model(outputs[0].model_id) if outputs else None


def _unlinked(client: Client, run: Any) -> Any:
    """One that was made, but we did not hear of it."""
    number = run.data.tags["trial"]
    found = client.search_logged_models(
        [run.info.experiment_id], filter_string=f"tags.trial = '{number}'"
    )
    return next((model for model in found if model.source_run_id == run.info.run_id), None)


def _output(model: Any) -> Any:
    from mlflow.entities import LoggedModelOutput

    return LoggedModelOutput(model.model_id, step=0)


def _begin(client: Client, run: Any) -> Any:
    return client.create_logged_model(
        run.info.experiment_id,
        name=NAME,
        source_run_id=run.info.run_id,
        tags={key: run.data.tags[key] for key in ("study", "trial")},
        params=run.data.params,
    )


def _write(
    folder: Path,
    keras_file: Path,
    shape: tuple[int, ...],
    spec: StudySpec,
    dataset: Dataset | None,
    logged: Any,
) -> None:
    """The model's folder: the network, its flavours, its environment, its example."""
    from mlflow import pyfunc
    from mlflow.models import Model

    (folder / _DATA).mkdir()
    shutil.copyfile(keras_file, folder / _DATA / "model.keras")
    (folder / _DATA / "keras_module.txt").write_text("keras")
    model = Model(
        artifact_path=logged.artifact_location,
        run_id=logged.source_run_id,
        model_id=logged.model_id,
        model_uuid=logged.model_id,
        signature=_signature(shape, _outputs(spec, dataset)),
        saved_input_example_info=_write_example(folder, input_example(dataset, shape)),
        metadata=_metadata(spec, dataset),
    )
    model.add_flavor(
        "keras",
        data=_DATA,
        keras_version=version("keras"),
        keras_backend="tensorflow",
        save_exported_model=False,
    )
    pyfunc.add_to_model(
        model, loader_module="mlflow.keras", conda_env="conda.yaml", python_env="python_env.yaml"
    )
    model.model_size_bytes = keras_file.stat().st_size
    model.save(str(folder / "MLmodel"))
    _write_environment(folder)


def _outputs(spec: StudySpec, dataset: Dataset | None) -> int:
    """Units of the head; -1 where only the data could tell."""
    if dataset is not None:
        return dataset.outputs
    return -1 if spec.task == "classes" else 1


def _signature(shape: tuple[int, ...], outputs: int) -> Any:
    import numpy as np
    from mlflow.models import ModelSignature
    from mlflow.types.schema import Schema, TensorSpec

    number = np.dtype(np.float32)
    return ModelSignature(
        inputs=Schema([TensorSpec(number, (-1, *shape))]),
        outputs=Schema([TensorSpec(number, (-1, outputs))]),
    )


def _metadata(spec: StudySpec, dataset: Dataset | None) -> dict[str, Any]:
    known = {"task": spec.task, "data": spec.data.source, "fingerprint": spec.fingerprint}
    return known | ({"labels": list(dataset.labels)} if dataset and dataset.labels else {})


def _write_example(folder: Path, example: Any) -> dict[str, str]:
    """The example as a caller passes it, and as a served model receives it."""
    rows = example.tolist()
    (folder / "input_example.json").write_text(json.dumps(rows))
    (folder / "serving_input_example.json").write_text(json.dumps({"inputs": rows}))
    return {
        "artifact_path": "input_example.json",
        "serving_input_path": "serving_input_example.json",
        "type": "ndarray",
    }


def _write_environment(folder: Path) -> None:
    pinned = [f"{name}=={found}" for name in _PACKAGES if (found := _version(name))]
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
    """The .keras file of the run's logged model, put into `folder`; None where it has none. Raises
    whatever MLflow raises."""
    from mlflow.artifacts import download_artifacts

    model = _linked(client, client.get_run(run_id))
    if model is None or str(model.status) != "READY":
        return None
    found = download_artifacts(
        # Not models:/…, which is looked up in the process' own MLflow and not in this one.
        artifact_uri=f"{model.artifact_location}/{_DATA}/model.keras",
        dst_path=str(folder),
        tracking_uri=client.tracking_uri,
    )
    return Path(found)
