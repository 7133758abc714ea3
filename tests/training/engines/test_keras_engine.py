"""One compiled epoch against Keras' own `fit`, fed the same batches in the same order."""

import os
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import keras
import numpy as np
from tensorflow_helpers import make_dataset, make_request, on_disk, train, weights

from tuner.data import Dataset
from tuner.study.engines import Engine
from tuner.study.messages import TrialRequest
from tuner.training.engines.keras import KerasProgram
from tuner.training.trial import Trainer, epoch_order

pytestmark = pytest.mark.tensorflow

EXERCISES = {"batch_size": "test_resident_graph"}

# 75 training rows: every batch size here leaves a short last batch, which is trained too.
CASES: dict[str, tuple[str, bool, dict[str, Any]]] = {
    "sgd": (
        "classes",
        True,
        {"depth": 2, "width": [7, 5], "activation": "relu", "batch_size": 8},
    ),
    "momentum": (
        "binary",
        False,
        {"batch_norm": True, "momentum": 0.9, "learning_rate": 0.05, "batch_size": 16},
    ),
    "adam": (
        "regression",
        False,
        {"optimizer": "adam", "activation": "sigmoid", "learning_rate": 0.02},
    ),
    "adam with batch norm": (
        "classes",
        False,
        {"batch_norm": True, "optimizer": "adam", "learning_rate": 0.02, "batch_size": 32},
    ),
}
LOSSES = {
    "classes": "sparse_categorical_crossentropy",
    "binary": "binary_crossentropy",
    "regression": "mean_squared_error",
}
HEADS = {"classes": "softmax", "binary": "sigmoid", "regression": None}


@pytest.fixture(autouse=True)
def _uneven_validation_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """33 rows in four chunks of 9: the last is partly padding."""
    monkeypatch.setattr("tuner.training.engines.feeds._CHUNK_ROWS", 10)


@dataclass(frozen=True)
class Expected:
    weights: list[np.ndarray]
    metrics: dict[str, float] = field(default_factory=dict)


def data_and_request(case: str) -> tuple[Dataset, TrialRequest]:
    task, images, params = CASES[case]
    return make_dataset(task, images=images), make_request(seed=3, intervals=3, **params)


@cache
def keras_epoch(case: str) -> Expected:
    """What Keras makes of the epoch, from the weights that the trial starts with."""
    dataset, request = data_and_request(case)
    program = KerasProgram("mlp", request.params, dataset)
    program.start(request.params, request.seed)
    model = keras_network(dataset, request.params)
    model.set_weights(program.weights())
    metrics: list[Any] = ["accuracy"]
    if dataset.task == "regression":
        metrics = ["mae", keras.metrics.RootMeanSquaredError(name="rmse")]
    model.compile(
        keras_optimizer(request.params), LOSSES[dataset.task], metrics=metrics, run_eagerly=True
    )
    order = epoch_order(request.seed, 1, len(dataset.train))
    x, y = scaled(dataset, "train")
    history = model.fit(
        x[order],
        y[order],
        batch_size=request.params["batch_size"],
        shuffle=False,
        validation_data=scaled(dataset, "validation"),
        verbose=0,
    ).history
    return Expected(model.get_weights(), {name: last for name, (last,) in history.items()})


def keras_network(dataset: Dataset, params: dict[str, Any]) -> Any:
    width, depth, normalised = params["width"], params["depth"], params["batch_norm"]
    layers = [keras.Input(dataset.input_shape), keras.layers.Flatten()]
    for units in width if isinstance(width, list) else [width] * depth:
        layers.append(keras.layers.Dense(units, use_bias=not normalised))
        layers += [keras.layers.BatchNormalization()] if normalised else []
        layers.append(keras.layers.Activation(params["activation"]))
    return keras.Sequential(
        [*layers, keras.layers.Dense(dataset.outputs, activation=HEADS[dataset.task])]
    )


def keras_optimizer(params: dict[str, Any]) -> Any:
    if params["optimizer"] == "adam":
        return keras.optimizers.Adam(params["learning_rate"])
    return keras.optimizers.SGD(params["learning_rate"], momentum=params["momentum"])


def scaled(dataset: Dataset, part: str) -> tuple[np.ndarray, np.ndarray]:
    split = dataset.splits[part]
    y = dataset.target_scaling.apply(split.y) if dataset.task == "regression" else split.y
    return dataset.scaling.apply(split.x), y


def compare(case: str, trainer: Trainer, engine: str, asked: Engine = "keras") -> None:
    request = replace(data_and_request(case)[1], engine=asked)
    intervals, ended = train(trainer, request)
    expected = keras_epoch(case)
    assert ended.engine == engine
    for ours, theirs in zip(weights(trainer), expected.weights, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-4)
    unit = 1 / float(trainer.dataset.target_scaling.scale)
    for name, value in expected.metrics.items():
        in_units = value * unit if name.endswith(("mae", "rmse")) else value
        assert intervals[-1].metrics[name] == pytest.approx(in_units, rel=2e-5), name
    assert set(intervals[-1].metrics) == set(expected.metrics)


@pytest.mark.parametrize("case", CASES)
def test_resident_graph(case: str) -> None:
    compare(case, Trainer(data_and_request(case)[0]), "keras")


@pytest.mark.parametrize("case", CASES)
def test_shared_graph(case: str) -> None:
    compare(case, Trainer(data_and_request(case)[0]), "graph", "auto")


@pytest.mark.parametrize("case", ["sgd", "momentum", "adam"])
@pytest.mark.usefixtures("xla")
def test_resident_xla(case: str) -> None:
    compare(case, Trainer(data_and_request(case)[0]), "keras, xla")


def test_streamed_graph(tmp_path: Path) -> None:
    mapped = on_disk(data_and_request("adam")[0], tmp_path)
    compare("adam", Trainer(mapped, budget_bytes=0), "keras")


@pytest.mark.usefixtures("xla")
def test_streamed_xla(tmp_path: Path) -> None:
    mapped = on_disk(data_and_request("sgd")[0], tmp_path)
    compare("sgd", Trainer(mapped, budget_bytes=0), "keras, xla")
