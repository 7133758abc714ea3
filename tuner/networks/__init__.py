"""params -> keras.Model: shipped networks by name, and a user's own `file.py:build`."""

from tuner.training.ops import libraries  # isort: skip  # first: it makes the import of Keras shorter
from tuner.networks.layers import first_weights, initialise
from tuner.networks.registry import build_network, dropout_rates, export_network

__all__ = [
    "build_network",
    "dropout_rates",
    "export_network",
    "first_weights",
    "initialise",
    "libraries",
]
