"""The tiered engine: the shared graph at once, XLA for later epochs where that pays.

Most trials of a search are pruned in their first epoch. The graph lets them begin without delay;
trials that go on for long repay XLA's compilation. The request alone decides when a trial changes,
so that the same request always trains the same way.
"""

import math
from collections.abc import Callable

import numpy as np

from tuner.search_space.parameter_types import Params
from tuner.study.engines import GRAPH, TIERED
from tuner.training.engines.feeds import Floats
from tuner.training.engines.graph import GraphProgram
from tuner.training.engines.keras import State
from tuner.training.engines.xla import LaneProgram


class TieredProgram:
    """The shared graph and, from the second epoch on where it pays, a program of one lane."""

    def __init__(self, graph: GraphProgram) -> None:
        self._graph = graph
        self._make_lane: Callable[[], LaneProgram] | None = None
        self._lane: LaneProgram | None = None
        self._graph_is_behind = False  # the lane has newer weights
        self._steps_an_epoch = 0
        self.objective, self.called = graph.objective, graph.called

    def prepare_for(
        self, *, rows: int, batch_size: int, make_lane: Callable[[], LaneProgram] | None
    ) -> None:
        """Get ready for the next trial, of `rows` training rows. `make_lane` gives its program for
        later epochs; None: it stays in the graph."""
        self._make_lane, self._lane, self._graph_is_behind = make_lane, None, False
        self._steps_an_epoch = math.ceil(rows / batch_size)

    @property
    def engine(self) -> str:
        return GRAPH if self._lane is None else TIERED

    @property
    def parameter_count(self) -> int:
        return self._graph.parameter_count

    @property
    def nbytes(self) -> int:
        return self._graph.nbytes

    def start(self, params: Params, seed: int) -> None:
        self._graph.start(params, seed)
        self._params, self._seed = params, seed

    def train(self, order: np.ndarray, rates: np.ndarray, start: int, stop: int) -> np.ndarray:
        lane = self._lane or self._change_to_lane()
        if lane is None:
            return self._graph.train(order, rates, start, stop)
        self._graph_is_behind = True
        return lane.train([order], [rates], [start], stop - start)[0]

    def _change_to_lane(self) -> LaneProgram | None:
        """The program of one lane with the graph's state in it, after the first epoch."""
        if self._make_lane is None or self._graph.steps_done < self._steps_an_epoch:
            return None
        self._lane = self._make_lane()
        self._lane.start(0, self._params, self._seed)
        self._lane.store.restore(0, self._graph.state())
        if not self._lane.compiled:
            self.called.discard("train")
        return self._lane

    def evaluate(self) -> np.ndarray:
        # In the graph in either case: a few large chunks gain nothing from XLA.
        self._update_graph()
        return self._graph.evaluate()

    def predictions(self) -> Floats:
        self._update_graph()
        return self._graph.predictions()

    def _update_graph(self) -> None:
        if self._graph_is_behind and self._lane is not None:
            self._graph.set_weights(self._lane.store.weights(0))
            self._graph_is_behind = False

    def weights(self) -> list[np.ndarray]:
        self._update_graph()
        return self._graph.weights()

    def set_weights(self, weights: list[np.ndarray]) -> None:
        self._graph_is_behind = False
        self._graph.set_weights(weights)

    def state(self) -> State:
        return self._graph.state() if self._lane is None else self._lane.store.state(0)

    def restore(self, state: State) -> None:
        self._graph.restore(state)
