"""Brings the lanes of a population together: each serves a thread of its own, one call trains all.

To its thread a lane is a program and a feed like any other. What asks for steps waits until all
lanes that train have asked; then one of the threads takes as many as each of them wants.
"""

from dataclasses import dataclass
from threading import Condition
from typing import Any

import numpy as np

from tuner.data import Dataset
from tuner.networks.layers import dense_widths
from tuner.study.messages import TrialRequest
from tuner.training.engines.cache import LRUCache
from tuner.training.engines.feeds import ResidentData
from tuner.training.engines.tiered import padded_widths
from tuner.training.engines.xla import LaneProgram
from tuner.training.program_key import ProgramKey

# While a lane is idle an epoch is taken in so many parts, after each of which it can be filled.
_PARTS = 5


@dataclass
class _Wish:
    """What a lane wants to be trained: of an epoch the steps `at` to `stop` - 1."""

    order: np.ndarray
    rates: np.ndarray
    at: int
    stop: int
    sums: np.ndarray


class Group:
    """The trials that one program can train. All is called by who has the turn; who waits for
    steps lets others have it."""

    def __init__(self, population: LaneProgram, turn: Condition) -> None:
        self.population, self._turn = population, turn
        self.called: set[str] = set()  # the kinds of work whose functions are compiled
        self._training: set[int] = set()
        self._wishes: dict[int, _Wish] = {}
        self._scores: dict[int, np.ndarray] = {}

    @property
    def idle(self) -> bool:
        return not self._training

    def join(self, lane: int) -> None:
        """From now on the others wait for it."""
        self._training.add(lane)

    def leave(self, lane: int) -> None:
        """Its trial has ended: nobody waits for it."""
        self._training.discard(lane)
        self._wishes.pop(lane, None)
        self._turn.notify_all()

    def train(
        self, lane: int, order: np.ndarray, rates: np.ndarray, start: int, stop: int
    ) -> np.ndarray:
        """As a Feed does (feeds.py)."""
        sums = np.zeros(len(self.population.objective.names))
        wish = self._wishes[lane] = _Wish(order, rates, start, stop, sums)
        while lane in self._wishes:
            if self._wishes.keys() >= self._training:
                self._advance()
                self._turn.notify_all()
            else:
                self._turn.wait()
        return wish.sums

    def _advance(self) -> None:
        wishes = [self._wishes.get(lane) for lane in range(self.population.lanes)]
        found = [wish for wish in wishes if wish is not None]
        count = min(wish.stop - wish.at for wish in found)
        if len(found) < len(wishes):
            count = min(count, -(-len(found[0].rates) // _PARTS))
        sums = self.population.train(
            [None if wish is None else wish.order for wish in wishes],
            [None if wish is None else wish.rates for wish in wishes],
            [0 if wish is None else wish.at for wish in wishes],
            count,
        )
        self.called.add("train")
        for lane, wish in list(self._wishes.items()):
            self.changed(lane)
            wish.at += count
            wish.sums += sums[lane]
            if wish.at == wish.stop or not np.isfinite(wish.sums[0]):
                del self._wishes[lane]

    def evaluate(self, lane: int) -> np.ndarray:
        """As a Feed does. Of all lanes at once, for those that come next: mostly all have ended an
        interval together."""
        if lane not in self._scores:
            self._scores = dict(enumerate(self.population.evaluate()))
            self.called.add("evaluate")
        return self._scores[lane]

    def changed(self, lane: int) -> None:
        """Its weights are others than those that were evaluated."""
        self._scores.pop(lane, None)


class Lane:
    """One trial's part of a group: its program and its feed."""

    engine = "population"

    def __init__(self, group: Group, number: int) -> None:
        self._group, self._number = group, number
        self._store = group.population.store
        self.objective, self.called = group.population.objective, set(group.called)

    @property
    def parameter_count(self) -> int:
        return self._store.parameter_count(self._number)

    @property
    def nbytes(self) -> int:
        return self._store.nbytes

    def start(self, params: dict[str, Any], seed: int) -> None:
        self._store.start(self._number, params, seed)
        self._group.changed(self._number)
        self._group.join(self._number)

    def leave(self) -> None:
        """The trial has ended; its weights stay until another one starts in the lane."""
        self._group.leave(self._number)

    def train(self, order: np.ndarray, rates: np.ndarray, start: int, stop: int) -> np.ndarray:
        return self._group.train(self._number, order, rates, start, stop)

    def evaluate(self) -> np.ndarray:
        return self._group.evaluate(self._number)

    def weights(self) -> list[np.ndarray]:
        return self._store.weights(self._number)

    def set_weights(self, weights: list[np.ndarray]) -> None:
        self._store.set_weights(self._number, weights)
        self._group.changed(self._number)

    def state(self) -> dict[str, list[np.ndarray]]:
        return self._store.state(self._number)

    def restore(self, state: dict[str, list[np.ndarray]]) -> None:
        self._store.restore(self._number, state)
        self._group.changed(self._number)


class LaneScheduler:
    """The groups of a process with `lanes` threads. `turn`: whoever computes holds it."""

    def __init__(self, dataset: Dataset, data: ResidentData | None, lanes: int) -> None:
        self._dataset, self.data, self._lanes = dataset, data, lanes
        self.turn = Condition()
        self._groups: LRUCache[Group] = LRUCache(
            lambda group: group.population.store.nbytes, needed=lambda group: not group.idle
        )

    def lane(self, request: TrialRequest, design: ProgramKey, number: int) -> Lane:
        """The place of thread `number` in the group that the plan belongs to."""
        assert self.data is not None
        widths, batch_size = room(request), int(request.params["batch_size"])
        data = self.data

        def make() -> Group:
            population = LaneProgram(design, widths, batch_size, self._dataset, data, self._lanes)
            return Group(population, self.turn)

        group = self._groups.get((design, widths, batch_size), make)
        return Lane(group, number)


def room(request: TrialRequest) -> tuple[int, ...]:
    """Units for which each hidden layer has room: for the widest trial that the study may have, so
    that all of a depth and batch size share a program."""
    params, choices = request.params, request.choices
    widest = dict(params)
    if "width" in choices:
        widest["width"] = max(choices["width"])
    if "taper" in choices:
        widest["taper"] = max(choices["taper"])
    both = zip(dense_widths(params), dense_widths(widest), strict=True)
    # The trial's own may be the wider ones: what was added by hand.
    depth = int(params["depth"])
    return padded_widths({"depth": depth, "width": [max(pair) for pair in both]})
