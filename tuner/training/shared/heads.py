"""What comes before a network's first layer and behind its last one: scaling, loss, metrics."""

import math
from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from tuner.data import Dataset
from tuner.training.objective import Objective
from tuner.training.shared.design import Design

_HEADS = {"classes": tf.nn.softmax, "binary": tf.nn.sigmoid, "regression": tf.identity}


class Heads:
    """Both ends of the networks of one design on one data set."""

    def __init__(self, design: Design, dataset: Dataset) -> None:
        self._task, self._outputs = dataset.task, dataset.outputs
        self._width = math.prod(dataset.input_shape)
        self._rank = len(dataset.input_shape)
        self._wanted = {
            "loss": design["loss"] or "auto",
            "label_smoothing": float("label_smoothing" in design.may),
        }
        self._scale, self._offset = _constants(dataset.scaling)
        self._target_scale, self._target_offset = _constants(dataset.target_scaling)

    def objective(self, numbers: Mapping[str, tf.Tensor]) -> Objective:
        """The loss and metrics, with a trial's numbers in them."""
        return Objective(self._task, self._outputs, self._wanted, numbers)

    def scaled(self, x: tf.Tensor) -> tf.Tensor:
        """Raw inputs (…, rows, *shape) as (…, rows, inputs) float32, scaled."""
        ahead = tf.shape(x)[: x.shape.rank - self._rank]
        scaled = tf.cast(x, tf.float32) * self._scale + self._offset
        flat = tf.reshape(scaled, tf.concat([ahead, [self._width]], 0))
        return tf.ensure_shape(flat, [*x.shape[: x.shape.rank - self._rank], self._width])

    def row_values(self, raw: tf.Tensor, y: tf.Tensor, numbers: Any) -> list[tf.Tensor]:
        """Of each row its loss and metrics; `raw`: (rows, outputs), y: (rows,)."""
        return self.objective(numbers).row_values(self._target(y), _HEADS[self._task](raw))

    def lane_values(self, raw: tf.Tensor, y: tf.Tensor, numbers: Any) -> list[tf.Tensor]:
        """The same for trials side by side: raw (lanes, rows, outputs), y (lanes, rows)."""
        rows = tf.shape(y)[1]
        flat = {
            name: tf.repeat(numbers[name], rows)[:, tf.newaxis]
            for name in ("label_smoothing", "huber_delta")
        }
        found = self.row_values(tf.reshape(raw, [-1, self._outputs]), tf.reshape(y, [-1]), flat)
        return [tf.reshape(values, tf.shape(y)) for values in found]

    def _target(self, y: tf.Tensor) -> tf.Tensor:
        return y if y.dtype.is_integer else y * self._target_scale + self._target_offset


def _constants(scaling: Any) -> tuple[tf.Tensor, tf.Tensor]:
    return tf.constant(scaling.scale, tf.float32), tf.constant(scaling.offset, tf.float32)
