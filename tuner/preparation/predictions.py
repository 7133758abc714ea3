"""What a network's outputs mean: labels and probabilities, or values in the target's units."""

import math
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from tuner.preparation.kinds import Task

# The column of the predicted label or value, in tables, files and MLflow.
PREDICTION = "prediction"
# Of a call: many rows, since each call costs 0.5 ms, but few values, since layers hold many times
# as many.
_ROWS_AT_ONCE = 8192
_VALUES_AT_ONCE = 2**19


class Network(Protocol):
    """As much of a keras.Model as is called."""

    def predict_on_batch(self, x: npt.NDArray[Any], /) -> npt.NDArray[Any]: ...


def network_outputs(network: Network, inputs: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """What the network gives for prepared rows (n, *input_shape): (n, units), in their order."""
    # Not `predict`: Keras' own turns NumPy's float64 into float32.
    count = min(_ROWS_AT_ONCE, max(1, _VALUES_AT_ONCE // max(1, math.prod(inputs.shape[1:]))))
    starts = range(0, max(1, len(inputs)), count)
    blocks = [network.predict_on_batch(inputs[start : start + count]) for start in starts]
    return np.concatenate(blocks)


def probability_column(label: str) -> str:
    """The name of the column with the probability of a label."""
    return f"probability_{label}"


def prediction_columns(task: Task, labels: Sequence[str], top: int | None = None) -> list[str]:
    """The columns of predictions: the label with all probabilities, or the value. `top`: only the
    most probable labels, so many."""
    if task == "regression":
        return [PREDICTION]
    if top is not None:
        return [name for k in range(1, top + 1) for name in (f"label_{k}", f"probability_{k}")]
    return [PREDICTION, *map(probability_column, labels)]


def probabilities(outputs: npt.NDArray[Any], task: Task) -> npt.NDArray[Any]:
    """(n, classes), from the outputs (n, classes) of a network for classes, or (n, 1) of one for
    two classes: the probability of the second."""
    outputs = np.asarray(outputs)
    if task != "binary":
        return outputs
    return np.concatenate([1 - outputs, outputs], axis=1)


def predict_columns(
    outputs: npt.NDArray[Any], task: Task, labels: Sequence[str], top: int | None = None
) -> dict[str, npt.NDArray[Any]]:
    """The predictions by column, each (n,): of classes the most probable label, of equally probable
    ones the first, then the probability of each. Of regression the value.

    `top`: instead `label_1`, the most probable label, `probability_1`, `label_2`, … up to so many.
    """
    if task == "regression":
        return {PREDICTION: np.asarray(outputs)[:, 0]}
    shares = probabilities(outputs, task)
    names = np.asarray(labels, object)
    columns = prediction_columns(task, labels, top)
    if top is None:
        values = [names[shares.argmax(axis=1)], *shares.T]
    else:
        ranked = np.argsort(-shares, axis=1, kind="stable")[:, :top]
        best = np.take_along_axis(shares, ranked, axis=1)
        values = [column for k in range(top) for column in (names[ranked[:, k]], best[:, k])]
    return dict(zip(columns, values, strict=True))
