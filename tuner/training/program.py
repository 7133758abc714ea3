"""What trains a trial, whichever way it is made: exact (exact.py) or shared (shared/)."""

from typing import Any, Protocol

import numpy as np

from tuner.training.objective import Objective


class Program(Protocol):
    """Compiled training with a trial's weights in it. `called`: the kinds of work whose functions
    are compiled."""

    objective: Objective
    called: set[str]

    @property
    def engine(self) -> str:
        """The name of its kind."""
        ...

    @property
    def parameter_count(self) -> int: ...

    @property
    def nbytes(self) -> int:
        """What its weights and the optimizer's slots take."""
        ...

    def start(self, params: dict[str, Any], seed: int) -> None:
        """Begin a trial: weights drawn from `seed`, optimizer and dropout as new, scalars set."""
        ...

    def state(self) -> dict[str, list[np.ndarray]]:
        """All that the next steps depend on, by the part that owns it."""
        ...

    def restore(self, state: dict[str, list[np.ndarray]]) -> None:
        """Bring back what `state` gave, in a trial started with the same params and seed."""
        ...

    def weights(self) -> list[np.ndarray]:
        """As `model.get_weights()` of the exported network orders them."""
        ...

    def set_weights(self, weights: list[np.ndarray]) -> None: ...
