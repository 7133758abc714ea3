"""What a network's outputs mean: labels and probabilities, or values in the target's units."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from tuner.preparation.kinds import Task
from tuner.preparation.number_texts import NumberFormat

# The column of the predicted label or value, in tables, files and MLflow.
PREDICTION = "prediction"
# Between the labels of a row that has several.
LABELS_BETWEEN = "|"
# Of a call: many rows, since each call costs 0.5 ms, but few values, since layers hold many times
# as many.
_ROWS_AT_ONCE = 8192
_VALUES_AT_ONCE = 2**19


@dataclass(frozen=True)
class Head:
    """What one head of a network predicts. `name`: "" for the only one. `labels`: of classes, or
    those of which a row may have several. `values`: the names of a regression's k values. `format`:
    how the target's texts are numbers."""

    name: str
    task: Task
    labels: tuple[str, ...] = ()
    values: tuple[str, ...] = ()
    format: NumberFormat | None = None

    def column(self, name: str) -> str:
        """The column of the predictions that is called so where there is one head."""
        return f"{self.name}_{name}" if self.name else name

    @property
    def target_columns(self) -> tuple[str, ...]:
        """The columns of a table that hold its targets, where these have names."""
        named = self.values or (self.labels if self.task == "multilabel" else ())
        return named or ((self.name,) if self.name else ())

    @property
    def columns(self) -> list[str]:
        """The columns of its predictions: the label with all probabilities, or the values."""
        if self.task == "regression":
            of_values = [f"{PREDICTION}_{name}" for name in self.values]
            return [self.column(name) for name in of_values or [PREDICTION]]
        named = [PREDICTION, *map(probability_column, self.labels)]
        return [self.column(name) for name in named]


def head_from_json(content: Mapping[str, Any]) -> Head:
    """From what `dataclasses.asdict` made of it."""
    number = content["format"]
    changes = {
        "labels": tuple(content["labels"]),
        "values": tuple(content["values"]),
        "format": None if number is None else NumberFormat(**number),
    }
    return Head(**{**content, **changes})


class Network(Protocol):
    """As much of a keras.Model as is called."""

    def predict_on_batch(self, x: Any, /) -> Any: ...


def network_outputs(network: Network, inputs: Any) -> Any:
    """What the network gives for prepared rows (n, *input_shape): (n, units), in their order. Of
    several inputs and heads both are dicts by name."""
    # Not `predict`: Keras' own turns NumPy's float64 into float32.
    arrays = list(inputs.values()) if isinstance(inputs, Mapping) else [inputs]
    values = sum(math.prod(array.shape[1:]) for array in arrays)
    count = min(_ROWS_AT_ONCE, max(1, _VALUES_AT_ONCE // max(1, values)))
    starts = range(0, max(1, len(arrays[0])), count)
    blocks = [network.predict_on_batch(take_rows(inputs, start, start + count)) for start in starts]
    return join_outputs(blocks)


def take_rows(inputs: Any, start: int, stop: int) -> Any:
    """Some rows of an array, or of each by name."""
    if isinstance(inputs, Mapping):
        return {name: rows[start:stop] for name, rows in inputs.items()}
    return inputs[start:stop]


def join_outputs(blocks: Sequence[Any]) -> Any:
    """Outputs one after the other; of several heads by name."""
    if isinstance(blocks[0], Mapping):
        return {name: np.concatenate([each[name] for each in blocks]) for name in blocks[0]}
    return np.concatenate(blocks)


def count_rows(rows: Any) -> int:
    """Of an array or a table, or of arrays by name, which have equally many."""
    return len(next(iter(rows.values())) if isinstance(rows, Mapping) else rows)


def finite_rows(outputs: Any) -> npt.NDArray[np.bool_]:
    """(n,): whether all outputs of a row are finite."""
    parts = outputs.values() if isinstance(outputs, Mapping) else [outputs]
    return np.logical_and.reduce([np.isfinite(part).all(axis=1) for part in parts])


def probability_column(label: str) -> str:
    """The name of the column with the probability of a label."""
    return f"probability_{label}"


def prediction_columns(heads: Sequence[Head], top: int | None = None) -> list[str]:
    """The columns of predictions. `top`: only the most probable labels, so many; for a network with
    one head that has labels."""
    if top is not None:
        return [name for k in range(1, top + 1) for name in (f"label_{k}", f"probability_{k}")]
    return [name for head in heads for name in head.columns]


def probabilities(outputs: npt.NDArray[Any], task: Task) -> npt.NDArray[Any]:
    """(n, classes), from the outputs (n, classes) of a network for classes or labels, or (n, 1) of
    one for two classes: the probability of the second."""
    outputs = np.asarray(outputs)
    if task != "binary":
        return outputs
    return np.concatenate([1 - outputs, outputs], axis=1)


def predict_columns(
    outputs: Any, heads: Sequence[Head], top: int | None = None
) -> dict[str, npt.NDArray[Any]]:
    """The predictions by column, each (n,): of classes the most probable label, of equally probable
    ones the first, then the probability of each; of several labels a row those of a probability
    above 0.5, joined by "|", then the probability of each; of regression the values.

    `top`: instead `label_1`, the most probable label, `probability_1`, `label_2`, … up to so many.
    """
    if top is not None:
        return _most_probable(outputs, heads[0], top)
    columns: dict[str, npt.NDArray[Any]] = {}
    for head in heads:
        of_head = outputs[head.name] if isinstance(outputs, Mapping) else outputs
        columns |= dict(zip(head.columns, _values_of(np.asarray(of_head), head), strict=True))
    return columns


def _values_of(outputs: npt.NDArray[Any], head: Head) -> list[npt.NDArray[Any]]:
    """In the order of `Head.columns`."""
    if head.task == "regression":
        return [outputs[:, number] for number in range(outputs.shape[1])]
    shares = probabilities(outputs, head.task)
    names = np.asarray(head.labels, object)
    if head.task != "multilabel":
        return [names[shares.argmax(axis=1)], *shares.T]
    chosen = [LABELS_BETWEEN.join(names[row]) for row in shares > 0.5]
    return [np.asarray(chosen, object), *shares.T]


def _most_probable(outputs: Any, head: Head, top: int) -> dict[str, npt.NDArray[Any]]:
    shares = probabilities(outputs, head.task)
    names = np.asarray(head.labels, object)
    ranked = np.argsort(-shares, axis=1, kind="stable")[:, :top]
    best = np.take_along_axis(shares, ranked, axis=1)
    values = [column for k in range(top) for column in (names[ranked[:, k]], best[:, k])]
    return dict(zip(prediction_columns([head], top), values, strict=True))
