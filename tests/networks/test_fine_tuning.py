"""Layers with learning rates of their own, and networks in other numbers than float32."""

import os
from typing import Any

import pytest

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import keras
import numpy as np
import tensorflow as tf
from tensorflow_helpers import make_dataset, make_request, train

from tuner.networks import export_network
from tuner.networks.learning_rates import layer_learning_rates
from tuner.training.trial import Trainer

pytestmark = pytest.mark.tensorflow

EXERCISES = {"precision": "test_layers_compute_in_the_precision_and_weights_stay_float32"}


def model_of_two() -> Any:
    inputs = keras.Input((2,))
    inside = keras.Sequential([inputs, keras.layers.Dense(2, name="first")], name="backbone")
    model = keras.Model(inputs, keras.layers.Dense(1, name="last")(inside(inputs)))
    model.compile(keras.optimizers.SGD(0.5), "mse", run_eagerly=True)
    return model


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ({"shares": {"backbone": 0.1}}, (0.1, 1.0)),
        ({"shares": {"first": 0.0, "last": 0.5}}, (0.0, 0.5)),
        ({"decay": 0.25}, (0.25, 1.0)),
    ],
)
def test_a_step_of_a_layer_is_its_share_of_plain_sgd(how: Any, expected: tuple[float, ...]) -> None:
    model, x, y = model_of_two(), np.array([[1.0, 2.0]]), np.array([[3.0]])
    before = [v.numpy() for v in model.trainable_variables]
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean((model(x) - y) ** 2)
    gradients = tape.gradient(loss, model.trainable_variables)
    layer_learning_rates(model, **how).train_on_batch(x, y)
    shares = np.repeat(expected, 2)  # kernel and bias of each
    for was, gradient, share, variable in zip(
        before, gradients, shares, model.trainable_variables, strict=True
    ):
        np.testing.assert_allclose(variable.numpy(), was - 0.5 * share * gradient, atol=1e-6)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({}, "takes shares="),
        ({"shares": {"frist": 1.0}}, "no layer 'frist'; the model has .*backbone, last"),
        ({"shares": {"last": -1.0}}, "must be >= 0"),
        ({"decay": 0.0}, "must be > 0 and <= 1"),
    ],
)
def test_shares_that_mean_nothing_are_refused(how: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        layer_learning_rates(model_of_two(), **how)


@pytest.mark.parametrize(
    ("precision", "dtype"), [("bfloat16", "bfloat16"), ("mixed_float16", "float16")]
)
def test_layers_compute_in_the_precision_and_weights_stay_float32(
    precision: str, dtype: str
) -> None:
    """With a clipped gradient, whose true size counts."""
    dataset = make_dataset()
    of = {"dropout": 0.1, "activation": "leaky_relu", "leaky_slope": 0.1, "clip_norm": 0.5}
    trainers = [Trainer(dataset), Trainer(dataset)]
    request = make_request(precision=precision, **of)
    curve, plain = (
        train(trainer, asked)[0][-1].metrics
        for trainer, asked in zip(
            trainers, (request, make_request(engine="keras", **of)), strict=True
        )
    )
    program: Any = trainers[0].program
    layers = {layer.name: layer.compute_dtype for layer in program.model.layers}
    assert {dtype for name, dtype in layers.items() if "dense" in name} == {dtype}
    assert layers["output"] == "float32"
    assert {variable.dtype for variable in program.model.variables} == {"float32"}
    scales = isinstance(program.optimizer, keras.optimizers.LossScaleOptimizer)
    assert scales == (precision == "mixed_float16")
    assert curve == pytest.approx(plain, rel=0.01) and curve["loss"] != plain["loss"]
    saved = export_network("mlp", request.params, dataset, program.weights())
    outputs = saved(np.asarray(dataset.train.x[:3]), training=False)
    assert (saved.inputs[0].dtype, outputs.dtype) == ("float32", tf.float32)
    assert keras.config.dtype_policy().name == "float32"
