"""A recurrent network: recurrent layers that read a row step by step, then dense layers."""

from typing import Any

import keras

from tuner.networks.layers import LayerFactory, add_dense_layers, add_dropout
from tuner.networks.masking import average_steps, mask_padding
from tuner.networks.step_rows import NO_STEPS, StepRows
from tuner.search_space.parameter_types import (
    Params,
    read_number,
    read_whole,
    read_word,
    repeat_value,
)
from tuner.training.ops.recurrent import RecurrentShape


def build_rnn(
    params: Params,
    input_shape: tuple[int, ...],
    outputs: int,
    task: str,
    parts: LayerFactory,
    steps: StepRows = NO_STEPS,
) -> keras.Model:
    """An RNN over rows (steps, channels), images (height, width[, channels]) line by line, or
    tokens (steps,), whose vectors it learns.

    `units`, `recurrent_dropout` and `rnn_dropout` are one value for every recurrent layer or a list
    with one a layer. Padding changes no state.
    """
    input_dropout = read_number(params, "input_dropout", 0.0)
    inputs = keras.Input(input_shape)
    hidden = add_dropout(_vectors(inputs, params, steps), input_dropout, parts)
    layers = read_whole(params, "rnn_layers")
    # Before the other dropouts: rates come parameter by parameter.
    recurrent = [
        parts.recurrent(_layer_shape(params, units, is_last=number == layers - 1), rate)
        for number, (units, rate) in enumerate(
            zip(
                repeat_value(params["units"], layers),
                repeat_value(params["recurrent_dropout"], layers),
                strict=True,
            )
        )
    ]
    rates = repeat_value(params["rnn_dropout"], layers)
    for layer, rate in zip(recurrent, rates, strict=True):
        hidden = add_dropout(layer(hidden), rate, parts)
    if read_word(params, "pooling") == "mean":
        hidden = average_steps(hidden, inputs, steps)
    return keras.Model(inputs, add_dense_layers(hidden, params, outputs, task, parts, first=False))


def _layer_shape(params: Params, units: int, is_last: bool) -> RecurrentShape:
    return RecurrentShape(
        cell=read_word(params, "cell"),
        units=units,
        bidirectional=bool(params["bidirectional"]),
        sequences=not is_last or params["pooling"] == "mean",
    )


def _vectors(inputs: Any, params: Params, steps: StepRows) -> Any:
    """A vector for each step (n, steps, channels), with a mask where there may be padding."""
    if steps.vocabulary_size:
        size = read_whole(params, "embedding")
        return keras.layers.Embedding(steps.vocabulary_size, size, mask_zero=True)(inputs)
    if len(inputs.shape) == 4:
        height, width, channels = inputs.shape[1:]
        return keras.layers.Reshape((height, width * channels))(inputs)
    return mask_padding(inputs) if steps.padded else inputs
