"""What is done to weights beside the optimizer's step, each rule only where a trial's number is
above zero. The same rules as training/weights.py has for one structure."""

from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf

from tuner.training.shared.design import Design
from tuner.training.shared.network import SharedNetwork

Inputs = Mapping[str, Any]


class Rules:
    """The rules that trials of a design may have, on the network's kernels."""

    def __init__(self, design: Design, network: SharedNetwork) -> None:
        self._may, self._network = design.may, network
        self._lacks_biases = design.lacks_biases

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
