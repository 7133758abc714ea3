"""Modules that are not imported with those that ask for them: hidden ones, and ones that wait until
something is asked of them.

`importlib.util.LazyLoader` refuses modules that put another object in their place as they are
imported, as TensorFlow's `compat.v1` does.
"""

import importlib
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

# Asked for while a module is made, or by `inspect` of every module there is.
_ASKED_OF_ALL = ("__path__", "__all__")


@contextmanager
def hidden(packages: Sequence[str]) -> Iterator[None]:
    """Packages that are not imported yet cannot be imported inside."""
    absent = [package for package in packages if package not in sys.modules]
    sys.modules.update(dict.fromkeys(absent))  # type: ignore[arg-type]  # None hides a module
    try:
        yield
    finally:
        for package in absent:
            sys.modules.pop(package, None)


class DeferredModule(ModuleType):
    """Stands in a module's place, and imports it at the first use of one of its names."""

    def __init__(self, spec: ModuleSpec) -> None:
        super().__init__(spec.name)
        self.__file__ = spec.origin
        self.__dict__["is_made"] = False

    def __getattr__(self, name: str) -> Any:
        is_special = name.startswith("__") and name not in _ASKED_OF_ALL
        if is_special or not self.__dict__.get("is_made"):
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        return getattr(import_now(self.__name__), name)

    def __dir__(self) -> list[str]:
        return dir(import_now(self.__name__))


class _Loader:
    """Makes the stand-in for a module."""

    def __init__(self, spec: ModuleSpec) -> None:
        self._spec = spec

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return DeferredModule(self._spec)

    def exec_module(self, module: ModuleType) -> None:
        module.__dict__["is_made"] = True


class _Finder:
    """Finds the modules that are deferred."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = frozenset(names)

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name not in self._names:
            return None
        spec = PathFinder.find_spec(name, path, target)
        return None if spec is None else ModuleSpec(name, _Loader(spec))  # type: ignore[arg-type]


@contextmanager
def deferred(names: Sequence[str]) -> Iterator[None]:
    """Importing one of these modules inside puts a stand-in in its place, for good. Modules that do
    not exist, and those that are imported already, are not touched."""
    finder = _Finder(names)
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)


def import_now(name: str) -> ModuleType:
    """The module itself. Where it was deferred, it takes the place of its stand-in, which passes on
    what others ask of it. Raises ImportError."""
    if isinstance(sys.modules.get(name), DeferredModule):
        del sys.modules[name]
    return importlib.import_module(name)


def import_deferred() -> None:
    """Import all modules that were deferred. Raises ImportError."""
    waiting = [name for name, module in sys.modules.items() if isinstance(module, DeferredModule)]
    for name in waiting:
        import_now(name)
