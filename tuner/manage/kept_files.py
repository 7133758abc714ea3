"""Files that tuner keeps beside the studies' database: data from memory and code of notebooks.

Their names are made of their contents, so the same contents are kept once, and a file is never
changed. They are named by a path in the project's folder, which holds wherever that is moved.
"""

import contextlib
import errno
import hashlib
import os
import shutil
import uuid
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO, Literal

from tuner.data import project_folder
from tuner.errors import UsageError
from tuner.settings import Settings
from tuner.storage import Store
from tuner.storage.identity import neighbours_definitions
from tuner.storage.studies import is_named_in_a_study
from tuner.system.locations import HASH_LENGTH, KEPT_CODE, KEPT_DATA, KEPT_NAMES

_FOLDERS = {"data": KEPT_DATA, "code": KEPT_CODE}


def kept_folder(settings: Settings, kind: Literal["data", "code"]) -> Path:
    """The folder of data or code, beside a SQLite database; for others in the current folder."""
    return (project_folder(settings) or Path.cwd()) / _FOLDERS[kind]


def path_in_project(file: Path, settings: Settings) -> str:
    """How a study names a file: from the project's folder on, which is searched after the current
    one; absolute for a file elsewhere."""
    project = project_folder(settings)
    if project is None or not file.is_relative_to(project):
        return str(file)
    path = file.relative_to(project)
    is_hidden = path.exists() and not path.samefile(file)
    return str(file if is_hidden else path)


def keep_code(settings: Settings, name: str, text: str, beside: Mapping[str, bytes]) -> str:
    """Write a module and the files that it imports into a folder of their own. Returns its path, as
    a study names it. Raises UsageError where it cannot be written."""
    files = {f"{name}.py": text.encode(), **beside}
    marks = [f"{path} {hashlib.sha256(content).hexdigest()}" for path, content in files.items()]
    mark = hashlib.sha256("\n".join(sorted(marks)).encode()).hexdigest()[:HASH_LENGTH]
    folder = kept_folder(settings, "code") / mark
    for path, content in files.items():
        file = folder / path
        if not (file.is_file() and file.read_bytes() == content):
            with written_at_once(file, len(content)) as stream:
                stream.write(content)
    return path_in_project(folder / f"{name}.py", settings)


@contextlib.contextmanager
def written_at_once(file: Path, wanted_bytes: int) -> Iterator[BinaryIO]:
    """A stream of what the file will hold once all is written: nobody sees a part of it. Raises
    UsageError where it cannot be written, and nothing is left."""
    part = file.with_name(f"{file.name}.{uuid.uuid4().hex[:8]}.part")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        if shutil.disk_usage(file.parent).free < wanted_bytes:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        try:
            with part.open("xb") as stream:
                yield stream
                stream.flush()
                os.fsync(stream.fileno())
            part.replace(file)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise UsageError(
            f"{file}: cannot be written ({error.strerror or error}); make room or get the right to "
            "write there, or keep the studies' database elsewhere (storage)"
        ) from error


def kept_files(settings: Settings, definition: str) -> list[Path]:
    """What this project keeps for the study with this definition: files, and folders of code."""
    project = project_folder(settings) or Path.cwd()
    names = dict.fromkeys(KEPT_NAMES.findall(definition))
    return [project / name for name in names if (project / name).exists()]


def delete_unused(store: Store, files: Iterable[Path]) -> list[Path]:
    """Delete those of these kept files that no study names, neither of the database nor of another
    SQLite database in its folder. Returns them. A file that cannot be deleted stays."""
    unused = unused_files(store, files)
    for file in unused:
        delete_kept(file)
    return [file for file in unused if not file.exists()]


def unused_files(store: Store, files: Iterable[Path]) -> list[Path]:
    """Those of these kept files that no study names, as `delete_unused`."""
    unnamed = [file for file in files if not is_named_in_a_study(store, file.name)]
    if not unnamed or store.url.get_backend_name() != "sqlite":
        return unnamed
    others = neighbours_definitions(store)
    return [] if others is None else [file for file in unnamed if file.name not in others]


def delete_kept(file: Path) -> None:
    """Delete a kept file, or folder of code. What cannot be deleted stays."""
    if file.is_dir() and not file.is_symlink():
        shutil.rmtree(file, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            file.unlink()
