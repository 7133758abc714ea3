"""Images changed anew each time they are trained on, inside the compiled epoch."""

import tensorflow as tf

from tuner.training.ops.random_bits import uniform

# Salts beyond those of any network's dropout layers.
_FLIP, _DOWN, _RIGHT = 1001, 1002, 1003

# A row is flipped with this probability.
FLIPPED_SHARE = 0.5


class Augmentation:
    """Shifts and flips of raw batches (rows, height, width, …), drawn from the trial's seed and
    step, so that a trial is repeatable. What comes in at an edge is zero."""

    def __init__(self, shifts: bool, flips: bool) -> None:
        self._shifts, self._flips = shifts, flips

    def __call__(
        self, x: tf.Tensor, most: tf.Tensor, share: tf.Tensor, seed: tf.Tensor, step: tf.Tensor
    ) -> tf.Tensor:
        """`most`: largest shift in pixels, float32; `share`: of the rows that are flipped; `seed`,
        `step`: uint32."""
        rows = tf.shape(x)[0]
        if self._flips:
            flip = uniform(rows, _FLIP, seed, step) < share
            x = tf.where(tf.reshape(flip, [-1] + [1] * (x.shape.rank - 1)), tf.reverse(x, [2]), x)
        if self._shifts:
            x = _shift(x, _offsets(uniform(rows, _DOWN, seed, step), most), axis=1)
            x = _shift(x, _offsets(uniform(rows, _RIGHT, seed, step), most), axis=2)
        return x

    def change_lanes(
        self, x: tf.Tensor, most: tf.Tensor, share: tf.Tensor, seed: tf.Tensor, step: tf.Tensor
    ) -> tf.Tensor:
        """The same for x (lanes, rows, …); each number (lanes,)."""
        if not (self._flips or self._shifts):
            return x
        lanes = range(x.shape[0])
        return tf.stack([self(x[n], most[n], share[n], seed[n], step[n]) for n in lanes])


def _offsets(draws: tf.Tensor, most: tf.Tensor) -> tf.Tensor:
    """A whole number from -most to most for each row, all equally likely."""
    return tf.cast(tf.floor(draws * (2.0 * most + 1.0)) - most, tf.int32)


def _shift(x: tf.Tensor, offsets: tf.Tensor, axis: int) -> tf.Tensor:
    """x moved along an axis by each row's own offset."""
    size = int(x.shape[axis])
    source = tf.range(size)[tf.newaxis, :] - offsets[:, tf.newaxis]
    inside = (source >= 0) & (source < size)
    moved = tf.gather(x, tf.clip_by_value(source, 0, size - 1), axis=axis, batch_dims=1)
    shape = [-1 if at == 0 else size if at == axis else 1 for at in range(x.shape.rank)]
    return tf.where(tf.reshape(inside, shape), moved, tf.zeros([], x.dtype))
