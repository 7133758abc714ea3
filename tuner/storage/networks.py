"""The network that an attempt has saved: found, and compared with what SQL recorded of the file."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from tuner.storage.records import AttemptRow


@dataclass(frozen=True)
class Fingerprint:
    """A file's size and SHA-256 in hex; None where SQL has recorded none (studies of 0.1.0)."""

    size: int | None
    sha256: str | None

    @classmethod
    def recorded(cls, attempt: AttemptRow) -> "Fingerprint":
        return cls(getattr(attempt, "model_bytes", None), getattr(attempt, "model_sha256", None))

    def mismatch(self, path: Path) -> str | None:
        """Why the file at `path` is not the recorded one, worded to follow its name; None where it
        is, as far as anything is recorded. Reads the whole file."""
        try:
            size = path.stat().st_size
            if self.size is not None and size != self.size:
                return f"has {size} bytes, {self.size} were saved"
            if self.sha256 is not None and sha256_of(path) != self.sha256:
                return "has other contents than were saved (SHA-256)"
        except OSError as error:
            return f"cannot be read ({error.strerror or error})"
        return None


def sha256_of(path: Path) -> str:
    """SHA-256 of the file's bytes, in hex. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@dataclass(frozen=True)
class SavedNetwork:
    """`path`: of the file, where it is here and as it was saved. `problem`: one line about a file
    that is here and is not used."""

    path: Path | None = None
    problem: str | None = None


def saved_network(attempt: AttemptRow | None) -> SavedNetwork:
    """The .keras file that the attempt saved. Every reader of `model_path` asks here."""
    if attempt is None or attempt.model_path is None:
        return SavedNetwork()
    path = Path(attempt.model_path)
    if not path.is_file():
        return SavedNetwork()
    mismatch = Fingerprint.recorded(attempt).mismatch(path)
    if mismatch is not None:
        return SavedNetwork(problem=f"{path} {mismatch}; it is not used")
    return SavedNetwork(path)
