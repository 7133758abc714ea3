"""A trial's way through the shared programs: the graph at once, XLA once it has lived an epoch.

Most trials of a search are pruned in their first epoch. The graph costs them nothing to begin with;
what goes on for long repays XLA's compilation. Where the change comes is a matter of the plan
alone, so that the same plan always runs the same way.
"""

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np

from tuner.networks.layers import dense_widths
from tuner.study.messages import TrialRequest
from tuner.training.engines.graph import GraphProgram
from tuner.training.engines.xla import LaneProgram

# What XLA saves a step of overhead, and of the arithmetic's time at 60 GFLOP/s, for its compiling.
# A third of the trials that get beyond their first epoch run to their end.
_SAVED_PER_STEP_S = 2e-4
_SAVED_SHARE = 0.15
_FLOPS_PER_S = 6e10
_COMPILE_S = 2.0
_SHARE_RUN = 1 / 3


class TieredProgram:
    """The shared graph and, from the second epoch on where it pays, a population of one lane."""

    def __init__(self, graph: GraphProgram) -> None:
        self._graph = graph
        self._make: Callable[[], LaneProgram] | None = None
        self._compiled: LaneProgram | None = None
        self._stale = False
        self._steps = 0
        self.objective, self.called = graph.objective, graph.called

    def aim(
        self, request: TrialRequest, rows: int, population: Callable[[], LaneProgram] | None
    ) -> None:
        """What becomes of the next trial: `population` makes its program for later epochs, or is
        None where there is to be none. `rows`: of training."""
        self._make, self._compiled, self._stale = population, None, False
        self._steps = math.ceil(rows / int(request.params["batch_size"]))

    @property
    def engine(self) -> str:
        return "shared graph" if self._compiled is None else "shared graph, then xla"

    @property
    def parameter_count(self) -> int:
        return self._graph.parameter_count

    @property
    def nbytes(self) -> int:
        return self._graph.nbytes

    def start(self, params: dict[str, Any], seed: int) -> None:
        self._graph.start(params, seed)
        self._params, self._seed = params, seed

    def train(self, order: np.ndarray, rates: np.ndarray, start: int, stop: int) -> np.ndarray:
        if self._make is not None and self._compiled is None and self._done() >= self._steps:
            self._compiled = self._make()
            self._compiled.store.start(0, self._params, self._seed)
            self._compiled.store.restore(0, self._graph.state())
            if not self._compiled.compiled:
                self.called.discard("train")
        if self._compiled is None:
            return self._graph.train(order, rates, start, stop)
        self._stale = True
        return self._compiled.train([order], [rates], [start], stop - start)[0]

    def _done(self) -> int:
        return self._graph.steps_done

    def evaluate(self) -> np.ndarray:
        # By the graph in either case: a few large chunks gain nothing from XLA.
        self._refresh()
        return self._graph.evaluate()

    def _refresh(self) -> None:
        if self._stale and self._compiled is not None:
            self._graph.set_weights(self._compiled.store.weights(0))
            self._stale = False

    def weights(self) -> list[np.ndarray]:
        self._refresh()
        return self._graph.weights()

    def set_weights(self, weights: list[np.ndarray]) -> None:
        self._stale = False
        self._graph.set_weights(weights)

    def state(self) -> dict[str, list[np.ndarray]]:
        return self._graph.state() if self._compiled is None else self._compiled.store.state(0)

    def restore(self, state: dict[str, list[np.ndarray]]) -> None:
        self._graph.restore(state)


def worth_xla(request: TrialRequest, inputs: int, rows: int) -> bool:
    """Whether epochs after the first repay compiling them, judged by the plan alone."""
    params = request.params
    sizes = [inputs, *dense_widths(params)]
    weights = sum(before * after for before, after in pairwise(sizes))
    steps = math.ceil(rows / int(params["batch_size"]))
    arithmetic_s = 6 * weights * rows / _FLOPS_PER_S
    saved_s = steps * _SAVED_PER_STEP_S + arithmetic_s * _SAVED_SHARE
    return saved_s * (int(params["epochs"]) - 1) * _SHARE_RUN > _COMPILE_S


def padded_widths(params: dict[str, Any]) -> tuple[int, ...]:
    """Room for a trial's hidden layers: few sizes, each at most a quarter larger from 64 on."""
    return tuple(_padded(width) for width in dense_widths(params))


def _padded(width: int) -> int:
    step = 16 if width <= 128 else 32 if width <= 512 else 64
    return -(-width // step) * step
