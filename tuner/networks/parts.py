"""The layers that differ between training and the exported network."""

from typing import Any, Protocol

import keras

from tuner.networks.dropout import DropoutClock, FastDropout
from tuner.networks.scalars import Scalars


class Parts(Protocol):
    """Makes layers whose numbers are a trial's own: dropout, in the order of the network (None
    where the rate is 0), and leaky_relu with its slope."""

    def dropout(self, rate: float) -> Any | None: ...

    def leaky_relu(self, slope: float) -> Any: ...


class CompiledParts:
    """Layers for compiled training. Their numbers are set anew for each trial of the structure."""

    def __init__(self, scalars: Scalars) -> None:
        self.clock = DropoutClock()
        self._scalars = scalars
        self._places = 0
        self._dropouts: list[FastDropout] = []

    def dropout(self, rate: float) -> FastDropout | None:
        place = self._places
        self._places += 1
        if rate == 0:
            return None
        self._dropouts.append(FastDropout(place, self.clock, name=f"dropout_{place}"))
        return self._dropouts[-1]

    def leaky_relu(self, slope: float) -> "ScalarLeakyReLU":
        return ScalarLeakyReLU(self._scalars)

    def reset(self, seed: int, rates: list[float]) -> None:
        """Start a trial: its dropout seed, and one rate for each dropout layer in order."""
        self.clock.reset(seed)
        for layer, rate in zip(self._dropouts, rates, strict=True):
            layer.rate.assign(rate)


class ScalarLeakyReLU(keras.layers.Layer):
    """Leaky ReLU (Maas et al., 2013) with the slope as an input of the program."""

    def __init__(self, scalars: Scalars) -> None:
        super().__init__()
        self._scalars = scalars

    def call(self, inputs: Any) -> Any:
        return keras.ops.where(inputs > 0, inputs, inputs * self._scalars["leaky_slope"])

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return input_shape


class PlainParts:
    """Keras' own layers, for networks that leave the house."""

    def dropout(self, rate: float) -> Any | None:
        return keras.layers.Dropout(rate) if rate > 0 else None

    def leaky_relu(self, slope: float) -> Any:
        return keras.layers.LeakyReLU(negative_slope=slope)
