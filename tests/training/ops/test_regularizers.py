"""Penalties and bounds on kernels against Keras' own, and the shares that dropout drops."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import keras
import numpy as np
from keras_reference import Built, compare, dense_network, far_apart, fitted
from tensorflow_helpers import make_dataset, make_request, on_disk, train, weights

from tuner.data import Dataset
from tuner.study.messages import Report, TrialRequest, WorkerSetup
from tuner.training.engines.keras import KerasProgram
from tuner.training.ops.regularizers import RULES, Rule
from tuner.training.session import LaneSession, TrainingSession
from tuner.training.trial import Trainer

pytestmark = pytest.mark.tensorflow

EXERCISES = {
    "l1": "test_penalties_are_those_of_keras",
    "l2": "test_penalties_are_those_of_keras",
    "max_norm": "test_max_norm_is_that_of_keras_after_each_step",
    "dropout": "test_the_share_of_inputs_that_is_dropped",
    "input_dropout": "test_the_share_of_inputs_that_is_dropped",
    "block_dropout": "test_the_share_of_a_blocks_outputs_that_is_dropped",
}


def mlp_case(**params: Any) -> TrialRequest:
    return make_request(batch_size=16, batch_norm=True, norm_position="after", **params)


def dense_by_keras(dataset: Dataset, request: TrialRequest, **kernels: Any) -> Built:
    hidden = [
        keras.layers.Dense(8, activation="tanh", **kernels),
        keras.layers.BatchNormalization(),
    ]
    network = dense_network(dataset, hidden, **kernels)
    return fitted(dataset, request, network, keras.optimizers.SGD(request.params["learning_rate"]))


@pytest.mark.parametrize(
    ("params", "regularizer"),
    [
        ({"l1": 0.01}, lambda: keras.regularizers.L1(0.01)),
        ({"l1": 0.004, "l2": 0.02}, lambda: keras.regularizers.L1L2(0.004, 0.02)),
    ],
)
def test_penalties_are_those_of_keras(params: dict[str, float], regularizer: Any) -> None:
    dataset, request = make_dataset(), mlp_case(**params)
    expected = dense_by_keras(dataset, request, kernel_regularizer=regularizer())
    trainer = Trainer(dataset)
    compare(trainer, request, expected)
    intervals, _ = train(trainer, mlp_case())
    assert far_apart(weights(trainer), expected[0])
    assert expected[1][0]["val_loss"] > intervals[0].metrics["val_loss"] + 0.1


def test_max_norm_is_that_of_keras_after_each_step() -> None:
    dataset, request = make_dataset(), make_request(max_norm=0.8, learning_rate=0.3)
    constraint = {"kernel_constraint": keras.constraints.MaxNorm(0.8, axis=0)}
    hidden = keras.layers.Dense(8, activation="tanh", **constraint)
    network = dense_network(dataset, [hidden], **constraint)
    expected = fitted(dataset, request, network, keras.optimizers.SGD(0.3))
    trainer = Trainer(dataset)
    compare(trainer, request, expected)
    norms = [np.linalg.norm(kernel, axis=0) for kernel in weights(trainer)[::2]]
    assert all((norm <= 0.8 + 1e-5).all() for norm in norms)
    assert any((norm < 0.79).any() for norm in norms)  # the shorter ones keep their length
    train(trainer, make_request(learning_rate=0.3))
    assert far_apart(weights(trainer), expected[0])


def test_penalties_and_max_norm_of_convolutions() -> None:
    """A unit of a convolution is one filter, over its whole window and all channels."""
    dataset = make_dataset(images=True)
    request = make_request(
        network="cnn", depth=0, kernel=2, l2=0.02, max_norm=0.4, learning_rate=0.3
    )
    kernels = {"kernel_regularizer": keras.regularizers.L2(0.02)}
    network = keras.Sequential([
        keras.Input((3, 4)),
        keras.layers.Reshape((3, 4, 1)),
        keras.layers.Conv2D(
            4, 2, padding="same", activation="tanh", **kernels,
            kernel_constraint=keras.constraints.MaxNorm(0.4, axis=[0, 1, 2]),
        ),
        keras.layers.MaxPooling2D(2, padding="same"),
        keras.layers.Flatten(),
        keras.layers.Dense(
            3, activation="softmax", **kernels,
            kernel_constraint=keras.constraints.MaxNorm(0.4, axis=0),
        ),
    ])  # fmt: skip
    expected = fitted(dataset, request, network, keras.optimizers.SGD(0.3))
    trainer = Trainer(dataset)
    compare(trainer, request, expected)
    filters = np.linalg.norm(weights(trainer)[0].reshape(4, 4), axis=0)
    assert filters.max() <= 0.4 + 1e-5


def outputs(request: TrialRequest, dataset: Dataset, training: bool) -> Any:
    """The outputs of all of a network's layers for 2000 rows of ones, by the layer's name."""
    program = KerasProgram(request.network, request.params, dataset)
    program.start(request.params, request.seed)
    inspected = keras.Model(
        program.model.input, {layer.name: layer.output for layer in program.model.layers}
    )
    values = inspected(np.ones((2000, *dataset.input_shape), np.float32), training=training)
    return {name: np.asarray(value) for name, value in values.items()}


def share_dropped(values: np.ndarray, scale: float) -> float:
    """Of values that are all one before; what is kept must be scaled up."""
    dropped = values == 0
    np.testing.assert_allclose(values[~dropped], scale, rtol=1e-5)
    return float(dropped.mean())


@pytest.mark.parametrize("rate", [0.1, 0.6])
def test_the_share_of_inputs_that_is_dropped(rate: float) -> None:
    dataset = make_dataset()
    request = make_request(input_dropout=rate, dropout=0.5, activation="softplus", width=20)
    values = outputs(request, dataset, training=True)
    share = share_dropped(values["dropout_0"], 1 / (1 - rate))
    assert share == pytest.approx(rate, abs=4 * np.sqrt(rate * (1 - rate) / 12_000))
    assert (values["dropout_1"] == 0).mean() == pytest.approx(0.5, abs=0.01)
    still = outputs(request, dataset, training=False)
    assert (still["dropout_0"] == 1).all()


def test_the_share_of_a_blocks_outputs_that_is_dropped() -> None:
    dataset = make_dataset(images=True)
    blocks: dict[str, Any] = {"blocks": 2, "block_dropout": [0.2, 0.7], "filter_growth": 1.0}
    request = make_request(network="cnn", activation="softplus", kernel=1, pool=1, **blocks)
    values = outputs(request, dataset, training=True)
    for name, rate in (("dropout_1", 0.2), ("dropout_2", 0.7)):
        dropped = values[name] == 0
        assert dropped.shape == (2000, 3, 4, 4)
        assert dropped.mean() == pytest.approx(rate, abs=4 * np.sqrt(rate * (1 - rate) / 96_000))
    still = outputs(request, dataset, training=False)
    assert all((still[name] > 0).all() for name in ("dropout_1", "dropout_2"))


@pytest.mark.parametrize("name", ["dropout", "input_dropout"])
def test_dropout_is_in_training_alone(name: str) -> None:
    dataset = make_dataset()
    losses = [
        train(Trainer(dataset), make_request(**{name: rate, "learning_rate": 1e-30}))[0][0].metrics
        for rate in (0.1, 0.6)
    ]
    assert losses[0]["val_loss"] == losses[1]["val_loss"]
    assert losses[0]["loss"] != pytest.approx(losses[1]["loss"], rel=1e-3)


def test_a_rule_that_adds_to_gradients_changes_no_weight_that_a_trial_does_not_have(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bias that only other trials have, and the padding of a lane, would reach the outputs."""
    rule = Rule(
        gradients=lambda gradients, number, context: [
            gradient + context.layout.beside(number, gradient) for gradient in gradients
        ],
        fills_unused=True,
    )
    monkeypatch.setitem(RULES, "clip_norm", rule)
    on_disk(make_dataset(), tmp_path)
    request = make_request(clip_norm=0.03, depth=2, width=[5, 9], bias="input", epochs=2)
    # The other trials of its study have none of it, and may be wider.
    request = replace(request, choices={"clip_norm": (0.0, 0.03), "width": (5, 30)})
    results = []
    for engine, lanes in (("keras", 1), ("auto", 1), ("auto", 2)):
        session = (LaneSession if lanes > 1 else TrainingSession)(
            WorkerSetup(tmp_path, 1e9, lanes=lanes)
        )
        events = list(session.events(replace(request, engine=engine)))  # type: ignore[arg-type]
        losses = [event.metrics["val_loss"] for event in events if isinstance(event, Report)]
        results.append((losses, weights(session.trainer)))
    plain = Trainer(make_dataset())
    train(plain, replace(request, params=request.params | {"clip_norm": 0.0}))
    assert far_apart(results[0][1], weights(plain))
    for losses, arrays in results[1:]:
        assert losses == pytest.approx(results[0][0], rel=1e-4)
        for mine, theirs in zip(arrays, results[0][1], strict=True):
            np.testing.assert_allclose(mine, theirs, rtol=1e-4, atol=1e-5)
