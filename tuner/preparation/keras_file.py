"""The description in a .keras file: one more member of the archive, which Keras ignores.

It has the SHA-256 of every other member, so a file that was changed or cut short is recognised.
"""

import hashlib
import json
import zipfile
import zlib
from pathlib import Path

from tuner.errors import ArtifactError
from tuner.preparation.network_description import NetworkDescription

_MEMBER = "tuner.json"
_CHUNK_BYTES = 2**20


def write_description(keras_file: Path, description: NetworkDescription) -> None:
    """Add the description to a .keras file that has none. Raises OSError."""
    with zipfile.ZipFile(keras_file, "a") as archive:
        content = {"network": description.to_json(), "sha256": _checksums(archive)}
        archive.writestr(_MEMBER, json.dumps(content, ensure_ascii=False))


def has_description(keras_file: Path) -> bool:
    """Whether the file has a description, which files of earlier versions lack. Raises OSError, and
    BadZipFile for a file that is no archive."""
    with zipfile.ZipFile(keras_file) as archive:
        return _MEMBER in archive.namelist()


def read_description(keras_file: Path, source: str | None = None) -> NetworkDescription:
    """The description in a .keras file, once the file is known to be whole and unchanged.
    `source`: how messages name it.

    Raises ArtifactError, one line, for a file that is missing, cut short or changed, that holds no
    network, or a network without a description.
    """
    source = str(keras_file) if source is None else source
    try:
        with zipfile.ZipFile(keras_file) as archive:
            if _MEMBER not in archive.namelist():
                raise ArtifactError(_without_description(archive, source))
            content = json.loads(archive.read(_MEMBER))
            if content["sha256"] != _checksums(archive):
                raise ArtifactError(
                    f"{source}: was changed since tuner saved it (another checksum); save it again"
                )
            description: str = content["network"]
    except OSError as error:
        raise ArtifactError(f"{source}: {error.strerror or error}") from error
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise ArtifactError(
            f"{source}: is no .keras file, or was cut short or changed ({error})"
        ) from error
    except (ValueError, TypeError, LookupError, NotImplementedError) as error:
        raise ArtifactError(f"{source}: its description cannot be read ({error})") from error
    return NetworkDescription.from_json(description, source)


def _without_description(archive: zipfile.ZipFile, source: str) -> str:
    if "config.json" not in archive.namelist():
        return f"{source}: holds no network"
    return (
        f"{source}: holds a network without its preparation: another program saved it, or an "
        "earlier version of tuner; save it again: tuner study best STUDY --save FILE.keras"
    )


def _checksums(archive: zipfile.ZipFile) -> dict[str, str]:
    return {name: _sha256(archive, name) for name in sorted(archive.namelist()) if name != _MEMBER}


def _sha256(archive: zipfile.ZipFile, name: str) -> str:
    digest = hashlib.sha256()
    with archive.open(name) as member:
        while chunk := member.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()
