"""Random numbers that cost next to nothing inside a compiled epoch.

A stateless generator costs more than the matrix products of a small network. Here one 32-bit word
for each position comes from hashing (seed, salt, step, position) by integer mixing: nothing is
stored, the numbers of any step can be drawn again, and XLA fuses all of it into what uses them.
"""

import tensorflow as tf

# 24 bits of each word decide, so a probability is exact to 6e-8 and a comparison fits in an int32.
RESOLUTION = 1 << 24
_STEP_STRIDE = 0x9E3779B9
_SALT_STRIDE = 0x85EBCA6B


def draw_bits(
    positions: tf.Tensor, salt: tf.Tensor | int, seed: tf.Tensor, step: tf.Tensor
) -> tf.Tensor:
    """int32, evenly spread over 0 … RESOLUTION - 1, of the shape that all arguments broadcast to.

    `positions`, `seed`, `step`: uint32; `salt` tells uses apart (dropout's layers have 0, 1, …).
    """
    word = tf.cast(salt + 1, tf.uint32) * tf.constant(_SALT_STRIDE, tf.uint32)
    key = _mix(_mix(seed + word) + step * tf.constant(_STEP_STRIDE, tf.uint32))
    # An odd stride of its own for each step and salt: with an offset alone, two masks would be
    # shifted copies of one another. One mixing a unit is all that the small networks can afford.
    stride = tf.bitwise.bitwise_or(_mix(key + word), tf.constant(1, tf.uint32))
    mixed = _mix(positions * stride + key)
    return tf.cast(tf.bitwise.right_shift(mixed, tf.constant(8, tf.uint32)), tf.int32)


def uniform(count: tf.Tensor, salt: int, seed: tf.Tensor, step: tf.Tensor) -> tf.Tensor:
    """float32 (count,) in [0, 1); `seed`, `step`: uint32 scalars."""
    positions = tf.cast(tf.range(count), tf.uint32)
    return tf.cast(draw_bits(positions, salt, seed, step), tf.float32) / float(RESOLUTION)


def _mix(word: tf.Tensor) -> tf.Tensor:
    """Bijective mixing of uint32 words: xor-shift and multiply rounds whose constants come from
    C. Wellons' search for low-bias 32-bit hashes (2018)."""
    shift, xor = tf.bitwise.right_shift, tf.bitwise.bitwise_xor
    word = xor(word, shift(word, tf.constant(16, tf.uint32))) * tf.constant(0x7FEB352D, tf.uint32)
    word = xor(word, shift(word, tf.constant(15, tf.uint32))) * tf.constant(0x846CA68B, tf.uint32)
    return xor(word, shift(word, tf.constant(16, tf.uint32)))
