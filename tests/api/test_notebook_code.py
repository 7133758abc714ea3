"""Functions of a notebook become modules that work without it; those of files are named by them."""

import linecache
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from tuner.api.functions import code_reference
from tuner.errors import UsageError
from tuner.settings import Settings, load_settings


@dataclass
class Notebook:
    """A kernel's main module. Cells are compiled like a kernel's: under names without files."""

    module: ModuleType
    settings: Settings
    names: list[str] = field(default_factory=list)

    def run(self, cell: str) -> None:
        name = f"/tmp/ipykernel_1/{id(self)}-{len(self.names)}.py"
        linecache.cache[name] = (len(cell), None, cell.splitlines(True), name)
        self.names.append(name)
        exec(compile(cell, name, "exec"), self.module.__dict__)

    def reference(self, name: str) -> str:
        return code_reference(getattr(self.module, name), self.settings)

    def rerun(self, name: str) -> Any:
        """The function as a worker gets it: from its file, in a process without the notebook."""
        path, _, function = self.reference(name).partition(":")
        namespace: dict[str, Any] = {"__name__": "worker"}
        exec(compile(Path(path).read_text(), path, "exec"), namespace)
        return namespace[function]


@pytest.fixture
def notebook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Notebook]:
    monkeypatch.chdir(tmp_path)
    main = ModuleType("__main__")
    monkeypatch.setitem(sys.modules, "__main__", main)
    # As the import of multiprocessing does.
    monkeypatch.setitem(sys.modules, "__mp_main__", main)
    book = Notebook(main, load_settings("sqlite:///tuner.db"))
    yield book
    for name in book.names:
        del linecache.cache[name]


def test_a_function_comes_with_all_that_it_uses(notebook: Notebook) -> None:
    notebook.run(
        """
import functools
import json as js
import numpy as np
import xml
import xml.dom.minidom
from collections import OrderedDict as Ordered
from math import pi
from pathlib import Path

FACTORS = {"low": (1, -2.5), "all": [None, True, b"x"], 3: {"b", "a"}}
LIMIT = float("inf")
WEIGHTS = np.arange(6, dtype=np.float32).reshape(2, 3)
FOLDER = Path("data/here")
"""
    )
    notebook.run(
        """
def unused():
    return missing

def twice(function):
    @functools.wraps(function)
    def inner(*args):
        return function(*args) + function(*args)
    return inner

class Base:
    factor = 2

    def times(self, x):
        return x * self.factor

class Scaled(Base):
    @property
    def limit(self):
        return LIMIT

@twice
def helper(x, factors=FACTORS):
    return Scaled().times(x) + factors["low"][1]

alias = helper

def even(n):
    return n == 0 or odd(n - 1)

def odd(n):
    return n != 0 and even(n - 1)
"""
    )
    notebook.run(
        '''
def build(params):
    """Docs."""
    values = [alias(x) for x in range(params["n"])]
    kinds = Ordered(even=even(4), odd=odd(4), limit=Scaled().limit, pi=pi)
    text = js.dumps([values, list(kinds.values()), str(FOLDER)])
    root = xml.dom.minidom.parseString("<a/>").documentElement.tagName
    return text, root, float(np.sum(WEIGHTS)), FACTORS
'''
    )
    build = notebook.module.build
    assert notebook.rerun("build")({"n": 3}) == build({"n": 3})
    path = Path(notebook.reference("build").partition(":")[0])
    assert re.fullmatch(r"\.tuner/code/[0-9a-f]{16}/build\.py", str(path))
    text = path.read_text()
    assert "unused" not in text
    assert "__main__" not in text and "__mp_main__" not in text


def test_the_same_code_has_the_same_name_and_other_code_another(notebook: Notebook) -> None:
    notebook.run("SIZES = {'b', 'a', 'c'}\ndef build(params):\n    return SIZES")
    first = notebook.reference("build")
    notebook.run("SIZES = {'c', 'a', 'b'}\n\ndef build(params):\n    return SIZES")
    assert notebook.reference("build") == first
    notebook.run("SIZES = {'c'}")
    assert notebook.reference("build") != first
    Path(first.partition(":")[0]).write_text("changed")
    notebook.run("SIZES = {'b', 'a', 'c'}")
    assert notebook.reference("build") == first
    assert notebook.rerun("build")({}) == {"a", "b", "c"}


def test_a_notebook_s_own_files_are_taken_along(
    notebook: Notebook, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "nb_parts").mkdir()
    (tmp_path / "nb_parts" / "__init__.py").write_text("")
    (tmp_path / "nb_parts" / "block.py").write_text("import nb_deeper\ndef block(): return 7\n")
    (tmp_path / "nb_deeper.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    notebook.run("from nb_parts.block import block\ndef build(params):\n    return block()")
    folder = Path(notebook.reference("build").partition(":")[0]).parent
    assert sorted(str(file.relative_to(folder)) for file in folder.rglob("*.py")) == [
        "build.py",
        "nb_deeper.py",
        "nb_parts/__init__.py",
        "nb_parts/block.py",
    ]
    for name in ("nb_parts", "nb_parts.block", "nb_deeper"):
        monkeypatch.delitem(sys.modules, name)


def test_a_library_s_function_is_imported(notebook: Notebook) -> None:
    assert code_reference(np.mean, notebook.settings).endswith("/mean.py:mean")
    notebook.module.mean = np.mean  # type: ignore[attr-defined]
    assert notebook.rerun("mean")([1, 3]) == 2


def test_the_future_of_annotations_is_kept(notebook: Notebook) -> None:
    notebook.run("from __future__ import annotations\ndef build(params: NotHere | None): return 1")
    assert notebook.rerun("build")({}) == 1


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ("model = object()\ndef f(x): return [model for _ in x]", "f uses model (object), which"),
        ("g = lambda x: x\ndef f(x): return g(x)", "f uses g, which is a lambda"),
        ("f = lambda x: x", "a lambda has no name"),
        (
            "def g(x): return 1\nold = g\ndef g(x): return 2\ndef f(x): return old(x) + g(x)",
            "f uses two things called g: give one another name",
        ),
        ("import functools\nf = functools.partial(print)", "partial is no function"),
        (
            "def outer():\n    k = 1\n    def f(x): return k\n    return f\nf = outer()",
            "f is defined inside of the function outer",
        ),
        (
            "def outer():\n    k = 1\n    def i(x): return k\n    return i\n"
            "g = outer()\ndef f(x): return g(x)",
            "f uses g, which is made inside of another function",
        ),
        ("class C:\n    def f(self): ...\nf = C.f", "f is defined in the class C"),
        (
            "import numpy as np\nbig = np.zeros(2000)\ndef f(x): return big",
            "f uses big (ndarray), which cannot be written as code: save it to a file that f reads",
        ),
        ("text = 'x' * 200_000\ndef f(x): return text", "f uses text, which is too large"),
        (
            "class C:\n    def m(self): return thing\nthing = iter([])\ndef f(x): return C()",
            "C uses thing (list_iterator), which cannot be written as code: create it inside of C",
        ),
        ("exec('def f(x): return 1')", "f has no text that Python keeps"),
        ("get_ipython = object()\ndef f(x): get_ipython()", "f uses a magic such as %time"),
    ],
)
def test_what_cannot_be_written_is_named(notebook: Notebook, cell: str, message: str) -> None:
    notebook.run(cell)
    with pytest.raises(UsageError) as caught:
        notebook.reference("f")
    assert str(caught.value).startswith(message)
    assert not Path(".tuner").exists()


def test_a_file_is_named_from_the_project_s_folder_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project, elsewhere = tmp_path / "project", tmp_path / "elsewhere"
    for folder in (project, elsewhere):
        folder.mkdir()
        (folder / "net.py").write_text("def build(params): ...\n")
    settings = load_settings(f"sqlite:///{project}/tuner.db")
    build, other = (_load(folder / "net.py") for folder in (project, elsewhere))
    monkeypatch.chdir(project)
    assert code_reference(build, settings) == "net.py:build"
    assert code_reference(other, settings) == f"{elsewhere}/net.py:build"
    monkeypatch.chdir(tmp_path)
    assert code_reference(build, settings) == "net.py:build"
    monkeypatch.chdir(elsewhere)  # its own net.py would be found first
    assert code_reference(build, settings) == f"{project}/net.py:build"
    assert code_reference("any.py:thing", settings) == "any.py:thing"


def _load(file: Path) -> Any:
    namespace: dict[str, Any] = {}
    exec(compile(file.read_text(), str(file), "exec"), namespace)
    return namespace["build"]
