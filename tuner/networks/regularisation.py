"""The layers that differ between training and the exported network."""

from typing import Any, Protocol

import keras

from tuner.networks.dropout import DropoutClock, FastDropout


class Regularisation(Protocol):
    """Makes the dropout layer that follows hidden layer `index`."""

    def dropout(self, index: int, rate: float) -> Any: ...


class CompiledRegularisation:
    """Layers for compiled training. Their rates are set anew for each trial of the structure."""

    def __init__(self) -> None:
        self.clock = DropoutClock()
        self.layers: list[FastDropout] = []

    def dropout(self, index: int, rate: float) -> FastDropout:
        self.layers.append(FastDropout(index, self.clock, name=f"dropout_{index}"))
        return self.layers[-1]

    def reset(self, seed: int, rates: list[float]) -> None:
        """Start a trial: its dropout seed, and one rate for each dropout layer in order."""
        self.clock.reset(seed)
        for layer, rate in zip(self.layers, rates, strict=True):
            layer.rate.assign(rate)


class PlainRegularisation:
    """Keras' own layers, for networks that leave the house."""

    def dropout(self, index: int, rate: float) -> Any:
        return keras.layers.Dropout(rate, name=f"dropout_{index}")
