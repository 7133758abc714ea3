"""The code that travels with a logged model, so that MLflow can load it where tuner is not
installed: a copy of the room `preparation`, which imports nothing else of tuner.

The copy is a package whose name holds the checksum of its text. So it is neither taken for an
installed tuner nor for the copy of a model that another version logged, and a process can load
models of both.
"""

import hashlib
import re
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from tuner.preparation import served_network

_ROOM = "preparation"
_BESIDE = ("errors.py", "values.py")
_IMPORT = re.compile(rf"^(\s*from )tuner\.(?:{_ROOM}\.)?(\w+)(?= import )", re.MULTILINE)
_ABOUT = '"""A copy of the code by which tuner prepares rows; it does not need tuner."""\n'
_MODULE = served_network.__name__.rpartition(".")[2]


def write_code(folder: Path) -> str:
    """Write the package into `folder`. Returns the full name of the module that loads a network
    (`_load_pyfunc`)."""
    name, texts = _package()
    (folder / name).mkdir(parents=True)
    for file, text in texts.items():
        (folder / name / file).write_text(text, encoding="utf-8")
    return f"{name}.{_MODULE}"


@cache
def _package() -> tuple[str, dict[str, str]]:
    """The name of the package, and the texts of its files by name."""
    top = files("tuner")
    sources = [each for each in (top / _ROOM).iterdir() if each.name.endswith(".py")]
    sources += [top / name for name in _BESIDE]
    texts = {source.name: source.read_text(encoding="utf-8") for source in _sorted(sources)}
    digest = hashlib.sha256(repr(texts).encode()).hexdigest()
    name = f"tuner_network_{digest[:16]}"
    texts = {file: _IMPORT.sub(rf"\1{name}.\2", text) for file, text in texts.items()}
    return name, texts | {"__init__.py": _ABOUT}


def _sorted(sources: list[Traversable]) -> list[Traversable]:
    return sorted(sources, key=lambda source: source.name)
