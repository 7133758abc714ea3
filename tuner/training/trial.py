"""One trial's training, as a generator of events."""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np

from tuner.data import Dataset
from tuner.networks.custom import CustomNetwork
from tuner.search_space.parameters import NETWORKS
from tuner.study.messages import End, Ended, Goal, Report, Resumed, TrialRequest
from tuner.training.checkpoints import Checkpoint, Keeper, Progress, identity
from tuner.training.engines.cache import LRUCache
from tuner.training.engines.feeds import (
    Compilation,
    Feed,
    ResidentData,
    ResidentFeed,
    StreamingFeed,
)
from tuner.training.engines.graph import GraphProgram
from tuner.training.engines.keras import KerasProgram, Program, machinery
from tuner.training.engines.tiered import TieredProgram, padded_widths, worth_xla
from tuner.training.engines.xla import LaneProgram
from tuner.training.ops.losses import metrics_in_target_units
from tuner.training.program_key import program_key_of, structure_key
from tuner.training.schedules import learning_rates

# XLA saves about 0.1 ms a step of overhead, and roughly half of the arithmetic's time (measured at
# 60 GFLOP/s a thread), for about 0.5 s of compiling. Two thirds of a search's trials end early.
_SAVED_PER_STEP_S = 1e-4
_FLOPS_PER_S = 6e10
_COMPILE_S = 0.5
_SHARE_RUN = 1 / 3
# Tracing the short last batch takes as long as running it eagerly some ten times.
_EAGER_EPOCHS = 30

# A program and what feeds it.
Ready = tuple[Program, Feed]

# The graph is made in the first, XLA's program in the second where it is.
_EPOCHS_THAT_MAKE = 2

_KINDS_OF_WORK = ("prepare", "first_call", "train", "evaluate")


class Trainer:
    """Trains trials on one dataset, keeping the programs of recent structures.

    `budget_bytes` is the memory the data may take before they are streamed from disk instead;
    `data`: those in memory, where another trainer has them. `company`: in what a trial is trained,
    where that says how its sums are rounded.
    """

    company = "alone"

    def __init__(
        self,
        dataset: Dataset,
        budget_bytes: float = math.inf,
        network: CustomNetwork | None = None,
        data: ResidentData | None = None,
    ) -> None:
        self.dataset = dataset
        self._network = network
        self._streams = dataset.nbytes > budget_bytes
        self._data = None if self._streams else data or ResidentData(dataset)
        self._programs: LRUCache[Ready] = LRUCache(lambda ready: ready[0].nbytes)
        self._populations: LRUCache[LaneProgram] = LRUCache(
            lambda population: population.store.nbytes
        )
        self.program: Program | None = None
        self._running: _Run | None = None

    def run(self, request: TrialRequest) -> Iterator[Resumed | Report | Ended]:
        """Yield an Interval after each report interval and one Ended, unless closed before; and
        Resumed before them all, if an earlier attempt left a checkpoint to go on from.

        When it ends, `self.program` holds the best epoch's weights. Errors of a user's own network
        pass through as they are.
        """
        self._running = _Run(self, request)
        return self._running.events()

    def checkpoint(self) -> None:
        """Write a checkpoint of the trial that runs, whenever it wrote its last one. Nothing is
        written in the middle of an epoch, or where its plan keeps none."""
        if self._running is not None:
            self._running.keep()

    def prepare(self, request: TrialRequest) -> Ready:
        """The program of the plan's structure, from those at hand or newly built, ready to go."""
        found = self._programs.get(*(self._shared(request) or self._exact(request)))
        self.program = found[0]
        if isinstance(self.program, TieredProgram):
            self._aim(self.program, request)
        return found

    def _aim(self, program: TieredProgram, request: TrialRequest) -> None:
        rows, inputs = len(self.dataset.train.y), int(np.prod(self.dataset.input_shape))
        worth = worth_xla(request, inputs, rows)
        program.aim(request, rows, (lambda: self.population(request)) if worth else None)

    def _shared(self, request: TrialRequest) -> tuple[str, Callable[[], Ready]] | None:
        """The key and the making of a program that other trials can use, where there can be one."""
        design, data = program_key_of(request), self._data
        if design is None or data is None or self._network is not None:
            return None

        def make() -> Ready:
            program = TieredProgram(GraphProgram(design, self.dataset, data))
            return program, program

        return repr(design), make

    def population(self, request: TrialRequest) -> LaneProgram:
        """A population of one lane for the plan, from those at hand or newly made."""
        design, widths = program_key_of(replace(request, choices={})), padded_widths(request.params)
        batch_size, data = int(request.params["batch_size"]), self._data
        assert design is not None and data is not None
        return self._populations.get(
            (design, widths, batch_size),
            lambda: LaneProgram(design, widths, batch_size, self.dataset, data),
        )

    def _exact(self, request: TrialRequest) -> tuple[str, Callable[[], Ready]]:
        network, batch_size = self._network or request.network, int(request.params["batch_size"])
        worth, long = (
            worth_compiling(request, self.dataset),
            request.params["epochs"] > _EAGER_EPOCHS,
        )

        def make() -> Ready:
            program = KerasProgram(network, request.params, self.dataset)
            compilation = Compilation(
                xla=worth and not program.slow_under_xla, traces_last_batch=long
            )
            program.xla = compilation.xla
            feed = self._feed(program, batch_size, compilation)
            return program, feed

        name = self._network.identity if self._network else request.network
        return f"{structure_key(name, request.params)} {worth} {long}", make

    def keeper(self, request: TrialRequest) -> Keeper | None:
        """The plan's way to checkpoints, if it keeps any: those of other machinery do not fit."""
        if request.checkpoints is None:
            return None
        network = request.network if self._network is None else self._network.identity
        xla, streams = worth_compiling(request, self.dataset), self._streams
        surroundings = f"{machinery()} {xla=} {streams=} {self.company}"
        return Keeper(
            request.checkpoints, identity(request, network, self.dataset.fingerprint, surroundings)
        )

    def _feed(self, program: KerasProgram, batch_size: int, compilation: Compilation) -> Feed:
        if self._data is None:
            return StreamingFeed(program, self.dataset, batch_size, compilation.xla)
        return ResidentFeed(program, self._data, batch_size, compilation)


def worth_compiling(request: TrialRequest, dataset: Dataset) -> bool:
    """Whether XLA's faster steps repay its compilation, judged by the plan alone, so that the same
    plan always runs the same way."""
    rows = len(dataset.train.y)
    steps = request.params["epochs"] * math.ceil(rows / request.params["batch_size"])
    arithmetic_s = 6 * _weights(request, dataset) * rows * request.params["epochs"] / _FLOPS_PER_S
    return (steps * _SAVED_PER_STEP_S + arithmetic_s / 2) * _SHARE_RUN > _COMPILE_S


def _weights(request: TrialRequest, dataset: Dataset) -> int:
    """Roughly how many weights the network has; a user's own is taken for a middling one."""
    kind, inputs = NETWORKS.get(request.network), math.prod(dataset.input_shape)
    if kind is None:
        return NETWORKS["mlp"].estimate_weights({"width": 128, "depth": 2}, inputs)
    return kind.estimate_weights(request.params, inputs)


class _Run:
    """The state of one trial while it trains."""

    def __init__(self, trainer: Trainer, request: TrialRequest) -> None:
        self._trainer, self._request, self._goal = trainer, request, request.goal
        self._rows = len(trainer.dataset.train.y)
        self._steps = math.ceil(self._rows / int(request.params["batch_size"]))
        self._keeper = trainer.keeper(request)
        self._at = Progress(seconds=dict.fromkeys(_KINDS_OF_WORK, 0.0))
        self._best_weights: list[np.ndarray] = []
        self._is_between_epochs = False

    def events(self) -> Iterator[Resumed | Report | Ended]:
        self._begin()
        if self._at.epoch > 0:
            yield Resumed(self._at.epoch)
        end = self._end()  # not None where the target was lowered since the last attempt
        while end is None:
            epoch = self._at.epoch + 1
            for interval in self._epoch(epoch):
                yield interval
                if not _finite(interval.metrics):
                    yield self._ended("diverged", epoch)
                    return
            end = self._end()
            if end is None and self._keeper is not None and self._keeper.due():
                # Whoever listens has asked for more after this epoch's interval: it is kept there.
                self.keep()
        yield self._ended(end, self._at.epoch)

    def _begin(self) -> None:
        """Make everything ready for the first epoch, or for the one behind a checkpoint."""
        clock = time.perf_counter()
        self._program, self._feed = self._trainer.prepare(self._request)
        self._program.start(self._request.params, self._request.seed)
        found = None if self._keeper is None else self._keeper.latest()
        if found is not None:
            self._at, self._best_weights = found.progress, found.arrays["best"]
            self._program.restore(found.arrays)
        self._at.seconds["prepare"] += time.perf_counter() - clock

    def keep(self) -> None:
        if self._keeper is not None and self._is_between_epochs:
            arrays = self._program.state() | {"best": self._best_weights}
            self._keeper.keep(Checkpoint(self._at, arrays))

    def _end(self) -> End | None:
        """How training ends with the epoch it is at, if it does."""
        epoch, params = self._at.epoch, self._request.params
        if self._goal.reached(self._at.best):
            return "target"
        if epoch == int(params["epochs"]):
            return "complete"
        if self._request.held_out == "test":
            return None
        waited = epoch - (self._at.best_epoch or 0)
        return "early_stopped" if waited >= int(params["patience"]) else None

    def _epoch(self, epoch: int) -> Iterator[Report]:
        """The first epoch reports `intervals` times, so that hopeless trials can end inside it."""
        parts = min(self._request.intervals, self._steps) if epoch == 1 else 1
        order = epoch_order(self._request.seed, epoch, self._rows)
        params, values = self._request.params, self._at.values
        self._is_between_epochs = False
        rates = learning_rates(params, epoch, self._steps, values, self._goal.direction)
        bounds = [round(i * self._steps / parts) for i in range(parts + 1)]
        sums = np.zeros(len(self._program.objective.names), np.float64)
        for part in range(1, parts + 1):
            sums += self._train(order, rates, bounds[part - 1], bounds[part])
            rows = min(bounds[part] * int(self._request.params["batch_size"]), self._rows)
            whole = part == parts
            metrics = self._trained(sums, rows)
            if self._looks(epoch):
                metrics |= self._held_out()
            if whole and _finite(metrics):
                self._finish(epoch, metrics.get(self._goal.metric))
            step = part if epoch == 1 and not whole else epoch * self._request.intervals
            spent, engine = dict(self._at.seconds), self._program.engine
            yield Report(step, epoch, whole, metrics, spent, engine)

    def _train(self, order: np.ndarray, rates: np.ndarray, start: int, stop: int) -> np.ndarray:
        """In an epoch that may have to make its program the first step is taken by itself, so that
        the making is not booked together with all the training behind it."""
        alone = start == 0 and self._at.epoch < _EPOCHS_THAT_MAKE and stop > 1
        sums = np.zeros(len(self._program.objective.names), np.float64)
        for first, upto in pairwise([start, 1, stop] if alone else [start, stop]):
            sums += self._timed("train", partial(self._feed.train, order, rates, first, upto))
        return sums

    def _timed(self, kind: str, work: Callable[[], np.ndarray]) -> np.ndarray:
        """Do it, and book its seconds: a program's first call also traces and compiles."""
        clock = time.perf_counter()
        sums = work()
        booked = kind if kind in self._program.called else "first_call"
        self._at.seconds[booked] += time.perf_counter() - clock
        self._program.called.add(kind)
        return sums

    def _looks(self, epoch: int) -> bool:
        """Whether the split that is held out is read in this epoch."""
        return self._request.held_out == "val" or epoch == int(self._request.params["epochs"])

    def _trained(self, sums: np.ndarray, rows: int) -> dict[str, float]:
        return self._metrics_in_target_units(sums, rows, "")

    def _held_out(self) -> dict[str, float]:
        sums = self._timed("evaluate", self._feed.evaluate)
        rows = len(self._trainer.dataset.evaluation.y)
        return self._metrics_in_target_units(sums, rows, f"{self._request.held_out}_")

    def _metrics_in_target_units(
        self, sums: np.ndarray, rows: int, prefix: str
    ) -> dict[str, float]:
        names, dataset = self._program.objective.names, self._trainer.dataset
        means = dict(zip(names, (float(value) / rows for value in sums), strict=True))
        shown = metrics_in_target_units(
            dataset.task, means, 1.0 / float(dataset.target_scaling.scale)
        )
        return {f"{prefix}{name}": value for name, value in shown.items()}

    def _finish(self, epoch: int, value: float | None) -> None:
        """A whole epoch is over; `value` is the objective's, if it was looked at."""
        self._at.epoch = epoch
        self._is_between_epochs = True
        if value is None:
            return
        self._at.values.append(value)
        if self._request.held_out == "test":
            self._at.best, self._at.best_epoch = value, epoch
        elif self._goal.better(value, self._at.best):
            self._at.best, self._at.best_epoch = value, epoch
            self._best_weights = self._program.weights()

    def _ended(self, end: End, epochs: int) -> Ended:
        if self._best_weights:
            self._program.set_weights(self._best_weights)
        return Ended(
            end=end,
            score=self._at.best,
            best_epoch=self._at.best_epoch,
            epochs=epochs,
            parameter_count=self._program.parameter_count,
            seconds=dict(self._at.seconds),
            engine=self._program.engine,
        )


def epoch_order(seed: int, epoch: int, rows: int) -> np.ndarray:
    """The order of the training rows in an epoch (int32), a function of seed and epoch alone."""
    return np.random.default_rng([seed, epoch]).permutation(rows).astype(np.int32)


def _finite(metrics: dict[str, Any]) -> bool:
    return all(math.isfinite(value) for value in metrics.values())


__all__ = ["Goal", "Trainer", "TrialRequest", "epoch_order", "worth_compiling"]
