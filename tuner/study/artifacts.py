"""Saved networks and checkpoints: where they are kept, and whether a file is still what was saved.

SQL keeps each network's name, with the size and the checksum that it had when it was saved. A name
is relative to the project's store, so a project that is moved or copied uses its own files.
"""

import hashlib
import json
import os
import shutil
import time
import uuid
import zipfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple, Protocol, TypeVar

from tuner.errors import ArtifactError, ArtifactsUnavailable
from tuner.settings import Settings

# What `put` stores: bytes, a copy of a file, or what a function writes to the path it is given.
Content = bytes | Path | Callable[[Path], object]
# In a trial's part of the store: the folder of a function that trains by itself, and what it saves.
OWN_FOLDERS = ("directory", "saved")
# A trial's checkpoints, and what earlier versions left half written.
CHECKPOINT_PATTERNS = ("*.ckpt", "*.part")


def trial_prefix(study_uuid: str, number: int) -> str:
    """What the names of a trial's files begin with."""
    return f"{study_uuid}/trial-{number}"


def network_name(study_uuid: str, number: int, attempt: int, suffix: str = ".keras") -> str:
    """The name of the network that an attempt of a trial saves."""
    return f"{trial_prefix(study_uuid, number)}/attempt-{attempt}{suffix}"


@dataclass(frozen=True)
class Artifact:
    """A stored file. `path`: its name in the store, relative, with slashes. `size` in bytes and
    `sha256` in hex are None where they were not recorded, as by earlier versions."""

    path: str
    size: int | None = None
    sha256: str | None = None


class StoredFile(NamedTuple):
    """What the store says of a file. `size` in bytes; `written_at`: seconds since 1970."""

    name: str
    size: int
    written_at: float


def measure(name: str, file: Path) -> Artifact:
    """The file as it is now, under that name. Raises OSError."""
    with file.open("rb") as content:
        digest = hashlib.file_digest(content, "sha256").hexdigest()
    return Artifact(name, file.stat().st_size, digest)


class StoredFolder(Protocol):
    """A local folder for files that are no artifacts, such as a user's own. `path`: where it is."""

    @property
    def path(self) -> Path: ...

    def keep(self) -> None:
        """Have what is in it now survive this machine, where the store does. Raises OSError."""
        ...

    def close(self) -> None:
        """What the folder takes of this machine is given back; what was kept stays in the store."""
        ...


class Artifacts(Protocol):
    """A store of files, by name ("STUDY/trial-3/attempt-1.keras"). It can be pickled: workers get
    it with their setup.

    Every method raises ArtifactError for a name that leads out of the store. Where a store on
    other machines does not answer, or refuses, all but `sweep` raise ArtifactsUnavailable, which
    is an OSError too. `str` of a store says where it is, for messages and for `artifacts_at`.
    """

    def below(self, prefix: str) -> "Artifacts":
        """The part of the store whose names begin with `prefix/`; its own names leave that out."""
        ...

    def put(self, name: str, content: Content, *, checksum: bool = True) -> Artifact:
        """Store the content, in place of what had the name. Other processes see the old content or
        the new one, never a part; when it returns, the content survives a power cut. Raises
        OSError, and what a function that writes the content raises; the old content is kept
        then. `checksum`: whether to compute the SHA-256, which reads the whole content."""
        ...

    def get(self, artifact: Artifact) -> Path:
        """A local file with the content, not to be written to. Raises ArtifactError, one line,
        where it is missing or its size or checksum is another one."""
        ...

    def folder(self, name: str) -> StoredFolder:
        """The folder of that name, with what was kept in it last, on whichever machine; empty where
        there is none. Raises OSError."""
        ...

    def exists(self, name: str) -> bool:
        """Whether a file has the name. A folder is none."""
        ...

    def copy(self, name: str, to: str) -> None:
        """Store the content under another name too. Raises OSError."""
        ...

    def delete(self, name: str) -> None:
        """With what a `put` of that name that was killed has left. Nothing happens where there is
        no such file. Raises OSError."""
        ...

    def names(self, pattern: str) -> list[str]:
        """The names of files and folders that match a shell pattern, in order; its `*` stops at a
        slash, `**` stands for any folders."""
        ...

    def files(self, pattern: str) -> list[StoredFile]:
        """The files whose names match, in order."""
        ...

    def facts(self, name: str) -> StoredFile | None:
        """What the store says of the file of that name; None where there is none."""
        ...

    def sweep(self, prefix: str, patterns: Sequence[str] = ()) -> None:
        """Delete all below the prefix; with patterns, only what matches one of them there. What
        cannot be deleted costs disk space and nothing else: no error is raised."""
        ...


@dataclass(frozen=True)
class LocalFolder:
    """A folder of the store itself."""

    path: Path

    def keep(self) -> None:
        pass

    def close(self) -> None:
        pass


@dataclass(frozen=True)
class FolderArtifacts:
    """Artifacts as files of a folder, which several machines may share."""

    root: Path

    def __str__(self) -> str:
        return str(self.root)

    def below(self, prefix: str) -> "FolderArtifacts":
        return FolderArtifacts(self._locate(prefix))

    def put(self, name: str, content: Content, *, checksum: bool = True) -> Artifact:
        file = self._locate(name)
        partial = _partial(file)
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            write_content(partial, content)
            _sync(partial)
            stored = Artifact(name, partial.stat().st_size)
            if checksum:
                stored = measure(name, partial)
            partial.replace(file)
            # Without it the rename may be lost in a power cut.
            _sync(file.parent)
        finally:
            with suppress(OSError):
                partial.unlink(missing_ok=True)
        return stored

    def get(self, artifact: Artifact) -> Path:
        file = self._locate(artifact.path)
        try:
            check_file(file, artifact)
        except OSError as error:
            raise ArtifactError(f"{file}: {error.strerror or error}") from error
        return file

    def folder(self, name: str) -> LocalFolder:
        folder = self._locate(name)
        folder.mkdir(parents=True, exist_ok=True)
        return LocalFolder(folder)

    def exists(self, name: str) -> bool:
        return self._locate(name).is_file()

    def copy(self, name: str, to: str) -> None:
        source, target = self._locate(name), self._locate(to)
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            # Files here are replaced, never written to: two names of one file do not disturb
            # each other.
            os.link(source, target)
        except OSError:  # a file system without links
            shutil.copyfile(source, target)

    def delete(self, name: str) -> None:
        file = self._locate(name)
        file.unlink(missing_ok=True)
        _partial(file).unlink(missing_ok=True)

    def names(self, pattern: str) -> list[str]:
        return sorted(file.relative_to(self.root).as_posix() for file in self.root.glob(pattern))

    def files(self, pattern: str) -> list[StoredFile]:
        files = []
        for name in self.names(pattern):
            with suppress(ArtifactError, OSError):  # leads out of the store, or was just removed
                files.append(self.facts(name))
        return [file for file in files if file is not None]

    def facts(self, name: str) -> StoredFile | None:
        file = self._locate(name)
        if not file.is_file():
            return None
        status = file.stat()
        return StoredFile(name, status.st_size, status.st_mtime)

    def sweep(self, prefix: str, patterns: Sequence[str] = ()) -> None:
        if not os.path.lexists(self.root / prefix):
            return  # as is usual; a few µs, where the rest takes 0.1 ms
        folder = self._locate(prefix)
        if not patterns:
            shutil.rmtree(folder, ignore_errors=True)
            return
        with suppress(OSError):
            for file in [file for pattern in patterns for file in folder.glob(pattern)]:
                file.unlink(missing_ok=True)
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()

    def _locate(self, name: str) -> Path:
        """Where the file is or will be; it is not looked at."""
        file = self.root / checked_name(name)
        if not file.resolve().is_relative_to(self.root.resolve()):
            raise ArtifactError(f"{name} leads out of this project")
        return file


def open_artifacts(settings: Settings) -> Artifacts:
    """The project's store of networks and checkpoints."""
    return artifacts_at(settings.artifacts_place)


def artifacts_at(place: str | Path) -> Artifacts:
    """The store whose `str` says that it is there: a folder, or a URL."""
    if isinstance(place, Path) or "://" not in place:
        return FolderArtifacts(Path(place))
    from tuner.study.remote_artifacts import RemoteArtifacts

    return RemoteArtifacts(place)


Result = TypeVar("Result")
# A store that cannot be reached is asked again for so long, where much depends on it. In the end
# the pauses are of _LONGEST_PAUSE_S.
_PATIENCE_S = 30.0
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.25, 4.0


def patiently(action: Callable[[], Result]) -> Result:
    """What the action returns. It is tried again for a while where the store does not answer.
    Raises what the action raises."""
    deadline, pause_s = time.monotonic() + _PATIENCE_S, _FIRST_PAUSE_S
    while True:
        try:
            return action()
        except ArtifactsUnavailable as error:
            if not error.may_pass or time.monotonic() + pause_s > deadline:
                raise
        time.sleep(pause_s)
        pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)


def check_store(artifacts: Artifacts) -> None:
    """Write a small file into the store, read it back and delete it. Raises OSError or
    ArtifactError, one line, where that is not possible from this machine."""
    name = f"check-{uuid.uuid4().hex}"
    stored = artifacts.put(name, name.encode())
    try:
        artifacts.get(stored)
    finally:
        artifacts.delete(name)


def checked_name(name: str) -> PurePosixPath:
    """A name that stays inside the store. Raises ArtifactError for another one."""
    parts = PurePosixPath(name)
    if parts.is_absolute() or ".." in parts.parts or not parts.parts or "\0" in name:
        raise ArtifactError(f"{name!r} does not lie in this project")
    return parts


def check_file(file: Path, saved: Artifact, place: str | None = None) -> None:
    """Raises ArtifactError, one line, where the file is not what was saved; OSError where it cannot
    be read. `place`: where it was saved, if the file is a copy."""
    place = place or str(file)
    if saved.size is not None and file.stat().st_size != saved.size:
        raise ArtifactError(f"{place} is not the file that was saved (another size)")
    if not file.is_file():
        raise ArtifactError(f"{place} is no file")
    if saved.sha256 is not None and measure(saved.path, file).sha256 != saved.sha256:
        raise ArtifactError(f"{place} is not the file that was saved (another checksum)")


def _partial(file: Path) -> Path:
    """The file as it is written; a writer that is killed leaves it. It has the same suffix: Keras
    decides by that what it writes."""
    return file.with_name(f".{file.stem}.partial{file.suffix}")


def write_content(file: Path, content: Content) -> None:
    """Write what a `put` is given. Raises OSError, and what a function that writes raises."""
    if isinstance(content, bytes):
        file.write_bytes(content)
    elif isinstance(content, Path):
        shutil.copyfile(content, file)
    else:
        content(file)


def _sync(path: Path) -> None:
    """Have a file's content, or a folder's names, on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


_INPUT = "InputLayer"


class Input(NamedTuple):
    """What a saved network takes. `shape` of one row; `dtype`: float64 where float32 would lose too
    much of the values."""

    shape: tuple[int, ...]
    dtype: str


def input_of(keras_file: Path) -> Input | None:
    """What the network in a .keras file takes, read without TensorFlow; None where the file cannot
    be read."""
    try:
        config = next(layer for layer in _layers(keras_file) if layer["class_name"] == _INPUT)
        shape = config["config"]["batch_shape"][1:]
        return Input(tuple(int(size) for size in shape), str(config["config"].get("dtype")))
    except (OSError, zipfile.BadZipFile, LookupError, TypeError, ValueError, StopIteration):
        return None


def _layers(keras_file: Path) -> list[dict[str, Any]]:
    with zipfile.ZipFile(keras_file) as archive:
        layers: list[dict[str, Any]] = json.loads(archive.read("config.json"))["config"]["layers"]
        return layers
