"""params -> keras.Model: shipped networks by name, and a user's own `file.py:build`."""

from tuner.training.ops import libraries  # isort: skip  # first: it makes the import of Keras shorter
from tuner.networks.layers import first_weights, initialise
from tuner.networks.registry import (
    add_target_shift,
    build_network,
    by_head,
    dropout_rates,
    export_network,
    layer_name,
    with_preparation,
)

__all__ = [
    "add_target_shift",
    "build_network",
    "by_head",
    "dropout_rates",
    "export_network",
    "first_weights",
    "initialise",
    "layer_name",
    "libraries",
    "with_preparation",
]
