"""Keras optimizers whose scalars are inputs of the compiled program instead of constants in it."""

from collections.abc import Callable
from typing import Any

import keras

from tuner.networks.scalars import Scalars

Params = dict[str, Any]


class ScalarSGD(keras.optimizers.SGD):
    """SGD with momentum in a variable. Keras' own bakes the number into the program, so that two
    trials that differ in momentum alone would compile twice. Same update as Keras' (tested)."""

    def __init__(self, scalars: Scalars, nesterov: bool) -> None:
        super().__init__(momentum=0.5, nesterov=nesterov)
        self._scalars = scalars

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        velocity = self.momentums[self._get_variable_index(variable)]
        momentum, step = self._scalars["momentum"], gradient * learning_rate
        self.assign(velocity, velocity * momentum - step)
        self.assign_add(variable, velocity * momentum - step if self.nesterov else velocity)


def _sgd(params: Params, scalars: Scalars) -> keras.optimizers.Optimizer:
    if params.get("momentum", 0.0) > 0:
        return ScalarSGD(scalars, params.get("nesterov", False))
    return keras.optimizers.SGD()


# adamw is adam: the decay of weights is the same for all of them (weights.py).
OPTIMIZERS: dict[str, Callable[[Params, Scalars], keras.optimizers.Optimizer]] = {
    "sgd": _sgd,
    "adam": lambda params, scalars: keras.optimizers.Adam(),
    "adamw": lambda params, scalars: keras.optimizers.Adam(),
    "nadam": lambda params, scalars: keras.optimizers.Nadam(),
    "rmsprop": lambda params, scalars: keras.optimizers.RMSprop(),
    "adagrad": lambda params, scalars: keras.optimizers.Adagrad(),
}


def build_optimizer(params: Params, scalars: Scalars) -> keras.optimizers.Optimizer:
    """The optimizer's structure. Its learning rate comes with each step."""
    return OPTIMIZERS[params["optimizer"]](params, scalars)
