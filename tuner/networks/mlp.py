"""A multilayer perceptron: Dense, normalisation, activation, dropout; `depth` times."""

import keras

from tuner.networks.layers import LayerFactory, add_dense_layers, add_dropout
from tuner.search_space.parameter_types import Params, read_number


def build_mlp(
    params: Params,
    input_shape: tuple[int, ...],
    outputs: int,
    task: str,
    parts: LayerFactory,
) -> keras.Model:
    """An MLP over flattened inputs.

    `width` and `dropout` are one value for every hidden layer or a list with one a layer.
    """
    inputs = keras.Input(input_shape)
    hidden = keras.layers.Flatten()(inputs) if len(input_shape) > 1 else inputs
    hidden = add_dropout(hidden, read_number(params, "input_dropout", 0.0), parts)
    return keras.Model(inputs, add_dense_layers(hidden, params, outputs, task, parts, first=True))
