"""One trial of a compiled model: Keras' `fit` is called once, and a callback tells its reports.

`FitPlan` says how the model is made and what `fit` is given; `FitTrial` trains it. A session's
`run_fit` does both, for a user's `build` and for KerasTuner's functions and HyperModels alike.
"""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from tuner.errors import NetworkError
from tuner.search_space.parameter_types import read_whole
from tuner.study.ends import TrialEnd
from tuner.study.engines import FIT
from tuner.study.messages import Ended, Report, Resumed, Tell, TrialRequest
from tuner.study.metrics import name_of
from tuner.training.callback_states import callback_states, restore_states, state_arrays
from tuner.training.checkpoints import Checkpoint, CheckpointFiles, Progress
from tuner.training.engines.compiled_models import convolves_on_cpu
from tuner.training.engines.fit import FitProgram, choose_steps
from tuner.training.fit_arguments import with_class_weight
from tuner.training.fit_metrics import (
    missing_objective,
    prediction_metrics,
    read_logs,
    result_logs,
)
from tuner.training.row_weights import RowWeights
from tuner.training.trial import KINDS_OF_WORK, Trainer, epoch_order
from tuner.training.trial_progress import all_finite, end_after_epoch, record_epoch

FitFunction = Callable[..., Any]


@dataclass(frozen=True)
class FitPlan:
    """How one trial is trained by Keras' `fit`.

    `make_model`: a compiled model with fresh weights; called once, after the random seeds were set.
    `identity`: a text that differs where the code differs: checkpoints fit only the same.
    `callbacks`: the user's own, made anew for the trial. `arguments`: further ones of `fit`
    (fit_arguments.py).
    `fit`: replaces `model.fit` where a HyperModel has its own: it is called as
    `fit(model, x=…, y=…, validation_data=(x, y), epochs=…, batch_size=…, callbacks=[…], verbose=0)`
    with NumPy arrays, scaled; `validation_data` is left out where the test split is held out. It
    returns a History, a dict of metrics, a number or None. Each attempt of the trial begins anew.
    """

    make_model: Callable[[], Any]
    identity: str
    callbacks: Callable[[], list[Any]] = list
    arguments: Mapping[str, Any] = field(default_factory=dict)
    fit: FitFunction | None = None


class _TrialOver(BaseException):
    """Leaves `fit`, also where the user's code catches every Exception. `end`: None where the loop
    has stopped the trial, which then tells nothing more."""

    def __init__(self, end: TrialEnd | None) -> None:
        super().__init__(str(end))
        self.end = end


class FitTrial:
    """A trial while Keras' `fit` trains it. After `run`, `program.model` has the best weights."""

    def __init__(self, trainer: Trainer, request: TrialRequest, plan: FitPlan) -> None:
        self._trainer, self._request, self._plan = trainer, request, plan
        self._epochs = read_whole(request.params, "epochs")
        self._batch_size = int(
            plan.arguments.get("batch_size") or read_whole(request.params, "batch_size")
        )
        rows = len(trainer.dataset.train.y)
        steps = math.ceil(rows / self._batch_size)
        self._steps = min(steps, int(plan.arguments.get("steps_per_epoch") or steps))
        self._progress = Progress(seconds=dict.fromkeys(KINDS_OF_WORK, 0.0))
        self._files = self._checkpoint_files()
        self._callback_state: list[Any] = []
        self._best_weights: list[np.ndarray] = []
        self._is_between_epochs = False
        self._reported_parts = 0
        self.epoch = 0  # the one that trains, from 1

    def run(self, tell: Tell) -> None:
        """Train, and tell each event. After a reply that stops it, nothing more is told."""
        self._tell = tell
        self._begin()
        if self._progress.epoch > 0 and tell(Resumed(self._progress.epoch)).stop:
            return
        # Not None if the target was lowered since the last attempt.
        end = end_after_epoch(self._request, self._progress) or self._fit()
        if end is not None:
            tell(self._ended(end))

    def _begin(self) -> None:
        """Make the model, and set what an earlier attempt's checkpoint has."""
        clock = time.perf_counter()
        request, trainer = self._request, self._trainer
        keras.utils.set_random_seed(request.seed % 2**31)
        model = self._plan.make_model()
        weights = RowWeights(trainer.dataset).of(request.params)
        weights = with_class_weight(weights, self._plan.arguments, trainer.dataset)
        self.program = FitProgram(model, trainer.dataset, trainer.data, weights)
        self._user_callbacks = self._plan.callbacks()
        checkpoint = None if self._files is None else self._files.latest()
        if checkpoint is not None:
            self.program.restore(checkpoint.arrays)
            self._best_weights = checkpoint.arrays["best"]
            self._progress = checkpoint.progress
            self._callback_state = callback_states(checkpoint.arrays)
        self._progress.seconds["prepare"] += time.perf_counter() - clock

    def _checkpoint_files(self) -> CheckpointFiles | None:
        """None for a `fit` of a HyperModel's own: nothing tells where it would go on."""
        if self._plan.fit is not None:
            return None
        return self._trainer.checkpoint_files(self._request, f"fit {self._plan.identity}")

    def checkpoint(self) -> None:
        """Write a checkpoint now; does nothing in the middle of an epoch, or without files."""
        if self._files is not None and self._is_between_epochs:
            arrays = self.program.state() | {"best": self._best_weights}
            arrays |= state_arrays(self._user_callbacks)
            self._files.write_latest(Checkpoint(self._progress, arrays))

    def _fit(self) -> TrialEnd | None:
        """How the trial ended; None where it was stopped."""
        callbacks = [*self._user_callbacks, FitReporting(self)]
        try:
            if self._plan.fit is None:
                self._fit_by_keras(callbacks)
            else:
                self._fit_by_user(callbacks)
        except _TrialOver as over:
            for callback in self._user_callbacks:  # those that close files
                callback.on_train_end()
            return over.end
        return TrialEnd.COMPLETE if self.epoch == self._epochs else TrialEnd.EARLY_STOPPED

    def _fit_by_keras(self, callbacks: list[Any]) -> None:
        program, model = self.program, self.program.model
        model.steps_per_execution = choose_steps(
            model, self._steps, self._reports_of_first_epoch, self._user_callbacks
        )
        if convolves_on_cpu(model):
            model.jit_compile = False
        self._evaluation = program.evaluation_batches(
            self._plan.arguments.get("validation_batch_size")
        )
        model.fit(
            program.training_batches(self._order, self._steps, self._batch_size),
            epochs=self._epochs,
            initial_epoch=self._progress.epoch,
            validation_data=self._evaluation if self._request.held_out == "val" else None,
            callbacks=callbacks,
            shuffle=False,  # the batches come in the epoch's own order
            verbose=0,
        )

    def _fit_by_user(self, callbacks: list[Any]) -> None:
        assert self._plan.fit is not None
        self._evaluation = self.program.evaluation_batches()
        result = self._plan.fit(
            self.program.model,
            **self.program.arrays(),
            **{"batch_size": self._batch_size, **self._plan.arguments},
            epochs=self._epochs,
            callbacks=callbacks,
            verbose=0,
        )
        if self._progress.epoch == 0:  # a loop of its own that calls no callbacks
            self._report(1, result_logs(result, self._request.goal.metric), whole=True)

    def _order(self) -> npt.NDArray[np.int32]:
        if not self._plan.arguments.get("shuffle", True):
            return np.arange(self.program.row_count, dtype=np.int32)
        return epoch_order(self._request.seed, max(self.epoch, 1), self.program.row_count)

    @property
    def _reports_of_first_epoch(self) -> int:
        return max(1, min(self._request.first_epoch_reports, self._steps))

    def begin_epoch(self, epoch: int) -> None:
        self.epoch, self._is_between_epochs = epoch, False
        self._reported_parts = 0

    def restore_callbacks(self) -> None:
        restore_states(self._user_callbacks, self._callback_state)

    def after_steps(self, done: int, logs: Mapping[str, Any] | None) -> None:
        """`done` steps of the epoch are taken. In the first one reports come several times, so that
        hopeless trials can end inside it."""
        loss = float(np.asarray((logs or {}).get("loss", 0.0)))
        if not math.isfinite(loss):
            self._report(self.epoch, {"loss": loss}, whole=False)
        parts = self._reports_of_first_epoch
        part = done * parts // self._steps
        if self.epoch == 1 and self._reported_parts < part < parts and done < self._steps:
            self._reported_parts = part
            self._report(self.epoch, dict(logs or {}) | self._evaluate(), whole=False)

    def after_epoch(self, logs: Mapping[str, Any] | None) -> None:
        self._report(self.epoch, logs, whole=True)

    def _report(self, epoch: int, logs: Mapping[str, Any] | None, *, whole: bool) -> None:
        """Tell a report; raises _TrialOver where it is the trial's last."""
        metrics = read_logs(logs)
        if all_finite(metrics):
            metrics = self._completed(metrics, epoch)
        is_finite = all_finite(metrics)
        if whole and is_finite:
            value = metrics.get(self._request.goal.metric)
            if record_epoch(self._request, self._progress, epoch, value):
                self._best_weights = self.program.weights()
            self._is_between_epochs = True
        reports, part = self._request.first_epoch_reports, self._reported_parts
        step = part if epoch == 1 and not whole else epoch * reports
        seconds = dict(self._progress.seconds)
        reply = self._tell(Report(max(step, 1), epoch, whole, metrics, seconds, FIT))
        if reply.stop:
            raise _TrialOver(None)
        if not is_finite:
            raise _TrialOver(TrialEnd.DIVERGED)
        if whole:
            self._go_on()

    def _go_on(self) -> None:
        end = end_after_epoch(self._request, self._progress)
        if end is not None and end is not TrialEnd.COMPLETE:
            raise _TrialOver(end)
        if end is None and self._files is not None and self._files.due():
            # The caller asked for the next event, so it has stored this epoch's report.
            self.checkpoint()

    def _completed(self, metrics: dict[str, float], epoch: int) -> dict[str, float]:
        """With the objective and the metrics that are computed from predictions. Raises
        NetworkError where nothing reports the objective."""
        prefix, objective = f"{self._request.held_out}_", self._request.goal.metric
        if self._request.held_out == "test":
            if epoch < self._epochs:
                return {n: v for n, v in metrics.items() if not n.startswith("val_")}
            metrics = metrics | self._evaluate()
        elif "val_loss" not in metrics and objective == "val_loss":
            metrics = metrics | self._evaluate()
        wanted = dict.fromkeys(self._request.host_metrics)
        if objective not in metrics:
            wanted[name_of(objective)] = None
        if wanted:
            values = self._from_predictions(tuple(wanted))
            metrics = metrics | {f"{prefix}{name}": value for name, value in values.items()}
        if objective not in metrics:
            raise NetworkError(missing_objective(objective, metrics))
        return metrics

    def _evaluate(self) -> dict[str, float]:
        """What `evaluate` says of the held-out split, with its prefix. Running sums of the epoch
        stay as they are: Keras would begin them anew."""
        model = self.program.model
        sums = [variable for metric in model.metrics for variable in metric.variables]
        values = [variable.numpy() for variable in sums]
        logs = read_logs(model.evaluate(self._evaluation, return_dict=True, verbose=0))
        for variable, value in zip(sums, values, strict=True):
            variable.assign(value)
        return {f"{self._request.held_out}_{name}": value for name, value in logs.items()}

    def _from_predictions(self, names: tuple[str, ...]) -> dict[str, float]:
        clock, dataset = time.perf_counter(), self._trainer.dataset
        values = prediction_metrics(
            names, self.program.predictions(), dataset, self._trainer.own_metrics
        )
        self._progress.seconds["evaluate"] += time.perf_counter() - clock
        objective = name_of(self._request.goal.metric)
        return {n: value for n, value in values.items() if n == objective or math.isfinite(value)}

    def count_seconds(self, kind: str, seconds: float) -> None:
        self._progress.seconds[kind] += seconds

    def _ended(self, end: TrialEnd) -> Ended:
        if self._best_weights:
            self.program.set_weights(self._best_weights)
        return Ended(
            end=end,
            score=self._progress.best,
            best_epoch=self._progress.best_epoch,
            epochs=self.epoch,
            parameter_count=self.program.parameter_count,
            seconds=dict(self._progress.seconds),
            engine=FIT,
        )


class FitReporting(keras.callbacks.Callback):
    """The last callback of a trial's `fit`: it sees the logs as the user's own have left them."""

    def __init__(self, trial: FitTrial) -> None:
        super().__init__()
        self._trial, self._is_first, self._clock = trial, True, 0.0

    def on_train_begin(self, logs: Any = None) -> None:
        self._trial.restore_callbacks()

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._trial.begin_epoch(epoch + 1)
        self._clock = time.perf_counter()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self._count("first_call" if self._is_first else "train")
        self._is_first = False
        self._trial.after_steps(batch + 1, logs)
        self._clock = time.perf_counter()

    def on_test_begin(self, logs: Any = None) -> None:
        self._clock = time.perf_counter()

    def on_test_end(self, logs: Any = None) -> None:
        self._count("evaluate")

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if self._trial.epoch != epoch + 1:  # a loop of its own tells only where an epoch ends
            self._trial.begin_epoch(epoch + 1)
        self._trial.after_epoch(logs)

    def _count(self, kind: str) -> None:
        now = time.perf_counter()
        self._trial.count_seconds(kind, now - self._clock)
        self._clock = now
