"""What dense and convolutional networks have in common: a weighted layer is followed by
normalisation and activation, dense layers by dropout too."""

from typing import Any

import keras

from tuner.networks.activations import FUNCTIONS
from tuner.networks.heads import output_layer
from tuner.networks.parts import Parts

Params = dict[str, Any]


def per_layer(value: Any, layers: int) -> list[Any]:
    """One value a layer, from a scalar or a list of that length."""
    return list(value) if isinstance(value, list) else [value] * layers


def grown(sizes: list[int], factor: float) -> list[int]:
    """The sizes of layers, each further one multiplied by `factor` once more; at least 1."""
    return [max(1, round(size * factor**index)) for index, size in enumerate(sizes)]


def uses_bias(params: Params, first: bool, normalised: bool = False) -> bool:
    """Whether a weighted layer has a bias; the shift of a normalisation right behind takes its
    place."""
    wanted = params.get("bias", "all")
    return not normalised and (wanted == "all" or (wanted == "input" and first))


def normalised_before(params: Params) -> bool:
    """Whether a normalisation stands between a layer's weights and its activation."""
    return _normalises(params) and params.get("norm_position", "before") == "before"


def activated(hidden: Any, params: Params, parts: Parts) -> Any:
    """Normalisation and activation, in the order asked for."""
    if normalised_before(params):
        return _activation(_normalised(hidden, params), params, parts)
    return _normalised(_activation(hidden, params, parts), params)


def _normalises(params: Params) -> bool:
    return bool(params.get("batch_norm") or params.get("layer_norm"))


def _normalised(hidden: Any, params: Params) -> Any:
    if params.get("batch_norm"):
        hidden = keras.layers.BatchNormalization()(hidden)
    if params.get("layer_norm"):
        hidden = keras.layers.LayerNormalization()(hidden)
    return hidden


def _activation(hidden: Any, params: Params, parts: Parts) -> Any:
    if params["activation"] == "leaky_relu":
        return parts.leaky_relu(params["leaky_slope"])(hidden)
    return FUNCTIONS[params["activation"]](hidden)


def dropped(hidden: Any, rate: float, parts: Parts) -> Any:
    # Asked for at a rate of 0 too: a dropout's place among all of them says which bits it draws.
    layer = parts.dropout(rate)
    return hidden if layer is None else layer(hidden)


def dense_widths(params: Params) -> list[int]:
    """Units of each hidden layer."""
    return grown(per_layer(params["width"], params["depth"]), params.get("taper", 1.0))


def dense_layers(
    hidden: Any, params: Params, outputs: int, task: str, parts: Parts, first: bool
) -> Any:
    """`depth` hidden layers and the output layer; `first`: nothing with weights comes before."""
    depth = params["depth"]
    rates = per_layer(params["dropout"], depth)
    for width, rate in zip(dense_widths(params), rates, strict=True):
        bias = uses_bias(params, first, normalised_before(params))
        hidden = keras.layers.Dense(width, use_bias=bias)(hidden)
        hidden = dropped(activated(hidden, params, parts), rate, parts)
        first = False
    return output_layer(task, outputs, uses_bias(params, first))(hidden)
