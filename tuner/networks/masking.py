"""Padded steps of sequences, hidden from the layers behind by Keras' own masks."""

from typing import Any

import keras


def mask_padding(inputs: Any) -> Any:
    """Sequences (n, steps, channels + 1), whose last channel is 1 for a step that is there, with a
    Keras mask: layers that know masks, such as LSTM, leave the padded steps out. Saved networks
    need nothing but Keras' layers."""
    # A padded step is zeros but for rounding; a real one has its mark.
    marks = inputs[..., -1:]
    return keras.layers.Masking(0.0, name="padding")(keras.layers.Multiply()([inputs, marks]))
