"""One door to all networks: build, tell structures apart, export."""

import json
from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import numpy as np

from tuner.networks.cnn import build_cnn, cnn_rates
from tuner.networks.custom import CustomNetwork, GivenParams
from tuner.networks.layers import KerasLayers, LayerFactory
from tuner.networks.mlp import build_mlp, mlp_rates
from tuner.training.ops.scalars import OF_NETWORK, OF_TRAINING


class Shipped(NamedTuple):
    """A network by name. `rates`: of all its dropouts in order, those of zero included."""

    build: Callable[..., keras.Model]
    rates: Callable[[dict[str, Any]], list[float]]


NETWORKS: dict[str, Shipped] = {
    "mlp": Shipped(build_mlp, mlp_rates),
    "cnn": Shipped(build_cnn, cnn_rates),
}

# What a trial may bring to a program that is compiled already, since no step knows of it. (What the
# steps read from variables: scalars.py.) First the training's own, then what only the shipped
# networks know: in a user's network the same words may mean anything.
_OUTSIDE = {
    "epochs", "patience", "learning_rate", "schedule", "warmup_epochs", "plateau_factor",
    "plateau_patience", "plateau_min_delta", "cosine_floor", "decay", "cycle_rise",
}  # fmt: skip
_OF_LAYERS = {
    "dropout", "input_dropout", "block_dropout", "initializer", "init_sigma", *OF_NETWORK,
}  # fmt: skip

# What a user's own network is not given.
_HIDDEN = frozenset(_OUTSIDE.union(OF_TRAINING))


def build_network(
    network: str | CustomNetwork,
    params: dict[str, Any],
    input_shape: tuple[int, ...],
    outputs: int,
    task: str,
    parts: LayerFactory,
) -> Any:
    """The network of `params` with fresh weights, ending in the task's activation."""
    if isinstance(network, CustomNetwork):
        given = GivenParams(_shown(params), _HIDDEN)
        return network.build(given, input_shape, outputs)
    return NETWORKS[network].build(params, input_shape, outputs, task, parts)


def _shown(params: dict[str, Any]) -> dict[str, Any]:
    """What a user's own network is shown: no number of the training alone, since what it built in
    as a constant would stay for the next trial of the same structure."""
    return {name: value for name, value in params.items() if name not in _HIDDEN}


def structure(network: str | CustomNetwork, params: dict[str, Any]) -> str:
    """A key equal for exactly those params that can share one compiled program."""
    shared = _shown(params)
    if isinstance(network, CustomNetwork):
        name = network.identity
    else:
        shared = {k: v for k, v in shared.items() if k not in _OF_LAYERS}
        shared["dropout_layers"] = [rate > 0 for rate in NETWORKS[network].rates(params)]
        name = network
    present = [scalar for scalar in OF_TRAINING if params.get(scalar, 0) > 0]
    return json.dumps([name, shared, present], sort_keys=True)


def dropout_rates(network: str | CustomNetwork, params: dict[str, Any]) -> list[float]:
    """One rate for each dropout layer the network has, in order."""
    if isinstance(network, CustomNetwork):
        return []
    return [float(rate) for rate in NETWORKS[network].rates(params) if rate > 0]


def export_network(
    network: str | CustomNetwork,
    params: dict[str, Any],
    dataset: Any,
    weights: list[np.ndarray],
) -> Any:
    """A plain keras.Model of Keras' own layers that takes unscaled inputs and gives class
    probabilities, or values in the target's units. `weights` as `model.get_weights()` orders them.

    Inputs are float64 where float32 would round them too much (`Dataset.float64_inputs`), and so
    are values in the target's units (`Dataset.target_shift`).
    """
    shape = dataset.input_shape
    trained = build_network(network, params, shape, dataset.outputs, dataset.task, KerasLayers())
    trained.set_weights(weights)
    shift = dataset.shift
    inputs = keras.Input(shape, name="inputs", dtype="float64" if dataset.float64_inputs else None)
    exact = inputs if shift is None else _added(-shift, "input_offset")(inputs)
    scaling = dataset.scaling
    outputs = trained(
        keras.layers.Rescaling(_plain(scaling.scale), _plain(scaling.offset), name="scaling")(exact)
    )
    if dataset.task == "regression":
        # Scaling maps y to y * scale + offset; the model must give y back.
        target = dataset.target_scaling
        outputs = keras.layers.Rescaling(
            1.0 / float(target.scale), -float(target.offset) / float(target.scale), name="units"
        )(outputs)
        if dataset.target_shift:
            outputs = _added(np.asarray(dataset.target_shift), "target_offset")(outputs)
    return keras.Model(inputs, outputs)


def _added(values: np.ndarray, name: str) -> keras.Layer:
    """Adds float64 values of shape () or (last axis,), in float64."""
    # An array of one axis: what is a plain number would go through float32.
    return keras.layers.Rescaling(1.0, np.atleast_1d(values), dtype="float64", name=name)


def _plain(values: np.ndarray) -> Any:
    """A float, or nested lists: what a saved model's configuration can hold."""
    return np.asarray(values).tolist()
