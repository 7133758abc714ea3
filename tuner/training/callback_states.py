"""What the user's own callbacks have counted, kept in checkpoints: simple values such as a count of
epochs without gain, as JSON in an array of bytes. Knows no TensorFlow."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

_NAME = "callbacks"
_SIMPLE = (bool, int, float, str, type(None))
# What Keras itself sets anew.
_NOT_KEPT = ("params", "validation_data")


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
            setattr(callback, name, value)


def _simple_values(callback: Any) -> dict[str, Any]:
    values = {name: _plain(value) for name, value in vars(callback).items()}
    return {
        name: value
        for name, value in values.items()
        if name not in _NOT_KEPT and not name.startswith("__") and _is_simple(value)
    }


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def _is_simple(value: Any) -> bool:
    if isinstance(value, list):
        return all(map(_is_simple, value))
    return isinstance(value, _SIMPLE)
