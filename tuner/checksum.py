"""Whether a file is the one that was written: by its size and SHA-256."""

import hashlib
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Checksum:
    """A file's size in bytes and SHA-256 in hex; None where it was not recorded."""

    size: int | None = None
    sha256: str | None = None

    @classmethod
    def of(cls, path: Path) -> "Checksum":
        """Raises OSError."""
        return cls(path.stat().st_size, _sha256(path))

    def mismatch(self, path: Path) -> str | None:
        """Why the file at `path` is another one, worded to follow its name; None where it is the
        same, as far as anything was recorded. Reads the whole file."""
        try:
            size = path.stat().st_size
            if self.size is not None and size != self.size:
                return f"has {size:,} bytes, {self.size:,} were saved"
            if self.sha256 is not None and _sha256(path) != self.sha256:
                return "has other contents than were saved (by its SHA-256)"
        except OSError as error:
            return f"cannot be read ({error.strerror or error})"
        return None


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
