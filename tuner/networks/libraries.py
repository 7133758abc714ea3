"""Imports TensorFlow and Keras without what their networks never use: 3.9 instead of 5.6 s of CPU.

Keras imports scikit-learn for its wrappers and Matplotlib for its plots, where they are installed.
Either can still be imported afterwards.
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
