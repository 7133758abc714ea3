"""Imports TensorFlow and Keras without scikit-learn and Matplotlib: 3.9 instead of 5.6 s of CPU.

Keras imports them, if they are installed, for wrappers and plots that are not used here. Either can
still be imported afterwards. The fork server leaves out more: see `training/preloading.py`.
"""

import importlib
import sys

from tuner.system.deferred_modules import hidden, import_deferred

_SLICING = "keras.src.trainers.data_adapters.array_slicing"

with hidden(("matplotlib", "sklearn")):
    import keras
    import tensorflow


def complete_libraries() -> None:
    """Bring what the fork server left out, for a user's code: Keras then takes pandas' tables, and
    TensorFlow has all of its parts."""
    import_deferred()
    slicing = sys.modules.get(_SLICING)
    if slicing is not None and getattr(slicing, "pandas", None) is None:
        importlib.reload(slicing)


__all__ = ["complete_libraries", "keras", "tensorflow"]
