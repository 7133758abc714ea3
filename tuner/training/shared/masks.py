"""Dropout's multipliers for many steps at once.

Drawn by XLA, which fuses the mixing of bits into one pass; a plain graph makes fifteen of it, in
each step. The bits are those that the layers of a network of its own draw (networks/dropout.py).
"""

import functools
from typing import Any

import numpy as np
import tensorflow as tf

from tuner.networks.dropout import multipliers

# Values drawn at once: 4 MB.
_BLOCK = 1 << 20
_FEWEST = 1 << 10


def block_steps(values: int) -> int:
    """For how many steps masks of so many values are drawn at once."""
    return max(1, _BLOCK // _room(values))


def _room(values: int) -> int:
    """A few sizes for all, each compiled once: powers of two, and halfway between them."""
    power = max(_FEWEST, 1 << (values - 1).bit_length())
    return power * 3 // 4 if values <= power * 3 // 4 else power


def draw_masks(values: int, steps: int, rate: float, place: int, seed: int, first: int) -> Any:
    """float32 (steps, at least `values`) for the steps from `first` on. `place`: the dropout's
    among the network's."""
    return _drawing(steps, _room(values))(
        tf.constant(rate, tf.float32),
        tf.constant(place, tf.int32),
        tf.constant(seed & 0xFFFFFFFF, tf.uint32),
        tf.constant(np.arange(first, first + steps, dtype=np.uint32)[:, np.newaxis]),
    )


@functools.cache
def _drawing(steps: int, room: int) -> Any:
    @tf.function(jit_compile=True, autograph=False)
    def draw(rate: tf.Tensor, place: tf.Tensor, seed: tf.Tensor, at: tf.Tensor) -> tf.Tensor:
        positions = tf.cast(tf.range(room), tf.uint32)[tf.newaxis, :]
        return multipliers(positions, rate, place, seed, at)

    return draw
