"""Dropout whose random bits cost next to nothing inside a compiled epoch.

Keras' layer draws its mask with a stateless generator, which on small networks costs more than the
matrix products. Here one 32-bit word a unit comes from hashing (seed, layer, step, position) by
integer mixing: nothing is stored, any step's mask can be drawn again, and XLA fuses the whole thing
into the multiplication.

Dropout's multipliers for many steps and layers at once.

Drawn by XLA, which fuses the mixing of bits into one pass; a plain graph makes fifteen of it, in
each step. The bits are those that the layers of a network of its own draw (networks/dropout.py).
"""

import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

# 24 bits of each word decide, so a rate is exact to 6e-8 and the comparison fits in an int32.
_RESOLUTION = 1 << 24
_STEP_STRIDE = 0x9E3779B9
_LAYER_STRIDE = 0x85EBCA6B


def _mix(word: tf.Tensor) -> tf.Tensor:
    """Bijective mixing of uint32 words: xor-shift and multiply rounds whose constants come from
    C. Wellons' search for low-bias 32-bit hashes (2018)."""
    shift, xor = tf.bitwise.right_shift, tf.bitwise.bitwise_xor
    word = xor(word, shift(word, tf.constant(16, tf.uint32))) * tf.constant(0x7FEB352D, tf.uint32)
    word = xor(word, shift(word, tf.constant(15, tf.uint32))) * tf.constant(0x846CA68B, tf.uint32)
    return xor(word, shift(word, tf.constant(16, tf.uint32)))


class DropoutClock:
    """What all dropout layers of one network share: the trial's seed and the step it is at."""

    def __init__(self) -> None:
        self.seed = tf.Variable(0, dtype=tf.uint32, trainable=False)
        self.step = tf.Variable(0, dtype=tf.uint32, trainable=False)

    @property
    def variables(self) -> list[tf.Variable]:
        return [self.seed, self.step]

    def reset(self, seed: int) -> None:
        self.seed.assign(seed & 0xFFFFFFFF)
        self.step.assign(0)

    def tick(self) -> None:
        self.step.assign_add(1)


def hashed(count: tf.Tensor, salt: int, seed: tf.Tensor, step: tf.Tensor) -> tf.Tensor:
    """`count` numbers in [0, 1), float32, of the trial's seed and step (uint32 scalars); `salt`
    tells uses apart."""
    return tf.cast(_drawn(count, salt, seed, step), tf.float32) / float(_RESOLUTION)


def multipliers(
    positions: tf.Tensor, rate: tf.Tensor, layer: tf.Tensor | int, seed: tf.Tensor, step: tf.Tensor
) -> tf.Tensor:
    """What inverted dropout multiplies the units at `positions` (uint32) by, float32; `rate` and
    the rest broadcast against them."""
    keep = _drawn_at(positions, layer, seed, step) >= _threshold(rate)
    kept = 1.0 - tf.cast(_threshold(rate), tf.float32) / float(_RESOLUTION)
    return tf.where(keep, 1.0 / kept, 0.0)


def _drawn(count: tf.Tensor, salt: int, seed: tf.Tensor, step: tf.Tensor) -> tf.Tensor:
    """int32 (count,), evenly spread over 0..2^24-1."""
    return _drawn_at(tf.cast(tf.range(count), tf.uint32), salt, seed, step)


def _drawn_at(
    positions: tf.Tensor, salt: tf.Tensor | int, seed: tf.Tensor, step: tf.Tensor
) -> tf.Tensor:
    """int32 of the shape that all broadcast to, evenly spread over 0..2^24-1."""
    word = tf.cast(salt + 1, tf.uint32) * tf.constant(_LAYER_STRIDE, tf.uint32)
    key = _mix(_mix(seed + word) + step * tf.constant(_STEP_STRIDE, tf.uint32))
    # An odd stride of its own for each step and layer: with an offset alone, two masks would be
    # shifted copies of one another. One mixing a unit is all that the small networks can afford.
    stride = tf.bitwise.bitwise_or(_mix(key + word), tf.constant(1, tf.uint32))
    mixed = _mix(positions * stride + key)
    return tf.cast(tf.bitwise.right_shift(mixed, tf.constant(8, tf.uint32)), tf.int32)


def _threshold(rate: tf.Tensor) -> tf.Tensor:
    return tf.cast(tf.round(rate * float(_RESOLUTION)), tf.int32)


class FastDropout(keras.layers.Layer):
    """Inverted dropout (Srivastava et al., 2014) with the rate as an input of the program.

    In exported networks its place is taken by `keras.layers.Dropout`.
    """

    def __init__(self, index: int, clock: DropoutClock, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.index = index
        self.clock = clock
        # A bare variable in a list stays out of the layer's weights, so that the weights of the
        # training form and of the exported form match one to one.
        self._scalars = (tf.Variable(0.0, dtype=tf.float32, trainable=False),)

    @property
    def rate(self) -> tf.Variable:
        return self._scalars[0]

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        if not training:
            return inputs
        rate = tf.convert_to_tensor(self.rate)
        positions = tf.reshape(tf.cast(tf.range(tf.size(inputs)), tf.uint32), tf.shape(inputs))
        seed, step = self.clock.seed.value(), self.clock.step.value()
        return inputs * multipliers(positions, rate, self.index, seed, step)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return input_shape


# What is drawn comes in tiles, each of one layer and step, so that few sizes are compiled.
_TILE = 1 << 10
_MOST_TILES = 1 << 10


# Rows and units of a mask; without rows where no trial drops any.
Shape = tuple[int, int]


def steps_at_once(shapes: Sequence[Shape], wanted: int) -> int:
    """For how many of the `wanted` steps masks of such shapes are drawn at once."""
    tiles = sum(_tiles(shape) for shape in shapes)
    return max(1, min(wanted, _MOST_TILES // tiles)) if tiles else wanted


def _tiles(shape: Shape) -> int:
    return -(-math.prod(shape) // _TILE)


def draw_masks(
    shapes: Sequence[Shape], rates: Sequence[float], steps: int, seed: int, first: int
) -> list[tf.Tensor]:
    """For each dropout of a network, in order, its multipliers float32 (steps, rows, units) in the
    steps from `first` on; (1, 0, 0) for one without rows."""
    tiles = [_tiles(shape) for shape in shapes]
    places = np.repeat(np.arange(len(tiles)), np.multiply(tiles, steps))
    at = np.concatenate([np.repeat(np.arange(steps), count) for count in tiles]) + first
    bases = np.concatenate([np.tile(np.arange(count) * _TILE, steps) for count in tiles])
    drawn = _drawn_masks(places, np.asarray(rates)[places], bases, at, seed)
    found, begin = [], 0
    for count, shape in zip(tiles, shapes, strict=True):
        if count:
            whole = tf.reshape(drawn[begin : begin + steps * count], [steps, count * _TILE])
            found.append(tf.reshape(whole[:, : math.prod(shape)], [steps, *shape]))
        else:
            found.append(tf.zeros([1, 0, 0]))
        begin += steps * count
    return found


def _drawn_masks(
    places: np.ndarray, rates: np.ndarray, bases: np.ndarray, at: np.ndarray, seed: int
) -> tf.Tensor:
    """float32 (tiles or more, values of a tile); one entry a tile in each argument."""
    if not len(places):
        return tf.zeros([0, _TILE])
    room = 1 << (len(places) - 1).bit_length()

    def column(numbers: np.ndarray, dtype: Any) -> tf.Tensor:
        return tf.constant(np.pad(numbers, (0, room - len(numbers)))[:, np.newaxis], dtype)

    return _draw(
        column(places, tf.int32),
        column(rates, tf.float32),
        column(bases, tf.uint32),
        column(at, tf.uint32),
        tf.constant(seed & 0xFFFFFFFF, tf.uint32),
    )


@tf.function(jit_compile=True, autograph=False)
def _draw(
    place: tf.Tensor, rate: tf.Tensor, base: tf.Tensor, step: tf.Tensor, seed: tf.Tensor
) -> tf.Tensor:
    positions = base + tf.cast(tf.range(_TILE), tf.uint32)[tf.newaxis, :]
    return multipliers(positions, rate, place, seed, step)
