"""Losses and metrics by task, as sums over rows, so that batches and chunks simply add up.

Trials side by side use the same formulas: their rows are put behind one another, each with the
numbers of its trial. To add a loss: its name in search_space/parameters.py, its entry in `_LOSSES`.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf

from tuner.data import Dataset
from tuner.search_space.parameters import LOSSES
from tuner.training.ops.scalars import Numbers
from tuner.training.program_key import ProgramKey

RowValues = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]
Loss = Callable[[tf.Tensor, tf.Tensor, Numbers], tf.Tensor]


@dataclass(frozen=True)
class Task:
    """`labels` shapes the target for the metrics, `probabilities` for losses, given how many
    outputs there are: one-hot for classes. Each of `metrics` gives one float32 a row.
    `activation`: of the output layer, for the shared programs."""

    metrics: Mapping[str, RowValues]
    labels: Callable[[tf.Tensor], tf.Tensor]
    probabilities: Callable[[tf.Tensor, int], tf.Tensor]
    activation: Callable[[tf.Tensor], tf.Tensor]


def _column(y: tf.Tensor) -> tf.Tensor:
    return tf.expand_dims(tf.cast(y, tf.float32), -1)


def _absolute_error(y: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
    return tf.abs(y - outputs)[:, 0]


def _right_class(y: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
    return tf.cast(tf.equal(tf.argmax(outputs, -1, tf.int32), y), tf.float32)


def _right_side(y: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
    return tf.cast(tf.equal(outputs[:, 0] > 0.5, y[:, 0] > 0.5), tf.float32)


TASKS = {
    "classes": Task(
        {"accuracy": _right_class},
        labels=lambda y: tf.cast(y, tf.int32),
        probabilities=lambda y, outputs: tf.one_hot(tf.cast(y, tf.int32), outputs),
        activation=tf.nn.softmax,
    ),
    "binary": Task(
        {"accuracy": _right_side},
        labels=_column,
        probabilities=lambda y, outputs: _column(y),
        activation=tf.nn.sigmoid,
    ),
    "regression": Task(
        {"mae": _absolute_error, "mse": keras.losses.mean_squared_error},
        labels=_column,
        probabilities=lambda y, outputs: _column(y),
        activation=tf.identity,
    ),
}
_CROSS_ENTROPY = {
    "classes": keras.losses.categorical_crossentropy,
    "binary": keras.losses.binary_crossentropy,
}


def _huber(y: tf.Tensor, outputs: tf.Tensor, numbers: Numbers) -> tf.Tensor:
    """Huber (1964): quadratic up to delta, linear beyond."""
    delta, error = numbers["huber_delta"], tf.abs(y - outputs)
    rows = tf.where(error <= delta, 0.5 * error**2, delta * error - 0.5 * delta**2)
    return tf.reduce_mean(rows, -1)


# Cross entropy is apart: its formula depends on the task.
_LOSSES: dict[str, Loss] = {
    "mse": lambda y, outputs, _: keras.losses.mean_squared_error(y, outputs),
    "mae": lambda y, outputs, _: keras.losses.mean_absolute_error(y, outputs),
    "huber": _huber,
}


def weigh_loss(rows: list[tf.Tensor], weights: tf.Tensor | None) -> list[tf.Tensor]:
    """Row values, as `row_values` gives them, with each row's loss times its weight. Metrics are
    not weighted. None: all rows count alike."""
    return rows if weights is None else [rows[0] * weights, *rows[1:]]


class Objective:
    """The loss that `params` ask for and the task's metrics."""

    def __init__(
        self, task: str, outputs: int, params: Mapping[str, Any], numbers: Numbers
    ) -> None:
        self._task, self._outputs, self._numbers = TASKS[task], outputs, numbers
        loss = params.get("loss", "auto")
        self._loss = LOSSES[task][0] if loss == "auto" else loss
        self._smooths = params.get("label_smoothing", 0.0) > 0
        self._cross_entropy = _CROSS_ENTROPY.get(task)
        self._plain_classes = task == "classes" and not self._smooths
        self._evenly = 1.0 / outputs if task == "classes" else 0.5

    @property
    def names(self) -> list[str]:
        return ["loss", *self._task.metrics]

    def row_values(self, y: tf.Tensor, outputs: tf.Tensor) -> list[tf.Tensor]:
        """The loss of each row (float32), then each metric's value."""
        labels = self._task.labels(y)
        metrics = [metric(labels, outputs) for metric in self._task.metrics.values()]
        return [self._row_losses(y, outputs), *metrics]

    def _row_losses(self, y: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
        if self._loss == "cross_entropy" and self._plain_classes:
            return keras.losses.sparse_categorical_crossentropy(self._task.labels(y), outputs)
        target = self._task.probabilities(y, self._outputs)
        if self._smooths:
            # Szegedy et al. (2016)
            share = self._numbers["label_smoothing"]
            target = target * (1.0 - share) + share * self._evenly
        if self._loss == "cross_entropy":
            assert self._cross_entropy is not None
            return self._cross_entropy(target, outputs)
        return _LOSSES[self._loss](target, outputs, self._numbers)


def metrics_in_target_units(
    task: str, means: dict[str, float], target_scale: float
) -> dict[str, float]:
    """Regression trains on a standardised target: its errors are scaled back to the target's own
    units; the loss stays what the optimizer saw."""
    if task != "regression":
        return means
    return {
        "loss": means["loss"],
        "mae": means["mae"] * target_scale,
        "rmse": means["mse"] ** 0.5 * target_scale if means["mse"] >= 0 else means["mse"],
    }


def parameter_count(model: Any) -> int:
    return int(sum(v.shape.num_elements() for v in (w.value for w in model.trainable_variables)))


class SharedObjective:
    """Scaled inputs, loss and metrics for all networks of one program key on a data set."""

    def __init__(self, key: ProgramKey, dataset: Dataset) -> None:
        self._task, self._outputs = dataset.task, dataset.outputs
        self._width = math.prod(dataset.input_shape)
        self._rank = len(dataset.input_shape)
        self._params = {
            "loss": key["loss"] or "auto",
            "label_smoothing": float("label_smoothing" in key.included),
        }
        self._scale, self._offset = _constants(dataset.scaling)
        self._target_scale, self._target_offset = _constants(dataset.target_scaling)

    def objective(self, numbers: Numbers) -> Objective:
        """The loss and metrics, with a trial's numbers in them."""
        return Objective(self._task, self._outputs, self._params, numbers)

    def scaled(self, x: tf.Tensor) -> tf.Tensor:
        """Raw inputs (…, rows, *shape) as (…, rows, inputs) float32, scaled."""
        ahead = tf.shape(x)[: x.shape.rank - self._rank]
        scaled = tf.cast(x, tf.float32) * self._scale + self._offset
        flat = tf.reshape(scaled, tf.concat([ahead, [self._width]], 0))
        return tf.ensure_shape(flat, [*x.shape[: x.shape.rank - self._rank], self._width])

    def activated(self, raw: tf.Tensor) -> tf.Tensor:
        """The network's outputs, of what comes before the task's activation (…, outputs)."""
        return TASKS[self._task].activation(raw)

    def row_values(self, raw: tf.Tensor, y: tf.Tensor, numbers: Numbers) -> list[tf.Tensor]:
        """Of each row its loss and metrics; `raw`: (rows, outputs), before the task's activation;
        y: (rows,)."""
        return self.objective(numbers).row_values(self._target(y), self.activated(raw))

    def lane_row_values(self, raw: tf.Tensor, y: tf.Tensor, numbers: Numbers) -> list[tf.Tensor]:
        """The same for trials side by side: raw (lanes, rows, outputs), y (lanes, rows), numbers
        (lanes,)."""
        of_rows = _NumbersOfRows(numbers, tf.shape(y)[1])
        flat = self.row_values(tf.reshape(raw, [-1, self._outputs]), tf.reshape(y, [-1]), of_rows)
        return [tf.reshape(values, tf.shape(y)) for values in flat]

    def _target(self, y: tf.Tensor) -> tf.Tensor:
        return y if y.dtype.is_integer else y * self._target_scale + self._target_offset


class _NumbersOfRows:
    """Each lane's number once for each of its rows, (lanes * rows, 1)."""

    def __init__(self, numbers: Numbers, rows: tf.Tensor) -> None:
        self._numbers, self._rows = numbers, rows

    def __getitem__(self, name: str) -> tf.Tensor:
        return tf.repeat(self._numbers[name], self._rows)[:, tf.newaxis]


def _constants(scaling: Any) -> tuple[tf.Tensor, tf.Tensor]:
    return tf.constant(scaling.scale, tf.float32), tf.constant(scaling.offset, tf.float32)
