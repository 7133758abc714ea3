"""One trial's training, as a generator of events."""

import math
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import replace
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from tuner.data import Dataset
from tuner.data.preparing import in_target_units
from tuner.networks.custom import CustomNetwork
from tuner.search_space.parameter_types import read_whole
from tuner.study.ends import TrialEnd
from tuner.study.messages import Ended, Goal, Report, Resumed, TrialRequest
from tuner.study.metrics import are_finite, compute, name_of
from tuner.study.own_metrics import OwnMetric
from tuner.training.checkpoints import Checkpoint, CheckpointFiles, Progress, identity
from tuner.training.engines.cache import ProgramCache
from tuner.training.engines.cost import worth_compiling, worth_lanes, worth_tracing_last_batch
from tuner.training.engines.feeds import (
    Compilation,
    Feed,
    ResidentData,
    ResidentFeed,
    StreamingFeed,
)
from tuner.training.engines.graph import GraphProgram
from tuner.training.engines.keras import KerasProgram, Program, library_versions
from tuner.training.engines.lanes import padded_widths
from tuner.training.engines.tiered import TieredProgram
from tuner.training.engines.xla import LaneProgram
from tuner.training.ops.losses import metrics_in_target_units
from tuner.training.program_key import ProgramKey, program_key_of, structure_key
from tuner.training.schedules import learning_rates
from tuner.training.trial_progress import end_after_epoch, record_epoch

# A program and what feeds it; they are one object where the program brings its own data.
PreparedProgram = tuple[Program, Feed]

# The graph is made in the first, XLA's program in the second if the trial changes to it.
_EPOCHS_THAT_COMPILE = 2

KINDS_OF_WORK = ("prepare", "first_call", "train", "evaluate")


class Trainer:
    """Trains trials on one dataset and keeps the programs of recent ones.

    `budget_bytes`: the memory the data may take before they are streamed from disk instead.
    `network`, `own_metrics`: the user's own; metrics by name. `data`, `programs`: those of the
    process, where several trainers share them; `number`: this trainer's among them.
    """

    # Part of a checkpoint's identity: a trial's sums are rounded otherwise beside others.
    company = "alone"

    def __init__(
        self,
        dataset: Dataset,
        budget_bytes: float = math.inf,
        network: CustomNetwork | None = None,
        *,
        own_metrics: Mapping[str, OwnMetric] | None = None,
        data: ResidentData | None = None,
        programs: ProgramCache | None = None,
        number: int = 0,
    ) -> None:
        self.dataset, self._network, self._number = dataset, network, number
        self.own_metrics = own_metrics or {}
        self._row_count = len(dataset.train.y)
        self._streams = dataset.nbytes > budget_bytes
        self._data = None if self._streams else data or ResidentData(dataset)
        self._programs = programs or ProgramCache()
        self.program: Program | None = None
        self._run: _TrialRun | None = None

    def run(self, request: TrialRequest) -> Generator[Resumed | Report | Ended]:
        """Yield a Report at each pruning opportunity and one Ended, unless closed before; first of
        all Resumed, if an earlier attempt left a checkpoint to continue from.

        At the end `self.program` holds the best epoch's weights. Errors of a user's own network
        pass through as they are.
        """
        self._run = _TrialRun(self, request)
        return self._run.events()

    def checkpoint(self) -> None:
        """Write a checkpoint of the running trial now, however old its last one is. Does nothing in
        the middle of an epoch, or if the request asks for no checkpoints."""
        if self._run is not None:
            self._run.write_checkpoint()

    def prepare(self, request: TrialRequest) -> PreparedProgram:
        """The program that trains the request, kept from earlier trials or newly built."""
        key = self._shared_key(request)
        if key is None:
            program, feed = self._keras_program(request)
        else:
            program = feed = self._tiered_program(request, key)
        self.program = program
        return program, feed

    @property
    def data(self) -> ResidentData | None:
        """The data in memory; None where they are streamed."""
        return self._data

    def _shared_key(self, request: TrialRequest) -> ProgramKey | None:
        """The key of the program that other trials share; None if there can be none."""
        has_several = self.dataset.heads or self.dataset.inputs
        if self._data is None or self._network is not None or has_several:
            return None
        return program_key_of(request)

    def _tiered_program(self, request: TrialRequest, key: ProgramKey) -> TieredProgram:
        data = self._data
        assert data is not None

        def make() -> TieredProgram:
            return TieredProgram(GraphProgram(key, self.dataset, data))

        program = self._programs.get_or_make(("tiered", self._number, key), make)
        pays = worth_lanes(request, self.dataset.input_shape, self._row_count)
        program.prepare_for(
            rows=self._row_count,
            batch_size=read_whole(request.params, "batch_size"),
            make_lane=partial(self.lane_program, request) if pays else None,
        )
        return program

    def lane_program(self, request: TrialRequest) -> LaneProgram:
        """The program of one lane that trains the request, kept or newly made."""
        # Without choices: it is compiled for what this trial has, which makes its steps faster.
        key, data = program_key_of(replace(request, choices={})), self._data
        widths, batch_size = padded_widths(request.params), read_whole(request.params, "batch_size")
        assert key is not None and data is not None
        return self._programs.get_or_make(
            ("lane", self._number, key, widths, batch_size),
            lambda: LaneProgram(key, widths, batch_size, self.dataset, data),
        )

    def _keras_program(self, request: TrialRequest) -> PreparedProgram:
        network, batch_size = (
            self._network or request.network,
            read_whole(request.params, "batch_size"),
        )
        xla, traces_last_batch = self._pays_xla(request), worth_tracing_last_batch(request)

        def make() -> "_FedProgram":
            program = KerasProgram(network, request.params, self.dataset)
            program.xla = xla and not program.slow_under_xla
            compilation = Compilation(program.xla, traces_last_batch)
            return _FedProgram(program, self._feed(program, batch_size, compilation))

        structure = structure_key(self._network_name(request), request.params)
        key = ("keras", self._number, structure, xla, traces_last_batch)
        fed = self._programs.get_or_make(key, make)
        return fed.program, fed.feed

    def _feed(self, program: KerasProgram, batch_size: int, compilation: Compilation) -> Feed:
        if self._data is None:
            return StreamingFeed(program, batch_size, xla=compilation.xla)
        return ResidentFeed(program, self._data, batch_size, compilation)

    def _network_name(self, request: TrialRequest) -> str:
        """A shipped network's name, or the identity of a user's own."""
        return request.network if self._network is None else self._network.identity

    def _pays_xla(self, request: TrialRequest) -> bool:
        return worth_compiling(request, self.dataset.input_shape, self._row_count)

    def checkpoint_files(
        self, request: TrialRequest, network: str | None = None
    ) -> CheckpointFiles | None:
        """The request's checkpoints, if it asks for any: those of other libraries do not fit.
        `network`: what names it and how it trains, where that is not the request's own."""
        if request.checkpoints is None:
            return None
        network = network or self._network_name(request)
        xla, streams = self._pays_xla(request), self._streams
        surroundings = f"{library_versions()} {xla=} {streams=} {self.company}"
        return CheckpointFiles(
            request.checkpoints, identity(request, network, self.dataset.fingerprint, surroundings)
        )

    def checkpoint_of_parent(self, request: TrialRequest) -> Checkpoint | None:
        """The end of the generation before the request's; None where that is not kept."""
        if request.checkpoints is None or request.checkpoints.parent is None:
            return None
        parent = replace(request.ancestors()[-1], checkpoints=request.checkpoints.parent)
        files = self.checkpoint_files(parent)
        checkpoint = None if files is None else files.latest()
        if checkpoint is None or checkpoint.progress.epoch < request.begins_after:
            return None
        return checkpoint


class _FedProgram:
    """A Keras program with its feed, as the cache keeps them."""

    def __init__(self, program: KerasProgram, feed: Feed) -> None:
        self.program, self.feed = program, feed

    @property
    def nbytes(self) -> int:
        return self.program.nbytes


class _TrialRun:
    """The state of one trial while it trains. `begins_from`: the end of its parent, where that is
    known. `is_ancestor`: it is trained only for what goes on from it."""

    def __init__(
        self,
        trainer: Trainer,
        request: TrialRequest,
        begins_from: Checkpoint | None = None,
        is_ancestor: bool = False,
    ) -> None:
        self._trainer, self._request, self._goal = trainer, request, request.goal
        self._begins_from, self._is_ancestor = begins_from, is_ancestor
        self._batch_size, self._epochs = (
            read_whole(request.params, n) for n in ("batch_size", "epochs")
        )
        self._rows = len(trainer.dataset.train.y)
        self._steps = math.ceil(self._rows / self._batch_size)
        self._checkpoint_files = trainer.checkpoint_files(request)
        self._progress = Progress(seconds=dict.fromkeys(KINDS_OF_WORK, 0.0))
        self._best_weights: list[np.ndarray] = []
        self._is_between_epochs = False

    def events(self) -> Generator[Resumed | Report | Ended]:
        failed_ancestor = self._begin()
        if failed_ancestor is not None:
            yield failed_ancestor
            return
        if self._progress.epoch > 0:
            yield Resumed(self._progress.epoch)
        # Not None if the target was lowered since the last attempt.
        end = end_after_epoch(self._request, self._progress)
        while end is None:
            epoch = self._progress.epoch + 1
            for report in self._train_epoch(epoch):
                yield report
                if not _all_finite(report.metrics):
                    yield self._ended(TrialEnd.DIVERGED, epoch)
                    return
            end = end_after_epoch(self._request, self._progress)
            if end is None and self._checkpoint_files is not None and self._checkpoint_files.due():
                # The caller asked for the next event, so it has stored this epoch's report.
                self.write_checkpoint()
        if end is TrialEnd.COMPLETE and self._progress.epoch < self._epochs:
            self.write_checkpoint()  # other generations go on from it
        yield self._ended(end, self._progress.epoch)

    def _begin(self) -> Ended | None:
        """Make everything ready for the first epoch, or for the one after a checkpoint. The end of
        a generation before it, if that had to be trained and has diverged."""
        checkpoint = None if self._checkpoint_files is None else self._checkpoint_files.latest()
        if checkpoint is None and self._request.earlier and self._begins_from is None:
            ended = self._find_parent()
            if ended is not None:
                return ended
        clock = time.perf_counter()
        self._program, self._feed = self._trainer.prepare(self._request)
        self._program.start(self._request.params, self._request.seed)
        if checkpoint is not None:
            self._progress, self._best_weights = checkpoint.progress, checkpoint.arrays["best"]
            self._program.restore(checkpoint.arrays)
        elif self._begins_from is not None:
            parent = self._begins_from.progress
            self._progress.epoch, self._progress.values = parent.epoch, list(parent.values)
            self._program.restore(self._begins_from.arrays)
        self._progress.seconds["prepare"] += time.perf_counter() - clock
        return None

    def _find_parent(self) -> Ended | None:
        """Set what the trial begins from: its parent's checkpoint, or else the generations before
        it, trained again. Returns the end of one that has diverged."""
        self._begins_from = self._trainer.checkpoint_of_parent(self._request)
        if self._begins_from is not None:
            return None
        for ancestor in self._request.ancestors():
            run = _TrialRun(self._trainer, ancestor, self._begins_from, is_ancestor=True)
            for event in run.events():
                if isinstance(event, Report) and event.epoch == ancestor.ends_after:
                    # At its end it takes back the weights of its best epoch.
                    self._begins_from = Checkpoint(run._progress, run._program.state())
                if isinstance(event, Ended) and event.end is not TrialEnd.COMPLETE:
                    return event
            for kind, seconds in run._progress.seconds.items():
                self._progress.seconds[kind] += seconds
        return None

    def write_checkpoint(self) -> None:
        if self._checkpoint_files is not None and self._is_between_epochs:
            arrays = self._program.state() | {"best": self._best_weights}
            self._checkpoint_files.write_latest(Checkpoint(self._progress, arrays))

    def _train_epoch(self, epoch: int) -> Iterator[Report]:
        """The first epoch reports several times, so that hopeless trials can end inside it."""
        parts = min(self._request.first_epoch_reports, self._steps) if epoch == 1 else 1
        order = epoch_order(self._request.seed, epoch, self._rows)
        self._is_between_epochs = False
        rates = learning_rates(
            self._request.params,
            epoch,
            self._steps,
            values=self._progress.values,
            direction=self._goal.direction,
        )
        bounds = [round(i * self._steps / parts) for i in range(parts + 1)]
        sums = np.zeros(len(self._program.objective.names), np.float64)
        for part in range(1, parts + 1):
            sums += self._train_steps(order, rates, bounds[part - 1], bounds[part])
            rows = min(bounds[part] * self._batch_size, self._rows)
            whole = part == parts
            metrics = self._means(sums, rows)
            if self._evaluates(epoch):
                metrics |= self._evaluate()
            if whole and _all_finite(metrics):
                self._finish_epoch(epoch, metrics.get(self._goal.metric))
            step = part if epoch == 1 and not whole else epoch * self._request.first_epoch_reports
            seconds, engine = dict(self._progress.seconds), self._program.engine
            yield Report(step, epoch, whole, metrics, seconds, engine)

    def _train_steps(
        self, order: np.ndarray, rates: np.ndarray, start: int, stop: int
    ) -> np.ndarray:
        """In an epoch that may have to compile its program the first step is taken by itself, so
        that the time of compiling is not counted together with all the training after it."""
        first_alone = start == 0 and self._progress.epoch < _EPOCHS_THAT_COMPILE and stop > 1
        sums = np.zeros(len(self._program.objective.names), np.float64)
        for first, upto in pairwise([start, 1, stop] if first_alone else [start, stop]):
            sums += self._timed("train", partial(self._feed.train, order, rates, first, upto))
        return sums

    def _timed(
        self, kind: str, work: Callable[[], npt.NDArray[Any]], counted_as: str | None = None
    ) -> npt.NDArray[Any]:
        """Do the work and count its seconds: a program's first call also traces and compiles."""
        clock = time.perf_counter()
        result = work()
        is_first = kind not in self._program.called
        counter = "first_call" if is_first else counted_as or kind
        self._progress.seconds[counter] += time.perf_counter() - clock
        self._program.called.add(kind)
        return result

    def _evaluates(self, epoch: int) -> bool:
        """Whether the split that is held out is read in this epoch."""
        if self._request.held_out == "val":
            return True
        return epoch == self._request.ends_after and not self._is_ancestor

    def _evaluate(self) -> dict[str, float]:
        """The metrics on the split that is held out, with its prefix."""
        sums = self._timed("evaluate", self._feed.evaluate)
        metrics = self._means(sums, len(self._trainer.dataset.evaluation.y))
        if self._request.host_metrics and _all_finite(metrics):
            metrics |= self._host_metrics()
        return {f"{self._request.held_out}_{name}": value for name, value in metrics.items()}

    def _host_metrics(self) -> dict[str, float]:
        """The metrics that are computed from predictions. A recorded value that is undefined is
        left out: a report with NaN would mean that the training has diverged."""
        dataset = self._trainer.dataset
        predictions = self._timed("predict", self._feed.predictions, counted_as="evaluate")
        y, predictions = in_target_units(dataset, dataset.evaluation, predictions)
        clock, own = time.perf_counter(), self._trainer.own_metrics
        values = compute(
            self._request.host_metrics, y, predictions, dataset.task, own, dataset.head_tasks
        )
        self._progress.seconds["evaluate"] += time.perf_counter() - clock
        if not are_finite(predictions):
            return values
        objective = name_of(self._goal.metric)
        return {n: value for n, value in values.items() if n == objective or math.isfinite(value)}

    def _means(self, sums: np.ndarray, rows: int) -> dict[str, float]:
        """Loss and metrics of a row, in the units of the data."""
        names, dataset = self._program.objective.names, self._trainer.dataset
        means = dict(zip(names, (float(value) / rows for value in sums), strict=True))
        return metrics_in_target_units(dataset, means)

    def _finish_epoch(self, epoch: int, value: float | None) -> None:
        """A whole epoch is over; `value` is the objective's, None if it was not evaluated."""
        self._is_between_epochs = True
        if record_epoch(self._request, self._progress, epoch, value):
            self._best_weights = self._program.weights()

    def _ended(self, end: TrialEnd, epochs: int) -> Ended:
        if self._best_weights:
            self._program.set_weights(self._best_weights)
        return Ended(
            end=end,
            score=self._progress.best,
            best_epoch=self._progress.best_epoch,
            epochs=epochs,
            parameter_count=self._program.parameter_count,
            seconds=dict(self._progress.seconds),
            engine=self._program.engine,
        )


def epoch_order(seed: int, epoch: int, rows: int) -> npt.NDArray[np.int32]:
    """The order of the training rows in an epoch (int32), a function of seed and epoch alone."""
    return np.random.default_rng([seed, epoch]).permutation(rows).astype(np.int32)


def _all_finite(metrics: dict[str, float]) -> bool:
    return all(math.isfinite(value) for value in metrics.values())


__all__ = ["Goal", "Trainer", "TrialRequest", "epoch_order"]
