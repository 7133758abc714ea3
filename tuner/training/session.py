"""Where a worker's training begins: a session on prepared data.

Importing this module imports TensorFlow but runs no operation, so that a fork server may do it.
"""

import logging
import traceback
from collections.abc import Generator, Iterator, Mapping
from contextlib import closing, suppress
from functools import cached_property
from pathlib import Path
from typing import Any

from tuner.data import Dataset, open_dataset
from tuner.data.preparing import describe_network, network_inputs
from tuner.errors import MetricError, NetworkError
from tuner.networks import export_network
from tuner.networks.custom import CompiledModel, CustomNetwork
from tuner.preparation.keras_file import has_own_parts, write_description
from tuner.search_space.function_kinds import FunctionKind
from tuner.study.ends import TrialEnd
from tuner.study.lineage import NO_COMPILED_MODEL
from tuner.study.messages import (
    Ended,
    Event,
    Failed,
    Reply,
    Stopped,
    Tell,
    TrialRequest,
    WorkerSetup,
)
from tuner.study.own_metrics import OwnMetric
from tuner.training.build_plan import UncompiledModel, plan_of_build
from tuner.training.engines.feeds import ResidentData
from tuner.training.engines.lanes import Lane, LaneScheduler
from tuner.training.fit_trial import FitPlan, FitTrial
from tuner.training.hypermodels import HyperModel, load_hypermodel, plan_of_hypermodel
from tuner.training.ops.libraries import complete_libraries
from tuner.training.ops.libraries import tensorflow as tf
from tuner.training.saved_check import ROWS_CHECKED, find_problem
from tuner.training.trial import PreparedProgram, Trainer

log = logging.getLogger(__name__)


class TrainingSession:
    """A worker's trainer on its data."""

    def __init__(self, setup: WorkerSetup) -> None:
        self._network = CustomNetwork(*setup.code) if setup.code else None
        self._own_metrics = {name: OwnMetric(code) for name, code in setup.metrics.items()}
        self.trainer = self._make_trainer(setup)
        self._request: TrialRequest | None = None
        self._fit_trial: FitTrial | None = None  # the one at hand, if Keras' fit trains it
        self._compiles = False  # whether the user's code has returned a compiled model before
        self._asks = setup.function_kind is FunctionKind.HYPERMODEL
        self._study = setup.study

    def _make_trainer(self, setup: WorkerSetup) -> Trainer:
        return Trainer(
            _open_data(setup),
            setup.budget_bytes,
            self._network,
            own_metrics=self._own_metrics,
        )

    def run(self, request: TrialRequest, tell: Tell) -> None:
        if self._asks:
            self._run_hypermodel(request, tell)
            return
        # Only building a model tells whether it is compiled; nothing was told until then.
        if self._compiles and self._network is not None:
            try:
                self.run_fit(request, self._plan(request), tell)
                return
            except UncompiledModel:
                self._compiles = False
        try:
            with closing(self.events(request)) as events:
                for event in events:
                    if tell(event).stop:
                        break
        except CompiledModel:
            self._compiles = True
            self.run_fit(request, self._plan(request), tell)

    def _run_hypermodel(self, request: TrialRequest, tell: Tell) -> None:
        plan = plan_of_hypermodel(self._hypermodel, request, self.trainer.dataset, tell)
        with suppress(Stopped):
            self.run_fit(request, plan, tell)

    @cached_property
    def _hypermodel(self) -> HyperModel:
        assert self._network is not None
        return load_hypermodel(self._network)

    def run_fit(self, request: TrialRequest, plan: FitPlan, tell: Tell) -> None:
        """Train a trial by Keras' `fit`, as `run` does. Raises NetworkError for a generation of a
        population: the numbers that it would change are the user's own."""
        if request.last_epoch is not None:
            raise NetworkError(NO_COMPILED_MODEL)
        self._request = request
        self._fit_trial = FitTrial(self.trainer, request, plan)
        self._fit_trial.run(tell)

    def _plan(self, request: TrialRequest) -> FitPlan:
        assert self._network is not None
        return plan_of_build(self._network, request.params, self.trainer.dataset)

    def events(self, request: TrialRequest) -> Generator[Event]:
        """What `run` tells, of a model that is not compiled."""
        self._request, self._fit_trial = request, None
        return self.trainer.run(request)

    def save(self, path: Path) -> None:
        """Write the trial's best network to `path`, a new .keras file, with its description."""
        if self._request is None:
            raise RuntimeError("no trial has ended yet")
        dataset, model = self.trainer.dataset, self._exported(self._request)
        inputs = network_inputs(dataset, dataset.train.x[:ROWS_CHECKED])
        outputs = model(inputs, training=False)
        model.save(path)
        del model  # so that loading it again takes no more memory
        problem = find_problem(path, inputs, outputs)
        if problem:
            log.warning("%s: %s", path.name, problem)
        own_code = self._network.texts() if self._network and has_own_parts(path) else {}
        description = describe_network(
            dataset,
            self._request.goal.metric,
            self._study,
            self._request.number,
            own_code,
            problem,
        )
        write_description(path, description)

    def _exported(self, request: TrialRequest) -> Any:
        """The network that has just been trained, as it is saved."""
        if self._fit_trial is not None:
            return self._fit_trial.program.exported()
        if self.trainer.program is None:
            raise RuntimeError("no trial has ended yet")
        return export_network(
            self._network or request.network,
            request.params,
            self.trainer.dataset,
            self.trainer.program.weights(),
        )

    def checkpoint(self) -> None:
        """Write a checkpoint of the running trial, whose last event ended an epoch."""
        (self._fit_trial or self.trainer).checkpoint()

    def failure(self, error: Exception) -> Failed:
        detail = "".join(traceback.format_exception(error)).strip()
        is_refused = isinstance(error, NetworkError | MetricError)
        is_users_code = self._network is not None or is_refused
        kind = TrialEnd.USER_ERROR if is_users_code else TrialEnd.ERROR
        if isinstance(error, tf.errors.ResourceExhaustedError | MemoryError):
            kind = TrialEnd.OUT_OF_MEMORY
        first_line = (str(error).strip().splitlines() or [""])[0]
        return Failed(kind, f"{type(error).__name__}: {first_line}", detail)


class LaneTrainer(Trainer):
    """Trains a trial in lane `number` of a group if its program can be shared, else as a Trainer
    does, while it holds the turn."""

    company = "a population"  # checkpoints of earlier versions say so too

    def __init__(
        self,
        dataset: Dataset,
        budget_bytes: float,
        network: CustomNetwork | None,
        scheduler: LaneScheduler,
        number: int,
        own_metrics: Mapping[str, OwnMetric],
    ) -> None:
        super().__init__(
            dataset,
            budget_bytes,
            network,
            own_metrics=own_metrics,
            data=scheduler.data,
            programs=scheduler.programs,
            number=number,
        )
        self._scheduler = scheduler
        self._lane: Lane | None = None

    def prepare(self, request: TrialRequest) -> PreparedProgram:
        self.leave_lane()  # that of a generation before, which was trained again
        key = self._shared_key(request)
        if key is None:
            return super().prepare(request)
        self.program = self._lane = self._scheduler.lane(request, key, self._number)
        return self._lane, self._lane

    def leave_lane(self) -> None:
        """The trial has ended: the other lanes no longer wait for it."""
        if self._lane is not None:
            self._lane.leave()
            self._lane = None


class LaneSession(TrainingSession):
    """One of a process' sessions, each served by a thread of its own. `first`: the one opened
    before, whose data and programs it shares. One of them computes at a time: the state of
    TensorFlow and Keras is not made for more, and there is one device."""

    def __init__(self, setup: WorkerSetup, first: "LaneSession | None" = None) -> None:
        self._setup, self._first = setup, first or self
        self._session_count = 0
        super().__init__(setup)

    def _make_trainer(self, setup: WorkerSetup) -> LaneTrainer:
        first = self._first
        if first is self:
            dataset = _open_data(setup)
            data = None if dataset.nbytes > setup.budget_bytes else ResidentData(dataset)
            self.scheduler = LaneScheduler(dataset, data, setup.lanes)
        else:
            dataset, self.scheduler = first.trainer.dataset, first.scheduler
        number = first._session_count
        first._session_count += 1
        self._lane_trainer = LaneTrainer(
            dataset, setup.budget_bytes, self._network, self.scheduler, number, self._own_metrics
        )
        return self._lane_trainer

    def beside(self) -> "LaneSession":
        return LaneSession(self._setup, self._first)

    def events(self, request: TrialRequest) -> Generator[Event]:
        events = super().events(request)
        try:
            while (event := self._next_event(events)) is not None:
                yield event
        finally:
            with self.scheduler.turn:
                self._lane_trainer.leave_lane()

    def _next_event(self, events: Iterator[Event]) -> Event | None:
        with self.scheduler.turn:
            event = next(events, None)
            if isinstance(event, Ended):
                # The other lanes need not wait until the loop has decided about its network.
                self._lane_trainer.leave_lane()
            return event

    def run_fit(self, request: TrialRequest, plan: FitPlan, tell: Tell) -> None:
        turn = self.scheduler.turn

        def tell_between_turns(event: Event) -> Reply:
            turn.release()
            try:
                return tell(event)
            finally:
                turn.acquire()

        with turn:
            super().run_fit(request, plan, tell_between_turns)

    def save(self, path: Path) -> None:
        with self.scheduler.turn:
            super().save(path)

    def checkpoint(self) -> None:
        with self.scheduler.turn:
            super().checkpoint()


def _open_data(setup: WorkerSetup) -> Dataset:
    assert setup.data is not None, "only a function that trains by itself has no data"
    return open_dataset(setup.data)


def open_session(setup: WorkerSetup) -> TrainingSession:
    """Pin this process to one thread, or to its GPU, and load the data."""
    # TensorFlow warns of retracing, which is normal here for new structures.
    tf.get_logger().setLevel("ERROR")
    if setup.code or setup.metrics:
        complete_libraries()
    try:
        _pin_process(setup)
    except RuntimeError:  # a program that has used a network before: no worker
        log.info("TensorFlow is in use in this process: its threads and devices stay as they are")
    return TrainingSession(setup) if setup.lanes == 1 else LaneSession(setup)


def _pin_process(setup: WorkerSetup) -> None:
    """Raises RuntimeError where TensorFlow has computed in this process already."""
    gpu = None if setup.gpu is None else _find_gpu(setup.gpu)
    threads = 1 if gpu is None else setup.threads
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    tf.config.set_visible_devices([] if gpu is None else [gpu], "GPU")
    if gpu is not None:
        tf.config.experimental.set_memory_growth(gpu, True)


def _find_gpu(index: int) -> Any:
    """The GPU, or None if TensorFlow can no longer see it: a search goes on without it."""
    gpus = tf.config.list_physical_devices("GPU")
    if index < len(gpus):
        return gpus[index]
    log.warning("TensorFlow sees no GPU %d: this worker trains on the processor", index)
    return None
