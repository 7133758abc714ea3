"""Builds any network from its params, a shipped one by name or a user's own, and exports it."""

from functools import partial
from importlib import import_module
from typing import Any, Protocol

import keras
import numpy as np

from tuner.networks.custom import CustomNetwork, GivenParams
from tuner.networks.layers import KerasLayers, LayerFactory
from tuner.networks.step_rows import NO_STEPS, StepRows, steps_of
from tuner.search_space.parameter_types import Params
from tuner.search_space.parameters import NETWORKS, training_only_names


class NetworkBuilder(Protocol):
    """What `NetworkKind.builder` names. `params`: all of the trial's. The model takes rows of
    `input_shape` and ends in the task's activation; `parts` makes its dropouts, activations and
    recurrent layers. One that `reads_steps` takes `steps` (step_rows.py) as well."""

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
    steps: StepRows = NO_STEPS,
) -> Any:
    """The network of `params` with fresh weights, ending in the task's activation. `steps`: what a
    network that reads rows step by step must know of them."""
    if isinstance(network, CustomNetwork):
        hidden = training_only_names()
        shown = {name: value for name, value in params.items() if name not in hidden}
        given = GivenParams(shown, hidden)
        return network.build(given, input_shape, outputs)
    build: Any = _load_builder(network)
    if NETWORKS[network].reads_steps:
        build = partial(build, steps=steps)
    return build(params, input_shape, outputs, task, parts)


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
    shape = dataset.input_shape
    trained = build_network(
        network, params, shape, dataset.outputs, dataset.task, KerasLayers(), steps_of(dataset)
    )
    trained.set_weights(weights)
    shift = dataset.shift
    inputs = keras.Input(shape, name="inputs", dtype="float64" if dataset.float64_inputs else None)
    shifted = inputs if shift is None else _add_values(-shift, "input_offset")(inputs)
    scaling = dataset.scaling
    scaled = keras.layers.Rescaling(
        _as_lists(scaling.scale), _as_lists(scaling.offset), name="scaling"
    )(shifted)
    outputs = trained(scaled)
    if dataset.task == "regression":
        outputs = _in_target_units(outputs, dataset)
    return keras.Model(inputs, outputs)


def _in_target_units(outputs: Any, dataset: Any) -> Any:
    """Scaling maps y to y * scale + offset; the model must give y back."""
    scale, offset = float(dataset.target_scaling.scale), float(dataset.target_scaling.offset)
    outputs = keras.layers.Rescaling(1.0 / scale, -offset / scale, name="units")(outputs)
    if dataset.target_shift:
        outputs = _add_values(np.asarray(dataset.target_shift), "target_offset")(outputs)
    return outputs


def _add_values(values: np.ndarray, name: str) -> keras.Layer:
    """A layer that adds float64 values of shape () or (last axis,), in float64."""
    # An array of one axis: a plain number would go through float32.
    return keras.layers.Rescaling(1.0, np.atleast_1d(values), dtype="float64", name=name)


def _as_lists(values: np.ndarray) -> Any:
    """A float, or nested lists: what a saved model's configuration can hold."""
    return np.asarray(values).tolist()
