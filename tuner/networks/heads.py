"""Output layers, one a task: softmax over k classes, a sigmoid, or a linear unit."""

from typing import Any

import keras

HEAD_ACTIVATIONS = {"classes": "softmax", "binary": "sigmoid", "regression": "linear"}


def output_layer(task: str, outputs: int, bias: bool = True) -> Any:
    """The Dense layer that ends a network for `task`, with `outputs` units."""
    activation = HEAD_ACTIVATIONS[task]
    return keras.layers.Dense(outputs, activation=activation, use_bias=bias, name="output")
