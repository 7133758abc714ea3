"""What is done to weights beside the optimizer's step: penalties, decay, bounds, clipping.

"Kernels" are all trainable weights of two or more axes; biases and the scales and shifts of
normalisations are left alone. Each rule is in the program only where a trial's number is not zero.
"""

from typing import Any

import tensorflow as tf

from tuner.networks.scalars import Scalars


class WeightRules:
    """The rules that `params` ask for, on a built model's kernels."""

    def __init__(self, model: Any, params: dict[str, Any], scalars: Scalars) -> None:
        self._model, self._scalars = model, scalars
        self._kernels = [v for v in model.trainable_variables if len(v.shape) > 1]
        self._on = {
            rule: params.get(rule, 0.0) > 0
            for rule in ("l1", "l2", "max_norm", "weight_decay", "clip_norm")
        }

    def penalty(self) -> tf.Tensor:
        """What is added to the mean loss of a batch: the rules' penalties, and those that a user's
        own layers bring."""
        terms = list(self._model.losses)
        kernels = [tf.convert_to_tensor(kernel) for kernel in self._kernels]
        if self._on["l1"]:
            terms += [self._scalars["l1"] * tf.reduce_sum(tf.abs(kernel)) for kernel in kernels]
        if self._on["l2"]:
            terms += [self._scalars["l2"] * tf.reduce_sum(kernel**2) for kernel in kernels]
        return tf.add_n(terms) if terms else tf.constant(0.0)

    def clipped(self, gradients: list[tf.Tensor]) -> list[tf.Tensor]:
        """The gradients, scaled down together where their norm is too large (Pascanu et al.,
        2013)."""
        if not self._on["clip_norm"]:
            return gradients
        clipped: list[tf.Tensor] = tf.clip_by_global_norm(gradients, self._scalars["clip_norm"])[0]
        return clipped

    def decay(self, learning_rate: tf.Tensor) -> None:
        """Before the optimizer's step (Loshchilov and Hutter, 2019)."""
        if self._on["weight_decay"]:
            kept = 1.0 - self._scalars["weight_decay"] * learning_rate
            for kernel in self._kernels:
                kernel.assign(kernel * kept)

    def bound(self) -> None:
        """After the optimizer's step: each unit's incoming weights (Srebro et al., 2005)."""
        if not self._on["max_norm"]:
            return
        for kernel in self._kernels:
            value = tf.convert_to_tensor(kernel)
            incoming = list(range(value.shape.rank - 1))
            norm = tf.sqrt(tf.reduce_sum(value**2, incoming, keepdims=True))
            allowed = tf.minimum(norm, self._scalars["max_norm"])
            kernel.assign(value * (allowed / tf.maximum(norm, 1e-7)))
