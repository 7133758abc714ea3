"""A user's functions as `file.py:name`, which is how studies name code."""

import inspect
import textwrap
from collections.abc import Callable
from pathlib import Path
from types import FunctionType
from typing import Any

from tuner.api.notebook_code import file_of, is_library, library_module, notebook_module
from tuner.errors import UsageError
from tuner.manage.kept_files import keep_code, path_in_project
from tuner.search_space.function_kinds import FunctionKind, kind_of_function
from tuner.settings import Settings


def code_reference(function: Callable[..., Any] | str, settings: Settings) -> str:
    """`file.py:name` of a function: a network's build, a data function, a metric. A text is
    returned as it is.

    A function of a file is named by that file. The code of a notebook has no file: the function is
    written, with all that it uses, into a module in `.tuner/code/` beside the studies' database. So
    is a library's function, as an import. Raises UsageError for what cannot be found or written,
    naming the variable.
    """
    if isinstance(function, str):
        return function
    name = check_function(function).__name__
    file = file_of(function)
    if file is not None and not is_library(file):
        return f"{path_in_project(file, settings)}:{name}"
    module = notebook_module(function) if file is None else library_module(function)
    return f"{keep_code(settings, module.name, module.text, module.beside)}:{name}"


def kind_of(function: Callable[..., Any]) -> FunctionKind:
    """What a function does in a study, by its text. Raises UsageError, also for one that fits no
    kind."""
    bare = check_function(function)
    try:
        text = textwrap.dedent(inspect.getsource(bare))
    except (OSError, TypeError):  # made by other code, which has no text
        return FunctionKind.BUILD
    return kind_of_function(text, bare.__name__, bare.__name__)


def file_reference(function: Callable[..., Any]) -> str | None:
    """`file.py:name` of a function, from the current folder on; None for one of a notebook. Raises
    UsageError."""
    name = check_function(function).__name__
    file, here = file_of(function), Path.cwd()
    if file is None:
        return None
    return f"{file.relative_to(here) if file.is_relative_to(here) else file}:{name}"


def check_function(function: Any) -> FunctionType:
    """The function itself, without its decorators. Raises UsageError for anything that a file does
    not hold under a name: lambdas, methods, functions inside others, callable objects."""
    bare = inspect.unwrap(function) if callable(function) else function
    if not isinstance(bare, FunctionType):
        raise UsageError(
            f"{type(function).__name__} is no function that a file defines: write one with def"
        )
    if bare.__name__ == "<lambda>":
        raise UsageError("a lambda has no name, by which workers could find it: write it with def")
    where, _, _ = bare.__qualname__.rpartition(".")
    if where:
        outer = where.removesuffix(".<locals>")
        kind = "inside of the function" if where != outer else "in the class"
        raise UsageError(
            f"{bare.__name__} is defined {kind} {outer}, where workers cannot find it: move it to "
            "the top level of the file or the notebook"
        )
    return bare
