"""One door to all networks: build, initialise, tell structures apart, export."""

import json
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from tuner.networks.custom import CustomNetwork
from tuner.networks.mlp import build_mlp, per_layer
from tuner.networks.regularisation import PlainRegularisation, Regularisation

Builder = Callable[..., Any]

NETWORKS: dict[str, Builder] = {"mlp": build_mlp}

# Inputs of the compiled program: they may differ between trials that share one compilation.
SCALARS = {"learning_rate", "momentum", "dropout", "epochs", "patience"}
# The same for a user's own network, which is not shown them: what it built in as a constant would
# stay for the next trial of the same structure. Any other parameter is part of the structure.
_TRAINING_SCALARS = {"learning_rate", "momentum", "epochs", "patience"}


def build_network(
    network: str | CustomNetwork,
    params: dict[str, Any],
    input_shape: tuple[int, ...],
    outputs: int,
    task: str,
    regularisation: Regularisation,
) -> Any:
    """The network of `params` with fresh weights, ending in the task's activation."""
    if isinstance(network, CustomNetwork):
        return network.build(_shown(params), input_shape, outputs)
    return NETWORKS[network](params, input_shape, outputs, task, regularisation)


def _shown(params: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in params.items() if name not in _TRAINING_SCALARS}


def structure(network: str | CustomNetwork, params: dict[str, Any]) -> str:
    """A key equal for exactly those params that can share one compiled program."""
    if isinstance(network, CustomNetwork):
        shared = _shown(params)
        name = network.identity
    else:
        shared = {k: v for k, v in params.items() if k not in SCALARS}
        shared["dropout_layers"] = [rate > 0 for rate in _rates(params)]
        name = network
    shared["momentum"] = params.get("momentum", 0.0) > 0
    return json.dumps([name, shared], sort_keys=True)


def _rates(params: dict[str, Any]) -> list[float]:
    return [float(rate) for rate in per_layer(params["dropout"], params["depth"])]


def dropout_rates(network: str | CustomNetwork, params: dict[str, Any]) -> list[float]:
    """One rate for each dropout layer the network has, in order."""
    if isinstance(network, CustomNetwork):
        return []
    return [rate for rate in _rates(params) if rate > 0]


def initialise(model: Any, seed: int) -> None:
    """Draw a shipped network's weights anew: kernels by their own Keras initialisers, each with a
    seed of its own; every other weight as its layer starts it."""
    for index, layer in enumerate(model.layers):
        for weight in layer.weights:
            initializer = getattr(layer, f"{weight.name}_initializer", None)
            if initializer is None:
                raise ValueError(f"{layer.name}.{weight.name} has no initialiser")
            weight.assign(_seeded(initializer, seed, index)(weight.shape))


def _seeded(initializer: Any, seed: int, index: int) -> Any:
    config = initializer.get_config()
    if "seed" not in config:
        return initializer
    derived = int(np.random.SeedSequence([seed, index]).generate_state(1)[0] >> 1)
    return type(initializer).from_config({**config, "seed": derived})


def export_network(
    network: str | CustomNetwork,
    params: dict[str, Any],
    dataset: Any,
    weights: list[np.ndarray],
) -> Any:
    """A plain keras.Model of Keras' own layers that takes unscaled inputs and gives class
    probabilities, or values in the target's units. `weights` as `model.get_weights()` orders them.
    """
    shape = dataset.input_shape
    trained = build_network(
        network, params, shape, dataset.outputs, dataset.task, PlainRegularisation()
    )
    trained.set_weights(weights)
    inputs = keras.Input(shape, name="inputs")
    scaling = dataset.scaling
    outputs = trained(
        keras.layers.Rescaling(_plain(scaling.scale), _plain(scaling.offset), name="scaling")(
            inputs
        )
    )
    if dataset.task == "regression":
        # Scaling maps y to y * scale + offset; the model must give y back.
        target = dataset.target_scaling
        outputs = keras.layers.Rescaling(
            1.0 / float(target.scale), -float(target.offset) / float(target.scale), name="units"
        )(outputs)
    return keras.Model(inputs, outputs)


def _plain(values: np.ndarray) -> Any:
    """A float, or nested lists: what a saved model's configuration can hold."""
    return np.asarray(values).tolist()
