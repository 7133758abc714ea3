"""Builds any network from its params, a shipped one by name or a user's own, and exports it."""

from collections.abc import Callable
from importlib import import_module
from typing import Any, Protocol

import keras
import numpy as np

from tuner.networks.custom import CustomNetwork, given_params
from tuner.networks.layers import KerasLayers, LayerFactory
from tuner.networks.precision import dtype_policy, precision_of
from tuner.search_space.parameter_types import Params
from tuner.search_space.parameters import NETWORKS


class NetworkBuilder(Protocol):
    """What `NetworkKind.builder` names. `params`: all of the trial's. The model takes rows of
    `input_shape` and ends in the task's activation; `parts` makes its dropouts and activations."""

    def __call__(
        self,
        params: Params,
        input_shape: tuple[int, ...],
        outputs: int,
        task: str,
        parts: LayerFactory,
    ) -> keras.Model: ...


def build_network(
    network: str | CustomNetwork,
    params: Params,
    input_shape: tuple[int, ...],
    outputs: int,
    task: str,
    parts: LayerFactory,
) -> Any:
    """The network of `params` with fresh weights, ending in the task's activation."""
    with dtype_policy(precision_of(params)):
        return _build(network, params, input_shape, outputs, task, parts)


def _build(
    network: str | CustomNetwork,
    params: Params,
    input_shape: tuple[int, ...],
    outputs: int,
    task: str,
    parts: LayerFactory,
) -> Any:
    if isinstance(network, CustomNetwork):
        return network.build(given_params(network, params), input_shape, outputs)
    return _load_builder(network)(params, input_shape, outputs, task, parts)


def _load_builder(network: str) -> NetworkBuilder:
    module, _, function = NETWORKS[network].builder.partition(":")
    builder: NetworkBuilder = getattr(import_module(module), function)
    return builder


def dropout_rates(network: str | CustomNetwork, params: Params) -> list[float]:
    """One rate for each dropout layer that the network has, in order."""
    if isinstance(network, CustomNetwork):
        return []
    return [float(rate) for rate in NETWORKS[network].dropout_rates(params) if rate > 0]


def export_network(
    network: str | CustomNetwork,
    params: Params,
    dataset: Any,
    weights: list[np.ndarray],
) -> Any:
    """A plain keras.Model of Keras' own layers that takes unscaled inputs and gives class
    probabilities, or values in the target's units. `weights` as `model.get_weights()` orders them.

    Inputs are float64 where float32 would round them too much (`Dataset.float64_inputs`), and so
    are values in the target's units (`Dataset.target_shift`).
    """
    trained = build_network(
        network, params, dataset.input_shape, dataset.outputs, dataset.task, KerasLayers()
    )
    trained.set_weights(weights)
    return with_preparation(trained, dataset)


def with_preparation(trained: Any, dataset: Any, head: Callable[[Any], Any] | None = None) -> Any:
    """A trained model as `export_network` gives one. `head`: what its outputs are passed through,
    for a model that was given the target in its own units; None: the target was scaled."""
    shape, shift = dataset.input_shape, dataset.shift
    inputs = keras.Input(shape, name="inputs", dtype="float64" if dataset.float64_inputs else None)
    shifted = inputs if shift is None else _add_values(-shift, "input_offset")(inputs)
    scaling = dataset.scaling
    scaled = keras.layers.Rescaling(
        _as_lists(scaling.scale), _as_lists(scaling.offset), name="scaling"
    )(shifted)
    outputs = trained(scaled)
    if head is not None:
        outputs = head(outputs)
    elif dataset.task == "regression":
        outputs = _in_target_units(outputs, dataset)
    return keras.Model(inputs, outputs)


def _in_target_units(outputs: Any, dataset: Any) -> Any:
    """Scaling maps y to y * scale + offset; the model must give y back."""
    scale, offset = float(dataset.target_scaling.scale), float(dataset.target_scaling.offset)
    outputs = keras.layers.Rescaling(1.0 / scale, -offset / scale, name="units")(outputs)
    return add_target_shift(outputs, dataset)


def add_target_shift(outputs: Any, dataset: Any) -> Any:
    """Values in the target's units, of those without `Dataset.target_shift`."""
    if not dataset.target_shift:
        return outputs
    return _add_values(np.asarray(dataset.target_shift), "target_offset")(outputs)


def _add_values(values: np.ndarray, name: str) -> keras.Layer:
    """A layer that adds float64 values of shape () or (last axis,), in float64."""
    # An array of one axis: a plain number would go through float32.
    return keras.layers.Rescaling(1.0, np.atleast_1d(values), dtype="float64", name=name)


def _as_lists(values: np.ndarray) -> Any:
    """A float, or nested lists: what a saved model's configuration can hold."""
    return np.asarray(values).tolist()
