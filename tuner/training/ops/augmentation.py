"""Images changed anew each time they are trained on, inside the compiled epoch."""

import tensorflow as tf

from tuner.training.ops.dropout import hashed

# Salts of the hashes, beyond those of any network's dropout layers.
_FLIP, _DOWN, _RIGHT = 1001, 1002, 1003


class Augmentation:
    """Shifts and flips of raw batches (rows, height, width, ...), drawn from the trial's seed and
    step, so that a trial is repeatable. What comes in at an edge is zero."""

    def __init__(self, shifts: bool, flips: bool) -> None:
        self._shifts, self._flips = shifts, flips

    def __call__(
        self, x: tf.Tensor, most: tf.Tensor, share: tf.Tensor, seed: tf.Tensor, step: tf.Tensor
    ) -> tf.Tensor:
        """`most`: pixels of a shift, float32; `share`: of the rows that are flipped; `seed`,
        `step`: uint32."""
        rows = tf.shape(x)[0]
        if self._flips:
            flip = hashed(rows, _FLIP, seed, step) < share
            x = tf.where(tf.reshape(flip, [-1] + [1] * (x.shape.rank - 1)), tf.reverse(x, [2]), x)
        if self._shifts:
            x = _shifted(x, _offsets(hashed(rows, _DOWN, seed, step), most), 1)
            x = _shifted(x, _offsets(hashed(rows, _RIGHT, seed, step), most), 2)
        return x


def _offsets(drawn: tf.Tensor, most: tf.Tensor) -> tf.Tensor:
    """A whole number from -most to most for each row, all equally likely."""
    return tf.cast(tf.floor(drawn * (2.0 * most + 1.0)) - most, tf.int32)


def _shifted(x: tf.Tensor, offsets: tf.Tensor, axis: int) -> tf.Tensor:
    """x moved along an axis by each row's own offset."""
    size = int(x.shape[axis])
    source = tf.range(size)[tf.newaxis, :] - offsets[:, tf.newaxis]
    inside = (source >= 0) & (source < size)
    moved = tf.gather(x, tf.clip_by_value(source, 0, size - 1), axis=axis, batch_dims=1)
    shape = [-1 if at == 0 else size if at == axis else 1 for at in range(x.shape.rank)]
    return tf.where(tf.reshape(inside, shape), moved, tf.zeros([], x.dtype))
