"""What a space needs of a trial that it is sampled from."""

from collections.abc import Sequence
from typing import Any, Protocol

from tuner.parameters import Scalar


class Suggests(Protocol):
    """optuna.Trial, FixedTrial, or anything else that suggests values."""

    def suggest_int(
        self, name: str, low: int, high: int, *, step: int = 1, log: bool = False
    ) -> int: ...

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float: ...

    def suggest_categorical(self, name: str, choices: Sequence[Scalar]) -> Any: ...
