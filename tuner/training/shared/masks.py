"""Dropout's multipliers for many steps and layers at once.

Drawn by XLA, which fuses the mixing of bits into one pass; a plain graph makes fifteen of it, in
each step. The bits are those that the layers of a network of its own draw (networks/dropout.py).
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tuner.networks.dropout import multipliers

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
    drawn = _drawn(places, np.asarray(rates)[places], bases, at, seed)
    found, begin = [], 0
    for count, shape in zip(tiles, shapes, strict=True):
        if count:
            whole = tf.reshape(drawn[begin : begin + steps * count], [steps, count * _TILE])
            found.append(tf.reshape(whole[:, : math.prod(shape)], [steps, *shape]))
        else:
            found.append(tf.zeros([1, 0, 0]))
        begin += steps * count
    return found


def _drawn(
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
