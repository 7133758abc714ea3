"""ONNX: one file, for onnxruntime in many languages and on many devices.

The description is in the model's own metadata (`metadata_props`). In Protocol Buffers, messages
that follow each other are one message, so the metadata stand behind the exported bytes, whose
number and SHA-256 they have.
"""

import warnings
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

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

if TYPE_CHECKING:
    import keras

_KEY = "tuner"
_ERRORS_ONLY = 3  # onnxruntime's levels: 2 warnings, 3 errors, 4 fatal


def _save(network: "keras.Model", description: NetworkDescription, path: Path) -> None:
    from tuner.models.formats.layer_forms import as_rescaling, with_other_layers

    _register_operations()
    plain = with_other_layers(network, as_rescaling)
    # Keras refuses a model that was never called.
    plain.predict_on_batch(np.zeros((1, *network.input_shape[1:]), network.input.dtype))
    with warnings.catch_warnings(action="ignore", category=FutureWarning):  # Keras' own
        plain.export(path, format="onnx", verbose=False)
    _check(path)
    _append_description(path, description)


def _check(path: Path) -> None:
    """Raises ExportError for operations that ONNX does not have: tf2onnx writes them all the
    same, and constants that it has not found become inputs."""
    onnx = ONNX.import_package("onnx")
    graph = onnx.load(path).graph
    unknown = {
        node.op_type for node in graph.node if not node.domain and not onnx.defs.has(node.op_type)
    }
    if unknown:
        raise ExportError(f"ONNX has no operation {', '.join(sorted(unknown))}")
    if len(graph.input) != 1:
        raise ExportError(
            "a layer computes with a constant that is no weight of it; ONNX would take it for an "
            "input (in a layer of your own: add_weight(..., trainable=False))"
        )


def _append_description(path: Path, description: NetworkDescription) -> None:
    text = seal(description, checksum_of(path.read_bytes()))
    with path.open("ab") as file:
        file.write(_metadata(text))


def _metadata(text: str) -> bytes:
    onnx = ONNX.import_package("onnx")
    model = onnx.ModelProto()
    model.metadata_props.add(key=_KEY, value=text)
    return bytes(model.SerializeToString())


def _load(path: Path, source: str) -> tuple[NetworkDescription, RuntimeNetwork]:
    onnxruntime = ONNX.import_package("onnxruntime")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = _ERRORS_ONLY
    try:
        content = path.read_bytes()
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except OSError as error:
        raise ArtifactError(f"{source}: {error.strerror or error}") from error
    except Exception as error:  # onnxruntime's errors have no common class
        raise ArtifactError(
            f"{source}: is no ONNX file, or was cut short or changed ({first_line(error)})"
        ) from error
    text = session.get_modelmeta().custom_metadata_map.get(_KEY)
    if text is None:
        raise without_description(source)
    return unseal(text, source, measure_file(content)), _runtime_network(session)


def _runtime_network(session: Any) -> RuntimeNetwork:
    (takes,), (gives,) = session.get_inputs(), session.get_outputs()
    return RuntimeNetwork(
        lambda rows: session.run([gives.name], {takes.name: rows})[0], takes.name, gives.name
    )


@cache
def _register_operations() -> None:
    """Teach tf2onnx what it does not know: erfc, of which Keras makes gelu."""
    ONNX.import_package("tf2onnx")
    tf_op = ONNX.import_package("tf2onnx.handler").tf_op
    utils = ONNX.import_package("tf2onnx.utils")

    @tf_op("Erfc")
    class Erfc:
        """erfc(x) = 1 - erf(x). ONNX has erf from version 9 of its operations on."""

        @classmethod
        def version_9(cls, graph: Any, node: Any, **_: Any) -> None:
            (given,), (output,) = node.input, node.output
            dtypes, shapes = [graph.get_dtype(output)], [graph.get_shape(output)]
            erf = graph.make_node("Erf", [given], dtypes=dtypes, shapes=shapes)
            number = np.array(1.0, utils.map_onnx_to_numpy_type(dtypes[0]))
            one = graph.make_const(utils.make_name("one"), number)
            graph.remove_node(node.name)
            graph.make_node(
                "Sub",
                [one.output[0], erf.output[0]],
                outputs=[output],
                dtypes=dtypes,
                shapes=shapes,
            )


ONNX = Format(
    "ONNX", ".onnx", "onnxruntime", _save, _load, packages=("tf2onnx", "onnx", "onnxruntime")
)
