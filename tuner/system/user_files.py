"""Files that a user's code reads beside Python modules, such as a backbone to fine-tune: found
beside the code or in the current folder, and the same as when the study was created."""

import ast
import hashlib
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import lru_cache
from os import PathLike, fspath
from pathlib import Path

from tuner.errors import NetworkError

_FUNCTION = "local_file"


@dataclass(frozen=True)
class _KnownFiles:
    """`hashes`: SHA-256 in hex by the path in the code. `folders`: where they may be."""

    hashes: Mapping[str, str]
    folders: tuple[Path, ...]


_known: ContextVar[_KnownFiles | None] = ContextVar("known_files", default=None)


def local_file(path: str | PathLike[str]) -> Path:
    """The absolute path of a file that a network's code reads, such as a backbone to fine-tune:
    `keras.saving.load_model(tuner.local_file("backbone.keras"), compile=False)`.

    Args:
        path: Relative to the code's own file, or to the current folder. Write it as a literal: so
            the study can keep the file's SHA-256, and each trial checks it.

    Raises:
        NetworkError: There is no such file, or it has changed since the study was created.
    """
    name, study_files = fspath(path), _known.get()
    if study_files is None:  # the code runs by itself
        caller = Path(sys._getframe(1).f_code.co_filename)
        return _existing(name, (caller.parent, Path.cwd()))
    file = _existing(name, study_files.folders)
    if name not in study_files.hashes:
        raise NetworkError(
            f"{_FUNCTION}({name!r}): the study has no SHA-256 of it; write its path as a literal "
            "in the code"
        )
    if file_hash(file) != study_files.hashes[name]:
        raise NetworkError(
            f"{file}: has changed since the study was created, and scores would not be comparable: "
            "put it back, or create a new study"
        )
    return file


@contextmanager
def known_files(files: Iterable[tuple[str, str]], code_file: Path) -> Iterator[None]:
    """Inside, the code of `code_file` reads these files: path and SHA-256 of each."""
    token = _known.set(_KnownFiles(dict(files), (code_file.resolve().parent, Path.cwd())))
    try:
        yield
    finally:
        _known.reset(token)


def hash_named_files(texts: Iterable[str], code_file: Path) -> dict[str, str]:
    """The SHA-256 of each file that code with these texts reads by `local_file`, by its path in the
    code. Raises NetworkError for a file that is missing."""
    names = dict.fromkeys(name for text in texts for name in _named_files(text))
    folders = (code_file.resolve().parent, Path.cwd())
    try:
        return {name: file_hash(_existing(name, folders)) for name in names}
    except OSError as error:
        raise NetworkError(f"{error.filename}: {error.strerror or error}") from error


def _named_files(text: str) -> Iterator[str]:
    try:
        nodes = list(ast.walk(ast.parse(text)))
    except (SyntaxError, ValueError, RecursionError):
        return  # running the file will say what is wrong
    for node in nodes:
        if not isinstance(node, ast.Call) or not node.args:
            continue
        called, first = node.func, node.args[0]
        name = called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", None)
        if name == _FUNCTION and isinstance(first, ast.Constant) and isinstance(first.value, str):
            yield first.value


def _existing(name: str, folders: tuple[Path, ...]) -> Path:
    for folder in dict.fromkeys(folders):
        if (file := folder / name).is_file():
            return file.resolve()
    searched = " and ".join(str(folder) for folder in dict.fromkeys(folders))
    raise NetworkError(f"{_FUNCTION}({name!r}): there is no such file in {searched}")


def file_hash(file: Path) -> str:
    """SHA-256 in hex. Raises OSError."""
    status = file.stat()
    return _hash(file, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=64)
def _hash(file: Path, _changed: int, _size: int) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
