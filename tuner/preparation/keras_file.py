"""The description in a .keras file: one more member of the archive, which Keras ignores.

It has the SHA-256 of itself and of every other member, so a file that was changed or cut short is
recognised.
"""

import errno
import hashlib
import json
import zipfile
from pathlib import Path, PurePosixPath
from typing import Any

from tuner.errors import ArtifactError
from tuner.preparation.network_description import NetworkDescription

_MEMBER = "tuner.json"
_CONFIG = "config.json"  # Keras' own
_CHUNK_BYTES = 2**20
_ARCHIVE = b"PK"
_OTHER_KINDS = {
    b"\x89HDF": "an HDF5 file, Keras' old format",
    b"\x80": "a pickle, as PyTorch and scikit-learn save them",
}
_HOW = "study best --save"  # the closed room cannot make a complete command
_SAVE_AGAIN = f"save it again from its study ({_HOW})"
_DAMAGED = f"was cut short or changed since it was saved; {_SAVE_AGAIN}"


def write_description(keras_file: Path, description: NetworkDescription) -> None:
    """Add the description to a .keras file that has none. Raises OSError."""
    with zipfile.ZipFile(keras_file, "a") as archive:
        text = description.to_json()
        content = {"network": text, "sha256": _checksums(archive, text)}
        archive.writestr(_MEMBER, json.dumps(content, ensure_ascii=False))


def read_description(keras_file: Path, source: str | None = None) -> NetworkDescription:
    """The description in a .keras file, once the file is known to be whole and unchanged.
    `source`: how messages name it.

    Raises ArtifactError, one line, for a file that is missing, cut short or changed, that holds no
    network, or a network without a description.
    """
    source = str(keras_file) if source is None else source
    try:
        begin = _begin(keras_file)
        with zipfile.ZipFile(keras_file) as archive:
            description = _checked_description(archive, source)
    except ArtifactError:
        raise
    except OSError as error:
        if error.strerror and error.errno != errno.EINVAL:  # a seek to where a broken archive leads
            raise ArtifactError(f"{source}: {error.strerror}") from error
        raise ArtifactError(f"{source}: {_DAMAGED}") from error
    except Exception as error:  # a changed archive makes zipfile raise nearly anything
        raise ArtifactError(f"{source}: {_what_is_wrong(begin)}") from error
    return NetworkDescription.from_json(description, source)


def _begin(file: Path) -> bytes:
    with file.open("rb") as content:
        return content.read(8)


def _checked_description(archive: zipfile.ZipFile, source: str) -> str:
    if _MEMBER not in archive.namelist():
        raise ArtifactError(f"{source}: {_without_description(archive.namelist())}")
    content = json.loads(archive.read(_MEMBER))
    description = str(content["network"])
    if content["sha256"] != _checksums(archive, description):
        raise ArtifactError(
            f"{source}: was changed since tuner saved it (another checksum); {_SAVE_AGAIN}"
        )
    return description


def _what_is_wrong(begin: bytes) -> str:
    """Of a file that is no archive, by its first bytes."""
    if not begin:
        return "is empty"
    if begin.startswith(_ARCHIVE):
        return _DAMAGED
    kind = next((kind for mark, kind in _OTHER_KINDS.items() if begin.startswith(mark)), None)
    return f"is {kind or 'no .keras file'}; tuner takes networks that it saved itself ({_HOW})"


def has_description(keras_file: Path) -> bool:
    """Whether the file holds a network with its description, or no network at all. Raises
    OSError."""
    try:
        with zipfile.ZipFile(keras_file) as archive:
            names = archive.namelist()
    except zipfile.BadZipFile:
        return True
    return _MEMBER in names or _CONFIG not in names


def has_own_parts(keras_file: Path) -> bool:
    """Whether the network has layers or functions of the user's own, which Keras finds only once
    their code has run. Raises OSError, and what zipfile raises."""
    with zipfile.ZipFile(keras_file) as archive:
        return _names_own_part(json.loads(archive.read(_CONFIG)))


def _names_own_part(config: Any) -> bool:
    """Whether a part of Keras' configuration has a registered name, "PACKAGE>NAME"."""
    if isinstance(config, list):
        return any(map(_names_own_part, config))
    if not isinstance(config, dict):
        return False
    key = "config" if config.get("class_name") == "function" else "registered_name"
    return ">" in str(config.get(key)) or any(map(_names_own_part, config.values()))


def _without_description(names: list[str]) -> str:
    if _CONFIG in names:
        return (
            "holds a network without its preparation: another program saved it, or an earlier "
            f"version of tuner; {_SAVE_AGAIN}"
        )
    if any(PurePosixPath(name).name == "data.pkl" for name in names):
        return f"is a file of PyTorch; tuner takes networks that it saved itself ({_HOW})"
    return "is an archive that holds no network"


def _checksums(archive: zipfile.ZipFile, description: str) -> dict[str, str]:
    """SHA-256 in hex of the description and of every other member, by name."""
    others = sorted(name for name in archive.namelist() if name != _MEMBER)
    return {_MEMBER: _sha256_of_text(description)} | {
        name: _sha256(archive, name) for name in others
    }


def _sha256_of_text(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _sha256(archive: zipfile.ZipFile, name: str) -> str:
    digest = hashlib.sha256()
    with archive.open(name) as member:
        while chunk := member.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()
