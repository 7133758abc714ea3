"""Gradients of normalisation that are written out by hand, against automatic ones of the plain
formula in float64 and against finite differences."""

import os
from collections.abc import Callable, Sequence
from typing import Any

import pytest

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import numpy as np
import tensorflow as tf
from tensorflow_helpers import make_dataset  # noqa: F401  (sets the number of threads)

from tuner.training.ops import normalization
from tuner.training.ops.dropout import apply_mask

pytestmark = pytest.mark.tensorflow

EPSILON = 1e-3
ROWS, UNITS = 7, 4
Function = Callable[..., Any]


def draw(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape)


def plain(x: Any, scale: Any, shift: Any, axis: int) -> Any:
    """Normalisation along an axis, as the papers write it."""
    mean = tf.reduce_mean(x, axis, keepdims=True)
    variance = tf.reduce_mean((x - mean) ** 2, axis, keepdims=True)
    return (x - mean) / tf.sqrt(variance + EPSILON) * scale + shift


def gradients(function: Function, inputs: Sequence[np.ndarray], dtype: Any) -> list[np.ndarray]:
    """Of a weighted sum of the function's values, with respect to each input."""
    tensors = [tf.constant(value, dtype) for value in inputs]
    weights = tf.constant(draw(ROWS, UNITS, seed=9), dtype)
    with tf.GradientTape() as tape:
        tape.watch(tensors)
        total = tf.reduce_sum(function(*tensors) * weights)
    return [gradient.numpy() for gradient in tape.gradient(total, tensors)]


def finite_differences(function: Function, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
    weights, step = draw(ROWS, UNITS, seed=9), 1e-5

    def total(changed: list[np.ndarray]) -> float:
        return float(np.sum(np.asarray(function(*map(tf.constant, changed))) * weights))

    slopes = []
    for place, value in enumerate(inputs):
        slope = np.zeros_like(value)
        for index in np.ndindex(value.shape):
            above, below = ([np.array(v) for v in inputs] for _ in range(2))
            above[place][index] += step
            below[place][index] -= step
            slope[index] = (total(above) - total(below)) / (2 * step)
        slopes.append(slope)
    return slopes


def by_batch_if(x: Any, scale: Any, shift: Any) -> Any:
    on, mean, variance = tf.constant(True), tf.zeros(UNITS), tf.ones(UNITS)
    return normalization.normalize_batch_if(on, x, scale, shift, mean, variance)[0]


@pytest.mark.parametrize(
    ("function", "axis"),
    [
        (lambda *inputs: normalization.normalize_batch(*inputs)[0], 0),
        (by_batch_if, 0),
        (normalization.normalize_rows, 1),
    ],
    ids=["batch", "batch in a condition", "layer"],
)
@pytest.mark.parametrize("in_graph", [False, True])
def test_gradients_written_out_by_hand(function: Function, axis: int, in_graph: bool) -> None:
    inputs = [draw(ROWS, UNITS), draw(UNITS, seed=1), draw(UNITS, seed=2)]

    def formula(*inputs: Any) -> Any:
        return plain(*inputs, axis=axis)

    expected = gradients(formula, inputs, tf.float64)
    for automatic, numeric in zip(expected, finite_differences(formula, inputs), strict=True):
        np.testing.assert_allclose(automatic, numeric, rtol=1e-6, atol=1e-8)
    # As the program has it: sizes unknown when it is traced.
    specs = [tf.TensorSpec([None, None]), tf.TensorSpec([None]), tf.TensorSpec([None])]
    traced = tf.function(function, specs, autograph=False) if in_graph else function
    for ours, theirs in zip(gradients(traced, inputs, tf.float32), expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


def test_no_gradient_goes_through_the_statistics_beside_the_outputs() -> None:
    x, ones, zeros = tf.constant(draw(ROWS, UNITS), tf.float32), tf.ones(UNITS), tf.zeros(UNITS)
    with tf.GradientTape() as tape:
        tape.watch(x)
        _, mean, variance = normalization.normalize_batch(x, ones, zeros)
        total = tf.reduce_sum(mean + 5.0 * variance)
    np.testing.assert_array_equal(tape.gradient(total, x), tf.zeros_like(x))


def test_the_gradient_of_a_mask() -> None:
    x, mask = draw(ROWS, UNITS), np.where(draw(ROWS, UNITS, seed=3) > 0, 2.0, 0.0)
    ours = gradients(lambda x: apply_mask(x, tf.constant(mask, tf.float32)), [x], tf.float32)[0]
    np.testing.assert_allclose(ours, mask * draw(ROWS, UNITS, seed=9), rtol=1e-6)
