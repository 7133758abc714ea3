"""Losses and metrics by task, as sums over rows, so that batches and chunks simply add up.

Trials side by side use the same formulas: their rows are put behind one another, each with the
numbers of its trial. To add a loss: its name in search_space/parameters.py, its entry in `_LOSSES`.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tuner.data import Dataset
from tuner.data.dataset import TargetPart
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


def _columns(y: tf.Tensor) -> tf.Tensor:
    """(n, k) float32; (n,) becomes (n, 1)."""
    values = tf.cast(y, tf.float32)
    return tf.expand_dims(values, -1) if values.shape.rank == 1 else values


def _absolute_error(y: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
    return tf.abs(y - outputs)[:, 0]


def _all_right(y: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
    """Whether every label is right."""
    right = tf.equal(outputs > 0.5, y > 0.5)
    return tf.cast(tf.reduce_all(right, -1), tf.float32)


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
        labels=_columns,
        probabilities=lambda y, outputs: _columns(y),
        activation=tf.nn.sigmoid,
    ),
    "multilabel": Task(
        {"subset_accuracy": _all_right},
        labels=_columns,
        probabilities=lambda y, outputs: _columns(y),
        activation=tf.nn.sigmoid,
    ),
    "regression": Task(
        {"mae": _absolute_error, "mse": keras.losses.mean_squared_error},
        labels=_columns,
        probabilities=lambda y, outputs: _columns(y),
        activation=tf.identity,
    ),
}
_CROSS_ENTROPY = {
    "classes": keras.losses.categorical_crossentropy,
    "binary": keras.losses.binary_crossentropy,
    "multilabel": keras.losses.binary_crossentropy,
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


def _errors_in_units(units: tf.Tensor) -> dict[str, RowValues]:
    """The metrics of a regression of k values, each in units of its own: the mean over the values
    of errors that are multiplied by `units` (k,)."""
    return {
        "mae": lambda y, outputs: tf.reduce_mean(tf.abs(y - outputs) * units, -1),
        "mse": lambda y, outputs: tf.reduce_mean(tf.square((y - outputs) * units), -1),
    }


class Objective:
    """The loss that `params` ask for and the task's metrics. `units`: of a regression with k values
    what multiplies the error of each in its metrics, (k,); None for one value, whose metrics
    `metrics_in_target_units` scales back."""

    def __init__(
        self,
        task: str,
        outputs: int,
        params: Mapping[str, Any],
        numbers: Numbers,
        units: Any = None,
    ) -> None:
        self._task, self._outputs, self._numbers = TASKS[task], outputs, numbers
        if units is not None:
            metrics = _errors_in_units(tf.constant(units, tf.float32))
            self._task = replace(self._task, metrics=metrics)
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


class HeadObjectives:
    """Several heads: the sum of their losses, each times its weight, then loss and metrics of each
    under its name."""

    def __init__(self, dataset: Dataset, params: Mapping[str, Any], numbers: Numbers) -> None:
        self._heads = dataset.heads
        self._objectives = {head.name: _objective(head, params, numbers) for head in self._heads}

    @property
    def names(self) -> list[str]:
        of_heads = [
            f"{head}_{name}" for head, each in self._objectives.items() for name in each.names
        ]
        return ["loss", *of_heads]

    def row_values(self, y: Mapping[str, Any], outputs: Mapping[str, Any]) -> list[tf.Tensor]:
        """As `Objective.row_values`; y and outputs by head."""
        rows = {
            name: each.row_values(y[name], outputs[name]) for name, each in self._objectives.items()
        }
        losses = [head.weight * rows[head.name][0] for head in self._heads]
        return [tf.add_n(losses), *(value for values in rows.values() for value in values)]


def objective_of(
    dataset: Dataset, params: Mapping[str, Any], numbers: Numbers
) -> Objective | HeadObjectives:
    """The loss and the metrics of the data set's targets."""
    if dataset.heads:
        return HeadObjectives(dataset, params, numbers)
    return _objective(dataset.targets[0], params, numbers)


def _objective(target: TargetPart, params: Mapping[str, Any], numbers: Numbers) -> Objective:
    return Objective(target.task, target.units, params, numbers, _units_of_values(target))


def _units_of_values(target: TargetPart) -> Any:
    """What a scaled error of each of k values is in its own units; None for one value."""
    scale = np.asarray(target.scaling.scale)
    return 1.0 / scale if target.task == "regression" and scale.ndim else None


def metrics_in_target_units(dataset: Dataset, means: Mapping[str, float]) -> dict[str, float]:
    """Regression trains on standardised targets: its errors are scaled back to the targets' own
    units; losses stay what the optimizer saw."""
    if not dataset.heads:
        return _in_target_units(dataset.targets[0], means)
    scaled = {"loss": means["loss"]}
    for head in dataset.heads:
        prefix = f"{head.name}_"
        of_head = {
            name.removeprefix(prefix): value
            for name, value in means.items()
            if name.startswith(prefix)
        }
        units = _in_target_units(head, of_head)
        scaled |= {f"{prefix}{name}": value for name, value in units.items()}
    return scaled


def _in_target_units(target: TargetPart, means: Mapping[str, float]) -> dict[str, float]:
    if target.task != "regression":
        return dict(means)
    scale = np.asarray(target.scaling.scale)
    # Metrics of k values are in their units already.
    target_scale = 1.0 / float(scale) if scale.ndim == 0 else 1.0
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
        self._units = _units_of_values(dataset.targets[0])

    def objective(self, numbers: Numbers) -> Objective:
        """The loss and metrics, with a trial's numbers in them."""
        return Objective(self._task, self._outputs, self._params, numbers, self._units)

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
        y: (rows,), or (rows, k)."""
        return self.objective(numbers).row_values(self._target(y), self.activated(raw))

    def lane_row_values(self, raw: tf.Tensor, y: tf.Tensor, numbers: Numbers) -> list[tf.Tensor]:
        """The same for trials side by side: raw (lanes, rows, outputs), y (lanes, rows, …), numbers
        (lanes,)."""
        of_rows = _NumbersOfRows(numbers, tf.shape(y)[1])
        rows, of_row = tf.shape(y)[:2], y.shape[2:]
        flat_y = tf.reshape(y, [-1, *of_row])
        flat = self.row_values(tf.reshape(raw, [-1, self._outputs]), flat_y, of_rows)
        return [tf.reshape(values, rows) for values in flat]

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
