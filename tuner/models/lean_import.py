"""Importing Keras without the large libraries that it does not need to compute predictions."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

# Keras imports them where they are installed: for its pictures, its wrappers, its file editor.
_NOT_NEEDED = ("matplotlib", "sklearn", "IPython")


@contextmanager
def lean_keras_import() -> Iterator[None]:
    """Inside, Keras does not find them: importing it takes 3.4 s of CPU in place of 4.6 s. What is
    imported already stays, and afterwards all can be imported.

    Only for a process of which nobody else uses Keras: its `visualization` and its wrappers for
    scikit-learn do not work in it.
    """
    hidden = [name for name in _NOT_NEEDED if name not in sys.modules]
    if "keras" not in sys.modules:
        sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]  # None: not found
    try:
        yield
    finally:
        for name in hidden:
            if name in sys.modules and sys.modules[name] is None:
                del sys.modules[name]
