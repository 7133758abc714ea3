"""TensorFlow's SavedModel: a folder, for TensorFlow Serving, TensorFlow.js and other languages.

The description lies in `assets.extra/`, the place that TensorFlow leaves to users. It has the
SHA-256 of every other file.
"""

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tuner.errors import ArtifactError, first_line
from tuner.models.formats.export_format import Format, RuntimeNetwork
from tuner.models.formats.sealing import seal, unseal, without_description
from tuner.preparation.network_description import NetworkDescription
from tuner.settings import quiet_tensorflow
from tuner.system.locations import is_file
from tuner.system.redirecting import stderr_muted

if TYPE_CHECKING:
    import keras

_GRAPH = "saved_model.pb"
_DESCRIPTION = Path("assets.extra") / "tuner.json"


def is_saved_model(path: Path) -> bool:
    """Whether the path is the folder of a SavedModel, whoever wrote it."""
    return is_file(path / _GRAPH)


def is_of_tuner(path: Path) -> bool:
    """Whether tuner wrote the folder."""
    return (path / _DESCRIPTION).is_file()


def _save(network: "keras.Model", description: NetworkDescription, path: Path) -> None:
    network.export(path, format="tf_saved_model", verbose=False)
    text = seal(description, _checksums(path))
    file = path / _DESCRIPTION
    file.parent.mkdir(exist_ok=True)
    file.write_text(text, encoding="utf-8")


def _load(path: Path, source: str) -> tuple[NetworkDescription, RuntimeNetwork]:
    description = _read_description(path, source)
    quiet_tensorflow()
    with stderr_muted():  # TensorFlow's start-up notes
        import tensorflow as tf

        try:
            loaded = tf.saved_model.load(str(path))
            signature = loaded.signatures["serving_default"]
        except Exception as error:
            raise ArtifactError(
                f"{source}: TensorFlow cannot load it ({first_line(error)})"
            ) from error
    (input_name,) = signature.structured_input_signature[1]
    (output_name,) = signature.structured_outputs
    return description, RuntimeNetwork(
        lambda rows: np.asarray(loaded.serve(tf.constant(rows))), input_name, output_name
    )


def _read_description(path: Path, source: str) -> NetworkDescription:
    try:
        text = (path / _DESCRIPTION).read_text(encoding="utf-8")
        return unseal(text, source, lambda _: _checksums(path))
    except (FileNotFoundError, UnicodeDecodeError) as error:
        raise without_description(source) from error
    except OSError as error:
        raise ArtifactError(f"{source}: {error.strerror or error}") from error


def _checksums(folder: Path) -> dict[str, str]:
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    return {
        name: hashlib.sha256(file.read_bytes()).hexdigest()
        for file in files
        if (name := file.relative_to(folder).as_posix()) != _DESCRIPTION.as_posix()
    }


SAVED_MODEL = Format("SavedModel", "", "TensorFlow", _save, _load)
