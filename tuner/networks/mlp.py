"""A multilayer perceptron: Dense, batch normalisation, activation, dropout; `depth` times."""

from typing import Any

import keras

from tuner.networks.heads import output_layer
from tuner.networks.regularisation import Regularisation


def build_mlp(
    params: dict[str, Any],
    input_shape: tuple[int, ...],
    outputs: int,
    task: str,
    regularisation: Regularisation,
) -> keras.Model:
    """An MLP over flattened inputs.

    `width` and `dropout` are one value for every hidden layer or a list with one a layer.
    """
    inputs = keras.Input(input_shape)
    hidden = keras.layers.Flatten()(inputs) if len(input_shape) > 1 else inputs
    depth = params["depth"]
    widths, rates = per_layer(params["width"], depth), per_layer(params["dropout"], depth)
    for index, (width, rate) in enumerate(zip(widths, rates, strict=True)):
        # The shift of batch normalisation takes the place of the bias.
        hidden = keras.layers.Dense(width, use_bias=not params["batch_norm"])(hidden)
        if params["batch_norm"]:
            hidden = keras.layers.BatchNormalization()(hidden)
        hidden = keras.layers.Activation(params["activation"])(hidden)
        if rate > 0:
            hidden = regularisation.dropout(index, rate)(hidden)
    return keras.Model(inputs, output_layer(task, outputs)(hidden))


def per_layer(value: Any, depth: int) -> list[Any]:
    """One value a hidden layer, from a scalar or a list of that length."""
    return list(value) if isinstance(value, list) else [value] * depth
