"""A convolutional network: blocks of convolutions that end in max pooling, then dense layers."""

from typing import Any

import keras

from tuner.networks.layers import (
    LayerFactory,
    add_activation,
    add_dense_layers,
    add_dropout,
    growing_sizes,
    normalises_before,
    uses_bias,
)
from tuner.search_space.parameter_types import Params, read_number, read_whole, repeat_value


def build_cnn(
    params: Params,
    input_shape: tuple[int, ...],
    outputs: int,
    task: str,
    parts: LayerFactory,
) -> keras.Model:
    """A CNN over images (height, width) or (height, width, channels).

    `filters` and `block_dropout` are one value for every block or a list with one a block.
    """
    inputs = keras.Input(input_shape)
    image = keras.layers.Reshape((*input_shape, 1))(inputs) if len(input_shape) == 2 else inputs
    hidden = add_dropout(image, read_number(params, "input_dropout", 0.0), parts)
    blocks = read_whole(params, "blocks")
    filters = growing_sizes(
        repeat_value(params["filters"], blocks), read_number(params, "filter_growth")
    )
    rates = repeat_value(params["block_dropout"], blocks)
    for block, (count, rate) in enumerate(zip(filters, rates, strict=True)):
        for number in range(read_whole(params, "convolutions")):
            first = block == number == 0
            hidden = add_activation(_convolved(hidden, params, count, first), params, parts)
        hidden = add_dropout(_pooled(hidden, read_whole(params, "pool")), rate, parts)
    hidden = keras.layers.Flatten()(hidden)
    return keras.Model(inputs, add_dense_layers(hidden, params, outputs, task, parts, blocks == 0))


def _convolved(hidden: Any, params: Params, filters: int, first: bool) -> Any:
    kernel = read_whole(params, "kernel")
    fits = min(hidden.shape[1:3]) >= kernel
    bias = uses_bias(params, first, normalises_before(params))
    padding = params["padding"] if fits else "same"
    return keras.layers.Conv2D(filters, kernel, padding=padding, use_bias=bias)(hidden)


def _pooled(hidden: Any, pool: int) -> Any:
    # "same" keeps the last, narrower window: a map never shrinks to nothing.
    return keras.layers.MaxPooling2D(pool, padding="same")(hidden) if pool > 1 else hidden
