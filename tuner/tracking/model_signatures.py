"""What a logged model says of itself: its signature, its example and its metadata.

A network of named columns takes them as columns of type "any". MLflow checks types before our code
reads the rows, and its stricter types refuse what a CSV file brings: "double" refuses whole numbers
(int64), "long" refuses gaps, "string" refuses a column of gaps alone, and "datetime" reads
13/02/2024 in its own way. `Preparation` reads each cell as training did, and names the column and
the value that it cannot read. The kinds of the columns are in the metadata.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np

from tuner.data import Dataset
from tuner.data.preparing import network_inputs
from tuner.preparation.network_description import NetworkDescription
from tuner.preparation.predictions import PREDICTION, prediction_columns
from tuner.preparation.preparation import Preparation
from tuner.study.artifacts import Input
from tuner.study.spec import StudySpec

_MOST_EXAMPLES = 2  # of arrays, which may be large


def input_columns(preparation: Preparation) -> list[str] | None:
    """The names of the columns that the network takes; None for arrays without names."""
    names = preparation.names
    if names == tuple(str(i + 1) for i in range(len(names))):
        return None  # numbered by us, where gaps of a matrix were filled
    return list(names)


def signature_of(description: NetworkDescription) -> Any:
    """The signature of a network with its preparation: raw rows in, predictions out."""
    from mlflow.models import ModelSignature
    from mlflow.types.schema import AnyType, ColSpec, Schema, TensorSpec

    preparation = description.preparation
    labels = {head.column(PREDICTION) for head in description.targets if head.labels}
    output_specs = [
        ColSpec("string" if name in labels else "double", name)
        for name in prediction_columns(description.targets)
    ]
    names = input_columns(preparation)
    input_specs = [ColSpec(AnyType(), name) for name in names or ()]
    if names is None:
        input_specs = [
            TensorSpec(np.dtype(part.input_dtype), (-1, *_given_shape(part)), name or None)
            for name, part in (dict(preparation.inputs) or {"": preparation}).items()
        ]
    return ModelSignature(inputs=Schema(input_specs), outputs=Schema(output_specs))


def _given_shape(part: Preparation) -> tuple[int, ...]:
    """Of a row as it is given: a sequence of any length, without the channel that marks padding."""
    return part.input_shape if part.padding is None else (-1, len(part.padding))


def bare_signature(takes: Input, outputs: int) -> Any:
    """The signature of a network that an earlier version saved, without its preparation.
    `outputs`: the units of its head, -1 if unknown."""
    from mlflow.models import ModelSignature
    from mlflow.types.schema import Schema, TensorSpec

    taken = np.dtype(np.float64 if takes.dtype == "float64" else np.float32)
    return ModelSignature(
        inputs=Schema([TensorSpec(taken, (-1, *takes.shape))]),
        outputs=Schema([TensorSpec(np.dtype(np.float32), (-1, outputs))]),
    )


def metadata_of(
    spec: StudySpec, description: NetworkDescription | None, dataset: Dataset | None
) -> dict[str, Any]:
    """Facts for people who find the model."""
    facts: dict[str, Any] = {"task": spec.task, "data": spec.data_source}
    facts["fingerprint"] = spec.fingerprint
    labels = dataset.labels if dataset is not None else ()
    if description is not None:
        labels = description.labels
        facts["task"], facts["fingerprint"] = description.task, description.fingerprint
        facts["metric"], facts["tuner"] = description.metric, description.version
        facts["study"], facts["study_uuid"] = description.study, description.study_uuid
        facts["trial"] = description.trial
        if description.preparation.is_table:
            columns = description.preparation.columns or ()
            facts["columns"] = {column.name: column.kind for column in columns}
    return facts | ({"labels": list(labels)} if labels else {})


def example_of(dataset: Dataset, preparation: Preparation | None) -> Any:
    """The first training rows as they were given: a DataFrame, or an array of what has no names; of
    sequences of different lengths the first. None for a table that an earlier version prepared, and
    for an empty sequence. Without `preparation`: as the network takes them."""
    import pandas as pd

    if preparation is not None and preparation.is_table:
        return None if dataset.examples is None else pd.DataFrame(dataset.examples, dtype=object)
    rows = network_inputs(dataset, dataset.train.x[:_MOST_EXAMPLES])
    if isinstance(rows, dict):
        return rows
    if preparation is not None and preparation.padding is not None:
        return _sequence_of(rows[0], preparation)
    names = None if preparation is None else input_columns(preparation)
    return rows if names is None else pd.DataFrame(rows, columns=names)


def _sequence_of(padded: Any, preparation: Preparation) -> Any:
    """(1, its steps, channels) of a padded row, or its columns' lists in a DataFrame; None without
    steps."""
    import pandas as pd

    steps = padded[padded[:, -1] > 0, :-1]
    names = input_columns(preparation)
    if not len(steps) or names is None:
        return steps[np.newaxis] if len(steps) else None
    cells = {name: [steps[:, number].tolist()] for number, name in enumerate(names)}
    return pd.DataFrame(cells)


def _as_lists(example: Any) -> Any:
    """Nested lists of an array, or of each by name."""
    if isinstance(example, dict):
        return {name: rows.tolist() for name, rows in example.items()}
    return example.tolist()


def write_example(folder: Path, example: Any) -> dict[str, Any]:
    """Write the example as a caller passes it, and as a served model receives it. Returns what
    MLmodel says of it."""
    is_table = hasattr(example, "iloc")
    if is_table:
        rows = {"columns": list(example.columns), "data": example.to_numpy(object).tolist()}
        kind = {"type": "dataframe", "pandas_orient": "split"}
    else:
        rows, kind = _as_lists(example), {"type": "ndarray"}
    served = {"dataframe_split" if is_table else "inputs": rows}
    (folder / "input_example.json").write_text(json.dumps(rows), encoding="utf-8")
    (folder / "serving_input_example.json").write_text(json.dumps(served), encoding="utf-8")
    return {
        "artifact_path": "input_example.json",
        "serving_input_path": "serving_input_example.json",
        **kind,
    }
