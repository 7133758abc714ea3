"""A residual network (He et al., 2016, "Deep Residual Learning for Image Recognition"): stages of
residual blocks, the mean over each map, then dense layers."""

from typing import Any

import keras

from tuner.networks.layers import (
    LayerFactory,
    add_dense_layers,
    add_dropout,
    add_normalisations,
    growing_sizes,
    normalises_before,
)
from tuner.search_space.parameter_types import Params, read_number, read_whole, repeat_value

# Filters of a stem are those of the first stage. A large one quarters the sides of the maps.
_SMALL_WINDOW, _LARGE_WINDOW = 3, 7


def build_resnet(
    params: Params,
    input_shape: tuple[int, ...],
    outputs: int,
    task: str,
    parts: LayerFactory,
) -> keras.Model:
    """A residual network over images (height, width) or (height, width, channels).

    `stage_filters` and `stage_dropout` are one value for every stage or a list with one a stage.
    Each stage but the first halves the sides of the maps.
    """
    inputs = keras.Input(input_shape)
    image = keras.layers.Reshape((*input_shape, 1))(inputs) if len(input_shape) == 2 else inputs
    hidden = add_dropout(image, read_number(params, "input_dropout", 0.0), parts)
    blocks = _Blocks(params, parts)
    stages = read_whole(params, "stages")
    filters = growing_sizes(
        repeat_value(params["stage_filters"], stages), read_number(params, "stage_growth")
    )
    hidden = blocks.stem(hidden, filters[0])
    rates = repeat_value(params["stage_dropout"], stages)
    for stage, (count, rate) in enumerate(zip(filters, rates, strict=True)):
        for number in range(read_whole(params, "stage_blocks")):
            stride = 2 if stage > 0 and number == 0 else 1
            hidden = blocks.residual(hidden, count, stride)
        hidden = add_dropout(hidden, rate, parts)
    hidden = keras.layers.GlobalAveragePooling2D()(blocks.end(hidden))
    return keras.Model(inputs, add_dense_layers(hidden, params, outputs, task, parts, first=False))


class _Blocks:
    """What a residual network is made of, in one of two orders: normalisation and activation behind
    each convolution, or before it (`pre_activation`: He et al., 2016, "Identity Mappings in Deep
    Residual Networks")."""

    def __init__(self, params: Params, parts: LayerFactory) -> None:
        self._params, self._parts = params, parts
        self._has_bias = not normalises_before(params)
        self._activates_first = bool(params["pre_activation"])

    def stem(self, image: Any, filters: int) -> Any:
        """The first convolution."""
        if self._params["stem"] == "small":
            hidden = self._convolved(image, filters, _SMALL_WINDOW, 1)
        else:
            hidden = self._convolved(image, filters, _LARGE_WINDOW, 2)
            hidden = keras.layers.MaxPooling2D(3, strides=2, padding="same")(hidden)
        return hidden if self._activates_first else self._activated(hidden)

    def residual(self, hidden: Any, filters: int, stride: int) -> Any:
        """Two convolutions whose result is added to the block's input. Where the shapes differ, a
        convolution of single pixels makes the input fit."""
        fits = stride == 1 and hidden.shape[-1] == filters
        if self._activates_first:
            active = self._activated(hidden)
            shortcut = hidden if fits else self._convolved(active, filters, 1, stride)
            inner = self._activated(self._convolved(active, filters, 3, stride))
            return keras.layers.Add()([self._convolved(inner, filters, 3, 1), shortcut])
        inner = self._activated(self._convolved(hidden, filters, 3, stride))
        inner = self._normalised(self._convolved(inner, filters, 3, 1))
        if not fits:
            hidden = self._normalised(self._convolved(hidden, filters, 1, stride))
        return self._activation(keras.layers.Add()([inner, hidden]))

    def end(self, hidden: Any) -> Any:
        """What follows the last block."""
        return self._activated(hidden) if self._activates_first else hidden

    def _convolved(self, hidden: Any, filters: int, window: int, stride: int) -> Any:
        # A shift in the normalisation behind it takes the place of a bias.
        return keras.layers.Conv2D(
            filters, window, strides=stride, padding="same", use_bias=self._has_bias
        )(hidden)

    def _normalised(self, hidden: Any) -> Any:
        return add_normalisations(hidden, self._params)

    def _activated(self, hidden: Any) -> Any:
        return self._activation(self._normalised(hidden))

    def _activation(self, hidden: Any) -> Any:
        return self._parts.activation(self._params)(hidden)
