"""The network that an attempt has saved: found, and compared with what SQL recorded of the file."""

from dataclasses import dataclass
from pathlib import Path

from tuner.checksum import Checksum
from tuner.storage.records import AttemptRow


@dataclass(frozen=True)
class SavedNetwork:
    """`path`: of the file, where it is here and as it was saved. `problem`: one line about a file
    that is here and is not used."""

    path: Path | None = None
    problem: str | None = None


def saved_network(attempt: AttemptRow | None, folder: Path) -> SavedNetwork:
    """The .keras file that the attempt saved. `folder`: of the project's networks. Every reader of
    `model_path` asks here."""
    if attempt is None or attempt.model_path is None:
        return SavedNetwork()
    path = folder / attempt.model_path
    if not path.is_file():
        return SavedNetwork()
    mismatch = recorded_checksum(attempt).mismatch(path)
    if mismatch is not None:
        return SavedNetwork(problem=f"{path} {mismatch}; it is not used")
    return SavedNetwork(path)


def recorded_checksum(attempt: AttemptRow) -> Checksum:
    """Of the file as it was saved; networks of tuner 0.1.0 have none."""
    return Checksum(attempt.model_bytes, attempt.model_sha256)
