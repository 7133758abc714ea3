"""What is done to weights beside the optimizer's step, for trials side by side; `may` names the
rules that the program has. What a trial has not is 0, which leaves its weights as they are.

`layers`: one dict of arrays (lanes, …) a layer.
"""

from typing import Any

import tensorflow as tf

Layers = list[dict[str, tf.Tensor]]
May = frozenset[str]


def _kernels(of_lane: tf.Tensor) -> tf.Tensor:
    return of_lane[:, tf.newaxis, tf.newaxis]


def penalties(layers: Layers, inputs: Any, may: May) -> tf.Tensor:
    """What is added to the mean loss of each lane's batch (lanes,)."""
    total = tf.zeros_like(inputs["l1"])
    for layer in layers:
        if "l1" in may:
            total += inputs["l1"] * tf.reduce_sum(tf.abs(layer["kernel"]), [1, 2])
        if "l2" in may:
            total += inputs["l2"] * tf.reduce_sum(tf.square(layer["kernel"]), [1, 2])
    return total


def with_penalties(gradients: Layers, layers: Layers, inputs: Any, may: May) -> Layers:
    """The gradients with the penalties'; none for a bias that a trial has not."""
    found = [dict(gradient) for gradient in gradients]
    for number, (gradient, layer) in enumerate(zip(found, layers, strict=True)):
        if "l1" in may:
            gradient["kernel"] += _kernels(inputs["l1"]) * tf.sign(layer["kernel"])
        if "l2" in may:
            gradient["kernel"] += 2.0 * _kernels(inputs["l2"]) * layer["kernel"]
        gradient["bias"] *= inputs["has_bias"][:, number, tf.newaxis]
    return found


def clipped(gradients: Layers, inputs: Any, may: May) -> Layers:
    """Scaled down together where a lane's norm is too large (Pascanu et al., 2013)."""
    if "clip_norm" not in may:
        return gradients
    squares = [
        tf.reduce_sum(tf.square(one), range(1, one.shape.rank))
        for one in tf.nest.flatten(gradients)
    ]
    norm, most = tf.sqrt(tf.add_n(squares)), inputs["clip_norm"]
    factor = tf.where(most > 0, most / tf.maximum(norm, most), 1.0)
    return tf.nest.map_structure(
        lambda one: one * tf.reshape(factor, [-1] + [1] * (one.shape.rank - 1)), gradients
    )


def decayed(layers: Layers, inputs: Any, rates: tf.Tensor, may: May) -> Layers:
    """Before the optimizer's step (Loshchilov and Hutter, 2019)."""
    if "weight_decay" not in may:
        return layers
    kept = _kernels(1.0 - inputs["weight_decay"] * rates)
    return [layer | {"kernel": layer["kernel"] * kept} for layer in layers]


def bounded(layers: Layers, inputs: Any, may: May) -> Layers:
    """After the optimizer's step: each unit's incoming weights (Srebro et al., 2005)."""
    if "max_norm" not in may:
        return layers
    most = _kernels(inputs["max_norm"])

    def bound(kernel: tf.Tensor) -> tf.Tensor:
        norm = tf.sqrt(tf.reduce_sum(tf.square(kernel), 1, keepdims=True))
        allowed = tf.minimum(norm, most) / tf.maximum(norm, 1e-7)
        return tf.where(most > 0, kernel * allowed, kernel)

    return [layer | {"kernel": bound(layer["kernel"])} for layer in layers]
