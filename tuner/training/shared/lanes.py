"""Networks of one depth side by side, padded to common widths, as XLA needs it.

The first axis of every array is the lane: one trial each. Units beyond a trial's own width are
zero, and stay so: nothing goes into them or comes out of them.
"""

from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from tuner.networks.dropout import multipliers
from tuner.training.shared import pieces
from tuner.training.shared.design import Design

Inputs = Mapping[str, Any]
# name -> (lanes, …) of one layer; the names are those of network.Layer.
Arrays = dict[str, tf.Tensor]


def lane_outputs(
    design: Design,
    layers: list[Arrays],
    x: tf.Tensor,
    inputs: Inputs,
    counted: tf.Tensor | None = None,
    clock: tf.Tensor | None = None,
) -> tuple[tf.Tensor, list[tuple[tf.Tensor, tf.Tensor]]]:
    """What comes before the task's activation (lanes, rows, outputs), for x (lanes or 1, rows,
    inputs), and each hidden layer's batch statistics (lanes, units).

    In training `counted` (lanes, rows) is 1 for the rows of the batch, 0 for what fills a short one
    up, and `clock` (lanes,) each lane's step; without them nothing is dropped, and the moving
    statistics are used.
    """
    forward = _Forward(design, inputs, counted, clock)
    hidden = forward.dropped(x, 0, None)
    for number, layer in enumerate(layers[:-1]):
        hidden = forward.dense(hidden, layer)
        hidden = forward.activated(hidden, layer, number)
        hidden = forward.dropped(hidden, number + 1, inputs["widths"][:, number])
    return forward.dense(hidden, layers[-1]), forward.statistics


class _Forward:
    """One pass through the layers."""

    def __init__(self, design: Design, inputs: Inputs, counted: Any, clock: Any) -> None:
        self._design, self._inputs = design, inputs
        self._counted, self._clock = counted, clock
        self.statistics: list[tuple[tf.Tensor, tf.Tensor]] = []

    def dense(self, hidden: tf.Tensor, layer: Arrays) -> tf.Tensor:
        return tf.matmul(hidden, layer["kernel"]) + layer["bias"][:, tf.newaxis, :]

    def activated(self, hidden: tf.Tensor, layer: Arrays, number: int) -> tf.Tensor:
        width = self._inputs["widths"][:, number, tf.newaxis, tf.newaxis]
        true = tf.cast(tf.range(hidden.shape[-1]) < width, tf.float32)
        if self._design["norm_position"] == "after":
            return self._normalised(self._activation(hidden) * true, layer, true)
        return self._activation(self._normalised(hidden, layer, true)) * true

    def _activation(self, hidden: tf.Tensor) -> tf.Tensor:
        """All that the program can choose from, one of them taken: XLA is done with a chain of
        selections in a tenth of the time that it takes to compile as many branches."""
        index, slope = (
            self._inputs[name][:, tf.newaxis, tf.newaxis] for name in ("activation", "leaky_slope")
        )
        names = self._design.activations
        found = pieces.activation(names[0], slope)(hidden)
        for number, name in enumerate(names[1:], start=1):
            found = tf.where(index == number, pieces.activation(name, slope)(hidden), found)
        return found

    def _normalised(self, hidden: tf.Tensor, layer: Arrays, true: tf.Tensor) -> tf.Tensor:
        may = self._design.may
        if "batch_norm" in may:
            on = self._inputs["batch_norm"][:, tf.newaxis, tf.newaxis]
            normalised = self._by_batch(hidden, layer)
            always = "batch_norm" in self._design.always
            hidden = normalised if always else tf.where(on, normalised, hidden)
        if "layer_norm" in may:
            on = self._inputs["layer_norm"][:, tf.newaxis, tf.newaxis]
            normalised = _by_row(hidden, layer, true)
            always = "layer_norm" in self._design.always
            hidden = normalised if always else tf.where(on, normalised, hidden)
        return hidden

    def _by_batch(self, hidden: tf.Tensor, layer: Arrays) -> tf.Tensor:
        if self._counted is None:
            mean, variance = layer["mean"], layer["variance"]
        else:
            counted = self._counted[:, :, tf.newaxis]
            rows = tf.reduce_sum(counted, 1)
            mean = tf.reduce_sum(hidden * counted, 1) / rows
            centred = (hidden - mean[:, tf.newaxis, :]) * counted
            variance = tf.reduce_sum(tf.square(centred), 1) / rows
            self.statistics.append((mean, variance))
        spread = tf.math.rsqrt(variance + pieces.EPSILON)[:, tf.newaxis, :]
        unit = (hidden - mean[:, tf.newaxis, :]) * spread
        return unit * layer["scale"][:, tf.newaxis, :] + layer["shift"][:, tf.newaxis, :]

    def dropped(self, hidden: tf.Tensor, place: int, width: tf.Tensor | None) -> tf.Tensor:
        """`width` (lanes,): the true one, by which a unit's bits are found; None: all of it."""
        may = "dropout" if place else "input_dropout"
        if self._clock is None or may not in self._design.may:
            return hidden
        rows, units = hidden.shape[1], hidden.shape[2]
        stride = tf.constant([units]) if width is None else width
        row, unit = tf.range(rows)[tf.newaxis, :, tf.newaxis], tf.range(units)
        positions = tf.cast(row * stride[:, tf.newaxis, tf.newaxis] + unit, tf.uint32)
        rate, seed, clock = (
            of_lane[:, tf.newaxis, tf.newaxis]
            for of_lane in (self._inputs["rates"][:, place], self._inputs["seed"], self._clock)
        )
        return hidden * multipliers(positions, rate, place, seed, clock)


def _by_row(hidden: tf.Tensor, layer: Arrays, true: tf.Tensor) -> tf.Tensor:
    units = tf.reduce_sum(true, -1, keepdims=True)
    # Masked although it is zero there: no gradient may go to units that are not.
    mean = tf.reduce_sum(hidden * true, -1, keepdims=True) / units
    centred = (hidden - mean) * true
    variance = tf.reduce_sum(tf.square(centred), -1, keepdims=True) / units
    unit = centred * tf.math.rsqrt(variance + pieces.EPSILON)
    return unit * layer["layer_scale"][:, tf.newaxis, :] + layer["layer_shift"][:, tf.newaxis, :]
