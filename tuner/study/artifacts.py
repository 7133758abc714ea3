"""Saved networks in a project: where they lie, and whether a file is still what was saved.

SQL keeps a path relative to the project's folder of networks, so that a project that is moved or
copied uses its own files, with the size and the checksum that the file had when it was saved.

What a saved .keras file takes, read without TensorFlow.
"""

import hashlib
import json
import zipfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from tuner.errors import ArtifactError


@dataclass(frozen=True)
class Artifact:
    """A file below a project's folder. `path`: relative to it, with slashes. `size` in bytes and
    `sha256` in hex are None where an earlier version did not record them."""

    path: str
    size: int | None = None
    sha256: str | None = None

    @classmethod
    def of(cls, root: Path, file: Path) -> "Artifact":
        """A file below `root`, measured now. Raises OSError."""
        return cls.measured(file.relative_to(root).as_posix(), file)

    @classmethod
    def measured(cls, path: str, file: Path) -> "Artifact":
        with file.open("rb") as content:
            digest = hashlib.file_digest(content, "sha256").hexdigest()
        return cls(path, file.stat().st_size, digest)

    def located(self, root: Path) -> Path:
        """Where the file is to be found; it is not looked at. Raises ArtifactError for a path that
        leaves the folder, as one does that an earlier version kept of another folder."""
        parts = PurePosixPath(self.path)
        if parts.is_absolute() or ".." in parts.parts or not parts.parts or "\0" in self.path:
            raise ArtifactError(f"{self.path!r} does not lie in this project")
        file = root / parts
        if not file.resolve().is_relative_to(root.resolve()):
            raise ArtifactError(f"{self.path} leads out of this project")
        return file

    def verified(self, root: Path) -> Path:
        """The file, found to be what was saved. Raises ArtifactError, one line, where it is missing
        or another one."""
        file = self.located(root)
        try:
            if self.size is not None and file.stat().st_size != self.size:
                raise ArtifactError(f"{file} is not the file that was saved (another size)")
            if not file.is_file():
                raise ArtifactError(f"{file} is no file")
            if self.sha256 is not None and self.measured(self.path, file).sha256 != self.sha256:
                raise ArtifactError(f"{file} is not the file that was saved (another checksum)")
        except OSError as error:
            raise ArtifactError(f"{file}: {error.strerror or error}") from error
        return file


_INPUT = "InputLayer"


class Input(NamedTuple):
    """`shape` of one row; `dtype`: float64 where float32 would lose too much of the values."""

    shape: tuple[int, ...]
    dtype: str


def input_of(keras_file: Path) -> Input | None:
    """None for what cannot be read."""
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
