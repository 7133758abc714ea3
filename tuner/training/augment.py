"""Images changed anew each time they are trained on, inside the compiled epoch."""

from typing import Any

import tensorflow as tf

from tuner.networks.dropout import DropoutClock, hashed
from tuner.networks.scalars import Scalars

# Salts of the hashes, beyond those of any network's dropout layers.
_FLIP, _DOWN, _RIGHT = 1001, 1002, 1003


class Augmentation:
    """Shifts and flips of raw batches (rows, height, width, ...), drawn from the trial's seed and
    step, so that a trial is repeatable. What comes in at an edge is zero."""

    def __init__(self, params: dict[str, Any], scalars: Scalars, clock: DropoutClock) -> None:
        self._shifts = params.get("augment_shift", 0) > 0
        self._flips = bool(params.get("augment_flip", False))
        self._scalars, self._clock = scalars, clock

    def __call__(self, x: tf.Tensor) -> tf.Tensor:
        if self._flips:
            flip = self._drawn(_FLIP, x) < 0.5
            x = tf.where(tf.reshape(flip, [-1] + [1] * (x.shape.rank - 1)), tf.reverse(x, [2]), x)
        if self._shifts:
            x = _shifted(x, self._offsets(_DOWN, x), 1)
            x = _shifted(x, self._offsets(_RIGHT, x), 2)
        return x

    def _offsets(self, salt: int, x: tf.Tensor) -> tf.Tensor:
        """A whole number from -shift to shift for each row, all equally likely."""
        most = self._scalars["augment_shift"]
        drawn = tf.floor(self._drawn(salt, x) * (2.0 * most + 1.0)) - most
        return tf.cast(drawn, tf.int32)

    def _drawn(self, salt: int, x: tf.Tensor) -> tf.Tensor:
        """A number in [0, 1) for each row."""
        return hashed(tf.shape(x)[0], salt, self._clock)


def _shifted(x: tf.Tensor, offsets: tf.Tensor, axis: int) -> tf.Tensor:
    """x moved along an axis by each row's own offset."""
    size = int(x.shape[axis])
    source = tf.range(size)[tf.newaxis, :] - offsets[:, tf.newaxis]
    inside = (source >= 0) & (source < size)
    moved = tf.gather(x, tf.clip_by_value(source, 0, size - 1), axis=axis, batch_dims=1)
    shape = [-1 if at == 0 else size if at == axis else 1 for at in range(x.shape.rank)]
    return tf.where(tf.reshape(inside, shape), moved, tf.zeros([], x.dtype))
