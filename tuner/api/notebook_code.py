"""The code of a notebook as a module: a function with the imports, constants, functions and classes
that it uses.

A notebook has no file that workers could import. So the function's own text is taken from its cell,
and the values that its global names have now are written as Python. What has no such form is
refused by its name.
"""

import ast
import builtins
import importlib.util
import inspect
import linecache
import math
import symtable
import sys
import sysconfig
import textwrap
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from types import CodeType, FunctionType, ModuleType
from typing import Any

import numpy as np

from tuner.errors import UsageError
from tuner.system.user_modules import read_modules

MOST_VALUES = 1000  # of an array that is written into code
MOST_CHARACTERS = 100_000  # of a constant
_LINE = 88
_FUTURE_ANNOTATIONS = 0x1000000  # co_flags of code with `from __future__ import annotations`
# Kernels name cells like files of this folder. They write these files for their debugger alone.
_CELLS = "ipykernel_"


@dataclass(frozen=True)
class Module:
    """`name`: of its file, without the ending. `beside`: the contents of the user's own files that
    it imports, by their path in its folder."""

    name: str
    text: str
    beside: Mapping[str, bytes] = field(default_factory=dict)


def notebook_module(function: Callable[..., Any]) -> Module:
    """A function of a notebook or a terminal as a module that works without it. Raises UsageError,
    naming a variable that cannot be written."""
    name = function.__name__
    text = _Writer(name, function).text()
    return Module(name, text, _modules_beside(text))


def import_module(function: Callable[..., Any]) -> Module:
    """A module that only imports a library's function. Raises UsageError."""
    name = function.__name__
    line = _import_line(name, function)
    if line is None:
        raise UsageError(f"{name} cannot be imported: write a function of your own that calls it")
    return Module(name, f'"""Written by tuner."""\n\n{line}\n')


def file_of(function: Callable[..., Any]) -> Path | None:
    """The file that defines a function; None for a notebook or a terminal."""
    return _file(inspect.unwrap(function).__code__)


def _file(code: CodeType) -> Path | None:
    file = Path(code.co_filename)
    if file.suffix != ".py" or file.parent.name.startswith(_CELLS) or not file.is_file():
        return None
    return file.resolve()


def is_library(file: Path) -> bool:
    """Whether a file belongs to Python or to an installed package."""
    names = ("stdlib", "platstdlib", "purelib", "platlib")
    folders = {Path(sysconfig.get_path(name)).resolve() for name in names}
    packages = {"site-packages", "dist-packages"} & set(file.parts)
    return bool(packages) or any(file.is_relative_to(folder) for folder in folders)


class _Writer:
    """Collects what a function needs: each definition after those that it uses."""

    def __init__(self, name: str, function: Callable[..., Any]) -> None:
        self._name = name
        self._is_future = False
        self._imports: set[str] = set()
        self._constants: list[str] = []
        self._definitions: list[str] = []
        self._written: dict[str, Any] = {}
        self._add(name, function, name)

    def text(self) -> str:
        title = f'"""`{self._name}` and what it uses, as a notebook had them. Written by tuner."""'
        future = "from __future__ import annotations" if self._is_future else ""
        imports = "\n".join(sorted(self._imports, key=lambda line: (line.startswith("from"), line)))
        parts = [title, future, imports, "\n".join(self._constants)]
        return "\n\n\n".join(["\n\n".join(filter(None, parts)), *self._definitions]) + "\n"

    def _add(self, name: str, value: Any, user: str) -> None:
        """Write a global name. `user`: the function or class that uses it."""
        if name in self._written:
            if self._written[name] is not value:
                raise UsageError(f"{user} uses two things called {name}: give one another name")
            return
        self._written[name] = value
        if (literal := _literal(value)) is not None:
            self._add_constant(name, literal, user)
        elif (line := _import_line(name, value)) is not None:
            self._imports.add(line)
        elif (definition := _find_definition(name, value, user)) is not None:
            self._add_definition(name, value, definition)
        else:
            raise _cannot_be_written(name, value, user)

    def _add_constant(self, name: str, literal: str, user: str) -> None:
        if len(literal) > MOST_CHARACTERS:
            raise UsageError(
                f"{user} uses {name}, which is too large to be written into code: save it to a "
                f"file, and read that in {user}"
            )
        self._imports |= {
            f"import {name}" for name in ("numpy", "pathlib") if f"{name}." in literal
        }
        self._constants.append(f"{name} = {literal}")

    def _add_definition(self, name: str, value: Any, definition: "_Definition") -> None:
        self._is_future |= definition.is_future
        own = definition.name
        if name != own:  # an alias: `activation = my_relu`
            self._add(own, value, name)
            self._definitions.append(f"{name} = {own}")
            return
        for used in _global_names(definition.text):
            if used != own and (present := _look_up(used, definition.names)) is not _UNKNOWN:
                self._add(used, present, own)
                if isinstance(present, ModuleType):
                    self._imports |= _submodules(used, present, definition.text)
        self._definitions.append(definition.text)


@dataclass(frozen=True)
class _Definition:
    """A function or a class as its cell defines it. `names`: the notebook's variables."""

    name: str
    text: str
    names: Mapping[str, Any]
    is_future: bool


def _find_definition(name: str, value: Any, user: str) -> _Definition | None:
    """The text of a notebook's function or class; None for anything else. Raises UsageError where
    it cannot be taken out of its surroundings. `name`, `user`: of messages."""
    functions = _functions(value)
    texts = (_text_of(value, function.__code__) for function in functions)
    text = next(filter(None, texts), None)
    if not functions:
        return None
    function, is_class = functions[0], isinstance(value, type)
    what = name if name == user else f"{user} uses {name}, which"
    if function.__name__ == "<lambda>":
        raise UsageError(f"{what} is a lambda: write it as a function with def")
    if not is_class and (function.__closure__ or "." in function.__qualname__):
        raise UsageError(
            f"{what} is made inside of another function: move it to the top level of the notebook"
        )
    if text is None:
        raise UsageError(
            f"{what} has no text that Python keeps: put it into a .py file, and import it "
            "from there"
        )
    own = value.__name__ if is_class else function.__code__.co_name
    is_future = bool(function.__code__.co_flags & _FUTURE_ANNOTATIONS)
    return _Definition(own, text, function.__globals__, is_future)


def _functions(value: Any) -> list[FunctionType]:
    """The function without its decorators; of a class its own methods."""
    if not isinstance(value, type):
        bare = inspect.unwrap(value) if callable(value) else None
        return [bare] if isinstance(bare, FunctionType) else []
    parts = vars(value).values()
    members = (getattr(each, "__func__", getattr(each, "fget", each)) for each in parts)
    return [
        each
        for each in members
        if isinstance(each, FunctionType) and each.__module__ == value.__module__
    ]


def _text_of(value: Any, code: CodeType) -> str | None:
    """The lines of the function with this code, or of the class around it."""
    kinds = (ast.ClassDef,) if isinstance(value, type) else (ast.FunctionDef, ast.AsyncFunctionDef)
    name = value.__name__ if isinstance(value, type) else code.co_name
    lines = linecache.getlines(code.co_filename)
    try:
        tree = ast.parse("".join(lines))
    except SyntaxError:
        return None
    for node in ast.walk(tree):
        if not isinstance(node, kinds) or node.name != name or node.end_lineno is None:
            continue
        first = min([node.lineno, *(each.lineno for each in node.decorator_list)])
        if first <= code.co_firstlineno <= node.end_lineno:
            return textwrap.dedent("".join(lines[first - 1 : node.end_lineno])).rstrip()
    return None


def _global_names(text: str) -> list[str]:
    """The global names that code uses: also those of decorators, defaults and nested functions."""

    def used(table: symtable.SymbolTable) -> Iterator[str]:
        is_module = table.get_type() == "module"
        for symbol in table.get_symbols():
            if symbol.is_referenced() and (is_module or symbol.is_global()):
                yield symbol.get_name()
        for child in table.get_children():
            yield from used(child)

    names = used(symtable.symtable(text, "<notebook>", "exec"))
    return [name for name in dict.fromkeys(names) if not name.startswith("__")]


_UNKNOWN = object()


def _look_up(name: str, names: Mapping[str, Any]) -> Any:
    """The value of a global name; _UNKNOWN for Python's own, and for what is not defined: running
    the code will say so."""
    if name in names:
        return names[name]
    value = vars(builtins).get(name, _UNKNOWN)  # a notebook adds display() to Python's own
    return value if str(getattr(value, "__module__", "")).startswith("IPython") else _UNKNOWN


def _cannot_be_written(name: str, value: Any, user: str) -> UsageError:
    if name == "get_ipython":
        return UsageError(f"{user} uses a magic such as %time or !ls: remove it")
    remedy = f"create it inside of {user}, or put both into a .py file"
    if hasattr(value, "shape"):
        remedy = f"save it to a file that {user} reads"
    kind = type(value).__name__
    return UsageError(f"{user} uses {name} ({kind}), which cannot be written as code: {remedy}")


def _literal(value: Any, indent: int = 0) -> str | None:
    """A constant as Python; None for what is none."""
    kind = type(value)
    if kind in (bool, int, str, bytes, complex, type(None)):
        return repr(value)
    if kind is float:
        return repr(value) if math.isfinite(value) else f'float("{value}")'
    if isinstance(value, PurePath):
        return f"pathlib.Path({str(value)!r})"
    if isinstance(value, np.generic) and value.dtype.kind in "biuf":
        return f"numpy.{value.dtype.name}({_literal(value.item())})"
    if kind is np.ndarray and value.dtype.kind in "biuf" and value.size <= MOST_VALUES:
        return f"numpy.array({_literal(value.tolist(), indent)}, dtype={value.dtype.name!r})"
    if kind in (list, tuple, set, frozenset):
        return _sequence(value, indent)
    return _mapping(value, indent) if kind is dict else None


def _sequence(values: Any, indent: int) -> str | None:
    items = [_literal(each, indent + 4) for each in values]
    if None in items:
        return None
    texts = [str(item) for item in items]
    if isinstance(values, set | frozenset):
        # In a fixed order: a module is named by its text.
        inner = _bracketed("{", sorted(texts), "}", indent) if texts else "()"
        return (
            f"frozenset({inner})" if isinstance(values, frozenset) else inner if texts else "set()"
        )
    if isinstance(values, list):
        return _bracketed("[", texts, "]", indent)
    return f"({texts[0]},)" if len(texts) == 1 else _bracketed("(", texts, ")", indent)


def _mapping(values: Mapping[Any, Any], indent: int) -> str | None:
    pairs = [(_literal(key), _literal(value, indent + 4)) for key, value in values.items()]
    if any(None in pair for pair in pairs):
        return None
    return _bracketed("{", [f"{key}: {value}" for key, value in pairs], "}", indent)


def _bracketed(opening: str, texts: list[str], closing: str, indent: int) -> str:
    """In one line, or an item a line."""
    line = f"{opening}{', '.join(texts)}{closing}"
    if indent + len(line) <= _LINE or len(texts) > MOST_VALUES // 10:
        return line
    blanks = " " * (indent + 4)
    items = "".join(f"{blanks}{text},\n" for text in texts)
    return f"{opening}\n{items}{' ' * indent}{closing}"


def _import_line(name: str, value: Any) -> str | None:
    """The statement that gives `name` this value, from where it is best known."""
    if isinstance(value, ModuleType) and (line := _module_line(name, value)) is not None:
        return line
    own = str(getattr(value, "__name__", name))
    package = str(getattr(value, "__module__", None) or "").partition(".")[0]
    main = sys.modules.get("__main__")  # multiprocessing lists it as __mp_main__ too
    places = [
        (module_name, attribute)
        for module_name, module in list(sys.modules.items())
        if module is not main and isinstance(module, ModuleType)
        for attribute in dict.fromkeys((own, name))
        if module.__dict__.get(attribute, _UNKNOWN) is value
    ]
    if not places:
        return None

    def rank(place: tuple[str, str]) -> tuple[object, ...]:
        parts = place[0].split(".")
        is_private = "src" in parts or any(part.startswith("_") for part in parts)
        return parts[0] != package, is_private, len(parts), len(place[0]), place

    module_name, attribute = min(places, key=rank)
    end = "" if attribute == name else f" as {name}"
    return f"from {module_name} import {attribute}{end}"


def _module_line(name: str, module: ModuleType) -> str | None:
    full = module.__name__
    if sys.modules.get(full) is not module or not _is_importable(full):
        return None
    parent, _, last = full.rpartition(".")
    if full == name:
        return f"import {full}"
    return f"from {parent} import {last}" if last == name else f"import {full} as {name}"


def _is_importable(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError, AttributeError):
        return False


def _submodules(name: str, module: ModuleType, text: str) -> set[str]:
    """Imports of the submodules that code reaches through their package: `import scipy` does not
    import scipy.stats."""
    lines: set[str] = set()
    if name != module.__name__:
        return lines
    for node in ast.walk(ast.parse(text)):
        full = ast.unparse(node) if isinstance(node, ast.Attribute) else ""
        if full.startswith(f"{name}.") and full in sys.modules and _is_importable(full):
            lines.add(f"import {full}")
    return lines


def _modules_beside(text: str) -> dict[str, bytes]:
    """The user's own files that code imports, by their path from the folder of the first one's
    package."""
    files: dict[str, bytes] = {}
    for node in ast.walk(ast.parse(text)):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = [node.module]
        for name in names:
            folder = _own_folder(name.partition(".")[0])
            if folder is not None:
                files |= read_modules(folder / "notebook.py", text.encode())
    return files


def _own_folder(name: str) -> Path | None:
    """The folder that a top-level module or package of the user lies in; None for a library."""
    module = sys.modules.get(name)
    file = getattr(module, "__file__", None)
    if file is None or is_library(Path(file).resolve()):
        return None
    return Path(file).resolve().parents[1 if hasattr(module, "__path__") else 0]
