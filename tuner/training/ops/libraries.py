"""Imports TensorFlow and Keras without scikit-learn and Matplotlib: 3.9 instead of 5.6 s of CPU.

Keras imports them, if they are installed, for wrappers and plots that are not used here. Either can
still be imported afterwards.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

_UNUSED = ("matplotlib", "sklearn")


@contextmanager
def _hidden(packages: tuple[str, ...]) -> Iterator[None]:
    """Packages that are not imported yet cannot be imported inside."""
    hidden = [package for package in packages if package not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]  # None hides a module
    try:
        yield
    finally:
        for package in hidden:
            sys.modules.pop(package, None)


with _hidden(_UNUSED):
    import keras
    import tensorflow

__all__ = ["keras", "tensorflow"]
