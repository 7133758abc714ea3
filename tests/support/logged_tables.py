"""A table with all kinds of columns, and a network for it as a worker saves it, made without
TensorFlow."""

import io
import json
import math
import zipfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd

from tuner.data import Dataset
from tuner.data.load import load_dataset
from tuner.data.preparing import describe_network
from tuner.preparation.keras_file import write_description
from tuner.settings import load_settings
from tuner.study.messages import StudyOrigin
from tuner.study.spec import DataSpec

_CITIES = ("Rome", "Oslo", "Bern")


def make_table() -> pd.DataFrame:
    """60 rows: whole numbers and texts with gaps, days written day first, truth values."""
    rows = np.arange(60)
    days = pd.Timestamp("2021-01-01") + pd.to_timedelta(rows * 17 % 900, unit="D")
    return pd.DataFrame(
        {
            "age": [None if n % 7 == 3 else float(18 + n * 13 % 50) for n in rows],
            "income": 30_000.5 + rows * 977 % 8_000,
            "city": [None if n % 11 == 5 else _CITIES[n % 3] for n in rows],
            "zip": 1000 + rows % 4,
            "day": days.strftime("%d.%m.%Y"),
            "vip": rows % 3 == 0,
            "churn": np.where(rows % 5 < 2, "yes", "no"),
        }
    ).astype({"age": "Int64"})


def load_table(folder: Path) -> Dataset:
    """The table from a file, as a study would load it."""
    make_table().to_csv(folder / "people.csv", index=False)
    source = f"{folder / 'people.csv'}:churn"
    return load_dataset(DataSpec(source=source, columns={"zip": "category"}), load_settings())


def save_network(
    path: Path, dataset: Dataset, mean: dict[str, Any] | None = None, **changes: Any
) -> Path:
    """A file that Keras loads: the network gives the mean of a row's values as a probability
    (n, 1), and has no weights. `mean`: the layer that takes it, as Keras describes it. `changes`:
    the user's own `code` or a `problem`."""
    shape = list(dataset.input_shape)
    config = {"batch_shape": [None, *shape], "dtype": "float32", "name": "inputs"}
    layers = [
        {"module": "keras.layers", "class_name": "InputLayer", "config": config},
        _layer("Rescaling", scale=1e-4, offset=0.0),
        _layer("Reshape", target_shape=[math.prod(shape), 1]),
        mean or _layer("GlobalAveragePooling1D"),
        _layer("Activation", activation="sigmoid"),
    ]
    inner = {"name": "network", "layers": layers}
    model = {"module": "keras", "class_name": "Sequential", "config": inner}
    weights = io.BytesIO()
    h5py.File(weights, "w").close()
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", json.dumps(model))
        archive.writestr("metadata.json", json.dumps({"keras_version": version("keras")}))
        archive.writestr("model.weights.h5", weights.getvalue())
    origin = StudyOrigin("people", "u" * 32)
    write_description(
        path, describe_network(dataset, "val_auc", origin, 0, **{"code": {}} | changes)
    )
    return path


def _layer(kind: str, **config: Any) -> dict[str, Any]:
    return {"module": "keras.layers", "class_name": kind, "config": config}


class FakeNetwork:
    """Gives for each prepared row a probability (n, 1) in which every value counts."""

    def predict_on_batch(self, inputs: np.ndarray) -> np.ndarray:
        weights = np.linspace(0.3, 1.0, inputs[0].size)
        sums = inputs.reshape(len(inputs), -1) @ weights
        return (0.5 + 0.5 * np.sin(sums))[:, np.newaxis]
