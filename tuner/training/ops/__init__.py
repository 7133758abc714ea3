"""The operations of training: one concept a module, with its forms for each engine."""

from tuner.training.ops import libraries  # first, since it makes the import of Keras shorter

__all__ = ["libraries"]
