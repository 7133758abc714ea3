"""Builds any network from its params, a shipped one by name or a user's own, and exports it."""

from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import Any, Protocol

import keras
import numpy as np

from tuner.networks.arranging import arranged_inputs, arranged_model, arranged_outputs
from tuner.networks.custom import CustomNetwork, given_params
from tuner.networks.dtype_policies import dtype_policy, precision_of
from tuner.networks.layers import KerasLayers, LayerFactory
from tuner.networks.step_rows import NO_STEPS, StepRows, steps_of
from tuner.search_space.parameter_types import Params
from tuner.search_space.parameters import NETWORKS


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
    input_shape: Any,
    outputs: Any,
    task: str,
    parts: LayerFactory,
    steps: StepRows = NO_STEPS,
) -> Any:
    """The network of `params` with fresh weights, ending in the task's activation. `steps`: what a
    network that reads rows step by step must know of them."""
    with dtype_policy(precision_of(params)):
        if isinstance(network, CustomNetwork):
            return _build_own(network, params, input_shape, outputs)
        build: Any = _load_builder(network)
        if NETWORKS[network].reads_steps:
            build = partial(build, steps=steps)
        return build(params, input_shape, outputs, task, parts)


def _build_own(network: CustomNetwork, params: Params, input_shape: Any, outputs: Any) -> Any:
    model = network.build(given_params(network, params), input_shape, outputs)
    is_compiled = getattr(model, "compiled", False)  # the fit engine arranges rows itself
    return model if is_compiled else arranged_model(model, input_shape, outputs)


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
    shape = (dataset.input_shape, dataset.outputs, dataset.network_task)
    trained = build_network(network, params, *shape, KerasLayers(), steps_of(dataset))
    trained.set_weights(weights)
    return with_preparation(trained, dataset)


def with_preparation(trained: Any, dataset: Any, head: Callable[[Any], Any] | None = None) -> Any:
    """A trained model as `export_network` gives one. `head`: what its outputs are passed through,
    for a model that was given the target in its own units; None: the target was scaled."""
    named = bool(dataset.inputs)
    scaled, inputs = {}, {}
    for name, part in dataset.input_parts.items():
        shape = dataset.input_shape[name] if named else dataset.input_shape
        inputs[name], scaled[name] = _scaled_input(name, shape, part)
    inputs_taken = scaled if named else scaled[""]
    outputs = arranged_outputs(
        trained, trained(arranged_inputs(trained, inputs_taken)), dataset.outputs
    )
    outputs = by_head(_in_units, outputs, dataset) if head is None else head(outputs)
    return keras.Model(inputs if named else inputs[""], outputs)


def _scaled_input(name: str, shape: tuple[int, ...], part: Any) -> tuple[Any, Any]:
    """An input of raw rows, and the same scaled. `part`: what the data set says of it."""
    dtype = "float64" if part.float64_inputs else None
    raw = keras.Input(shape, name=name or "inputs", dtype=dtype)
    shifted = raw
    if part.shift is not None:
        shifted = _add_values(-part.shift, layer_name("input_offset", name))(raw)
    scale, offset = _as_lists(part.scaling.scale), _as_lists(part.scaling.offset)
    scaling = keras.layers.Rescaling(scale, offset, name=layer_name("scaling", name))
    return raw, scaling(shifted)


def layer_name(what: str, name: str) -> str:
    return f"{what}_{name}" if name else what


def by_head(change: Callable[[Any, Any, str], Any], outputs: Any, dataset: Any) -> Any:
    """The outputs of each head changed. `change`: takes outputs, what the data set says of the
    target, and the head's name, "" for a single one."""
    if not dataset.heads:
        return change(outputs, dataset.targets[0], "")
    return {head.name: change(outputs[head.name], head, head.name) for head in dataset.heads}


def _in_units(outputs: Any, target: Any, name: str) -> Any:
    """Values in the target's units: scaling maps y to y * scale + offset; the model must give y
    back. Of other tasks the outputs themselves."""
    if target.task != "regression":
        return outputs
    scale, offset = (
        np.asarray(each, np.float64) for each in (target.scaling.scale, target.scaling.offset)
    )
    factor, added = _as_lists(1.0 / scale), _as_lists(-offset / scale)
    units = keras.layers.Rescaling(factor, added, name=layer_name("units", name))
    return _shifted_back(units(outputs), target, name)


def _shifted_back(outputs: Any, target: Any, name: str) -> Any:
    if not np.any(target.shift):
        return outputs
    return _add_values(np.asarray(target.shift), layer_name("target_offset", name))(outputs)


def add_target_shift(outputs: Any, dataset: Any) -> Any:
    """Values in the target's units, of those without `Dataset.target_shift`."""
    return by_head(_shifted_back, outputs, dataset)


def _add_values(values: np.ndarray, name: str) -> keras.Layer:
    """A layer that adds float64 values of shape () or (last axis,), in float64."""
    # An array of one axis: a plain number would go through float32.
    return keras.layers.Rescaling(1.0, np.atleast_1d(values), dtype="float64", name=name)


def _as_lists(values: np.ndarray) -> Any:
    """A float, or nested lists: what a saved model's configuration can hold."""
    return np.asarray(values).tolist()
