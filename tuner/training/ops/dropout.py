"""Inverted dropout (Srivastava et al., 2014), three forms that draw the same bits.

- `FastDropout`: a layer of a Keras model.
- `draw_masks`: a graph's masks of many steps and layers in one call, drawn by XLA. A plain graph
  would make fifteen passes of the hashing, in each step.
- `drop_lanes`: for trials side by side, inside XLA's step.

A dropout is known by its place among all that a network may have, those with rate 0 included.
"""

import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tuner.training.ops.random_bits import RESOLUTION, draw_bits


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


def multipliers(
    positions: tf.Tensor, rate: tf.Tensor, place: tf.Tensor | int, seed: tf.Tensor, step: tf.Tensor
) -> tf.Tensor:
    """What the units at `positions` (uint32) are multiplied by, float32: 0 or 1 / (1 - rate).
    `rate`, `place`, `seed` and `step` broadcast against them."""
    dropped_below = tf.cast(tf.round(rate * float(RESOLUTION)), tf.int32)
    stays = draw_bits(positions, place, seed, step) >= dropped_below
    share = 1.0 - tf.cast(dropped_below, tf.float32) / float(RESOLUTION)
    return tf.where(stays, 1.0 / share, 0.0)


class FastDropout(keras.layers.Layer):
    """Dropout with the rate as an input of the program.

    In exported networks its place is taken by `keras.layers.Dropout`.
    """

    def __init__(self, place: int, clock: DropoutClock, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.supports_masking = True
        self.place = place
        self.clock = clock
        # A bare variable in a tuple stays out of the layer's weights, so that the weights of the
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
        mask = multipliers(positions, rate, self.place, seed, step)
        return inputs * tf.cast(mask, inputs.dtype)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return input_shape


# A graph's masks are drawn in tiles, each of one place and step, so that few sizes are compiled.
_TILE = 1 << 10
_MOST_TILES = 1 << 10

# Rows and units of a mask; no rows where no trial of the program drops any.
MaskShape = tuple[int, int]


def steps_at_once(shapes: Sequence[MaskShape], steps: int) -> int:
    """For how many of the next `steps` steps masks of such shapes are drawn in one call."""
    tiles = sum(_tile_count(shape) for shape in shapes)
    return max(1, min(steps, _MOST_TILES // tiles)) if tiles else steps


def draw_masks(
    shapes: Sequence[MaskShape], rates: Sequence[float], steps: int, seed: int, first: int
) -> list[tf.Tensor]:
    """For each dropout of a network, in order, its multipliers float32 (steps, rows, units) in the
    steps from `first` on; (1, 0, 0) for one without rows. Where nothing is dropped, nothing is
    drawn, and the first trial need not wait for XLA."""
    counts = [
        _tile_count(shape) if _dropped_below(rate) else 0
        for shape, rate in zip(shapes, rates, strict=True)
    ]
    places = np.repeat(np.arange(len(counts)), np.multiply(counts, steps))
    at = np.concatenate([np.repeat(np.arange(steps), count) for count in counts]) + first
    bases = np.concatenate([np.tile(np.arange(count) * _TILE, steps) for count in counts])
    tiles = _draw_tiles(places, np.asarray(rates)[places], bases, at, seed)
    masks, begin = [], 0
    for count, shape in zip(counts, shapes, strict=True):
        if count:
            rows = tf.reshape(tiles[begin : begin + steps * count], [steps, count * _TILE])
            masks.append(tf.reshape(rows[:, : math.prod(shape)], [steps, *shape]))
        else:
            masks.append(tf.ones([steps, *shape]) if shape[0] else tf.zeros([1, 0, 0]))
        begin += steps * count
    return masks


def _dropped_below(rate: float) -> int:
    """As `multipliers` rounds it."""
    return int(np.round(np.float32(rate) * np.float32(RESOLUTION)))


def _tile_count(shape: MaskShape) -> int:
    return -(-math.prod(shape) // _TILE)


def _draw_tiles(
    places: np.ndarray, rates: np.ndarray, bases: np.ndarray, at: np.ndarray, seed: int
) -> tf.Tensor:
    """float32 (tiles or more, values of a tile); one entry a tile in each argument."""
    if not len(places):
        return tf.zeros([0, _TILE])
    room = 1 << (len(places) - 1).bit_length()

    def column(numbers: np.ndarray, dtype: Any) -> tf.Tensor:
        return tf.constant(np.pad(numbers, (0, room - len(numbers)))[:, np.newaxis], dtype)

    return _compiled_tiles(
        column(places, tf.int32),
        column(rates, tf.float32),
        column(bases, tf.uint32),
        column(at, tf.uint32),
        tf.constant(seed & 0xFFFFFFFF, tf.uint32),
    )


@tf.function(jit_compile=True, autograph=False)
def _compiled_tiles(
    place: tf.Tensor, rate: tf.Tensor, base: tf.Tensor, step: tf.Tensor, seed: tf.Tensor
) -> tf.Tensor:
    positions = base + tf.cast(tf.range(_TILE), tf.uint32)[tf.newaxis, :]
    return multipliers(positions, rate, place, seed, step)


@tf.custom_gradient
def apply_mask(x: tf.Tensor, mask: tf.Tensor) -> Any:
    """x times multipliers of its shape. In a graph that does not know the sizes, TensorFlow's own
    gradient would find out at each step which axes were broadcast."""
    return x * mask, lambda upstream: (upstream * mask, None)


def drop_lanes(
    x: tf.Tensor, width: tf.Tensor, rate: tf.Tensor, place: int, seed: tf.Tensor, step: tf.Tensor
) -> tf.Tensor:
    """x (lanes, rows, units) with dropout's multipliers; `width`, `rate`, `seed`, `step`: (lanes,).
    A unit's bits are found by the trial's true width, not by the padded one."""
    row, unit = tf.range(x.shape[1])[tf.newaxis, :, tf.newaxis], tf.range(x.shape[2])
    positions = tf.cast(row * width[:, tf.newaxis, tf.newaxis] + unit, tf.uint32)
    rate, seed, step = (of_lane[:, tf.newaxis, tf.newaxis] for of_lane in (rate, seed, step))
    return x * multipliers(positions, rate, place, seed, step)
