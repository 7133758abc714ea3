"""Numbers of a trial that the compiled program reads from variables, so that trials which differ in
them alone share one compilation."""

from collections.abc import Mapping
from typing import Any, Protocol

import tensorflow as tf

from tuner.search_space.parameter_types import Role
from tuner.search_space.parameters import NETWORKS, parameters_with


class Numbers(Protocol):
    """A trial's numbers by the parameter's name: tensors that the compiled step reads."""

    def __getitem__(self, name: str, /) -> Any: ...


class Scalars:
    """A float32 variable for each parameter with the role of a number, 0 if unset."""

    def __init__(self) -> None:
        names = {name for network in NETWORKS for name in parameters_with(network, Role.SCALAR)}
        self._variables = {
            name: tf.Variable(0.0, dtype=tf.float32, trainable=False) for name in sorted(names)
        }

    def __getitem__(self, name: str) -> tf.Tensor:
        """The number as it is when the program runs."""
        return tf.convert_to_tensor(self._variables[name])

    def set(self, params: Mapping[str, Any]) -> None:
        for name, variable in self._variables.items():
            variable.assign(float(params.get(name, 0.0)))
