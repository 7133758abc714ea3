"""Batch and layer normalisation: a Keras layer, a graph's form and the lanes' form of each.

A graph does not know its sizes when it is made, and TensorFlow's own gradients would find out at
each step which axes were broadcast: there the gradients are written out by hand (tested against
automatic ones). In the lanes' forms x is (lanes, rows, units), padded beyond a trial's own rows
and units.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf

# Keras' defaults.
_EPSILON = 1e-3
_MOMENTUM = 0.99


@dataclass(frozen=True)
class Normalization:
    """`keras`: makes the layer. `trained`, `moving`: names of its arrays (units,) in the shared
    programs and what they start with, in the order of the layer's weights; `moving` ones are
    gathered in training."""

    keras: Callable[[], Any]
    trained: Mapping[str, float]
    moving: Mapping[str, float]

    @property
    def arrays(self) -> dict[str, float]:
        return {**self.trained, **self.moving}


# By the parameter that switches it on, in the order in which a layer applies them.
NORMALIZATIONS: dict[str, Normalization] = {
    # Ioffe and Szegedy (2015)
    "batch_norm": Normalization(
        lambda: keras.layers.BatchNormalization(momentum=_MOMENTUM, epsilon=_EPSILON),
        trained={"scale": 1.0, "shift": 0.0},
        moving={"mean": 0.0, "variance": 1.0},
    ),
    # Ba, Kiros and Hinton (2016)
    "layer_norm": Normalization(
        lambda: keras.layers.LayerNormalization(epsilon=_EPSILON),
        trained={"layer_scale": 1.0, "layer_shift": 0.0},
        moving={},
    ),
}


@tf.custom_gradient
def normalize_batch(x: tf.Tensor, scale: tf.Tensor, shift: tf.Tensor) -> Any:
    """Batch normalisation of x (rows, units) by its own statistics; its means and variances
    (units,) beside it, through which no gradient goes."""
    *outputs, unit, spread = _by_own_statistics(x, scale, shift)

    def gradient(upstream: tf.Tensor, _mean: tf.Tensor, _variance: tf.Tensor) -> Any:
        return _through_own_statistics(upstream, scale, unit, spread)

    return tuple(outputs), gradient


def normalize_batch_if(
    on: tf.Tensor, x: tf.Tensor, scale: tf.Tensor, shift: tf.Tensor, mean: tf.Tensor,
    variance: tf.Tensor,
) -> Any:  # fmt: skip
    """`normalize_batch` where `on`; else x, and the mean and variance given. TensorFlow's own
    gradient of a condition would carry values from one branch to the other by far slower ways."""

    @tf.custom_gradient
    def normalised(x: tf.Tensor, scale: tf.Tensor, shift: tf.Tensor) -> Any:
        nothing = tf.zeros([0, 0])
        *outputs, unit, spread = tf.cond(
            on,
            lambda: _by_own_statistics(x, scale, shift),
            lambda: (tf.identity(x), tf.identity(mean), tf.identity(variance), nothing, nothing),
        )

        def gradient(upstream: tf.Tensor, _mean: tf.Tensor, _variance: tf.Tensor) -> Any:
            return tf.cond(
                on,
                lambda: _through_own_statistics(upstream, scale, unit, spread),
                lambda: (tf.identity(upstream), tf.zeros_like(scale), tf.zeros_like(shift)),
            )

        return tuple(outputs), gradient

    return normalised(x, scale, shift)


def _by_own_statistics(x: tf.Tensor, scale: tf.Tensor, shift: tf.Tensor) -> tuple[tf.Tensor, ...]:
    """Outputs (rows, units), mean and variance (units,); for the gradient the values before scale
    and shift, and the factor of the centred values (1, units)."""
    average = _averaging_row(x)
    mean = tf.matmul(average, x)
    centred = x - mean
    variance = tf.matmul(average, tf.square(centred))
    spread = tf.math.rsqrt(variance + _EPSILON)
    unit = centred * spread
    return unit * scale + shift, tf.squeeze(mean, 0), tf.squeeze(variance, 0), unit, spread


def _through_own_statistics(
    upstream: tf.Tensor, scale: tf.Tensor, unit: tf.Tensor, spread: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """The gradients to x, scale and shift."""
    average = _averaging_row(upstream)
    shift_mean = tf.matmul(average, upstream)
    scale_mean = tf.matmul(average, upstream * unit)
    to_x = (upstream - shift_mean - unit * scale_mean) * (scale * spread)
    count = tf.cast(tf.shape(upstream)[0], tf.float32)
    return to_x, tf.squeeze(scale_mean, 0) * count, tf.squeeze(shift_mean, 0) * count


def _averaging_row(x: tf.Tensor) -> tf.Tensor:
    """(1, rows): its product with x averages over rows, several times as fast as a reduction."""
    rows = tf.shape(x)[0]
    return tf.fill([1, rows], 1.0 / tf.cast(rows, tf.float32))


def normalize_by_moving(
    x: tf.Tensor, scale: tf.Tensor, shift: tf.Tensor, mean: tf.Tensor, variance: tf.Tensor
) -> tf.Tensor:
    """Batch normalisation of x (rows, units) by the statistics gathered in training."""
    factor = scale * tf.math.rsqrt(variance + _EPSILON)
    return x * factor + (shift - mean * factor)


@tf.custom_gradient
def normalize_rows(x: tf.Tensor, scale: tf.Tensor, shift: tf.Tensor) -> Any:
    """Layer normalisation of each row of x (rows, units)."""
    mean = tf.reduce_mean(x, -1, keepdims=True)
    centred = x - mean
    spread = tf.math.rsqrt(tf.reduce_mean(tf.square(centred), -1, keepdims=True) + _EPSILON)
    unit = centred * spread

    def gradient(upstream: tf.Tensor) -> Any:
        inner = upstream * scale
        centre = tf.reduce_mean(inner, -1, keepdims=True)
        along = tf.reduce_mean(inner * unit, -1, keepdims=True)
        to_x = (inner - centre - unit * along) * spread
        return to_x, tf.reduce_sum(upstream * unit, 0), tf.reduce_sum(upstream, 0)

    return unit * scale + shift, gradient


def batch_statistics(x: tf.Tensor, counted: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Mean and variance (lanes, units) over the rows that are `counted` (lanes, rows), 1 or 0."""
    weights = counted[:, :, tf.newaxis]
    rows = tf.reduce_sum(weights, 1)
    mean = tf.reduce_sum(x * weights, 1) / rows
    centred = (x - mean[:, tf.newaxis, :]) * weights
    return mean, tf.reduce_sum(tf.square(centred), 1) / rows


def normalize_lanes_batch(
    x: tf.Tensor, arrays: Mapping[str, tf.Tensor], mean: tf.Tensor, variance: tf.Tensor
) -> tf.Tensor:
    """Batch normalisation by statistics (lanes, units): the batch's or the moving ones."""
    spread = tf.math.rsqrt(variance + _EPSILON)[:, tf.newaxis, :]
    unit = (x - mean[:, tf.newaxis, :]) * spread
    return unit * arrays["scale"][:, tf.newaxis, :] + arrays["shift"][:, tf.newaxis, :]


def normalize_lanes_rows(
    x: tf.Tensor, arrays: Mapping[str, tf.Tensor], own_units: tf.Tensor
) -> tf.Tensor:
    """Layer normalisation; `own_units` (lanes, 1, units): 1 for a trial's own units, 0 for padding.
    The padding is zero, and masked all the same: no gradient may flow to it."""
    units = tf.reduce_sum(own_units, -1, keepdims=True)
    mean = tf.reduce_sum(x * own_units, -1, keepdims=True) / units
    centred = (x - mean) * own_units
    variance = tf.reduce_sum(tf.square(centred), -1, keepdims=True) / units
    unit = centred * tf.math.rsqrt(variance + _EPSILON)
    return unit * arrays["layer_scale"][:, tf.newaxis, :] + arrays["layer_shift"][:, tf.newaxis, :]


def moved_on(moving: tf.Tensor, batch: tf.Tensor, on: tf.Tensor | None = None) -> tf.Tensor:
    """A moving statistic one step further towards the batch's. For lanes `on` (lanes,) says which
    of them have batch normalisation."""
    if on is None:
        return moving * _MOMENTUM + batch * (1.0 - _MOMENTUM)
    return moving + (batch - moving) * tf.where(on, 1.0 - _MOMENTUM, 0.0)[:, tf.newaxis]
