"""Losses and metrics by task, as sums over rows, so that batches and chunks simply add up."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf

RowValues = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]


@dataclass(frozen=True)
class Objective:
    """`loss` and each of `metrics` give one float32 a row; `labels` shapes the target for them."""

    loss: RowValues
    metrics: Mapping[str, RowValues]
    labels: Callable[[tf.Tensor], tf.Tensor]

    @property
    def names(self) -> list[str]:
        return ["loss", *self.metrics]

    def row_values(self, y: tf.Tensor, outputs: tf.Tensor) -> list[tf.Tensor]:
        target = self.labels(y)
        return [self.loss(target, outputs), *(m(target, outputs) for m in self.metrics.values())]


def _column(y: tf.Tensor) -> tf.Tensor:
    return tf.expand_dims(tf.cast(y, tf.float32), -1)


def _absolute(y: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
    return tf.abs(y - outputs)[:, 0]


def _hit_class(y: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
    return tf.cast(tf.equal(tf.argmax(outputs, -1, tf.int32), y), tf.float32)


def _hit_binary(y: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
    return tf.cast(tf.equal(outputs[:, 0] > 0.5, y[:, 0] > 0.5), tf.float32)


OBJECTIVES = {
    "classes": Objective(
        keras.losses.sparse_categorical_crossentropy,
        {"accuracy": _hit_class},
        lambda y: tf.cast(y, tf.int32),
    ),
    "binary": Objective(keras.losses.binary_crossentropy, {"accuracy": _hit_binary}, _column),
    "regression": Objective(
        keras.losses.mean_squared_error,
        {"mae": _absolute, "mse": keras.losses.mean_squared_error},
        _column,
    ),
}


def readable(task: str, means: dict[str, float], target_scale: float) -> dict[str, float]:
    """Metrics in the target's own units: regression trains on a standardised target, so its errors
    are scaled back; the loss stays what the optimizer saw."""
    if task != "regression":
        return means
    return {
        "loss": means["loss"],
        "mae": means["mae"] * target_scale,
        "rmse": means["mse"] ** 0.5 * target_scale if means["mse"] >= 0 else means["mse"],
    }


def parameter_count(model: Any) -> int:
    return int(sum(v.shape.num_elements() for v in (w.value for w in model.trainable_variables)))
