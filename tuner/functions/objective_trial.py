"""Optuna's `objective(trial)` in a worker: the trial object it is given, and how it is run.

The object has what Optuna's own Trial has in public. A suggestion, a report and an attribute are
told to the loop, which alone knows Optuna's storage. Optuna itself is not imported here: where the
user's file has imported it, its exceptions and classes are found among the loaded modules.
"""

import json
import math
import sys
import time
import warnings
from collections.abc import Mapping, Sequence
from copy import deepcopy
from datetime import datetime
from typing import TYPE_CHECKING, Any, cast

from tuner.errors import NetworkError, TrialPruned
from tuner.functions.calls import Call
from tuner.study.ends import TrialEnd
from tuner.study.engines import OWN_CODE
from tuner.study.messages import (
    Direction,
    Distribution,
    Ended,
    Noted,
    Report,
    StudyOrigin,
    Suggest,
    TrialRequest,
)
from tuner.values import shown

if TYPE_CHECKING:
    from tuner.functions.trial_data import TrialData


def run_objective(call: Call) -> Ended:
    """Call `objective(trial)`. What it returns is the trial's score, or one for each of the study's
    objectives. Raises NetworkError for a result that is no score."""
    trial = ObjectiveTrial(call)
    _pass_for_optunas(trial)
    began = time.perf_counter()
    goals = (call.request.goal, *call.request.further_goals)
    end, values = TrialEnd.PRUNED, cast(tuple[float, ...], ())
    score: float | None = None
    try:
        values = scores(call.function(trial), len(goals), call.where)
        end, score = TrialEnd.COMPLETE, values[0]
    except Exception as error:
        if not _is_pruned(error):
            raise
        score = trial.last_report
    if len(values) > 1:  # what is kept of a trial beside its score is read from its reports
        by_name = {goal.metric: value for goal, value in zip(goals, values, strict=True)}
        call.tell(Report(1, 1, True, by_name, engine=OWN_CODE, advisory=True))
    seconds = {"train": time.perf_counter() - began}
    return Ended(end, score, None, trial.reports, 0, seconds, OWN_CODE, values=values)


def scores(result: object, objectives: int, where: str) -> tuple[float, ...]:
    """The values that an objective has returned, one for each of the study's objectives. `where`:
    the objective's name in messages. Raises NetworkError where Optuna would fail the trial: for
    what is no number, for NaN, and for another number of values."""
    is_several = isinstance(result, Sequence) and not isinstance(result, str | bytes)
    returned = list(result) if is_several else [result]  # type: ignore[call-overload]
    if len(returned) != objectives:
        raise NetworkError(
            f"{where} returned {_counted(len(returned), 'value')}, and the study has "
            f"{_counted(objectives, 'objective')}: return one number for each --direction"
        )
    return tuple(_score(value, where) for value in returned)


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _score(value: Any, where: str) -> float:
    try:
        score = float(value)
    except (TypeError, ValueError):
        raise NetworkError(f"{where} returned {shown(value)}: return a number") from None
    if math.isnan(score):
        raise NetworkError(f"{where} returned nan: a trial without a score fails")
    return score


class ObjectiveTrial:
    """The trial that an objective is given: Optuna's `Trial`, as far as it is public.

    Attributes:
        number: The trial's number in its study, from 0.
        study: The study's name, directions and user attributes; a worker knows no other trials.
        datetime_start: When this attempt of the trial began, in local time.
        reports: How many steps were reported.
        last_report: The latest reported value, None before the first.
    """

    def __init__(self, call: Call) -> None:
        self.number = call.request.number or 0
        self.study = StudyView(call.request, call.setup.study)
        self.datetime_start = datetime.now()
        self.reports = 0
        self.last_report: float | None = None
        self._call, self._metric, self._tell = call, call.request.goal.metric, call.tell
        self._params: dict[str, Any] = {}
        self._distributions: dict[str, Distribution] = {}
        self._user_attrs: dict[str, Any] = {}
        self._constraints: dict[str, float] = {}
        self._steps: set[int] = set()
        self._is_pruned = False
        self._began = time.perf_counter()

    # Parameters

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        """A number from `low` to `high`, both included. Raises ValueError as Optuna does."""
        low, high = float(low), float(high)
        return float(self._suggest(name, Distribution("float", low, high, step, log)))

    def suggest_int(
        self, name: str, low: int, high: int, *, step: int = 1, log: bool = False
    ) -> int:
        """A whole number from `low` to `high`, both included. Raises ValueError as Optuna does."""
        return int(self._suggest(name, Distribution("int", int(low), int(high), step, log)))

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        """One of the choices. Raises ValueError as Optuna does."""
        choices = tuple(choices)
        value = self._suggest(name, Distribution("categorical", choices=choices))
        # The user's own object, of what came back through the loop as a copy.
        own = (choice for choice in choices if type(choice) is type(value) and choice == value)
        return next(own, value)

    def suggest_uniform(self, name: str, low: float, high: float) -> float:
        """Optuna's older name of `suggest_float`."""
        return self.suggest_float(name, low, high)

    def suggest_loguniform(self, name: str, low: float, high: float) -> float:
        """Optuna's older name of `suggest_float(..., log=True)`."""
        return self.suggest_float(name, low, high, log=True)

    def suggest_discrete_uniform(self, name: str, low: float, high: float, q: float) -> float:
        """Optuna's older name of `suggest_float(..., step=q)`."""
        return self.suggest_float(name, low, high, step=q)

    def _suggest(self, name: str, distribution: Distribution) -> Any:
        before = self._distributions.get(name)
        if before == distribution:
            return self._params[name]
        # Asked of the loop also a second time: Optuna knows which distributions may follow another.
        reply = self._tell(Suggest(name, distribution))
        if reply.problem is not None:
            raise ValueError(f"parameter {name!r}: {reply.problem}")
        if before is not None:
            _warn(
                f"parameter {name!r} is asked for twice with different ranges; its first value, of "
                f"the first range, is used: {before}"
            )
            return self._params[name]
        self._distributions[name] = distribution
        self._params[name] = reply.value
        return reply.value

    @property
    def params(self) -> dict[str, Any]:
        """The parameters asked for so far, by name."""
        return deepcopy(self._params)

    @property
    def distributions(self) -> dict[str, Any]:
        """The distributions asked for so far, by name: Optuna's, where the file imports Optuna."""
        return {name: _as_optunas(each) for name, each in self._distributions.items()}

    @property
    def relative_params(self) -> dict[str, Any]:
        """Empty: what the sampler has drawn together is known to the loop alone."""
        return {}

    # Reports

    def report(self, value: float, step: int) -> None:
        """Report the objective's value at a step, from 0. A step that was reported is ignored.
        Raises TypeError and ValueError as Optuna does, NotImplementedError in a study of several
        objectives."""
        self._check_single("report")
        reported, at = _as_float(value, "value"), _as_int(step)
        if at < 0:
            raise ValueError(f"the step must be 0 or more, got {at}")
        if at in self._steps:
            _warn(f"the value of step {at} is ignored: that step is already reported")
            return
        self._steps.add(at)
        self.reports, self.last_report = len(self._steps), reported
        report = Report(
            step=at + 1,
            epoch=at + 1,
            whole=True,
            metrics={self._metric: reported},
            seconds={"train": time.perf_counter() - self._began},
            engine=OWN_CODE,
            advisory=True,
            own_step=at,
        )
        self._is_pruned = self._tell(report).prune

    def should_prune(self) -> bool:
        """Whether the pruner would end the trial after what was reported so far. Raises
        NotImplementedError in a study of several objectives."""
        self._check_single("should_prune")
        return self._is_pruned

    def _check_single(self, method: str) -> None:
        if len(self.study.directions) > 1:
            raise NotImplementedError(
                f"Trial.{method} is not supported for multi-objective optimization."
            )

    @property
    def data(self) -> "TrialData":
        """The study's data, split and prepared (`--data`), as `train(params, trial)` gets them; not
        one of Optuna's. Raises NetworkError where the study has none."""
        return self._call.data()

    # What the objective says of the trial

    def set_user_attr(self, key: str, value: Any) -> None:
        """Keep a value with the trial. Raises TypeError for one that JSON cannot hold."""
        json.dumps(value)
        self._tell(Noted({key: value}))
        self._user_attrs[key] = value

    @property
    def user_attrs(self) -> dict[str, Any]:
        """The values that were kept with the trial, by name."""
        return deepcopy(self._user_attrs)

    @property
    def system_attrs(self) -> dict[str, Any]:
        """Empty: Optuna's own notes of the trial are the loop's."""
        return {}

    def set_constraint(self, key: str, value: float) -> None:
        """State a constraint: the trial is feasible where all are 0 or less. The first value of a
        key counts. Raises TypeError and ValueError as Optuna does."""
        number = _as_float(value, "value")
        if math.isnan(number):
            raise ValueError(f"constraint {key!r} is nan; give a number, 0 or less where it holds")
        if key in self._constraints:
            _warn(f"constraint {key!r} is set already; its first value is used")
            return
        self._tell(Noted(constraints={key: number}))
        self._constraints[key] = number

    @property
    def constraints(self) -> dict[str, float]:
        """The constraints that were stated, by key."""
        return dict(self._constraints)


class StudyView:
    """What `trial.study` knows: the study's name and directions."""

    def __init__(self, request: TrialRequest, study: StudyOrigin) -> None:
        goals = (request.goal, *request.further_goals)
        self.study_name = study.name
        self.directions: list[Any] = [_as_optunas_direction(goal.direction) for goal in goals]
        self.metric_names = [goal.metric for goal in goals]
        self.user_attrs: dict[str, Any] = {}

    @property
    def direction(self) -> Any:
        """Of the only objective."""
        if len(self.directions) > 1:
            raise RuntimeError("a study of several objectives has no single direction")
        return self.directions[0]

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(
            f"trial.study.{name} is not there: a worker knows its own trial, and of the study its "
            "study_name, direction, directions and metric_names"
        )


# Optuna, where the user's file has imported it


def _optuna(module: str, name: str) -> Any:
    """A name of Optuna's, None where the user's code has not imported that module."""
    return getattr(sys.modules.get(module), name, None)


def _is_pruned(error: Exception) -> bool:
    optunas = _optuna("optuna.exceptions", "TrialPruned")
    return isinstance(error, TrialPruned) or (optunas is not None and isinstance(error, optunas))


def _pass_for_optunas(trial: ObjectiveTrial) -> None:
    """Let `isinstance(trial, optuna.Trial)` be true."""
    if (kind := _optuna("optuna.trial", "Trial")) is not None:
        kind.register(type(trial))


def _as_optunas_direction(direction: Direction) -> Any:
    kinds = _optuna("optuna.study", "StudyDirection")
    return direction if kinds is None else kinds[direction.upper()]


def _as_optunas(distribution: Distribution) -> Any:
    """Optuna's distribution where Optuna is loaded, else ours."""
    kinds = sys.modules.get("optuna.distributions")
    if kinds is None:
        return distribution
    if distribution.kind == "categorical":
        return kinds.CategoricalDistribution(distribution.choices)
    options: Mapping[str, Any] = {"log": distribution.log}
    if distribution.step is not None:
        options = {"log": distribution.log, "step": distribution.step}
    name = {"int": "IntDistribution", "float": "FloatDistribution"}[distribution.kind]
    return getattr(kinds, name)(distribution.low, distribution.high, **options)


def _as_float(value: Any, name: str) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        raise TypeError(
            f"the {name} is {type(value).__name__}, which is no number: give a float"
        ) from None


def _as_int(step: Any) -> int:
    try:
        return int(step)
    except (TypeError, ValueError):
        raise TypeError(
            f"the step is {type(step).__name__}, which is no whole number: give an int"
        ) from None


def _warn(text: str) -> None:
    warnings.warn(text, RuntimeWarning, stacklevel=4)
