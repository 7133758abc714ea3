"""LiteRT, once TensorFlow Lite: one file, for phones, browsers and microcontrollers.

The description is a file in a ZIP archive behind the model, the place that LiteRT has for files
that belong to a model: `unzip network.tflite tuner.json` gets it. It has the SHA-256 of the model.
"""

import re
import zipfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tuner.errors import ArtifactError, ExportError, first_line
from tuner.models.formats.export_format import Format, RuntimeNetwork
from tuner.models.formats.sealing import (
    checksum_of,
    measure_file,
    seal,
    unseal,
    without_description,
)
from tuner.preparation.network_description import NetworkDescription
from tuner.system.redirecting import stderr_muted

if TYPE_CHECKING:
    import keras

_MEMBER = "tuner.json"
_SIGNATURE = "serving_default"
# How the converter names an operation of TensorFlow's in its messages.
_OPERATION = re.compile(r"'tf\.(\w+)' op|\btf\.(\w+)\(")


def _save(network: "keras.Model", description: NetworkDescription, path: Path) -> None:
    import tensorflow as tf

    from tuner.models.formats import layer_forms

    if description.preparation.input_dtype == "float64":
        raise ExportError(
            "LiteRT computes in float32, which would round these data too much: the network takes "
            "float64"
        )
    narrow = layer_forms.for_float32(network)
    plain = layer_forms.with_other_layers(
        network, lambda layer: narrow.get(id(layer)) or layer_forms.as_arctan_of_two(layer)
    )
    # Without this, operations that only a larger runtime has (TensorFlow's own, "Flex") are let in.
    own_operations = {"supported_ops": [tf.lite.OpsSet.TFLITE_BUILTINS]}
    try:
        plain.export(path, format="litert", verbose=False, target_spec=own_operations)
    except Exception as error:
        names = {first or second for first, second in _OPERATION.findall(str(error))}
        if not names:
            raise
        raise ExportError(
            f"LiteRT cannot compute {', '.join(sorted(names))} of this network"
        ) from error
    _append_description(path, description)


def _append_description(path: Path, description: NetworkDescription) -> None:
    text = seal(description, checksum_of(path.read_bytes()))
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(_MEMBER, text)


def _load(path: Path, source: str) -> tuple[NetworkDescription, RuntimeNetwork]:
    description = _read_description(path, source)
    interpreter_module = LITERT.import_package("ai_edge_litert.interpreter")
    with stderr_muted():  # a note on its processor kernels
        try:
            runner = interpreter_module.Interpreter(str(path)).get_signature_runner(_SIGNATURE)
        except Exception as error:
            raise ArtifactError(f"{source}: LiteRT cannot load it ({first_line(error)})") from error
    (input_name,), (output_name,) = runner.get_input_details(), runner.get_output_details()

    def predict_on_batch(rows: npt.NDArray[Any]) -> npt.NDArray[Any]:
        # It allocates anew where the number of rows is another one.
        return np.asarray(runner(**{input_name: rows})[output_name])

    return description, RuntimeNetwork(predict_on_batch, input_name, output_name)


def _read_description(path: Path, source: str) -> NetworkDescription:
    try:
        content = path.read_bytes()
        with zipfile.ZipFile(path) as archive:
            text = archive.read(_MEMBER).decode()
    except OSError as error:
        raise ArtifactError(f"{source}: {error.strerror or error}") from error
    except (zipfile.BadZipFile, zlib.error, EOFError, KeyError, ValueError) as error:
        raise without_description(source) from error
    return unseal(text, source, measure_file(content))


LITERT = Format("LiteRT", ".tflite", "LiteRT", _save, _load, packages=("ai_edge_litert",))
