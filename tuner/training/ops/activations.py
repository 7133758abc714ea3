"""Activations of hidden layers by name, as operations on Keras tensors, so that a saved network
needs nothing but Keras."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

# `leaky_relu` has a slope of its own and is made by the parts of a network (parts.py).
FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    "relu": keras.ops.relu,
    "elu": keras.ops.elu,
    "selu": keras.ops.selu,
    "gelu": lambda x: keras.ops.gelu(x, approximate=False),
    "swish": keras.ops.silu,
    "softplus": keras.ops.softplus,
    "sigmoid": keras.ops.sigmoid,
    "tanh": keras.ops.tanh,
    "arctan": keras.ops.arctan,
    "linear": lambda x: x,
}


def curve(name: str, x: np.ndarray, leaky_slope: float) -> tuple[np.ndarray, np.ndarray]:
    """The activation's values at x (n,) and its derivatives there, as training computes them."""
    points = tf.constant(x, tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(points)
        if name == "leaky_relu":
            values = keras.ops.leaky_relu(points, leaky_slope)
        else:
            values = FUNCTIONS[name](points)
    return np.asarray(values), np.asarray(tape.gradient(values, points))
