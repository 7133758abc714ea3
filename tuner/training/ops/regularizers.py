"""What is done to weights beside the optimizer's step, each rule only where a trial's number is
above zero. The same rules as training/weights.py has for one structure.

What is done to weights beside the optimizer's step: penalties, decay, bounds, clipping.

"Kernels" are all trainable weights of two or more axes; biases and the scales and shifts of
normalisations are left alone. Each rule is in the program only where a trial's number is not zero.

What is done to weights beside the optimizer's step, for trials side by side; `may` names the
rules that the program has. What a trial has not is 0, which leaves its weights as they are.

`layers`: one dict of arrays (lanes, …) a layer.
"""

from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf

from tuner.training.ops.scalars import Scalars
from tuner.training.program_key import ProgramKey


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


Inputs = Mapping[str, Any]


class Rules:
    """The rules that trials of a design may have, on the network's kernels."""

    def __init__(self, design: ProgramKey, network: Any) -> None:
        self._may, self._network = design.included, network
        self._lacks_biases = design.may_lack_biases

    def penalty(self, inputs: Inputs) -> tf.Tensor:
        """What is added to the mean loss of a batch."""
        total = tf.constant(0.0)
        for name, measure in (("l1", tf.abs), ("l2", tf.square)):
            if name in self._may:
                total += inputs[name] * tf.add_n(
                    [tf.reduce_sum(measure(kernel)) for kernel in self._network.kernels]
                )
        return total

    def changed(self, gradients: list[tf.Tensor], inputs: Inputs) -> list[tf.Tensor]:
        """The gradients of what the trial has, with the penalties', clipped."""
        found = self._with_penalties(self._of_present(gradients, inputs), inputs)
        if "clip_norm" not in self._may:
            return found
        return self._if_on(
            "clip_norm",
            inputs,
            lambda: tf.clip_by_global_norm(found, inputs["clip_norm"])[0],
            lambda: [tf.identity(gradient) for gradient in found],
        )

    def _of_present(self, gradients: list[tf.Tensor], inputs: Inputs) -> list[tf.Tensor]:
        """A bias that the trial has not stays zero."""
        if not self._lacks_biases:
            return gradients
        biases = {id(layer.bias): n for n, layer in enumerate(self._network.layers)}
        return [
            gradient * inputs["has_bias"][biases[id(variable)]]
            if id(variable) in biases
            else gradient
            for variable, gradient in zip(self._network.trained, gradients, strict=True)
        ]

    def _with_penalties(self, gradients: list[tf.Tensor], inputs: Inputs) -> list[tf.Tensor]:
        kernels = {id(kernel): kernel for kernel in self._network.kernels}
        found = []
        for variable, gradient in zip(self._network.trained, gradients, strict=True):
            if id(variable) in kernels:
                kernel = tf.convert_to_tensor(variable)
                if "l1" in self._may:
                    gradient = gradient + inputs["l1"] * tf.sign(kernel)
                if "l2" in self._may:
                    gradient = gradient + 2.0 * inputs["l2"] * kernel
            found.append(gradient)
        return found

    def decay(self, rate: tf.Tensor, inputs: Inputs) -> None:
        """Before the optimizer's step (Loshchilov and Hutter, 2019)."""

        def decayed() -> None:
            kept = 1.0 - inputs["weight_decay"] * rate
            for kernel in self._network.kernels:
                kernel.assign(kernel * kept)

        if "weight_decay" in self._may:
            self._if_on("weight_decay", inputs, decayed, lambda: None)

    def bound(self, inputs: Inputs) -> None:
        """After the optimizer's step: each unit's incoming weights (Srebro et al., 2005)."""

        def bounded() -> None:
            for kernel in self._network.kernels:
                value = tf.convert_to_tensor(kernel)
                norm = tf.sqrt(tf.reduce_sum(tf.square(value), 0, keepdims=True))
                allowed = tf.minimum(norm, inputs["max_norm"])
                kernel.assign(value * (allowed / tf.maximum(norm, 1e-7)))

        if "max_norm" in self._may:
            self._if_on("max_norm", inputs, bounded, lambda: None)

    @staticmethod
    def _if_on(
        name: str, inputs: Inputs, then: Callable[[], Any], otherwise: Callable[[], Any]
    ) -> Any:
        return tf.cond(inputs[name] > 0, then, otherwise)


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
