"""The modules beside a user's file: found, and run from their text."""

import importlib.util
import os
import py_compile
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tuner.system.user_modules import Surroundings, deactivate, read_modules

# Ways to take VALUE of another module. All but the last two say at once what they import.
FORMS = (
    "import {name} as part{n}\ntotal += part{n}.VALUE",
    "from {name} import VALUE as value{n}\ntotal += value{n}",
    "from {parent} import {leaf} as leaf{n}\ntotal += leaf{n}.VALUE",
    "import importlib\ntotal += importlib.import_module('{name}').VALUE",
    "def later{n}():\n    import {name} as late\n    return late.VALUE\ntotal += later{n}()",
    "try:\n    import {name}_missing\nexcept ImportError:\n    from {name} import VALUE as v{n}\n"
    "    total += v{n}",
)
NAMES = ("blocks", "parts.heads", "parts.deep.tails", "loose.ends", "units", "parts.bodies")


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    deactivate()  # what tests of other files may have left
    before = set(sys.modules), sys.path.copy(), sys.meta_path.copy()
    yield
    deactivate()
    new = {name for name in set(sys.modules) - before[0] if name.split(".")[0] in _tops()}
    assert (new, sys.path, sys.meta_path) == (set(), *before[1:])


def _tops() -> set[str]:
    return {name.split(".")[0] for name in NAMES}


def write(folder: Path, files: dict[str, str]) -> Path:
    for path, text in files.items():
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return folder / "main.py"


def run(file: Path, modules: dict[str, bytes] | None = None, text: str | None = None) -> ModuleType:
    """The file run in its surroundings: those kept before, or those in its folder."""
    content = text.encode() if text is not None else file.read_bytes()
    kept = read_modules(file, content) if modules is None else modules
    module = ModuleType("tuner_test_main")
    surroundings = Surroundings(file, "main.py", kept, is_complete=modules is not None)
    with surroundings.entered():
        surroundings.run(content, module)
    del sys.modules[module.__name__]
    return module


@st.composite
def projects(draw: st.DrawFn) -> dict[str, str]:
    """Files of which each imports some of those before it, and the file `main.py`."""
    files: dict[str, str] = {"parts/__init__.py": "VALUE = 1", "parts/deep/__init__.py": "VALUE=2"}
    names: list[str] = []
    for number, name in enumerate((*draw(st.permutations(NAMES)), "main")):
        lines = [f"total = {10 ** (number + 1)}"]
        for n, other in enumerate(
            draw(st.lists(st.sampled_from(names), max_size=3)) if names else []
        ):
            parent, _, leaf = other.rpartition(".")
            forms = FORMS if parent else (*FORMS[:2], *FORMS[3:])
            form = draw(st.sampled_from(forms))
            lines.append(form.format(name=other, parent=parent, leaf=leaf, n=n))
        lines.append("VALUE = total")
        files[f"{name.replace('.', '/')}.py"] = "\n".join(lines)
        names.append(name)
    return files


def by_python(file: Path) -> int:
    """What Python itself makes of it."""
    sys.path.insert(0, str(file.parent))
    before = set(sys.modules)
    try:
        spec = importlib.util.spec_from_file_location("plain_main", file)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return int(module.VALUE)
    finally:
        sys.path.remove(str(file.parent))
        for name in set(sys.modules) - before:
            if name.split(".")[0] in _tops():
                del sys.modules[name]


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(files=projects())
def test_kept_modules_stand_for_the_folder(
    tmp_path_factory: pytest.TempPathFactory, files: dict[str, str]
) -> None:
    folder = tmp_path_factory.mktemp("own").resolve()
    main = write(folder, files)
    expected = by_python(main)
    text = main.read_text()
    modules = read_modules(main, text.encode())
    assert expected == run(main).VALUE
    # Another version of all files, with its bytecode, is no version of the study's.
    write(folder, dict.fromkeys(files, "VALUE = -1"))
    assert expected == run(main, modules, text).VALUE
    shutil.rmtree(folder)
    assert expected == run(main, modules, text).VALUE
    assert not set(sys.modules) & set(NAMES)


def test_what_a_package_imports_of_itself_is_kept(tmp_path: Path) -> None:
    main = write(
        tmp_path,
        {
            "main.py": "from parts import *\nVALUE = heads.VALUE + parts_value",
            "parts/__init__.py": "from .deep import *\nfrom . import units\n__all__ = ['heads', "
            "'parts_value']\nparts_value = units.VALUE",
            "parts/heads.py": "from .deep.tails import VALUE",
            "parts/units.py": "VALUE = 20",
            "parts/deep/__init__.py": "",
            "parts/deep/tails.py": "from .. import units\nVALUE = units.VALUE + 1",
            "parts/unused.py": "raise OSError",
        },
    )
    modules = read_modules(main, main.read_bytes())
    assert sorted(modules) == [
        "parts/__init__.py",
        "parts/deep/__init__.py",
        "parts/deep/tails.py",
        "parts/heads.py",
        "parts/units.py",
    ]
    text = main.read_text()
    shutil.rmtree(tmp_path / "parts")
    assert run(main, modules, text).VALUE == 41


def test_libraries_go_first_and_are_not_kept(tmp_path: Path) -> None:
    text = "import numpy, this, email.message, tuner\nimport blocks\nVALUE = numpy.pi + blocks.ONE"
    own = "raise OSError('in place of the library')"
    names = ("numpy.py", "this.py", "email/message.py", "tuner.py")
    files = {"main.py": text, "blocks.py": "ONE = 1", **dict.fromkeys(names, own)}
    main = write(tmp_path, files)
    assert [*read_modules(main, main.read_bytes())] == ["blocks.py"]
    assert run(main).VALUE > 4
    # Not even those that a study claims to keep.
    modules = {name: own.encode() for name in names} | {"blocks.py": b"ONE = 2"}
    assert run(main, modules).VALUE > 5


def test_bytecode_is_neither_read_nor_written(tmp_path: Path) -> None:
    main = write(
        tmp_path, {"main.py": "import units\nVALUE = units.VALUE", "units.py": "VALUE = 1"}
    )
    bytecode = Path(py_compile.compile(str(tmp_path / "units.py"), doraise=True))
    times = (tmp_path / "units.py").stat()
    (tmp_path / "units.py").write_text("VALUE = 2")  # as long, and as old
    os.utime(tmp_path / "units.py", ns=(times.st_atime_ns, times.st_mtime_ns))
    assert by_python(main) == 1  # Python itself takes the bytecode
    assert run(main).VALUE == 2
    bytecode.unlink()
    assert run(main).VALUE == 2
    assert not bytecode.exists()


def test_two_folders_with_modules_of_one_name(tmp_path: Path) -> None:
    mains = []
    for number in (1, 2):
        text = "from units import VALUE\nimport loose.ends\nVALUE += loose.ends.VALUE"
        own = {
            "main.py": text,
            "units.py": f"VALUE = {number}",
            "loose/ends.py": f"VALUE = {number}",
        }
        mains.append(write(tmp_path / str(number), own))
    elsewhere = ModuleType("units")
    sys.modules["units"] = elsewhere
    try:
        assert [run(main).VALUE for main in (*mains, *mains)] == [2, 4, 2, 4]
        assert sys.modules["units"] is elsewhere
    finally:
        del sys.modules["units"]


def test_what_is_imported_later_is_that_of_the_last_file(tmp_path: Path) -> None:
    functions = []
    for number in (1, 2):
        text = "def later():\n    from units import VALUE\n    return VALUE"
        main = write(tmp_path / str(number), {"main.py": text, "units.py": f"VALUE = {number}"})
        modules = read_modules(main, main.read_bytes())
        module = ModuleType("tuner_test_main")
        surroundings = Surroundings(main, "main.py", modules, is_complete=True)
        surroundings.activate()
        surroundings.run(main.read_bytes(), module)
        shutil.rmtree(main.parent)
        functions.append(module.later)
        assert functions[-1]() == number
    del sys.modules["tuner_test_main"]


def test_a_folder_that_cannot_be_read_hides_no_library(tmp_path: Path) -> None:
    """As once the process has become another user."""
    main = write(tmp_path / "private", {"main.py": ""})
    Surroundings(main, "main.py", {}, is_complete=True).activate()
    finder = sys.meta_path[0]
    main.parent.chmod(0)
    is_root = os.geteuid() == 0
    try:
        if is_root:
            os.seteuid(65534)
        assert finder.find_spec("wsgiref.handlers", None) is None
    finally:
        if is_root:
            os.seteuid(0)
        main.parent.chmod(0o700)


@pytest.mark.parametrize("name", ["units", "parts.heads", "parts"])
def test_a_module_that_was_not_kept_is_refused(tmp_path: Path, name: str) -> None:
    text = "def load(name):\n    import importlib\n    return importlib.import_module(name)"
    files = {"main.py": text, "units.py": "", "parts/__init__.py": "", "parts/heads.py": ""}
    main = write(tmp_path, files)
    assert read_modules(main, main.read_bytes()) == {}
    call = f"{text}\nload({name!r})"
    with pytest.raises(ModuleNotFoundError) as refused:
        run(main, {}, call)
    top = name if name == "units" else "parts"
    assert f"main.py needs '{top}' from its folder, which is not stored" in str(refused.value)
    assert f"write `import {top}` in main.py" in str(refused.value)
    # Where nothing is kept, as in a data function, the folder's own is taken.
    assert run(main, text=call)


def test_a_file_sees_itself_as_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = """
from __future__ import annotations
import inspect, os, sys, units
from dataclasses import dataclass

@dataclass
class Shape:
    width: int

PLACES = __file__, units.__file__
SOURCES = inspect.getsource(Shape), inspect.getsource(units.unit)
FOLDER, LAST = os.getcwd(), sys.path[-1]
"""
    unit = "def unit():\n    return 1\n"
    main = write(tmp_path, {"main.py": text, "units.py": unit})
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    modules = read_modules(main, main.read_bytes())
    write(tmp_path, {"main.py": "# edited\n" * 20, "units.py": "# edited\n" * 20})
    module = run(main, modules, text)
    assert (str(main), str(tmp_path / "units.py")) == module.PLACES
    assert module.SOURCES[0].startswith("@dataclass\nclass Shape:")
    assert module.SOURCES[1] == unit
    assert (str(tmp_path / "elsewhere"), str(tmp_path)) == (module.FOLDER, module.LAST)


def test_a_link_finds_the_modules_of_the_file_it_points_to(tmp_path: Path) -> None:
    write(tmp_path / "real", {"main.py": "from units import VALUE", "units.py": "VALUE = 3"})
    (tmp_path / "main.py").symlink_to(tmp_path / "real" / "main.py")
    assert run(tmp_path / "main.py").VALUE == 3


@pytest.mark.parametrize("text", ["import (", "\0", "import units\n  indented", "x = '\udcff'"])
def test_a_file_that_is_no_python_keeps_nothing(tmp_path: Path, text: str) -> None:
    content = text.encode(errors="surrogateescape")
    assert read_modules(write(tmp_path, {"main.py": "", "units.py": ""}), content) == {}
