"""The order of Python's import path: libraries first, the user's own files last.

This module imports only what Python itself has loaded at its start: until the order is right, a
pathlib.py in the user's folder would be imported in place of Python's.
"""

import os
import sys


def ordered_path(path: list[str]) -> list[str]:
    """An import path with the current folder and the main script's behind the libraries'."""
    script = getattr(sys.modules.get("__main__"), "__file__", None)
    scripts = os.path.dirname(os.path.abspath(script)) if script else None
    libraries = os.path.dirname(os.__file__)
    own = [
        entry
        for entry in path
        if (is_current_folder(entry) or entry == scripts) and entry != libraries
    ]
    rest = [entry for entry in path if entry not in own]
    return [*rest, *dict.fromkeys(os.path.abspath(entry) for entry in own)]


def is_current_folder(entry: str) -> bool:
    try:
        return os.path.samefile(entry or ".", ".")
    except OSError:
        return False
