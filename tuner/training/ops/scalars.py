"""Numbers of a trial that the compiled program reads from variables, so that trials which differ in
them alone share one compilation."""

from collections.abc import Mapping
from typing import Any, Protocol

import tensorflow as tf

# Of the training. It matters to a program only whether they are more than zero.
OF_TRAINING = (
    "momentum", "weight_decay", "clip_norm", "label_smoothing", "huber_delta", "l1", "l2",
    "max_norm", "augment_shift",
)  # fmt: skip
OF_NETWORK = ("leaky_slope",)


class Numbers(Protocol):
    """A trial's numbers by the parameter's name: tensors that the compiled step reads."""

    def __getitem__(self, name: str, /) -> Any: ...


class Scalars:
    """A float32 variable for each; what a trial does not have is 0."""

    def __init__(self) -> None:
        self._variables = {
            name: tf.Variable(0.0, dtype=tf.float32, trainable=False)
            for name in OF_TRAINING + OF_NETWORK
        }

    def __getitem__(self, name: str) -> tf.Tensor:
        """The number as it is when the program runs."""
        return tf.convert_to_tensor(self._variables[name])

    def set(self, params: Mapping[str, Any]) -> None:
        for name, variable in self._variables.items():
            variable.assign(float(params.get(name, 0.0)))
