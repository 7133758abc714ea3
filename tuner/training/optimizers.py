"""Keras optimizers whose scalars are inputs of the compiled program instead of constants in it."""

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf


class ScalarSGD(keras.optimizers.SGD):
    """SGD with momentum in a variable. Keras' own bakes the number into the program, so that two
    trials that differ in momentum alone would compile twice. Same update as Keras' (tested)."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(momentum=0.5, **kwargs)
        self._scalars = (tf.Variable(0.0, dtype=tf.float32, trainable=False),)

    def set_momentum(self, value: float) -> None:
        self._scalars[0].assign(value)

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        velocity = self.momentums[self._get_variable_index(variable)]
        momentum = tf.convert_to_tensor(self._scalars[0])
        self.assign(velocity, velocity * momentum - gradient * learning_rate)
        self.assign_add(variable, velocity)


def _sgd(params: dict[str, Any]) -> keras.optimizers.Optimizer:
    return ScalarSGD() if params.get("momentum", 0.0) > 0 else keras.optimizers.SGD()


OPTIMIZERS: dict[str, Callable[[dict[str, Any]], keras.optimizers.Optimizer]] = {
    "sgd": _sgd,
    "adam": lambda params: keras.optimizers.Adam(),
}


def build_optimizer(params: dict[str, Any]) -> keras.optimizers.Optimizer:
    """The optimizer's structure; its scalars are set by `set_scalars`."""
    return OPTIMIZERS[params["optimizer"]](params)


def set_scalars(optimizer: keras.optimizers.Optimizer, params: dict[str, Any]) -> None:
    """Give a built optimizer a trial's learning rate and momentum."""
    optimizer.learning_rate.assign(params["learning_rate"])
    if isinstance(optimizer, ScalarSGD):
        optimizer.set_momentum(params["momentum"])
