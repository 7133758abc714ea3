"""The lanes engine: trials side by side in one XLA program, each served by a thread of its own.

To its thread a lane is a program and a feed like any other. A lane that asks for steps waits until
all lanes that train have asked; then one of the threads takes as many steps as each of them wants.
"""

from collections.abc import Hashable
from dataclasses import dataclass
from threading import Condition

import numpy as np

from tuner.data import Dataset
from tuner.networks.layers import dense_widths
from tuner.search_space.parameter_types import Params, read_whole
from tuner.study.engines import LANES
from tuner.study.messages import KEPT_PROGRAMS, TrialRequest
from tuner.training.engines.cache import PROGRAMS_A_TRIAL, ProgramCache
from tuner.training.engines.feeds import Floats, ResidentData
from tuner.training.engines.keras import State
from tuner.training.engines.xla import LaneProgram
from tuner.training.program_key import ProgramKey

# While a lane is idle an epoch is taken in so many parts, after each of which it can be filled.
_PARTS = 5


@dataclass
class _Steps:
    """What a lane waits for: of an epoch the steps `at` to `stop` - 1."""

    order: np.ndarray
    rates: np.ndarray
    at: int
    stop: int
    sums: np.ndarray


class LaneGroup:
    """The trials that one program trains. Callers must hold the turn; waiting releases it."""

    def __init__(self, program: LaneProgram, turn: Condition) -> None:
        self.program, self._turn = program, turn
        self.called: set[str] = set()  # the kinds of work whose functions are compiled
        self._training: set[int] = set()
        self._waiting: dict[int, _Steps] = {}
        self._sums: dict[int, np.ndarray] = {}
        self._predictions: dict[int, Floats] = {}

    @property
    def nbytes(self) -> int:
        return self.program.nbytes

    @property
    def is_idle(self) -> bool:
        return not self._training

    def join(self, lane: int) -> None:
        """From now on the other lanes wait for this one."""
        self._training.add(lane)

    def leave(self, lane: int) -> None:
        """The lane's trial has ended: no other lane waits for it."""
        self._training.discard(lane)
        self._waiting.pop(lane, None)
        self._turn.notify_all()

    def train(
        self, lane: int, order: np.ndarray, rates: np.ndarray, start: int, stop: int
    ) -> np.ndarray:
        """As a Feed does (feeds.py)."""
        sums = np.zeros(len(self.program.objective.names))
        steps = self._waiting[lane] = _Steps(order, rates, start, stop, sums)
        while lane in self._waiting:
            if self._waiting.keys() >= self._training:
                self._advance()
                self._turn.notify_all()
            else:
                self._turn.wait()
        return steps.sums

    def _advance(self) -> None:
        by_lane = [self._waiting.get(lane) for lane in range(self.program.lanes)]
        wanted = [steps for steps in by_lane if steps is not None]
        count = min(steps.stop - steps.at for steps in wanted)
        if len(wanted) < len(by_lane):
            count = min(count, -(-len(wanted[0].rates) // _PARTS))
        sums = self.program.train(
            [None if steps is None else steps.order for steps in by_lane],
            [None if steps is None else steps.rates for steps in by_lane],
            [0 if steps is None else steps.at for steps in by_lane],
            count,
        )
        self.called.add("train")
        for lane, steps in list(self._waiting.items()):
            self.forget_evaluation(lane)
            steps.at += count
            steps.sums += sums[lane]
            if steps.at == steps.stop or not np.isfinite(steps.sums[0]):
                del self._waiting[lane]

    def evaluate(self, lane: int) -> np.ndarray:
        """As a Feed does. Evaluates all lanes at once, for those that ask next: mostly all have
        ended a report interval together."""
        if lane not in self._sums:
            self._sums = dict(enumerate(self.program.evaluate()))
            self.called.add("evaluate")
        return self._sums[lane]

    def predictions(self, lane: int) -> Floats:
        """As a Feed gives them, for all lanes at once too."""
        if lane not in self._predictions:
            self._predictions = dict(enumerate(self.program.predictions()))
            self.called.add("predict")
        return self._predictions.pop(lane)

    def forget_evaluation(self, lane: int) -> None:
        """The lane's weights have changed since they were evaluated."""
        self._sums.pop(lane, None)
        self._predictions.pop(lane, None)


class Lane:
    """One trial's part of a group: its program and its feed."""

    engine = LANES

    def __init__(self, group: LaneGroup, number: int) -> None:
        self._group, self._number = group, number
        self._store = group.program.store
        self.objective, self.called = group.program.objective, set(group.called)

    @property
    def parameter_count(self) -> int:
        return self._store.parameter_count(self._number)

    @property
    def nbytes(self) -> int:
        return self._store.nbytes

    def start(self, params: Params, seed: int) -> None:
        self._group.program.start(self._number, params, seed)
        self._group.forget_evaluation(self._number)
        self._group.join(self._number)

    def leave(self) -> None:
        """The trial has ended; its weights stay until another one starts in the lane."""
        self._group.leave(self._number)

    def train(self, order: np.ndarray, rates: np.ndarray, start: int, stop: int) -> np.ndarray:
        return self._group.train(self._number, order, rates, start, stop)

    def evaluate(self) -> np.ndarray:
        return self._group.evaluate(self._number)

    def predictions(self) -> Floats:
        return self._group.predictions(self._number)

    def weights(self) -> list[np.ndarray]:
        return self._store.weights(self._number)

    def set_weights(self, weights: list[np.ndarray]) -> None:
        self._store.set_weights(self._number, weights)
        self._group.forget_evaluation(self._number)

    def state(self) -> State:
        return self._store.state(self._number)

    def restore(self, state: State) -> None:
        self._store.restore(self._number, state)
        self._group.forget_evaluation(self._number)


class LaneScheduler:
    """The groups of a process with `lanes` threads. `turn`: the thread that computes holds it.
    `programs`: all that the process keeps."""

    def __init__(self, dataset: Dataset, data: ResidentData | None, lanes: int) -> None:
        self._dataset, self.data, self._lanes = dataset, data, lanes
        self.turn = Condition()
        self.programs = ProgramCache(most_programs=lanes * KEPT_PROGRAMS * PROGRAMS_A_TRIAL)
        # A group whose trials train must be found again, whatever the cache lets go.
        self.groups: dict[Hashable, LaneGroup] = {}

    def lane(self, request: TrialRequest, key: ProgramKey, number: int) -> Lane:
        """The lane of thread `number` in the group that trains the request."""
        assert self.data is not None
        widths, batch_size = widest_widths(request), read_whole(request.params, "batch_size")
        data, group_key = self.data, ("lanes", key, widths, batch_size)

        def make() -> LaneGroup:
            program = LaneProgram(key, widths, batch_size, self._dataset, data, self._lanes)
            return LaneGroup(program, self.turn)

        in_use = {k: group for k, group in self.groups.items() if not group.is_idle}
        group = self.programs.get_or_make(group_key, lambda: in_use.get(group_key) or make())
        self.groups = in_use | {group_key: group}
        return Lane(group, number)


def padded_widths(params: Params) -> tuple[int, ...]:
    """Room for a trial's hidden layers: few sizes, each at most a quarter larger from 64 on."""
    return tuple(_padded(width) for width in dense_widths(params))


def _padded(width: int) -> int:
    step = 16 if width <= 128 else 32 if width <= 512 else 64
    return -(-width // step) * step


def widest_widths(request: TrialRequest) -> tuple[int, ...]:
    """Room in each hidden layer for the widest trial that the study may have, so that all trials of
    a depth and batch size share a program."""
    params, choices = request.params, request.choices
    widest = dict(params)
    for name in ("width", "taper"):
        if name in choices:
            widest[name] = max(choices[name])
    pairs = zip(dense_widths(params), dense_widths(widest), strict=True)
    # A trial that was added by hand may be wider than the space allows.
    depth = read_whole(params, "depth")
    return padded_widths({"depth": depth, "width": [max(pair) for pair in pairs]})
