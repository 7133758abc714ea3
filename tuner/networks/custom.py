"""A user's own network: `file.py:build`, a function of (params, input_shape, outputs)."""

import hashlib
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras

from tuner.errors import NetworkError


@dataclass(frozen=True)
class CustomNetwork:
    """User code as the study stored it, compiled from its text: editing the file later changes
    nothing, and a worker on another machine needs no copy of it."""

    path: str
    function: str
    text: str

    @property
    def identity(self) -> str:
        return f"{self.function}@{hashlib.sha256(self.text.encode()).hexdigest()}"

    def load(self) -> Callable[..., Any]:
        """The function itself. Raises NetworkError where the file lacks it; errors of the file's
        own pass through, with its name and lines in the traceback."""
        namespace: dict[str, Any] = {"__name__": "tuner_user_network", "__file__": self.path}
        exec(compile(self.text, self.path, "exec"), namespace)
        function = namespace.get(self.function)
        if not callable(function):
            raise NetworkError(f"{self.path}: no function {self.function!r}")
        return function

    def build(self, params: dict[str, Any], input_shape: tuple[int, ...], outputs: int) -> Any:
        """The user's model, checked. Raises NetworkError for what is not a fitting keras.Model."""
        model = self.load()(dict(params), tuple(input_shape), outputs)
        where = f"{self.path}:{self.function}"
        if not isinstance(model, keras.Model):
            kind = type(model).__name__
            raise NetworkError(f"{where} must return a keras.Model, got {kind}")
        if not model.built:
            model.build((None, *input_shape))
        expected = (None, outputs)
        if tuple(model.output_shape) != expected:
            raise NetworkError(
                f"{where} must give outputs of shape {expected}, got {tuple(model.output_shape)}"
            )
        return model


def describe_failure(error: BaseException) -> str:
    """The traceback of a user's error, as the study keeps it."""
    return "".join(traceback.format_exception(error)).strip()
