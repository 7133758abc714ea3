"""A description as it stands in an export: with checksums of itself and of all beside it."""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from tuner.errors import ArtifactError
from tuner.preparation.network_description import NetworkDescription

Checksums = dict[str, Any]


def seal(description: NetworkDescription, checksums: Checksums) -> str:
    """The text to be put into the export. Without the user's code, which an export does not need:
    it may be given to people who are not to see it."""
    network = replace(description, code={}).to_json()
    content = {"network": network, "network_sha256": _sha256(network), "sha256": checksums}
    return json.dumps(content, ensure_ascii=False)


def unseal(
    text: str, source: str, measure: Callable[[Mapping[str, Any]], Checksums]
) -> NetworkDescription:
    """The description in such a text. `measure`: the checksums as they are now, given those in the
    text. Raises ArtifactError, one line, where they differ or the text is another one."""
    try:
        content = json.loads(text)
        checksums, description = content["sha256"], str(content["network"])
        is_unchanged = (content["network_sha256"], checksums) == (
            _sha256(description),
            measure(checksums),
        )
    except (ValueError, TypeError, LookupError) as error:
        raise ArtifactError(f"{source}: its description cannot be read ({error})") from error
    if not is_unchanged:
        raise ArtifactError(
            f"{source}: was changed since tuner exported it (another checksum); export it again"
        )
    return NetworkDescription.from_json(description, source)


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def checksum_of(exported: bytes) -> Checksums:
    """Of a file that the description is appended to."""
    return {"bytes": len(exported), "content": hashlib.sha256(exported).hexdigest()}


def measure_file(content: bytes) -> Callable[[Mapping[str, Any]], Checksums]:
    """For `unseal`: of a file with the description at its end."""
    return lambda recorded: checksum_of(content[: recorded["bytes"]])


def without_description(source: str) -> ArtifactError:
    return ArtifactError(
        f"{source}: holds a network without its preparation: another program wrote it, or it was "
        "cut short or changed; export it again"
    )
