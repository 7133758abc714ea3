"""The training entry point of workers: opens a session on prepared data.

Importing this module imports TensorFlow but runs no operation, so that a fork server may do it.
"""

import logging
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tuner.data import Dataset, open_dataset
from tuner.errors import NetworkError
from tuner.networks import export_network
from tuner.networks.custom import CustomNetwork
from tuner.networks.libraries import tensorflow as tf
from tuner.study.messages import Ended, Failed, Failure, Report, Resumed, TrialRequest, WorkerSetup
from tuner.training.engines.feeds import ResidentData
from tuner.training.engines.lanes import Lane, LaneScheduler
from tuner.training.program_key import program_key_of
from tuner.training.trial import Ready, Trainer

log = logging.getLogger(__name__)


class TrainingSession:
    """A worker's trainer on its data."""

    def __init__(self, setup: WorkerSetup) -> None:
        self._network = CustomNetwork(*setup.code) if setup.code else None
        self.trainer = self._trainer(setup)
        self._request: TrialRequest | None = None

    def _trainer(self, setup: WorkerSetup) -> Trainer:
        return Trainer(open_dataset(setup.data), setup.budget_bytes, self._network)

    def run(self, request: TrialRequest) -> Iterator[Resumed | Report | Ended]:
        self._request = request
        return self.trainer.run(request)

    def save(self, path: Path) -> None:
        """Write the trial's best network to `path`, a new .keras file."""
        if self._request is None or self.trainer.program is None:
            raise RuntimeError("no trial has ended yet")
        model = export_network(
            self._network or self._request.network,
            self._request.params,
            self.trainer.dataset,
            self.trainer.program.weights(),
        )
        model.save(path)

    def checkpoint(self) -> None:
        """Write a checkpoint of the trial that runs, whose last event ended an epoch."""
        self.trainer.checkpoint()

    def failure(self, error: Exception) -> Failed:
        detail = "".join(traceback.format_exception(error)).strip()
        own = self._network is not None or isinstance(error, NetworkError)
        kind: Failure = "user_error" if own else "error"
        if isinstance(error, tf.errors.ResourceExhaustedError | MemoryError):
            kind = "out_of_memory"
        first_line = (str(error).strip().splitlines() or [""])[0]
        return Failed(kind, f"{type(error).__name__}: {first_line}", detail)


class LaneTrainer(Trainer):
    """Puts a trial into lane `number` of its group, where it can share a program; others are
    trained as by a Trainer, whenever it is this one's turn."""

    company = "a population"

    def __init__(
        self,
        dataset: Dataset,
        budget_bytes: float,
        network: CustomNetwork | None,
        conductor: LaneScheduler,
        number: int,
    ) -> None:
        super().__init__(dataset, budget_bytes, network, conductor.data)
        self._conductor, self._number = conductor, number
        self._lane: Lane | None = None

    def prepare(self, request: TrialRequest) -> Ready:
        design = program_key_of(request)
        if design is None or self._data is None or self._network is not None:
            return super().prepare(request)
        self.program = self._lane = self._conductor.lane(request, design, self._number)
        return self._lane, self._lane

    def leave(self) -> None:
        """The trial has ended: the others wait no longer for it."""
        if self._lane is not None:
            self._lane.leave()
            self._lane = None


class LaneSession(TrainingSession):
    """One of a process' sessions, each served by a thread of its own. `first`: the one opened
    before, whose data and programs it shares. One of them computes at a time: TensorFlow's
    and Keras' own state is not made for more, and there is one device."""

    def __init__(self, setup: WorkerSetup, first: "LaneSession | None" = None) -> None:
        self._setup, self._first = setup, first or self
        self._opened = 0
        super().__init__(setup)

    def _trainer(self, setup: WorkerSetup) -> LaneTrainer:
        first = self._first
        if first is self:
            dataset = open_dataset(setup.data)
            data = None if dataset.nbytes > setup.budget_bytes else ResidentData(dataset)
            self.conductor = LaneScheduler(dataset, data, setup.lanes)
        else:
            dataset, self.conductor = first.trainer.dataset, first.conductor
        first._opened += 1
        number = first._opened - 1
        self._lane = LaneTrainer(dataset, setup.budget_bytes, self._network, self.conductor, number)
        return self._lane

    def beside(self) -> "LaneSession":
        return LaneSession(self._setup, self._first)

    def run(self, request: TrialRequest) -> Iterator[Resumed | Report | Ended]:
        events = super().run(request)
        try:
            while (event := self._next(events)) is not None:
                yield event
        finally:
            with self.conductor.turn:
                self._lane.leave()

    def _next(self, events: Iterator[Resumed | Report | Ended]) -> Resumed | Report | Ended | None:
        with self.conductor.turn:
            event = next(events, None)
            if isinstance(event, Ended):
                # The others need not wait until it is known what becomes of its network.
                self._lane.leave()
            return event

    def save(self, path: Path) -> None:
        with self.conductor.turn:
            super().save(path)

    def checkpoint(self) -> None:
        with self.conductor.turn:
            super().checkpoint()


def open_session(setup: WorkerSetup) -> TrainingSession:
    """Pin this process to one thread, or to its GPU, and load the data."""
    # It warns of retracing, which is what new structures are here.
    tf.get_logger().setLevel("ERROR")
    gpu = None if setup.gpu is None else _gpu(setup.gpu)
    threads = 1 if gpu is None else setup.threads
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    tf.config.set_visible_devices([] if gpu is None else [gpu], "GPU")
    if gpu is not None:
        tf.config.experimental.set_memory_growth(gpu, True)
    return TrainingSession(setup) if setup.lanes == 1 else LaneSession(setup)


def _gpu(index: int) -> Any:
    """The GPU, or None where TensorFlow can no longer see it: a search goes on without it."""
    found = tf.config.list_physical_devices("GPU")
    if index < len(found):
        return found[index]
    log.warning("TensorFlow sees no GPU %d: this worker trains on the processor", index)
    return None
