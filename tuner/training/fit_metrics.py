"""What Keras' logs say, under the names that metrics have here, and what they lack. Knows no
TensorFlow."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from tuner.data import Dataset
from tuner.data.preparing import in_target_units
from tuner.study.metrics import SPLITS, compute, has_function, head_of, metric_named, name_of
from tuner.study.own_metrics import OwnMetric

# Keras' names → ours, where they differ.
OUR_NAMES = {
    "acc": "accuracy",
    "binary_accuracy": "accuracy",
    "categorical_accuracy": "accuracy",
    "sparse_categorical_accuracy": "accuracy",
    "mean_absolute_error": "mae",
    "root_mean_squared_error": "rmse",
}

Values = npt.NDArray[Any]


def read_logs(logs: Mapping[str, Any] | None) -> dict[str, float]:
    """The logs' numbers under our names. A metric with a value for each class has none: it is left
    out. A name of ours that the logs have themselves stays."""
    logged = dict(logs or {})
    values: dict[str, float] = {}
    for name, value in logged.items():
        array = np.asarray(value)
        if array.size != 1 or array.dtype.kind not in "fiub":
            continue
        values[_our_name(name, logged)] = float(array.reshape(()))
    return values


def _our_name(name: str, logs: Mapping[str, Any]) -> str:
    prefix = "val_" if name.startswith("val_") else ""
    ours = prefix + OUR_NAMES.get(name.removeprefix(prefix), name.removeprefix(prefix))
    return name if ours in logs else ours


def _accuracy(y: Values, predictions: Values) -> float:
    if predictions.ndim == 1:
        return float(np.mean((predictions > 0.5) == (y > 0.5)))
    if y.ndim == 2:  # several labels: each counts
        return float(np.mean((predictions > 0.5) == (y > 0.5)))
    return float(np.mean(predictions.argmax(axis=-1) == y))


def _mae(y: Values, predictions: Values) -> float:
    return float(np.mean(np.abs(y - predictions)))


def _rmse(y: Values, predictions: Values) -> float:
    return float(np.sqrt(np.mean((y - predictions) ** 2)))


# Metrics that the compiled step sums up in other engines: here they are computed from predictions,
# where a study asks for one that the model was not compiled with.
FROM_PREDICTIONS = {"accuracy": _accuracy, "mae": _mae, "rmse": _rmse}


def prediction_metrics(
    names: Iterable[str], predictions: Values, dataset: Dataset, own: Mapping[str, OwnMetric]
) -> dict[str, float]:
    """The values of those of these metrics that predictions give: of the user's own ones, of those
    with a function, and of FROM_PREDICTIONS. `predictions` as `Feed.predictions` gives them, in the
    units of the data but for `target_shift`."""
    y, predictions = in_target_units(dataset, dataset.evaluation, predictions)
    heads = dataset.head_tasks
    computable = [name for name in names if name in own or has_function(name, heads)]
    values = compute(computable, y, predictions, dataset.task, own, heads)
    for name in names:
        metric, head = metric_named(name, heads), head_of(name, heads)
        if name in values or metric is None or metric.name not in FROM_PREDICTIONS:
            continue
        pair = (y, predictions) if head is None else (y[head], predictions[head])
        values[name] = FROM_PREDICTIONS[metric.name](*pair)
    return values


def missing_objective(objective: str, metrics: Mapping[str, float]) -> str:
    prefixes = tuple(f"{split}_" for split in SPLITS)
    reported = ", ".join(name for name in metrics if name.startswith(prefixes)) or "nothing"
    name = name_of(objective)
    return (
        f"the compiled model reports {reported}, not {objective}; give it a metric named "
        f"{name!r} in compile(metrics=[…]), or choose another --metric"
    )


def result_logs(result: Any, objective: str) -> dict[str, Any]:
    """The logs of a `fit` that called no callbacks, of what it returned: a History (its last
    epoch), a dict of metrics, or a number, which is the objective."""
    history = getattr(result, "history", result)
    if isinstance(history, Mapping):
        return {
            name: value[-1] if isinstance(value, list | tuple) else value
            for name, value in history.items()
        }
    return {} if history is None else {objective: history}
