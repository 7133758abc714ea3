"""The data of a study as MLflow knows data: a name, a digest, a small description."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from tuner.data import Dataset, open_dataset
from tuner.errors import DatasetError
from tuner.study.spec import StudySpec
from tuner.tracking import content

# 64 bits of the fingerprint, to be read by people; MLflow takes at most 36 characters.
_DIGEST = 16
_EXAMPLE_ROWS = 2


def open_prepared(folder: Path | None) -> Dataset | None:
    """The prepared data, mapped from disk; None where there are none to look into."""
    if folder is None:
        return None
    try:
        return open_dataset(folder)
    except DatasetError:
        return None


def dataset_input(spec: StudySpec, dataset: Dataset | None) -> Any:
    """MLflow's record of the data that a run was trained on."""
    from mlflow.entities import Dataset as DatasetEntity
    from mlflow.entities import DatasetInput, InputTag

    source = spec.data.source
    entity = DatasetEntity(
        name=content.dataset_name(Path(source).name or source),
        digest=spec.fingerprint[:_DIGEST],
        source_type="local",
        source=json.dumps({"uri": content.dataset_source(source)}),
        schema=json.dumps(_schema(dataset)) if dataset else None,
        profile=json.dumps(_profile(spec, dataset)),
    )
    return DatasetInput(entity, [InputTag("mlflow.data.context", "training")])


def _schema(dataset: Dataset) -> dict[str, Any]:
    def tensor(array: Any) -> list[dict[str, Any]]:
        shape = [-1, *(int(size) for size in array.shape[1:])]
        return [{"type": "tensor", "tensor-spec": {"dtype": str(array.dtype), "shape": shape}}]

    split = dataset.train
    # MLflow wants the two as JSON within JSON.
    specs = {"features": json.dumps(tensor(split.x)), "targets": json.dumps(tensor(split.y))}
    return {"mlflow_tensorspec": specs}


def _profile(spec: StudySpec, dataset: Dataset | None) -> dict[str, Any]:
    if dataset is None:
        return {"task": spec.task, "train_rows": spec.train_rows}
    rows = {f"{part}_rows": len(split) for part, split in dataset.splits.items()}
    return {"task": spec.task, **rows, "bytes": dataset.nbytes, "labels": list(dataset.labels)[:50]}


def input_example(dataset: Dataset | None, shape: tuple[int, ...]) -> Any:
    """Unscaled training rows (n, *shape), float32 or what the network takes; a row of zeros where
    no data are at hand."""
    if dataset is None or dataset.input_shape != shape:
        return np.zeros((1, *shape), np.float32)
    rows = np.asarray(dataset.train.x[:_EXAMPLE_ROWS], np.float32)
    if dataset.shift is None:
        return rows
    exact = rows.astype(np.float64) + dataset.shift
    return exact if dataset.float64_inputs else exact.astype(np.float32)
