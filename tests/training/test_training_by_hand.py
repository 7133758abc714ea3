"""Gradients and optimizer steps against arithmetic written out in NumPy."""

import os

import pytest

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import keras
import numpy as np
import tensorflow as tf
from tensorflow_helpers import make_request, train, weights

from tuner.data import Dataset, Scaling, Split
from tuner.data.scaling import IDENTITY
from tuner.training.ops.optimizers import NumberedSGD, build_optimizer
from tuner.training.ops.scalars import Scalars
from tuner.training.trial import Trainer

pytestmark = pytest.mark.tensorflow


def test_one_step_of_a_tiny_network_by_hand() -> None:
    draw = np.random.default_rng(0)
    x = draw.integers(0, 256, (9, 4)).astype(np.uint8)
    y = np.array([0, 1, 1, 0, 1, 0, 0, 1, 1], np.int32)
    split = Split(x, y)
    scaling = Scaling("center", np.array(1 / 255, np.float32), np.array(-0.5, np.float32))
    dataset = Dataset(
        "tiny", "classes", split, split, split, scaling, IDENTITY, ("a", "b"), "0" * 64
    )
    request = make_request(width=3, activation="sigmoid", learning_rate=0.7, batch_size=9)
    trainer = Trainer(dataset)
    program, _ = trainer.prepare(request)
    program.start(request.params, request.seed)
    w1, b1, w2, b2 = (w.astype(np.float64) for w in program.weights())

    inputs = x / 255 - 0.5
    hidden = 1 / (1 + np.exp(-(inputs @ w1 + b1)))
    scores = np.exp(hidden @ w2 + b2)
    probabilities = scores / scores.sum(axis=1, keepdims=True)
    loss = -np.log(probabilities[np.arange(9), y]).mean()
    d_scores = (probabilities - np.eye(2)[y]) / 9
    d_hidden = d_scores @ w2.T * hidden * (1 - hidden)
    gradients = [inputs.T @ d_hidden, d_hidden.sum(0), hidden.T @ d_scores, d_scores.sum(0)]

    intervals, ended = train(trainer, request)
    for after, before, gradient in zip(weights(trainer), [w1, b1, w2, b2], gradients, strict=True):
        np.testing.assert_allclose(after, before - 0.7 * gradient, rtol=0, atol=1e-6)
    assert intervals[0].metrics["loss"] == pytest.approx(loss, rel=1e-6)
    hits = (probabilities.argmax(axis=1) == y).mean()
    assert intervals[0].metrics["accuracy"] == pytest.approx(hits)
    assert ended.parameter_count == 4 * 3 + 3 + 3 * 2 + 2


def test_momentum_as_an_input_makes_the_steps_of_keras() -> None:
    draw = np.random.default_rng(1)
    start = [draw.normal(size=shape).astype(np.float32) for shape in ((3, 2), (2,))]
    steps = [[draw.normal(size=w.shape).astype(np.float32) for w in start] for _ in range(6)]
    params = {"optimizer": "sgd", "learning_rate": 0.03, "momentum": 0.85}
    scalars = Scalars()
    scalars.set(params)
    ours, theirs = build_optimizer(params, scalars), keras.optimizers.SGD(0.03, momentum=0.85)
    assert isinstance(ours, NumberedSGD)
    ours.build(variables := [keras.Variable(w) for w in start])
    theirs.build(references := [keras.Variable(w) for w in start])
    ours.learning_rate.assign(0.03)
    for gradients in steps:
        ours.apply([tf.constant(g) for g in gradients], variables)
        theirs.apply([tf.constant(g) for g in gradients], references)
    for variable, reference in zip(variables, references, strict=True):
        np.testing.assert_allclose(variable.numpy(), reference.numpy(), rtol=0, atol=1e-7)
