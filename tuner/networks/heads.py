"""Output layers, one a task: softmax over k classes, a sigmoid, or a linear unit."""

from typing import Any

import keras

HEAD_ACTIVATIONS = {"classes": "softmax", "binary": "sigmoid", "regression": "linear"}


def output_layer(task: str, outputs: int) -> Any:
    """The Dense layer that ends a network for `task`, with `outputs` units."""
    return keras.layers.Dense(outputs, activation=HEAD_ACTIVATIONS[task], name="output")
