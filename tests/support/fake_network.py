"""A saved network that needs no TensorFlow: a file with a description, and a formula in place of
the network. It takes a table with the columns `size`, a number, and `city`, Bonn or Rome."""

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from tuner.models.model import Model
from tuner.preparation.encoding import Column
from tuner.preparation.keras_file import write_description
from tuner.preparation.kinds import Task
from tuner.preparation.network_description import NetworkDescription
from tuner.preparation.preparation import Preparation

PREPARATION = Preparation(
    input_shape=(4,),
    columns=(
        Column("size", fill=2.0),
        Column("city", categories=("Bonn", "Rome"), missing=True, kind="category"),
    ),
    is_table=True,
    target="kind",
)


class FakeNetwork:
    """Gives scores of `size` and of Bonn: probabilities of labels, or of regression their sum."""

    def __init__(self, description: NetworkDescription) -> None:
        self.task, self.labels = description.task, description.labels

    def predict_on_batch(self, inputs: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        size, bonn = inputs[:, :2].astype(np.float64).T
        if self.task == "regression":
            return (10 * size + bonn)[:, np.newaxis].astype(np.float32)
        if self.task == "binary":
            return (1 / (1 + np.exp(-size - bonn)))[:, np.newaxis].astype(np.float32)
        scores = np.exp(
            [number * size + bonn * (number == 0) for number in range(len(self.labels))]
        )
        return (scores / scores.sum(axis=0)).T.astype(np.float32)


def describe(
    task: Task = "classes", labels: tuple[str, ...] = ("a", "b", "c")
) -> NetworkDescription:
    return NetworkDescription(PREPARATION, task, labels, "val_accuracy", "f" * 64, "toy", "0.1.0")


def save_fake_network(
    file: Path, description: NetworkDescription, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Write the file, and have whatever loads it get a Model of a FakeNetwork."""
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("config.json", "{}")
    write_description(file, description)
    monkeypatch.setattr(
        "tuner.models.predicting.load_brought",
        lambda *_: Model(description, FakeNetwork(description)),
    )
