"""What a network's outputs mean: labels and probabilities, or values in the target's units."""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from tuner.preparation.kinds import Task

# The column of the predicted label or value, in tables, files and MLflow.
PREDICTION = "prediction"
_ROWS_AT_ONCE = 1024


class Network(Protocol):
    """As much of a keras.Model as is called."""

    def predict_on_batch(self, x: npt.NDArray[Any], /) -> npt.NDArray[Any]: ...


def network_outputs(network: Network, inputs: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """What the network gives for prepared rows (n, *input_shape): (n, units), in their order."""
    # Not `predict`: Keras' own turns NumPy's float64 into float32.
    starts = range(0, max(1, len(inputs)), _ROWS_AT_ONCE)
    blocks = [network.predict_on_batch(inputs[start : start + _ROWS_AT_ONCE]) for start in starts]
    return np.concatenate(blocks)


def probability_column(label: str) -> str:
    """The name of the column with the probability of a label."""
    return f"probability_{label}"


def prediction_columns(task: Task, labels: Sequence[str]) -> list[str]:
    """The columns of predictions: the label with all probabilities, or the value."""
    return [PREDICTION] if task == "regression" else [PREDICTION, *map(probability_column, labels)]


def probabilities(outputs: npt.NDArray[Any], task: Task) -> npt.NDArray[Any]:
    """(n, classes), from the outputs (n, classes) of a network for classes, or (n, 1) of one for
    two classes: the probability of the second."""
    outputs = np.asarray(outputs)
    if task != "binary":
        return outputs
    return np.concatenate([1 - outputs, outputs], axis=1)


def predict_columns(
    outputs: npt.NDArray[Any], task: Task, labels: Sequence[str]
) -> dict[str, npt.NDArray[Any]]:
    """The predictions by column, each (n,): of classes the most probable label, of equally probable
    ones the first, then the probability of each. Of regression the value."""
    if task == "regression":
        return {PREDICTION: np.asarray(outputs)[:, 0]}
    shares = probabilities(outputs, task)
    names = np.asarray(labels, object)[shares.argmax(axis=1)]
    columns = {probability_column(label): shares[:, i] for i, label in enumerate(labels)}
    return {PREDICTION: names, **columns}
