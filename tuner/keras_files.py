"""What a saved .keras file takes, read without TensorFlow."""

import json
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

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
