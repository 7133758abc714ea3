"""A user's functions as `file.py:name`, which is how studies name code."""

from collections.abc import Callable
from typing import Any

from tuner.settings import Settings


def code_reference(function: Callable[..., Any] | str, settings: Settings) -> str:
    """`file.py:name` of a function: a network's build, a data function, a metric. A text is returned
    as it is.

    A function of a file is named by that file. Code of a notebook has no file: the function is
    written, with what it uses, to `.tuner/code/` beside the studies' database. Raises CodeError for
    what cannot be found or written, naming the variable.
    """
    if isinstance(function, str):
        return function
    raise NotImplementedError
