"""Saved networks without TensorFlow: an archive as Keras writes it, with a description."""

import json
import threading
import time
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from tuner.preparation.encoding import Column
from tuner.preparation.keras_file import write_description
from tuner.preparation.network_description import NetworkDescription
from tuner.preparation.preparation import Preparation

TABLE = Preparation(
    input_shape=(3,),
    columns=(
        Column("age", fill=30.0),
        Column("town", kind="category", categories=("Bern", "Oslo")),
    ),
    is_table=True,
    target="left",
)


def describe(**changes: Any) -> NetworkDescription:
    """Of a network for a table of two columns and two labels."""
    values: dict[str, Any] = {
        "preparation": TABLE,
        "task": "binary",
        "labels": ("no", "yes"),
        "metric": "val_auc",
        "fingerprint": "f" * 64,
        "data": "people.csv",
        "version": "0.1.0",
        "study": "people",
        "study_uuid": "u" * 32,
        "trial": 3,
    }
    return NetworkDescription(**values | changes)


def write_network(path: Path, registered: str | None = None, **changes: Any) -> Path:
    """A file with the description, which Keras itself could not load. `registered`: the name of a
    layer of the user's own."""
    write_plain_network(path, registered)
    write_description(path, describe(**changes))
    return path


def write_plain_network(path: Path, registered: str | None = None) -> Path:
    """The same without a description."""
    layer = {"module": "keras.layers", "class_name": "Dense", "registered_name": registered}
    layer |= {"config": {"activation": "relu"}}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("metadata.json", json.dumps({"keras_version": "3.15.0"}))
        archive.writestr("config.json", json.dumps({"config": {"layers": [layer]}}))
        archive.writestr("model.weights.h5", np.random.default_rng(0).bytes(2000))
    return path


class FakeNetwork:
    """Gives the mean of each prepared row, (n, 1)."""

    def predict_on_batch(self, inputs: np.ndarray) -> np.ndarray:
        return inputs.reshape(len(inputs), -1).mean(axis=1, keepdims=True)


class OneAtATime(FakeNetwork):
    """A network that must not be called by two threads at once, as Keras' must not."""

    def __init__(self) -> None:
        self._turn = threading.Lock()

    def predict_on_batch(self, inputs: np.ndarray) -> np.ndarray:
        assert self._turn.acquire(blocking=False), "another thread is in the network"
        try:
            time.sleep(0.002)
            return super().predict_on_batch(inputs)
        finally:
            self._turn.release()
