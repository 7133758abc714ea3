"""Learning rates of their own for the layers of a compiled model."""

from collections.abc import Mapping
from typing import Any

import keras


def layer_learning_rates(
    model: Any, shares: Mapping[str, float] | None = None, *, decay: float | None = None
) -> Any:
    """Train some layers of a compiled model more slowly than others; the model itself.

    The optimizer's update of each weight is taken with its learning rate times a share. Weight
    decay is not changed. Layer-wise decay is that of Howard and Ruder (2018), "Universal Language
    Model Fine-tuning for Text Classification".

    Args:
        model: A model whose `compile` was called with an optimizer of Keras'.
        shares: Name of a layer → its share of the learning rate, for all weights inside it. Layers
            without an entry keep the whole rate.
        decay: Instead of `shares`: the last layer with weights has the whole rate, and each one
            before it this share of the next one's, > 0 and <= 1.

    Raises:
        ValueError: The model is not compiled, a layer is unknown, or a share is negative.
    """
    optimizer = getattr(model, "optimizer", None)
    if optimizer is None:
        raise ValueError("layer_learning_rates needs a compiled model: call model.compile(…) first")
    if (shares is None) == (decay is None):
        raise ValueError("layer_learning_rates takes shares={layer: share} or decay=0.8")
    if shares is None:
        assert decay is not None
        shares = _decaying_shares(model, decay)
    _slow_down(optimizer, _share_of_variables(model, shares))
    return model


def _decaying_shares(model: Any, decay: float) -> dict[str, float]:
    if not 0 < decay <= 1:
        raise ValueError(f"decay must be > 0 and <= 1, got {decay!r}")
    names = [layer.name for layer in _leaves(model) if layer.trainable_variables]
    return {name: decay**depth for depth, name in enumerate(reversed(names))}


def _leaves(model: Any) -> list[Any]:
    """Its layers in order, those inside models in place of these."""
    layers: list[Any] = []
    for layer in model.layers:
        layers.extend(_leaves(layer) if isinstance(layer, keras.Model) else [layer])
    return layers


def _share_of_variables(model: Any, shares: Mapping[str, float]) -> dict[int, float]:
    by_name: dict[str, list[Any]] = {}
    for layer in model._flatten_layers(include_self=False):
        by_name.setdefault(layer.name, []).append(layer)
    share_of: dict[int, float] = {}
    for name, share in shares.items():
        if name not in by_name:
            layer_names = ", ".join(layer.name for layer in model.layers)
            raise ValueError(f"there is no layer {name!r}; the model has {layer_names}")
        if not share >= 0:
            raise ValueError(f"the share of layer {name!r} must be >= 0, got {share!r}")
        variables = [v for layer in by_name[name] for v in layer.trainable_variables]
        # An optimizer is given the variables of TensorFlow inside.
        share_of |= {id(variable.value): float(share) for variable in variables}
    return share_of


def _slow_down(optimizer: Any, shares: Mapping[int, float]) -> None:
    # A loss-scaling optimizer leaves the updates to the one inside.
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    update = inner.update_step

    def update_step(gradient: Any, variable: Any, learning_rate: Any) -> Any:
        return update(gradient, variable, learning_rate * shares.get(id(variable), 1.0))

    object.__setattr__(inner, "update_step", update_step)
