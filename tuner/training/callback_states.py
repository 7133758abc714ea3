"""What the user's own callbacks have counted, kept in checkpoints: simple values such as a count of
epochs without gain, as JSON in an array of bytes."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

_NAME = "callbacks"
_SIMPLE = (bool, int, float, str, type(None))
# What Keras itself sets anew.
_NOT_KEPT = ("params", "validation_data")
# Of a function of keras.ops, by its name. Keras' callbacks that monitor a metric hold how they
# compare, and negate min_delta as they choose it.
_OPERATION = "keras.ops."


def state_arrays(callbacks: Sequence[Any]) -> dict[str, list[np.ndarray]]:
    """The callbacks' values, as a group of a checkpoint's arrays."""
    text = json.dumps([_simple_values(callback) for callback in callbacks])
    return {_NAME: [np.frombuffer(text.encode(), np.uint8)]}


def callback_states(arrays: Mapping[str, Sequence[np.ndarray]]) -> list[dict[str, Any]]:
    """What `state_arrays` wrote."""
    (content,) = arrays[_NAME]
    states: list[dict[str, Any]] = json.loads(content.tobytes())
    return states


def restore_states(callbacks: Sequence[Any], states: Sequence[Mapping[str, Any]]) -> None:
    """Set the values of callbacks that were made in the same order; without states, none."""
    for callback, state in zip(callbacks, states, strict=False):
        for name, value in state.items():
            setattr(callback, name, _as_held(value))


def _simple_values(callback: Any) -> dict[str, Any]:
    values = {name: _plain(value) for name, value in vars(callback).items()}
    return {
        name: value
        for name, value in values.items()
        if name not in _NOT_KEPT and not name.startswith("__") and _is_simple(value)
    }


def _plain(value: Any) -> Any:
    if getattr(value, "shape", None) == ():  # a number of NumPy or TensorFlow
        return np.asarray(value).item()
    name = getattr(value, "__name__", "")
    return f"{_OPERATION}{name}" if name and getattr(keras.ops, name, None) is value else value


def _as_held(value: Any) -> Any:
    if isinstance(value, str) and value.startswith(_OPERATION):
        return getattr(keras.ops, value.removeprefix(_OPERATION))
    return value


def _is_simple(value: Any) -> bool:
    if isinstance(value, list):
        return all(map(_is_simple, value))
    return isinstance(value, _SIMPLE)
