"""Activations of hidden layers: one object each, and how the engines choose one.

Formulas use `keras.ops`, so that a saved network needs nothing but Keras. To add an activation:
its name in search_space/parameters.py (with its number, if it reads one), its entry here.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tuner.training.ops.scalars import Numbers

Function = Callable[[Any], Any]


@dataclass(frozen=True)
class Activation:
    """`formula(x)`, or `formula(x, number)` where `number` names the parameter that it reads.
    `exported`: Keras' own layer for the number, where there is one. `initializer`: what `auto`
    means for the kernels of its layers."""

    formula: Callable[..., Any]
    number: str | None = None
    exported: Callable[[float], Function] | None = None
    initializer: str = "glorot_uniform"

    def function(self, numbers: Numbers) -> Function:
        """The function of x alone, its number taken from `numbers` each time it is called."""
        if self.number is None:
            return self.formula
        name = self.number
        return lambda x: self.formula(x, numbers[name])

    def compiled_form(self, numbers: Numbers) -> Function:
        """For a Keras model that trains: trials with other numbers share its program."""
        return self.formula if self.number is None else NumberedActivation(self, numbers)

    def exported_form(self, params: Numbers) -> Function:
        """For a saved network: the number is a constant."""
        if self.number is None:
            return self.formula
        number = float(params[self.number])
        return self.exported(number) if self.exported else lambda x: self.formula(x, number)


class NumberedActivation(keras.layers.Layer):
    """An activation whose number is an input of the compiled program."""

    def __init__(self, activation: Activation, numbers: Numbers) -> None:
        super().__init__()
        # In a tuple: Keras would track a mapping's values.
        self._held = (activation, numbers)

    def call(self, inputs: Any) -> Any:
        activation, numbers = self._held
        assert activation.number is not None
        return activation.formula(inputs, tf.cast(numbers[activation.number], inputs.dtype))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return input_shape


# Initializers: He et al. (2015) for activations that are near zero on one side, Klambauer et al.
# (2017) for selu, Glorot and Bengio (2010) for the others.
ACTIVATIONS: dict[str, Activation] = {
    "relu": Activation(keras.ops.relu, initializer="he_normal"),
    # Maas et al. (2013)
    "leaky_relu": Activation(
        lambda x, slope: keras.ops.where(x > 0, x, x * slope),
        number="leaky_slope",
        exported=lambda slope: keras.layers.LeakyReLU(negative_slope=slope),
        initializer="he_normal",
    ),
    "elu": Activation(keras.ops.elu, initializer="he_normal"),
    "selu": Activation(keras.ops.selu, initializer="lecun_normal"),
    "gelu": Activation(lambda x: keras.ops.gelu(x, approximate=False), initializer="he_normal"),
    "swish": Activation(keras.ops.silu, initializer="he_normal"),
    "softplus": Activation(keras.ops.softplus),
    "sigmoid": Activation(keras.ops.sigmoid),
    "tanh": Activation(keras.ops.tanh),
    "arctan": Activation(keras.ops.arctan),
    "linear": Activation(lambda x: x),
}


def activation_curve(name: str, x: np.ndarray, numbers: Numbers) -> tuple[np.ndarray, np.ndarray]:
    """The activation's values at x (n,) and its derivatives there, as training computes them."""
    points = tf.constant(x, tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(points)
        values = ACTIVATIONS[name].function(numbers)(points)
    return np.asarray(values), np.asarray(tape.gradient(values, points))


def branch_activation(names: Sequence[str], index: tf.Tensor, numbers: Numbers) -> Function:
    """In a graph: the activation of `names` at `index` (int32), read when the program runs. Only
    that one is computed, and its gradient from the inputs alone: TensorFlow's own gradient of a
    condition carries values from one branch to the other by far slower ways."""
    functions = [ACTIVATIONS[name].function(numbers) for name in names]
    if len(functions) == 1:
        return functions[0]

    @tf.custom_gradient
    def chosen(x: tf.Tensor) -> Any:
        def gradient(upstream: tf.Tensor) -> tf.Tensor:
            return tf.switch_case(index, [_pull_back(f, x, upstream) for f in functions])

        return tf.switch_case(index, [partial(f, x) for f in functions]), gradient

    return chosen


def _pull_back(function: Function, x: tf.Tensor, upstream: tf.Tensor) -> Callable[[], tf.Tensor]:
    def gradient() -> tf.Tensor:
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = function(x)
        return tape.gradient(y, x, output_gradients=upstream)

    return gradient


def select_activation(
    names: Sequence[str], index: tf.Tensor, numbers: Numbers, x: tf.Tensor
) -> tf.Tensor:
    """For lanes: every activation of `names` is computed, and each lane takes its own; `index`
    (lanes, 1, 1) and the numbers broadcast against x. XLA compiles a chain of selections in a
    tenth of the time that it needs for as many branches."""
    selected = ACTIVATIONS[names[0]].function(numbers)(x)
    for number, name in enumerate(names[1:], start=1):
        selected = tf.where(index == number, ACTIVATIONS[name].function(numbers)(x), selected)
    return selected
