"""params -> keras.Model: shipped networks by name, and a user's own `file.py:build`."""

from tuner.networks import libraries  # first, since it makes the import of Keras shorter
from tuner.networks.build import (
    NETWORKS,
    build_network,
    dropout_rates,
    export_network,
    structure,
)
from tuner.networks.initializers import first_weights, initialise

__all__ = [
    "NETWORKS",
    "build_network",
    "dropout_rates",
    "export_network",
    "first_weights",
    "initialise",
    "libraries",
    "structure",
]
