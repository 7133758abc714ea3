"""Optuna's pruners by name. Steps count a study's report intervals, from 1 to `max_step`.

To add one: a line in PRUNERS, with the options that its constructor takes.
"""

from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass, field
from typing import Any

import optuna
from optuna.pruners import (
    BasePruner,
    HyperbandPruner,
    MedianPruner,
    NopPruner,
    PatientPruner,
    PercentilePruner,
    SuccessiveHalvingPruner,
    ThresholdPruner,
)
from optuna.trial import FrozenTrial, TrialState

from tuner.algorithms.options import COUNT, NUMBER, POSITIVE, Option, check_options, quiet, unknown
from tuner.errors import SpecError
from tuner.study.spec import Choice, Direction
from tuner.values import Scalar

_FACTOR = Option(int, low=2)
_WAITING: dict[str, Option] = {"n_warmup_steps": COUNT, "interval_steps": POSITIVE}
_COMPARING = {"n_startup_trials": COUNT, **_WAITING, "n_min_trials": POSITIVE}


@dataclass(frozen=True)
class PrunerKind:
    """`options`: what the user may set. `settings`: our own choices, under the user's. `raw`:
    judges a trial by its latest value, where the others judge its best so far. `reports`: compares
    a trial with what others have reported; Hyperband and ASHA keep what they need by themselves."""

    build: Callable[..., BasePruner]
    options: Mapping[str, Option] = field(default_factory=dict)
    settings: Mapping[str, Scalar] = field(default_factory=dict)
    raw: bool = False
    reports: bool = False


class KnownBrackets(HyperbandPruner):
    """Optuna's Hyperband, for one study: it asks for every trial's bracket whenever it judges one,
    which takes 0.1 s with 50 000 trials."""

    _brackets: dict[int, int] | None = None

    def _get_bracket_id(self, study: optuna.Study, trial: FrozenTrial) -> int:
        if not self._pruners:
            return int(super()._get_bracket_id(study, trial))
        brackets = self._brackets = {} if self._brackets is None else self._brackets
        if (bracket := brackets.get(trial._number)) is None:
            bracket = brackets[trial._number] = int(super()._get_bracket_id(study, trial))
        return bracket

    def _create_bracket_study(self, study: optuna.Study, bracket_id: int) -> Any:
        return _BracketView(study, self, bracket_id)

    def in_bracket(
        self, study: optuna.Study, trials: list[FrozenTrial], bracket_id: int
    ) -> list[FrozenTrial]:
        """Those of the trials, in their order, that the bracket holds."""
        brackets = self._brackets or {}
        for trial in trials:
            if trial._number not in brackets:
                self._get_bracket_id(study, trial)
        brackets = self._brackets or {}
        return [trial for trial in trials if brackets[trial._number] == bracket_id]


class _BracketView:
    """A study with the trials of one bracket alone."""

    def __init__(self, study: optuna.Study, pruner: KnownBrackets, bracket_id: int) -> None:
        self._study, self._pruner, self._bracket_id = study, pruner, bracket_id

    def get_trials(
        self, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        trials = self._study.get_trials(deepcopy=deepcopy, states=states)
        return self._pruner.in_bracket(self._study, trials, self._bracket_id)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._study, name)


PRUNERS: dict[str, PrunerKind] = {
    "hyperband": PrunerKind(
        KnownBrackets,
        {"min_resource": POSITIVE, "reduction_factor": _FACTOR, "bootstrap_count": COUNT},
        {"min_resource": 1, "reduction_factor": 3},
    ),
    "asha": PrunerKind(
        SuccessiveHalvingPruner,
        {
            "min_resource": POSITIVE,
            "reduction_factor": _FACTOR,
            "min_early_stopping_rate": COUNT,
            "bootstrap_count": COUNT,
        },
        {"min_resource": 1, "reduction_factor": 3},
    ),
    "median": PrunerKind(MedianPruner, _COMPARING, reports=True),
    "percentile": PrunerKind(
        PercentilePruner,
        {"percentile": Option(float, low=0, high=100), **_COMPARING},
        {"percentile": 25.0},
        reports=True,
    ),
    "threshold": PrunerKind(
        ThresholdPruner, {"lower": NUMBER, "upper": NUMBER, **_WAITING}, raw=True
    ),
    "patient": PrunerKind(
        PatientPruner,
        {"wrapped": Option(str), "patience": COUNT, "min_delta": Option(float, low=0)},
        {"wrapped": "median", "patience": 3},
        raw=True,
        reports=True,
    ),
    "none": PrunerKind(NopPruner),
}


def make_pruner(choice: Choice, max_step: int, direction: Direction) -> BasePruner:
    """The pruner of a study whose trials report at most `max_step` steps. Raises SpecError."""
    if choice.name not in PRUNERS:
        raise unknown("pruner", choice.name, PRUNERS)
    if choice.name == "patient":
        return _patient(choice, max_step, direction)
    kind = PRUNERS[choice.name]
    check_options("pruner", choice.name, choice.options, kind.options)
    settings: dict[str, Any] = {**kind.settings, **choice.options}
    if settings.get("min_resource", 1) > max_step:
        raise SpecError(
            f"pruner {choice.name}: min_resource must be at most the {max_step} steps of a whole "
            f"trial, got {settings['min_resource']}"
        )
    if choice.name == "hyperband":
        settings["max_resource"] = max_step
    if choice.name == "threshold":
        _check_threshold(settings, direction)
    return _build(choice.name, settings)


def check_pruner(choice: Choice, max_step: int, direction: Direction) -> None:
    """Raises SpecError for an unknown name or option, or a value that does not fit."""
    make_pruner(choice, max_step, direction)


def reads_raw(choice: Choice) -> bool:
    """Whether the pruner is to be given each step's own value instead of the best so far: with
    the best alone nothing ever falls below a threshold again, and no patience runs out."""
    return choice.name in PRUNERS and PRUNERS[choice.name].raw


def _patient(choice: Choice, max_step: int, direction: Direction) -> BasePruner:
    """Optuna's patience around another pruner, to which the options it does not know go."""
    kind = PRUNERS["patient"]
    settings: dict[str, Any] = {**kind.settings, **choice.options}
    wrapped = settings.pop("wrapped")
    inner_names = [name for name in PRUNERS if name != "patient"]
    if wrapped not in inner_names:
        raise unknown("pruner to wrap", str(wrapped), inner_names)
    inner_kind = PRUNERS[wrapped]
    check_options("pruner", "patient", choice.options, {**kind.options, **inner_kind.options})
    inner = Choice(
        name=wrapped,
        options={name: settings.pop(name) for name in inner_kind.options if name in settings},
    )
    # Around nothing, Optuna prunes as soon as the patience has run out.
    pruner = None if wrapped == "none" else make_pruner(inner, max_step, direction)
    return _build("patient", {"wrapped_pruner": pruner, **settings})


def _check_threshold(settings: Mapping[str, Any], direction: Direction) -> None:
    needed = "lower" if direction == "maximize" else "upper"
    if needed not in settings:
        raise SpecError(
            f"pruner threshold needs the option {needed}: the objective is to {direction}, so "
            f"a trial {'below' if needed == 'lower' else 'above'} it is pruned"
        )


def _build(name: str, settings: Mapping[str, Any]) -> BasePruner:
    with quiet():
        try:
            return PRUNERS[name].build(**settings)
        except (ValueError, TypeError) as error:
            raise SpecError(f"pruner {name}: {error}") from error
