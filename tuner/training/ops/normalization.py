"""Parts of a network whose sizes and kinds are inputs of the program.

The gradients of most are written out: with sizes unknown when the program is made, TensorFlow's own
would find out at each step which axes had been broadcast.
"""

from typing import Any

import tensorflow as tf

# Keras' defaults.
EPSILON = 1e-3
MOVING = 0.99


@tf.custom_gradient
def masked(x: tf.Tensor, factors: tf.Tensor) -> Any:
    """x times factors of its shape."""
    return x * factors, lambda upstream: (upstream * factors, None)


@tf.custom_gradient
def batch_normalised(x: tf.Tensor, scale: tf.Tensor, shift: tf.Tensor) -> Any:
    """Batch normalisation of x (rows, units) by its own statistics (Ioffe and Szegedy, 2015); its
    means and variances (units,) beside it, through which no gradient goes."""
    *outputs, unit, spread = _by_own_statistics(x, scale, shift)

    def gradient(upstream: tf.Tensor, _mean: tf.Tensor, _variance: tf.Tensor) -> Any:
        return _through_own_statistics(upstream, scale, unit, spread)

    return tuple(outputs), gradient


def batch_normalised_where(
    on: tf.Tensor, x: tf.Tensor, scale: tf.Tensor, shift: tf.Tensor, mean: tf.Tensor,
    variance: tf.Tensor,
) -> Any:  # fmt: skip
    """The same where `on`; else x, and the mean and variance given. TensorFlow's own gradient of a
    condition would carry what it needs from one to the other by far slower ways."""

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
    and shift, and what the centred ones were multiplied by (1, units)."""
    average = _average(x)
    mean = tf.matmul(average, x)
    centred = x - mean
    variance = tf.matmul(average, tf.square(centred))
    spread = tf.math.rsqrt(variance + EPSILON)
    unit = centred * spread
    return unit * scale + shift, tf.squeeze(mean, 0), tf.squeeze(variance, 0), unit, spread


def _through_own_statistics(
    upstream: tf.Tensor, scale: tf.Tensor, unit: tf.Tensor, spread: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """The gradient to x, scale and shift."""
    average = _average(upstream)
    shift_mean = tf.matmul(average, upstream)
    scale_mean = tf.matmul(average, upstream * unit)
    to_x = (upstream - shift_mean - unit * scale_mean) * (scale * spread)
    count = tf.cast(tf.shape(upstream)[0], tf.float32)
    return to_x, tf.squeeze(scale_mean, 0) * count, tf.squeeze(shift_mean, 0) * count


def _average(x: tf.Tensor) -> tf.Tensor:
    """(1, rows), by which a product averages over rows: several times as fast as a reduction."""
    rows = tf.shape(x)[0]
    return tf.fill([1, rows], 1.0 / tf.cast(rows, tf.float32))


@tf.custom_gradient
def layer_normalised(x: tf.Tensor, scale: tf.Tensor, shift: tf.Tensor) -> Any:
    """Layer normalisation of each row of x (rows, units) (Ba, Kiros and Hinton, 2016)."""
    mean = tf.reduce_mean(x, -1, keepdims=True)
    centred = x - mean
    spread = tf.math.rsqrt(tf.reduce_mean(tf.square(centred), -1, keepdims=True) + EPSILON)
    unit = centred * spread

    def gradient(upstream: tf.Tensor) -> Any:
        inner = upstream * scale
        centre = tf.reduce_mean(inner, -1, keepdims=True)
        along = tf.reduce_mean(inner * unit, -1, keepdims=True)
        to_x = (inner - centre - unit * along) * spread
        return to_x, tf.reduce_sum(upstream * unit, 0), tf.reduce_sum(upstream, 0)

    return unit * scale + shift, gradient


def by_moving(
    x: tf.Tensor, scale: tf.Tensor, shift: tf.Tensor, mean: tf.Tensor, variance: tf.Tensor
) -> tf.Tensor:
    """Batch normalisation by statistics gathered in training."""
    factor = scale * tf.math.rsqrt(variance + EPSILON)
    return x * factor + (shift - mean * factor)
