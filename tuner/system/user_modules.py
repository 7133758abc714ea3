"""The modules beside a user's file: which of them it imports, and importing them from their text.

A study stores a user's file and all modules that it imports from its own folder. Running the file
runs the stored texts, never what the folder holds by then, and no bytecode. Libraries come first: a
module of the folder never replaces a library.
"""

import ast
import contextlib
import linecache
import os
import sys
import traceback
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from importlib.abc import InspectLoader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

Texts = Mapping[str, bytes]

_PACKAGE = "__init__.py"
_IMPORTERS = ("import_module", "__import__")


def imported_modules(text: bytes, read: Callable[[str], bytes | None]) -> dict[str, bytes]:
    """The modules of its folder that a file with this text imports, directly or through one
    another, also inside functions; by their path in the folder, such as "parts/blocks.py". `read`:
    the content of such a path, None if there is no file.

    Only imports that name the module are seen: statements, and calls of `import_module` or
    `__import__` with a literal.
    """
    modules: dict[str, bytes] = {}
    waiting = [(text, "")]
    while waiting:
        content, package = waiting.pop()
        for name in _names(content, package, read):
            for path, module in _files(name, read):
                if path not in modules:
                    modules[path] = module
                    folder = path.rpartition("/")[0]
                    waiting.append((module, folder.replace("/", ".")))
    return modules


def _names(text: bytes, package: str, read: Callable[[str], bytes | None]) -> Iterator[str]:
    try:
        nodes = list(ast.walk(ast.parse(text)))
    except (SyntaxError, ValueError, RecursionError):
        return  # running the file will say what is wrong
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from _names_from(node, package, read)
        elif isinstance(node, ast.Call) and (name := _literal_import(node)):
            yield _absolute(name.lstrip("."), len(name) - len(name.lstrip(".")), package)


def _names_from(
    node: ast.ImportFrom, package: str, read: Callable[[str], bytes | None]
) -> Iterator[str]:
    module = _absolute(node.module or "", node.level, package)
    yield module
    for alias in node.names:
        if alias.name != "*":
            yield f"{module}.{alias.name}"
            continue
        content = read("/".join([*module.split("."), _PACKAGE])) if module else None
        # What a package lists in __all__ may be a module of it.
        yield from (f"{module}.{word}" for word in _words(content or b""))


def _words(text: bytes) -> list[str]:
    try:
        nodes = ast.walk(ast.parse(text))
        values = [node.value for node in nodes if isinstance(node, ast.Constant)]
    except (SyntaxError, ValueError, RecursionError):
        return []
    return [value for value in values if isinstance(value, str) and value.isidentifier()]


def _absolute(module: str, level: int, package: str) -> str:
    """The absolute name of a module that one in `package` imports with `level` dots."""
    if not level:
        return module
    parents = package.split(".")[: len(package.split(".")) - level + 1] if package else []
    return ".".join([*parents, *filter(None, [module])])


def _literal_import(node: ast.Call) -> str | None:
    called = node.func
    name = called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", None)
    if name not in _IMPORTERS or not node.args or not isinstance(node.args[0], ast.Constant):
        return None
    value = node.args[0].value
    return value if isinstance(value, str) else None


def _files(name: str, read: Callable[[str], bytes | None]) -> Iterator[tuple[str, bytes]]:
    """The files that importing a name runs: those of its packages, then its own."""
    parts = name.split(".")
    if not all(part.isidentifier() for part in parts):
        return
    for count in range(1, len(parts) + 1):
        stem = "/".join(parts[:count])
        for path in (f"{stem}/{_PACKAGE}", f"{stem}.py"):
            if (content := read(path)) is not None:
                yield path, content
                if path == f"{stem}.py":
                    return  # a plain module contains no others
                break


def read_modules(file: Path, text: bytes) -> dict[str, bytes]:
    """As `imported_modules`, for a file that exists. Raises OSError."""
    folder = folder_of(file)
    taken: dict[str, bool] = {}

    def read(path: str) -> bytes | None:
        top = path.partition("/")[0].removesuffix(".py")
        if top not in taken:
            taken[top] = is_library_module(top, folder)
        if taken[top]:
            return None
        module = folder / path
        return module.read_bytes() if module.is_file() else None

    return imported_modules(text, read)


def folder_of(file: Path) -> Path:
    """The folder whose modules a file can import; for a link, that of its target."""
    return file.resolve().parent


def _library(name: str, folder: Path) -> ModuleSpec | None:
    """The spec of a top-level module that Python finds outside of the folder, if any."""
    outside = [entry for entry in sys.path if not _is_folder(entry, folder)]
    for finder in sys.meta_path:
        if isinstance(finder, _Finder):
            continue
        path = outside if finder is PathFinder else None
        with contextlib.suppress(ImportError, AttributeError):
            spec = finder.find_spec(name, path)
            if spec is not None:
                return spec
    return None


def is_library_module(name: str, folder: Path) -> bool:
    """Whether Python finds the module outside of the folder. A folder without __init__.py on the
    path does not count: any folder would be one."""
    if name in ("tuner", "__main__"):
        return True
    spec = _library(name, folder)
    return spec is not None and spec.loader is not None


def _is_folder(entry: str, folder: Path) -> bool:
    try:
        return folder.samefile(entry or ".")
    except OSError:
        return False


@dataclass(frozen=True)
class Surroundings:
    """What a user's file can import when it runs. `file`: its path when the study was created.
    `shown`: its name in messages. `modules`: the texts beside it, by their path in its folder.
    `is_complete`: no other module of the folder can be imported; else others come from the folder
    as it is now."""

    file: Path
    shown: str
    modules: Texts = field(default_factory=dict)
    is_complete: bool = False

    @property
    def folder(self) -> Path:
        return folder_of(self.file)

    @property
    def files(self) -> set[str]:
        """The names that tracebacks show for the file and its modules."""
        return {self.shown, *(str(Path(self.shown).parent / path) for path in self.modules)}

    @contextlib.contextmanager
    def on_path(self) -> Iterator[None]:
        """Inside, the folder is on the import path, behind all libraries."""
        before = sys.path.copy()
        folder = str(self.folder)
        sys.path[:] = [*(entry for entry in before if entry != folder), folder]
        try:
            yield
        finally:
            sys.path[:] = before

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """Inside, the file may run; afterwards its modules are removed from `sys.modules`. Those of
        a file that was active before come back."""
        before = [(finder, finder.imported()) for finder in _active[-1:]]
        with self.on_path():
            self.activate()
            try:
                yield
            finally:
                deactivate()
                for finder, modules in before:
                    finder.install()
                    sys.modules.update(modules)

    def activate(self) -> None:
        """Import these modules afresh from now on, until another file is activated: code that runs
        later may still import one. The modules of the file before are removed from `sys.modules`,
        whatever their names."""
        deactivate()
        _Finder(self).install()

    def run(self, text: bytes, module: ModuleType) -> None:
        """Run the file's text in `module`, and put that into `sys.modules`."""
        module.__file__ = str(self.file)
        sys.modules[module.__name__] = module  # dataclasses and pickling look their module up
        token = _imported.set(self.shown)
        try:
            exec(compiled(text, self.shown, str(self.file)), module.__dict__)  # the user's own code
        finally:
            _imported.reset(token)


# The user's file that this thread is importing.
_imported: ContextVar[str | None] = ContextVar("imported", default=None)


def imported_file() -> str | None:
    """The user's file whose import has led to this call, if any."""
    return _imported.get()


def stored_surroundings(
    path: str, text: str, modules: tuple[tuple[str, str], ...] | None, file: str
) -> Surroundings:
    """Those of a file that a study stores. `path`: as the user gave it. `modules`: path and text of
    the modules in its folder; None if the study stored none, then they are read from the folder.
    `file`: its absolute path when the study was made; "" if unknown."""
    place = Path(file or path).absolute()
    if modules is None:
        return Surroundings(place, path, read_modules(place, text.encode()))
    stored = {name: module.encode() for name, module in modules}
    return Surroundings(place, path, stored, is_complete=True)


def error_place(error: BaseException, files: Collection[str]) -> str | None:
    """ "my_file.py:7": the last line of these files in an error's traceback; None if there is none.
    Of a syntax error its own place."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}:{error.lineno or 1}"
    frames = traceback.extract_tb(error.__traceback__)
    lines = [f"{frame.filename}:{frame.lineno}" for frame in frames if frame.filename in files]
    return lines[-1] if lines else None


def compiled(text: bytes, shown: str, file: str) -> CodeType:
    """Code for which tracebacks and `inspect` show this text, whatever the file holds by then."""
    lines = text.decode(errors="replace").splitlines(keepends=True)
    for name in (shown, file):
        linecache.cache[name] = (len(text), None, lines, name)
    return compile(text, shown, "exec", dont_inherit=True)


# The finder at work: one at most, so that no file sees another one's modules.
_active: list["_Finder"] = []


def deactivate() -> None:
    """End the effect of `Surroundings.activate`."""
    for finder in _active[:]:
        finder.remove()


class _Loader(InspectLoader):
    """Runs a module's text. Nothing is read from the folder, and no bytecode is written."""

    def __init__(self, text: bytes, shown: str, file: str) -> None:
        self._text, self._shown, self._file = text, shown, file

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        exec(self.get_code(module.__name__), module.__dict__)

    def get_code(self, fullname: str) -> CodeType:
        return compiled(self._text, self._shown, self._file)

    def get_source(self, fullname: str) -> str:
        return self._text.decode(errors="replace")

    def is_package(self, fullname: str) -> bool:
        return Path(self._file).name == _PACKAGE


class _Finder(MetaPathFinder):
    """Finds the modules of one `Surroundings`, before Python looks into the folder."""

    def __init__(self, surroundings: Surroundings) -> None:
        self._own, self._folder = surroundings, surroundings.folder
        self._hidden: dict[str, ModuleType] = {}
        self._before: set[str] = set()

    def install(self) -> None:
        tops = {path.partition("/")[0].removesuffix(".py") for path in self._own.modules}
        own = {top for top in tops if not is_library_module(top, self._folder)}
        self._hidden = {
            name: sys.modules.pop(name) for name in list(sys.modules) if name.split(".")[0] in own
        }
        self._before = set(sys.modules)
        sys.meta_path.insert(0, self)
        _active.append(self)

    def remove(self) -> None:
        """Remove the modules of the folder that were imported meanwhile."""
        sys.meta_path.remove(self)
        _active.remove(self)
        for name in self.imported():
            del sys.modules[name]
        sys.modules.update(self._hidden)

    def imported(self) -> dict[str, ModuleType]:
        """The modules of the folder that were imported since it was installed, by name."""
        new = [name for name in sys.modules if name not in self._before]
        own = {name for name in new if "." not in name and self._is_ours(sys.modules[name])}
        return {name: sys.modules[name] for name in new if name.split(".")[0] in own}

    def _is_ours(self, module: Any) -> bool:
        spec = getattr(module, "__spec__", None)
        if spec is None:
            return False
        places = [spec.origin, *(f"{path}/{_PACKAGE}" for path in _searched(spec))]
        files = [Path(place) for place in places if place]
        folders = [f.parent.parent if f.name == _PACKAGE else f.parent for f in files]
        return any(folder.resolve() == self._folder for folder in folders)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        stem = fullname.replace(".", "/")
        stored = next(
            (path for path in (f"{stem}/{_PACKAGE}", f"{stem}.py") if path in self._own.modules),
            None,
        )
        is_folder = any(path.startswith(f"{stem}/") for path in self._own.modules)
        if not stored and not is_folder and not self._is_unknown(fullname):
            return None
        top = fullname.split(".")[0]
        if is_library_module(top, self._folder):
            return None
        if stored:
            return self._spec(fullname, stored)
        if is_folder:  # with other folders of that name, Python makes one namespace package
            return None if _library(top, self._folder) else self._namespace(fullname, stem)
        raise ModuleNotFoundError(
            f"{self._own.shown} needs {fullname!r} from its folder, which is not stored with the"
            f" study, since no import statement names it: write `import {fullname}` in "
            f"{self._own.shown} and create the study again",
            name=fullname,
        )

    def _is_unknown(self, fullname: str) -> bool:
        """Whether the folder has such a module, which was not stored."""
        if not self._own.is_complete:
            return False
        *parents, _ = fullname.split(".")
        # Unlike Path.is_dir, it says no of a folder that this user may not read.
        if parents and not os.path.isdir(self._folder / parents[0]):  # noqa: PTH112
            return False
        spec = PathFinder.find_spec(fullname, [str(self._folder.joinpath(*parents))])
        return spec is not None and spec.loader is not None

    def _spec(self, fullname: str, path: str) -> ModuleSpec:
        is_package = path.endswith(f"/{_PACKAGE}")
        file = self._folder / path
        shown = str(Path(self._own.shown).parent / path)
        loader = _Loader(self._own.modules[path], shown, str(file))
        spec = ModuleSpec(fullname, loader, origin=str(file), is_package=is_package)
        spec.has_location = True
        if is_package:
            spec.submodule_search_locations = [str(file.parent)]
        return spec

    def _namespace(self, fullname: str, stem: str) -> ModuleSpec:
        spec = ModuleSpec(fullname, None, is_package=True)
        spec.submodule_search_locations = [str(self._folder / stem)]
        return spec


def _searched(spec: ModuleSpec) -> list[str]:
    try:
        return list(spec.submodule_search_locations or [])
    except Exception:  # a library's own kind of path
        return []
