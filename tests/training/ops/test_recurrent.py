"""The forms of recurrent layers give the same outputs and gradients, and drop what they should."""

import os
from typing import Any

import pytest

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import keras
import numpy as np
import tensorflow as tf

from tuner.networks import initialise
from tuner.search_space.parameters import NETWORKS
from tuner.training.ops import recurrent
from tuner.training.ops.dropout import DropoutClock, FastDropout
from tuner.training.ops.recurrent import CELLS, FastRecurrent, RecurrentShape, keras_layer

pytestmark = pytest.mark.tensorflow

EXERCISES = {"recurrent_dropout": "test_the_same_outputs_are_dropped_at_all_steps"}

DRAW = np.random.default_rng(3)
ROWS, STEPS, CHANNELS, UNITS = 5, 4, 3, 6
X = DRAW.normal(size=(ROWS, STEPS, CHANNELS)).astype(np.float32)
MASK = np.arange(STEPS) < np.array([[4], [1], [2], [3], [4]])


def test_there_is_a_cell_for_each_choice() -> None:
    assert {*CELLS} == {*NETWORKS["rnn"].parameters["cell"].choices}


@pytest.mark.parametrize(("cell", "sequences"), [("simple", True), ("lstm", False), ("gru", True)])
def test_all_forms_are_one_function(
    cell: str, sequences: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    shape = RecurrentShape(cell, UNITS, bidirectional=True, sequences=sequences)
    theirs = keras_layer(shape, 0.0)
    theirs.build(X.shape)
    values = [DRAW.normal(size=w.shape).astype(np.float32) for w in theirs.weights]
    theirs.set_weights(values)
    expected = _outputs_and_gradients(theirs)
    for unrolled_steps in (STEPS, STEPS - 1):
        monkeypatch.setattr(recurrent, "_UNROLLED_STEPS", unrolled_steps)
        ours = FastRecurrent(shape, None)
        ours.build(X.shape)
        assert ours.is_unrolled == (unrolled_steps == STEPS)
        assert [w.name for w in ours.weights] == [w.name for w in theirs.weights]
        ours.set_weights(values)
        for one, other in zip(_outputs_and_gradients(ours), expected, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


def _outputs_and_gradients(layer: Any) -> list[np.ndarray]:
    with tf.GradientTape() as tape:
        outputs = layer(tf.constant(X), mask=tf.constant(MASK))
        if outputs.shape.rank == 3:  # of a masked step nothing is used
            outputs *= MASK[..., np.newaxis].astype(np.float32)
        total = tf.reduce_sum(outputs * tf.sin(outputs))
    return [outputs.numpy(), *(g.numpy() for g in tape.gradient(total, layer.trainable_weights))]


def test_the_same_outputs_are_dropped_at_all_steps() -> None:
    clock = DropoutClock()
    clock.reset(seed=4)
    dropout = FastDropout(0, clock)
    dropout.rate.assign(0.5)
    layer = FastRecurrent(RecurrentShape("simple", UNITS, False, sequences=False), dropout)
    trained = layer(X, training=True).numpy()
    kept = dropout(tf.ones([ROWS, UNITS]), training=True).numpy()
    assert {*np.unique(kept)} == {0.0, 2.0}
    kernel, recurrent_kernel, bias = (w.numpy() for w in layer.weights)
    for used, outputs in ((kept, trained), (1.0, layer(X).numpy())):
        hidden = np.zeros((ROWS, UNITS))
        for step in range(STEPS):
            hidden = np.tanh(X[:, step] @ kernel + bias + (hidden * used) @ recurrent_kernel)
        np.testing.assert_allclose(outputs, hidden, atol=1e-5)


@pytest.mark.parametrize("cell", CELLS)
def test_weights_start_as_keras_starts_them(cell: str) -> None:
    inputs = keras.Input((STEPS, CHANNELS))
    layer = FastRecurrent(RecurrentShape(cell, UNITS, True, sequences=False), None)
    model = keras.Model(inputs, layer(inputs))
    initialise(model, {"initializer": "auto", "activation": "relu"}, seed=2)
    first = [w.numpy() for w in model.weights]
    theirs = keras_layer(layer.shape, 0.0)
    theirs.build((None, STEPS, CHANNELS))
    for weight, other in zip(model.weights, theirs.weights, strict=True):
        value = weight.numpy()
        if weight.name == "bias":
            np.testing.assert_array_equal(value, other)
        elif weight.name == "recurrent_kernel":
            np.testing.assert_allclose(value @ value.T, np.eye(UNITS), atol=1e-5)
        else:
            assert np.abs(value).max() <= np.sqrt(6 / sum(value.shape))  # Glorot and Bengio, 2010
    kernels = [w for w in first if w.shape[0] == CHANNELS]
    assert not np.intersect1d(*kernels).size
    initialise(model, {"initializer": "auto", "activation": "relu"}, seed=2)
    assert all((w.numpy() == before).all() for w, before in zip(model.weights, first, strict=True))
