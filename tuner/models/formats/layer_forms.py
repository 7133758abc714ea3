"""Layers in another form, for runtimes that cannot compute the first one."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

# The layer that stands in for another, or None where the other may stay.
Replace = Callable[[Any], Any | None]


def with_other_layers(network: keras.Model, replace: Replace) -> keras.Model:
    """The same network, with the layers and operations that `replace` gives in place of its own.
    Networks inside it are looked into too, unless they are subclasses of Model. Weights are
    shared."""
    forms = {id(layer): form for layer in _layers(network) if (form := replace(layer)) is not None}
    if not forms:
        return network
    return keras.models.clone_model(
        network, clone_function=lambda layer: forms.get(id(layer), layer), recursive=True
    )


def _layers(network: Any) -> list[Any]:
    """All layers and operations of a network, with those of the networks inside it."""
    inside = getattr(network, "operations", None) or getattr(network, "layers", None) or []
    return [each for layer in inside for each in (layer, *_layers(layer))]


def as_rescaling(layer: Any) -> Any | None:
    """A Normalization that scales, as the Rescaling that computes the same. None for others."""
    if not isinstance(layer, keras.layers.Normalization) or layer.invert:
        return None
    # As Keras has it: no division by a variance of zero.
    deviation = np.maximum(np.sqrt(np.asarray(layer.variance)), keras.config.epsilon())
    mean = np.asarray(layer.mean)
    return keras.layers.Rescaling(1.0 / deviation, -mean / deviation, name=layer.name)


class ArctanOfTwo(keras.layers.Layer):
    """arctan(x) as the angle of (1, x)."""

    def call(self, inputs: Any) -> Any:
        return keras.ops.arctan2(inputs, keras.ops.ones_like(inputs))


def as_arctan_of_two(layer: Any) -> Any | None:
    """The operation `keras.ops.arctan` as `ArctanOfTwo`. None for others."""
    return ArctanOfTwo() if type(layer).__name__ == "Arctan" else None


class SteadyRescaling(keras.layers.Layer):
    """x * scale + offset, which LiteRT's converter leaves where it is.

    It moves a Rescaling into the weights of the layer before or behind. There float32 rounds
    numbers that are large and differ by little: with years among the inputs, probabilities differed
    by 5e-5; pressures around 1013 by 1e-3.
    """

    def __init__(self, scale: Any, offset: Any) -> None:
        super().__init__()
        self._scaling = keras.layers.Rescaling(scale, offset)

    def call(self, inputs: Any) -> Any:
        return _stay(self._scaling(_stay(inputs)))


def _stay(values: Any) -> Any:
    """The values. A maximum cannot be moved into weights."""
    return keras.ops.maximum(values, np.finfo(np.float32).min)


def for_float32(network: keras.Model) -> dict[int, Any]:
    """Forms, by the id of a layer, of the first and last layers of a saved network
    (networks/registry.py: export_network), which scale and subtract offsets in float64.

    An offset is rounded to float32 where it is subtracted: the difference to a number near it is
    exact. What was rounded off is subtracted after scaling.
    """
    layers = {layer.name: layer for layer in network.layers}
    forms: dict[int, Any] = {}
    scaling = layers["scaling"]
    scale, moved = np.asarray(scaling.scale), np.asarray(scaling.offset)
    if (offset := layers.get("input_offset")) is not None:
        exact = np.asarray(offset.offset)
        rounded = exact.astype(np.float32)
        moved = moved + (exact - rounded) * scale
        forms[id(offset)] = keras.layers.Rescaling(1.0, rounded)
    forms[id(scaling)] = SteadyRescaling(scale, moved)
    if (units := layers.get("units")) is not None:
        forms[id(units)] = SteadyRescaling(units.scale, units.offset)
    if (offset := layers.get("target_offset")) is not None:
        forms[id(offset)] = keras.layers.Rescaling(1.0, np.asarray(offset.offset, np.float32))
    return forms
