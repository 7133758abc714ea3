"""What Keras' own layers, losses and `fit` make of a trial, from the weights it starts with and fed
the same batches: what training is compared with."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import pytest
from tensorflow_helpers import train, weights

from tuner.data import Dataset
from tuner.networks.custom import CustomNetwork
from tuner.study.messages import TrialRequest
from tuner.training.engines.keras import KerasProgram
from tuner.training.trial import Trainer, epoch_order

HEADS = {"classes": "softmax", "binary": "sigmoid", "regression": "linear"}
AUTO_LOSS = {
    "classes": "sparse_categorical_crossentropy",
    "binary": "binary_crossentropy",
    "regression": "mean_squared_error",
}

Built = tuple[list[np.ndarray], list[dict[str, float]]]


def dense_network(dataset: Dataset, hidden: Sequence[Any], **output: Any) -> Any:
    """Flattened inputs, the given layers and the task's head."""
    head = keras.layers.Dense(dataset.outputs, activation=HEADS[dataset.task], **output)
    layers = [keras.Input(dataset.input_shape), keras.layers.Flatten(), *hidden, head]
    return keras.Sequential(layers)


def fitted(
    dataset: Dataset,
    request: TrialRequest,
    model: Any,
    optimizer: Any,
    loss: Any = None,
    one_hot: bool = False,
    batches: Callable[[np.ndarray], np.ndarray] = lambda x: x,
    class_weight: dict[int, float] | None = None,
    sample_weight: np.ndarray | None = None,
    network: CustomNetwork | None = None,
) -> Built:
    """The weights and the metrics of each epoch after Keras has trained `model` as the plan says.
    `loss`: None is the task's own. `batches`: done to the scaled inputs of an epoch, in order.
    `class_weight`, `sample_weight` (one a training row): Keras takes one of the two. `network`: the
    user's own."""
    program = KerasProgram(network or request.network, request.params, dataset)
    program.start(request.params, request.seed)
    model.set_weights(program.weights())
    metrics = [] if dataset.task == "regression" else ["accuracy"]
    model.compile(optimizer, loss or AUTO_LOSS[dataset.task], metrics=metrics, run_eagerly=True)
    x, y = _scaled(dataset, "train", one_hot)
    # A comparison trains on the validation rows.
    has_rows = len(dataset.validation) > 0
    validation = _scaled(dataset, "validation", one_hot) if has_rows else None
    history = []
    for epoch in range(1, int(request.params["epochs"]) + 1):
        order = epoch_order(request.seed, epoch, len(y))
        done = model.fit(
            batches(x[order]), y[order], request.params["batch_size"], shuffle=False, verbose=0,
            validation_data=validation,
            class_weight=class_weight,
            sample_weight=None if sample_weight is None else sample_weight[order],
        )  # fmt: skip
        history.append({name: float(last) for name, (last,) in done.history.items()})
    return model.get_weights(), history


def _scaled(dataset: Dataset, part: str, one_hot: bool) -> tuple[np.ndarray, np.ndarray]:
    split = dataset.splits[part]
    y = dataset.target_scaling.apply(split.y) if dataset.task == "regression" else split.y
    if dataset.task != "classes":
        y = np.asarray(y, np.float32)[:, np.newaxis]
    elif one_hot:
        y = np.eye(dataset.outputs, dtype=np.float32)[y]
    return dataset.scaling.apply(split.x), y


def compare(trainer: Trainer, request: TrialRequest, expected: Built, atol: float = 1e-5) -> None:
    """Train the plan, whose last epoch must be its best, and compare weights and metrics."""
    intervals, ended = train(trainer, request)
    assert ended.best_epoch == request.params["epochs"], "the weights compared are the best epoch's"
    for ours, theirs in zip(weights(trainer), expected[0], strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=atol)
    for interval, metrics in zip(intervals, expected[1], strict=True):
        for name, value in metrics.items():
            assert interval.metrics[name] == pytest.approx(value, rel=2e-5), name


def far_apart(one: list[np.ndarray], other: list[np.ndarray], least: float = 1e-3) -> bool:
    """Whether weights differ by more than any tolerance here."""
    return max(np.abs(a - b).max() for a, b in zip(one, other, strict=True)) > least
