"""Losses against Keras' own: the values that are reported and the steps that are taken."""

import os
from functools import cache
from typing import Any

import pytest

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import keras
import numpy as np
import tensorflow as tf
from keras_reference import Built, compare, dense_network, far_apart, fitted
from tensorflow_helpers import make_dataset, make_request, train

from tuner.search_space.parameters import LOSSES
from tuner.study.messages import TrialRequest
from tuner.training.ops.losses import Objective
from tuner.training.ops.scalars import Scalars
from tuner.training.trial import Trainer

pytestmark = pytest.mark.tensorflow

EXERCISES = {
    "loss": "test_an_epoch_of_each_loss",
    "huber_delta": "test_huber_changes_at_its_delta",
    "label_smoothing": "test_an_epoch_of_each_loss",
}

KERAS = keras.losses
# `auto` is compared in engines/test_keras_engine.py.
CASES: list[tuple[str, dict[str, Any], Any]] = [
    ("classes", {"loss": "cross_entropy"}, KERAS.CategoricalCrossentropy()),
    ("classes", {"loss": "mse"}, KERAS.MeanSquaredError()),
    (
        "classes",
        {"label_smoothing": 0.2},
        KERAS.CategoricalCrossentropy(label_smoothing=0.2),
    ),
    ("binary", {"loss": "cross_entropy"}, KERAS.BinaryCrossentropy()),
    ("binary", {"loss": "mse"}, KERAS.MeanSquaredError()),
    (
        "binary",
        {"loss": "cross_entropy", "label_smoothing": 0.3},
        KERAS.BinaryCrossentropy(label_smoothing=0.3),
    ),
    ("regression", {"loss": "mse"}, KERAS.MeanSquaredError()),
    ("regression", {"loss": "mae"}, KERAS.MeanAbsoluteError()),
    ("regression", {"loss": "huber", "huber_delta": 0.4}, KERAS.Huber(0.4)),
    ("regression", {"loss": "huber", "huber_delta": 1.7}, KERAS.Huber(1.7)),
]


def named(case: Any) -> str:
    return " ".join(map(str, case.values())) if isinstance(case, dict) else ""


@pytest.mark.parametrize(("task", "params", "loss"), CASES, ids=named)
def test_an_epoch_of_each_loss(task: str, params: dict[str, Any], loss: Any) -> None:
    expected = by_keras(task, params, loss)
    compare(Trainer(make_dataset(task)), request_of(params), expected)
    if loss.get_config() != plain_loss(task).get_config():
        assert far_apart(plain_by_keras(task)[0], expected[0])


def request_of(params: dict[str, Any]) -> TrialRequest:
    return make_request(learning_rate=0.05, batch_size=25, **params)


def by_keras(task: str, params: dict[str, Any], loss: Any) -> Built:
    dataset = make_dataset(task)
    network = dense_network(dataset, [keras.layers.Dense(8, activation="tanh")])
    optimizer = keras.optimizers.SGD(0.05)
    return fitted(dataset, request_of(params), network, optimizer, loss, task == "classes")


def plain_loss(task: str) -> Any:
    return next(loss for its_task, _, loss in CASES if its_task == task)


@cache
def plain_by_keras(task: str) -> Built:
    return by_keras(task, {}, plain_loss(task))


def row_losses(task: str, outputs: int, y: Any, predicted: Any, **params: Any) -> np.ndarray:
    scalars = Scalars()
    scalars.set(params)
    objective = Objective(task, outputs, params, scalars)
    return np.asarray(objective.row_values(tf.constant(y), tf.constant(predicted, tf.float32))[0])


def test_huber_changes_at_its_delta() -> None:
    errors = np.array([-3.0, -0.51, -0.5, -0.1, 0.0, 0.25, 0.5, 0.51, 2.0], np.float32)
    losses = row_losses(
        "regression", 1, np.zeros(9, np.float32), errors[:, None], loss="huber", huber_delta=0.5
    )
    size = np.abs(errors)
    expected = np.where(size <= 0.5, size**2 / 2, 0.5 * (size - 0.25))
    np.testing.assert_allclose(losses, expected, rtol=1e-6)


def test_smoothed_targets_by_hand() -> None:
    p = np.array([[0.7, 0.2, 0.1], [0.05, 0.05, 0.9]])
    target = np.array([[0.8, 0.1, 0.1], [0.1, 0.8, 0.1]])  # a share of 0.3 over three classes
    y = np.array([0, 1], np.int32)
    losses = row_losses("classes", 3, y, p, label_smoothing=0.3)
    np.testing.assert_allclose(losses, -(target * np.log(p)).sum(1), rtol=1e-5)
    losses = row_losses("classes", 3, y, p, loss="mse", label_smoothing=0.3)
    np.testing.assert_allclose(losses, ((target - p) ** 2).mean(1), rtol=1e-5)
    share = np.array([0.15, 0.85])
    losses = row_losses("binary", 1, y, p[:, :1], loss="mse", label_smoothing=0.3)
    np.testing.assert_allclose(losses, (share - p[:, 0]) ** 2, rtol=1e-5)


@pytest.mark.parametrize("task", LOSSES)
def test_every_loss_of_a_task_is_finite_at_its_extremes(task: str) -> None:
    outputs = 3 if task == "classes" else 1
    y = np.zeros(2, np.float32 if task == "regression" else np.int32)
    worst = np.array([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]])[:, -outputs:]
    for loss in LOSSES[task]:
        for smoothing in [0.0] if task == "regression" else [0.0, 0.1]:
            params = {"loss": loss, "huber_delta": 1.0, "label_smoothing": smoothing}
            assert np.isfinite(row_losses(task, outputs, y, worst, **params)).all(), params


def test_metrics_are_not_smoothed() -> None:
    dataset = make_dataset()
    requests = [make_request(learning_rate=1e-30, label_smoothing=share) for share in (0.0, 0.9)]
    plain, smoothed = (train(Trainer(dataset), request)[0][0].metrics for request in requests)
    assert smoothed["accuracy"] == plain["accuracy"]
    assert smoothed["val_accuracy"] == plain["val_accuracy"]
    assert smoothed["val_loss"] != pytest.approx(plain["val_loss"], rel=1e-2)
