"""The files of a logged model: MLflow's Keras flavour and its general interface (pyfunc), written
without TensorFlow.

They are laid out as `mlflow.keras.save_model` does it, which would load the network first.
"""

import importlib
import platform
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from tuner.data import Dataset
from tuner.data.preparing import network_inputs
from tuner.errors import ArtifactError, first_line
from tuner.preparation.keras_file import has_description, read_description
from tuner.preparation.network_description import NetworkDescription
from tuner.preparation.predictions import count_rows
from tuner.preparation.served_network import NETWORK_FILE
from tuner.study.artifacts import Input, input_of
from tuner.study.spec import StudySpec
from tuner.tracking.model_signatures import (
    bare_signature,
    example_of,
    metadata_of,
    signature_of,
    write_example,
)
from tuner.tracking.travelling_code import write_code

DATA = "data"
_CODE = "code"
# What the network and the code that travels with it import.
_PACKAGES = ("mlflow", "keras", "tensorflow", "numpy", "pandas", "pyarrow")
_ENVIRONMENT = {"conda_env": "conda.yaml", "python_env": "python_env.yaml"}


@dataclass(frozen=True)
class NetworkFile:
    """A .keras file. `takes`: its input. `description`: None in a file of an earlier version."""

    file: Path
    takes: Input
    description: NetworkDescription | None


def read_network(file: Path) -> NetworkFile:
    """Raises ArtifactError, one line, for a file that cannot be read, was changed, or whose network
    could not be loaded again when it was saved."""
    takes = input_of(file)
    if takes is None:
        raise ArtifactError(f"{file.name} cannot be read here")
    description = read_description(file, file.name) if has_description(file) else None
    if description is not None and description.problem:
        raise ArtifactError(f"{file.name}: {description.problem}")
    return NetworkFile(file, takes, description)


def write_model(
    folder: Path, network: NetworkFile, spec: StudySpec, dataset: Dataset | None, logged: Any
) -> None:
    """Write the model's files into the empty `folder`, and check them. `logged`: the model as
    MLflow has it. `dataset`: gives the example, if it is there.

    Raises ArtifactError where the files do not read the training rows as training did.
    """
    (folder / DATA).mkdir()
    shutil.copyfile(network.file, folder / DATA / NETWORK_FILE)
    (folder / DATA / "keras_module.txt").write_text("keras")
    loader = write_code(folder / _CODE)
    model = _described(network, spec, dataset, logged)
    example = _example(network, dataset)
    if example is not None:
        model.saved_input_example_info = write_example(folder, example)
    _add_flavors(model, loader)
    model.save(str(folder / "MLmodel"))
    _write_environment(folder)
    if network.description is not None:
        _check(folder, loader, dataset)


def _described(network: NetworkFile, spec: StudySpec, dataset: Dataset | None, logged: Any) -> Any:
    from mlflow.models import Model

    description = network.description
    if description is not None:
        signature = signature_of(description)
    else:
        signature = bare_signature(network.takes, _outputs(spec, dataset))
    model = Model(
        artifact_path=logged.artifact_location,
        run_id=logged.source_run_id,
        model_id=logged.model_id,
        model_uuid=logged.model_id,
        signature=signature,
        metadata=metadata_of(spec, description, dataset),
    )
    model.model_size_bytes = network.file.stat().st_size
    return model


def _example(network: NetworkFile, dataset: Dataset | None) -> Any:
    if dataset is None or dataset.input_shape != network.takes.shape:
        return None
    description = network.description
    return example_of(dataset, None if description is None else description.preparation)


def _outputs(spec: StudySpec, dataset: Dataset | None) -> int:
    """Units of the head; -1 if only the data could tell."""
    if dataset is not None:
        return dataset.outputs
    return -1 if spec.task == "classes" else 1


def _add_flavors(model: Any, loader: str) -> None:
    """How MLflow loads the model: as a Keras network, and by its general interface."""
    from mlflow import pyfunc

    model.add_flavor(
        "keras",
        data=DATA,
        keras_version=version("keras"),
        keras_backend="tensorflow",
        save_exported_model=False,
    )
    pyfunc.add_to_model(model, loader_module=loader, data=DATA, code=_CODE, **_ENVIRONMENT)


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


def _check(folder: Path, loader: str, dataset: Dataset | None) -> None:
    """Read the example as MLflow does and prepare it by the code that travels with the model: it
    must become the rows that training had. Its worker has loaded and scored the network itself
    (training/saved_check.py), so TensorFlow is not needed."""
    from mlflow.models import Model, validate_schema

    try:
        with _on_path(folder / _CODE):
            travelling = importlib.import_module(loader)
        description = travelling.read_description(folder / DATA / NETWORK_FILE)
        model = Model.load(str(folder / "MLmodel"))
        example = model.load_input_example(str(folder))
        if example is None or dataset is None:
            return
        validate_schema(example, model.signature.inputs)
        inputs = description.preparation.prepare(example).inputs
    except Exception as error:
        raise ArtifactError(f"its model would not load ({first_line(error)})") from error
    expected = network_inputs(dataset, dataset.train.x[: count_rows(inputs)])
    pairs = [(inputs[n], expected[n]) for n in inputs] if dataset.inputs else [(inputs, expected)]
    if not all(np.allclose(*pair, rtol=1e-5, atol=1e-6) for pair in pairs):
        raise ArtifactError("its model would not read the training rows as training did")


@contextmanager
def _on_path(folder: Path) -> Iterator[None]:
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))
