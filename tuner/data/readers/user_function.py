"""`my_file.py:load`: data that a user's own function returns."""

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from tuner.data.raw import FIRST_READING, Pair, Raw, dataset_errors
from tuner.data.readers.npz import Parts, parts_from_mapping
from tuner.data.readers.reader import Reader, Source
from tuner.errors import DatasetError, first_line
from tuner.settings import Settings, quiet_tensorflow
from tuner.system.redirecting import python_output_only
from tuner.system.user_modules import Surroundings, error_place, read_modules

if TYPE_CHECKING:
    from tuner.study.spec import DataSpec

_FORMS = "(x, y), ((x_train, y_train), (x_test, y_test)) or a dict with the keys of an .npz"


def read_user_code(
    path: Path, function_name: str, first_reading: bool = False, weights: str | None = None
) -> Parts:
    """Call the function and split what it returns into parts.

    It takes no arguments and returns (x, y), ((x_train, y_train), (x_test, y_test)) as tuples, or
    a dict with the keys of an `.npz`; x may be a pandas DataFrame. Raises DatasetError for any
    other form, and, with file and line, for errors of the user's code. `first_reading`, `weights`:
    see `parts_from_mapping`.
    """
    source = f"{path}:{function_name}"
    file = path.absolute()
    with dataset_errors(str(path)):
        text = path.read_bytes()
        surroundings = Surroundings(file, str(path), read_modules(file, text))
    quiet_tensorflow()  # the file may import it
    with surroundings.entered(), _user_errors(path, surroundings), python_output_only():
        function = _function(path, function_name, text, surroundings)
        returned = function()
    if isinstance(returned, Mapping):
        return parts_from_mapping(source, returned, first_reading, weights)
    if not isinstance(returned, (tuple, list)) or len(returned) != 2:
        size = f" of {len(returned)}" if isinstance(returned, (tuple, list)) else ""
        raise DatasetError(
            f"{source}: must return {_FORMS}; it returned a {type(returned).__name__}{size}"
        )
    first, second = returned
    # Only tuples are pairs: a list of two is an x of two rows.
    if all(isinstance(each, tuple) and len(each) == 2 for each in (first, second)):
        return {"train": Pair(*first), "test": Pair(*second)}, ()
    return {"train": Pair(first, second)}, ()


def _function(path: Path, name: str, text: bytes, surroundings: Surroundings) -> Callable[[], Any]:
    # Compiled from the text just read: an import could use stale bytecode.
    module = ModuleType(f"tuner_user_data_{path.stem}")
    surroundings.run(text, module)
    function = getattr(module, name, None)
    if not callable(function):
        offered = ", ".join(
            key
            for key, value in vars(module).items()
            if inspect.isfunction(value) and value.__module__ == module.__name__
        )
        problem = f"no function {name!r}" if name else f"name the function as {path}:FUNCTION"
        raise DatasetError(f"{path}: {problem}; it has {offered or 'none'}")
    return _without_arguments(path, name, function)


def _without_arguments(path: Path, name: str, function: Callable[..., Any]) -> Callable[[], Any]:
    try:
        inspect.signature(function).bind()
    except TypeError as error:
        raise DatasetError(f"{path}:{name}: must take no arguments ({error})") from error
    return function


@contextmanager
def _user_errors(path: Path, surroundings: Surroundings) -> Iterator[None]:
    try:
        yield
    except DatasetError:
        raise
    except (Exception, SystemExit) as error:
        where = error_place(error, surroundings.files) or path
        raise DatasetError(f"{where}: {first_line(error)}") from error


def _read(source: Source, settings: Settings, spec: "DataSpec") -> Raw:
    assert source.path is not None
    first_reading = spec.reading == FIRST_READING
    parts, notes = read_user_code(source.path, source.selector, first_reading, spec.weights)
    return Raw(source.text, source.name, parts, notes=notes)


READER = Reader("file.py:load", _read, (".py",), selects="function", runs_code=True)
