"""Padded steps of sequences, hidden from the layers behind by Keras' own masks."""

from typing import Any

import keras

from tuner.networks.step_rows import StepRows

_MARKED = 0.5  # between the marks of padded steps, 0, and of others, 1


def mask_padding(inputs: Any) -> Any:
    """Sequences (n, steps, channels + 1), whose last channel is 1 for a step that is there, with a
    Keras mask: layers that know masks, such as LSTM, leave the padded steps out. Saved networks
    need nothing but Keras' layers."""
    # A padded step is zeros but for rounding; a real one has its mark.
    marks = inputs[..., -1:]
    return keras.layers.Masking(0.0, name="padding")(keras.layers.Multiply()([inputs, marks]))


def average_steps(hidden: Any, inputs: Any, steps: StepRows) -> Any:
    """The mean of `hidden` (n, steps, units) over the steps of `inputs` that are no padding. Of a
    row without any it is 0, where Keras' own layer divides by 0."""
    if not (steps.vocabulary_size or steps.padded):
        return keras.layers.GlobalAveragePooling1D()(hidden)
    is_there = inputs[..., -1] > _MARKED if steps.padded else keras.ops.not_equal(inputs, 0)
    weights = keras.ops.expand_dims(keras.ops.cast(is_there, "float32"), -1)
    counts = keras.ops.maximum(keras.ops.sum(weights, axis=1), 1.0)
    shares = keras.ops.cast(weights / keras.ops.expand_dims(counts, 1), hidden.dtype)
    return keras.ops.sum(hidden * shares, axis=1)
