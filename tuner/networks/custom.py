"""A user's own network: `file.py:build`, a function of (params, input_shape, outputs).

`params` are all but those of the training alone: learning_rate, momentum, epochs, patience.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import keras

from tuner.errors import NetworkError
from tuner.networks.given import GivenParams
from tuner.networks.problems import input_problem, shape_problem
from tuner.user_modules import Surroundings, read_modules


@dataclass(frozen=True)
class CustomNetwork:
    """User code as the study stored it, compiled from its text: editing the file later changes
    nothing, and a worker on another machine needs no copy of it. `modules`: those that it imports
    from its folder, by their path there, with their texts; None where the study kept none: they are
    read from the folder. `file`: where the file lies, or lay; "" is `path` from here."""

    path: str
    function: str
    text: str
    modules: tuple[tuple[str, str], ...] | None = None
    file: str = ""

    @property
    def identity(self) -> str:
        content = hashlib.sha256(self.text.encode())
        for path, text in self.modules or ():
            content.update(f"\0{path}\0{text}".encode())
        return f"{self.function}@{content.hexdigest()}"

    def load(self) -> Callable[..., Any]:
        """The function itself. Raises NetworkError where the file lacks it; errors of the file's
        own pass through, with its name and lines in the traceback."""
        return self._load(self._surroundings())

    def _load(self, surroundings: Surroundings) -> Callable[..., Any]:
        module = ModuleType("tuner_user_network")
        # They stay: what is built may import more of them when it is called.
        surroundings.activate()
        with surroundings.on_path():
            surroundings.run(self.text.encode(), module)
        function = getattr(module, self.function, None)
        if not callable(function):
            raise NetworkError(f"{self.path}: no function {self.function!r}")
        return function

    def _surroundings(self) -> Surroundings:
        file = Path(self.file or self.path).absolute()
        if self.modules is None:
            return Surroundings(file, self.path, read_modules(file, self.text.encode()))
        modules = {path: text.encode() for path, text in self.modules}
        return Surroundings(file, self.path, modules, is_complete=True)

    def build(self, params: dict[str, Any], input_shape: tuple[int, ...], outputs: int) -> Any:
        """The user's model, checked. Raises NetworkError for what is not a fitting keras.Model."""
        surroundings = self._surroundings()
        function = self._load(surroundings)
        with surroundings.on_path():  # a function may import when it is called
            given = params if isinstance(params, GivenParams) else GivenParams(params)
            model = function(given, tuple(input_shape), outputs)
        where = f"{self.path}:{self.function}"
        if not isinstance(model, keras.Model):
            kind = type(model).__name__
            raise NetworkError(f"{where} must return a keras.Model, got {kind}")
        if problem := input_problem(model):
            raise NetworkError(f"{where}: {problem}")
        built = self._called(model, tuple(input_shape))
        shapes = [tuple(output.shape) for output in keras.tree.flatten(built)]
        expected = (None, outputs)
        if shapes != [expected]:
            got = ", ".join(map(str, shapes))
            raise NetworkError(f"{where} must give outputs of shape {expected}, got {got}")
        return model

    def _called(self, model: Any, input_shape: tuple[int, ...]) -> Any:
        """What comes out of the model, which builds a subclass of keras.Model too. Raises
        NetworkError for a model of other inputs; errors of its own pass through."""
        try:
            return model(keras.Input(input_shape))
        except Exception as error:
            problem = shape_problem(model, input_shape)
            if problem is None:
                raise
            raise NetworkError(f"{self.path}:{self.function} {problem}") from error
