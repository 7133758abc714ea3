"""`train(params, trial)`: the trial that such a function is given, and how it is run."""

import json
import math
import numbers
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuner.errors import NetworkError, TrialPruned
from tuner.functions.calls import Call
from tuner.search_space.parameter_types import Params
from tuner.study.ends import TrialEnd
from tuner.study.engines import OWN_CODE
from tuner.study.messages import OWN_ATTRIBUTES, Ended, Event, Noted, Report, Resumed
from tuner.values import shown

if TYPE_CHECKING:
    from tuner.functions.trial_data import TrialData

_LONGEST_LOG = 100_000  # characters of what is logged at once


class Diverged(BaseException):
    """A reported value is not finite, so the function is left. No Exception, so that a function
    which catches those does not go on."""


class TrainingTrial:
    """A running trial, as `train(params, trial)` is given it.

    Attributes:
        number: the trial's in its study, from 0.
        params: its parameters by name.
        seed: a whole number of 31 bits: another one in each trial, and the same in all attempts of
            a trial.
        attempt: which one of the trial this is, from 1. Each interruption begins another one.
    """

    def __init__(self, call: Call) -> None:
        self._call = call
        request = call.request
        self.number = request.number or 0
        self.params: Params = dict(request.params)
        self.seed = request.seed
        self.attempt = request.checkpoints.attempt if request.checkpoints else 1
        self._goal = request.goal
        self._began = time.perf_counter()
        self._last_epoch = 0
        self._best: float | None = None
        self._best_epoch: int | None = None
        self._is_pruned = self._has_saved = False

    @property
    def epochs(self) -> int | None:
        """The most epochs that it may train (`--epochs`), None where none were given. The function
        counts them itself."""
        epochs = self.params.get("epochs")
        return None if epochs is None else int(epochs)  # type: ignore[arg-type]

    @property
    def directory(self) -> Path:
        """A folder of the trial's own. It outlasts an interruption: the trial's next attempt finds
        there what this one wrote. It is removed when the trial has ended."""
        return self._call.files.directory()

    @property
    def data(self) -> "TrialData":
        """The study's data, split and prepared (`--data`). Raises NetworkError where the study has
        none."""
        return self._call.data()

    @property
    def should_prune(self) -> bool:
        """Whether the trial has been pruned: `report` has raised TrialPruned then."""
        return self._is_pruned

    def report(self, epoch: int, **metrics: float) -> bool:
        """Tell the values of metrics after an epoch, or any other step.

        Args:
            epoch: counts from 1 and increases. An attempt that goes on from what an earlier one
                left begins with its next epoch.
            metrics: numbers by name; the study's objective must be among them.

        Returns:
            Whether the objective is the trial's best so far: a good time to `save`.

        Raises:
            TrialPruned: the trial is pruned; let it pass.
            NetworkError: an epoch that does not follow the one before, or a value that is no
                number.
        """
        values = self._checked(epoch, metrics)
        if not self._last_epoch:
            self._begin_at(epoch)
        is_best = self._tell_report(epoch, values)
        if self._is_pruned:
            raise TrialPruned(f"trial {self.number} is pruned after epoch {epoch}")
        return is_best

    def save(self, model: Any) -> None:
        """Keep a network as the trial's own, in place of what it saved before.

        Args:
            model: a keras.Model, the path of a file, bytes, or any object that can be pickled.

        Raises:
            NetworkError: anything else.
        """
        try:
            self._call.files.save(model, self._call.setup, self._call.request)
        except NetworkError as error:
            raise NetworkError(f"{self._call.where}: trial.save: {error}") from error
        self._has_saved = True

    def log(self, **values: Any) -> None:
        """Keep facts of the trial by name, which `tuner trial show` and MLflow show.

        Args:
            values: numbers, texts, and lists or dicts of them. A name that was logged before gets
                its new value.

        Raises:
            NetworkError: a value that is none of these.
        """
        if values:
            self._tell(Noted(self._as_json(values)))

    def _tell(self, event: Event) -> Any:
        return self._call.tell(event)

    def _begin_at(self, epoch: int) -> None:
        """The first report of this attempt. It may follow those of an earlier attempt, or begin
        anew."""
        if self.attempt == 1:
            return
        if epoch == 1:
            self._call.files.forget(with_network=not self._has_saved)
            return
        earlier = self._call.files.reports(before=epoch)
        if earlier:
            self._tell(Resumed(epoch - 1))
        for past_epoch, value in earlier:
            self._take(past_epoch, value)

    def _take(self, epoch: int, value: float) -> bool:
        """Take a value into the running best; whether it is the best."""
        is_best = self._goal.better(value, self._best)
        if is_best:
            self._best, self._best_epoch = value, epoch
        return is_best

    def _tell_report(self, epoch: int, values: Mapping[str, float]) -> bool:
        self._last_epoch = epoch
        value = values[self._goal.metric]
        is_finite = all(map(math.isfinite, values.values()))
        if is_finite:
            self._call.files.remember(epoch, value)
        report = Report(
            epoch, epoch, True, dict(values), self._seconds(), engine=OWN_CODE, advisory=True
        )
        reply = self._tell(report)
        if not is_finite:
            raise Diverged
        self._is_pruned = self._is_pruned or reply.prune
        return self._take(epoch, value)

    def _seconds(self) -> dict[str, float]:
        return {"train": time.perf_counter() - self._began}

    def _checked(self, epoch: int, metrics: Mapping[str, Any]) -> dict[str, float]:
        where = f"{self._call.where}: trial.report"
        if isinstance(epoch, bool) or not isinstance(epoch, numbers.Integral):
            raise NetworkError(f"{where}: the epoch must be a whole number, got {shown(epoch)}")
        if epoch <= self._last_epoch:
            raise NetworkError(
                f"{where}: epochs count from 1 and increase, got {epoch} after {self._last_epoch}"
            )
        return self._numbers(where, metrics)

    def _numbers(self, where: str, metrics: Mapping[str, Any]) -> dict[str, float]:
        if self._goal.metric not in metrics:
            names = ", ".join(map(str, metrics)) or "nothing"
            raise NetworkError(
                f"{where}: the study's objective {self._goal.metric} is missing, there is {names}"
            )
        return {str(name): self._number(where, name, value) for name, value in metrics.items()}

    def _number(self, where: str, name: object, value: Any) -> float:
        try:
            if isinstance(value, str | bytes):
                raise TypeError
            return float(value)
        except (TypeError, ValueError) as error:
            raise NetworkError(f"{where}: {name} must be a number, got {shown(value)}") from error

    def _as_json(self, values: Mapping[str, Any]) -> dict[str, Any]:
        where = f"{self._call.where}: trial.log"
        if reserved := [name for name in values if name in OWN_ATTRIBUTES]:
            raise NetworkError(f"{where}: {reserved[0]} is noted by tuner; take another name")
        try:
            text = json.dumps(values, default=_plain, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise NetworkError(
                f"{where}: values must be numbers, texts, lists or dicts of them ({error})"
            ) from error
        if len(text) > _LONGEST_LOG:
            raise NetworkError(
                f"{where}: {len(text):,} characters are too many; write them to a file in "
                "trial.directory"
            )
        return dict(json.loads(text))

    def take_result(self, returned: Any) -> None:
        """What the function has returned: the objective, or a dict of metrics, where it has
        reported nothing."""
        if self._last_epoch:
            return
        where, metric = self._call.where, self._goal.metric
        if returned is None:
            raise NetworkError(
                f"{where} has neither reported {metric} nor returned it: call trial.report(epoch, "
                f"{metric}=…), or return its value"
            )
        metrics = returned if isinstance(returned, Mapping) else {metric: returned}
        self._tell_report(1, self._numbers(f"{where}: what it returns", metrics))
        self._is_pruned = False  # it has trained to its end

    def ended(self, end: TrialEnd) -> Ended:
        """How the trial has ended."""
        return Ended(
            end, self._best, self._best_epoch, self._last_epoch, 0, self._seconds(), OWN_CODE
        )


def _plain(value: Any) -> Any:
    """NumPy's and TensorFlow's numbers and arrays as Python's."""
    for method in ("item", "tolist", "numpy"):
        if (size := getattr(value, "size", None)) is not None and method == "item" and size != 1:
            continue
        if callable(convert := getattr(value, method, None)):
            return convert()
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"got a {type(value).__name__}")


def run_training(call: Call) -> Ended:
    """Call `train(params, trial)`. The score is the best value that it reports, or what it returns
    where it reports nothing. Raises NetworkError where it does neither."""
    trial = TrainingTrial(call)
    try:
        trial.take_result(call.function(trial.params, trial))
    except TrialPruned:
        return trial.ended(TrialEnd.PRUNED)
    except Diverged:
        return trial.ended(TrialEnd.DIVERGED)
    # A function that has caught TrialPruned has gone on for nothing.
    return trial.ended(TrialEnd.PRUNED if trial.should_prune else TrialEnd.COMPLETE)
