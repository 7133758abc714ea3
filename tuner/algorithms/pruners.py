"""Optuna's pruners by name. Steps count the reports of a trial, from 1 to `max_step`; None
is for trials whose longest is not known.

To add one: an entry in PRUNERS, with the options that its constructor takes.
"""

from collections.abc import Callable, Collection, Container, Mapping
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

from tuner.algorithms.options import (
    COUNT,
    NUMBER,
    POSITIVE,
    Option,
    check_options,
    unknown,
    without_experimental_warnings,
)
from tuner.algorithms.promotion import PromotionRule, first_rung, promotion_rungs
from tuner.errors import SpecError
from tuner.study.messages import Direction
from tuner.study.spec import Choice
from tuner.values import Scalar

_FACTOR = Option(int, low=2)
_WAITING: dict[str, Option] = {"n_warmup_steps": COUNT, "interval_steps": POSITIVE}
_COMPARING = {"n_startup_trials": COUNT, **_WAITING, "n_min_trials": POSITIVE}


Settings = Mapping[str, Any]


def _as_given(settings: Settings, max_step: int | None, direction: Direction) -> Settings:
    return settings


def _each_epoch(settings: Settings, max_step: int, reports_an_epoch: int) -> list[int]:
    return list(range(reports_an_epoch, max_step + 1, reports_an_epoch))


@dataclass(frozen=True)
class PrunerKind:
    """All that is known of a pruner.

    `build`: Optuna's class. `options`: what the user may set; `more_options`: what else, given
    the options that were set. `settings`: our own choices, which the user's override. `complete`:
    makes the arguments of `build` of both, given the study's largest step and its direction; raises
    SpecError for settings that do not fit. `pauses`: a trial that it prunes is only paused, and it
    chooses later which of them goes on (`PromotionPruner`).

    `reads_raw`: judges a trial by its latest value, where the others judge its best so far: with
    the best alone nothing ever falls below a threshold again, and no patience runs out.
    `compares_reports`: compares a trial with what others have reported. `keeps_rungs`: keeps by
    itself what it compares. `rungs`: the steps at which it compares trials, given its settings, the
    study's largest step and the steps of an epoch.
    """

    build: Callable[..., BasePruner]
    options: Mapping[str, Option] = field(default_factory=dict)
    settings: Mapping[str, Scalar] = field(default_factory=dict)
    more_options: Callable[[Mapping[str, Scalar]], Mapping[str, Option]] = lambda given: {}
    complete: Callable[[Settings, int | None, Direction], Settings] = _as_given
    reads_raw: bool = False
    compares_reports: bool = False
    keeps_rungs: bool = False
    pauses: bool = False
    rungs: Callable[[Settings, int, int], list[int]] = _each_epoch


class KnownBrackets(HyperbandPruner):
    """Optuna's Hyperband for one study, which remembers each trial's bracket. Optuna's own computes
    all of them whenever it judges a trial, which takes 0.1 s with 50 000 trials."""

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


class PromotionPruner(BasePruner):
    """Pauses trials at rungs, and chooses which go on: see `promotion.PromotionRule`. It knows what
    the trials have reported, no more, so each loop of a study decides the same."""

    def __init__(
        self, min_resource: int, reduction_factor: int, max_resource: int, direction: Direction
    ) -> None:
        rungs = promotion_rungs(min_resource, reduction_factor, max_resource)
        self._rule = PromotionRule(rungs, reduction_factor, maximize=direction == "maximize")
        # How many reports of each trial have been observed.
        self._observed: dict[int, int] = {}

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        """Whether the trial is to be paused after its last report."""
        step = trial.last_step
        if step not in self._rule.rungs:
            return False
        self._observe(study)
        self._rule.observe(trial.number, trial.intermediate_values)
        return self._rule.pauses(trial.number, step)

    def choose(
        self, study: optuna.Study, paused: Collection[int], *, is_closing: bool
    ) -> int | None:
        """The number of the trial, of these paused ones, that goes on now; None for none.
        `is_closing`: the study begins no new trial."""
        self._observe(study)
        return self._rule.choose(paused, is_closing=is_closing)

    def _observe(self, study: optuna.Study) -> None:
        for trial in study.get_trials(deepcopy=False):
            reports = trial.intermediate_values
            if len(reports) != self._observed.get(trial._number, 0):
                self._rule.observe(trial._number, reports)
                self._observed[trial._number] = len(reports)


def _halving_rungs(settings: Settings, max_step: int, reports_an_epoch: int) -> list[int]:
    rungs, step = [], int(settings["min_resource"])
    while step <= max_step:
        rungs.append(step)
        step *= int(settings["reduction_factor"])
    return rungs


def _complete_asha(settings: Settings, max_step: int | None, direction: Direction) -> Settings:
    return _check_resource("asha", settings, max_step)


def _complete_hyperband(settings: Settings, max_step: int | None, direction: Direction) -> Settings:
    # Optuna takes the longest of the trials that are complete: none is pruned before the first.
    longest = "auto" if max_step is None else max_step
    return {**_check_resource("hyperband", settings, max_step), "max_resource": longest}


def _check_resource(name: str, settings: Settings, max_step: int | None) -> Settings:
    if max_step is not None and settings["min_resource"] > max_step:
        raise SpecError(
            f"pruner {name}: min_resource must be at most the {max_step} steps of a whole trial, "
            f"got {settings['min_resource']}"
        )
    return settings


def _promotion_rungs(settings: Settings, max_step: int, reports_an_epoch: int) -> list[int]:
    first = settings.get("min_resource") or first_rung(max_step)
    return promotion_rungs(first, settings["reduction_factor"], max_step)


def _complete_promotion(settings: Settings, max_step: int | None, direction: Direction) -> Settings:
    if max_step is None:
        raise SpecError("pruner promotion needs to know how many epochs a trial trains at most")
    with_rung = {"min_resource": first_rung(max_step), **settings}
    checked = _check_resource("promotion", with_rung, max_step)
    return {**checked, "max_resource": max_step, "direction": direction}


def _complete_threshold(settings: Settings, max_step: int | None, direction: Direction) -> Settings:
    needed = "lower" if direction == "maximize" else "upper"
    if needed not in settings:
        raise SpecError(
            f"pruner threshold needs the option {needed}: the objective is to {direction}, so "
            f"a trial {'below' if needed == 'lower' else 'above'} it is pruned"
        )
    return settings


def _options_of_wrapped(given: Mapping[str, Scalar]) -> Mapping[str, Option]:
    wrapped = given.get("wrapped", PRUNERS["patient"].settings["wrapped"])
    others = [name for name, kind in PRUNERS.items() if name != "patient" and not kind.pauses]
    if wrapped not in others:
        raise unknown("pruner to wrap", str(wrapped), others)
    return PRUNERS[str(wrapped)].options


def _complete_patient(settings: Settings, max_step: int | None, direction: Direction) -> Settings:
    """Optuna's patience around another pruner, to which the options go that are not its own."""
    own = PRUNERS["patient"].options
    name = str(settings["wrapped"])
    inner = Choice(name=name, options={k: v for k, v in settings.items() if k not in own})
    # Around nothing, Optuna prunes as soon as the patience has run out.
    pruner = None if name == "none" else make_pruner(inner, max_step, direction)
    patience = {k: v for k, v in settings.items() if k in own and k != "wrapped"}
    return {"wrapped_pruner": pruner, **patience}


PRUNERS: dict[str, PrunerKind] = {
    "hyperband": PrunerKind(
        KnownBrackets,
        {"min_resource": POSITIVE, "reduction_factor": _FACTOR, "bootstrap_count": COUNT},
        {"min_resource": 1, "reduction_factor": 3},
        complete=_complete_hyperband,
        keeps_rungs=True,
        rungs=_halving_rungs,
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
        complete=_complete_asha,
        keeps_rungs=True,
        rungs=_halving_rungs,
    ),
    "promotion": PrunerKind(
        PromotionPruner,
        {"min_resource": POSITIVE, "reduction_factor": _FACTOR},
        {"reduction_factor": 3},
        complete=_complete_promotion,
        compares_reports=True,
        pauses=True,
        rungs=_promotion_rungs,
    ),
    "median": PrunerKind(MedianPruner, _COMPARING, compares_reports=True),
    "percentile": PrunerKind(
        PercentilePruner,
        {"percentile": Option(float, low=0, high=100), **_COMPARING},
        {"percentile": 25.0},
        compares_reports=True,
    ),
    "threshold": PrunerKind(
        ThresholdPruner,
        {"lower": NUMBER, "upper": NUMBER, **_WAITING},
        complete=_complete_threshold,
        reads_raw=True,
    ),
    "patient": PrunerKind(
        PatientPruner,
        {"wrapped": Option(str), "patience": COUNT, "min_delta": Option(float, low=0)},
        {"wrapped": "median", "patience": 3},
        more_options=_options_of_wrapped,
        complete=_complete_patient,
        reads_raw=True,
        compares_reports=True,
    ),
    "none": PrunerKind(NopPruner, rungs=lambda settings, max_step, reports_an_epoch: []),
}


def make_pruner(choice: Choice, max_step: int | None, direction: Direction) -> BasePruner:
    """The pruner of a study whose trials report at most `max_step` steps, None where that is not
    known. Raises SpecError."""
    kind = PRUNERS.get(choice.name)
    if kind is None:
        raise unknown("pruner", choice.name, PRUNERS)
    options = {**kind.options, **kind.more_options(choice.options)}
    check_options("pruner", choice.name, choice.options, options)
    settings = kind.complete({**kind.settings, **choice.options}, max_step, direction)
    with without_experimental_warnings():
        try:
            return kind.build(**settings)
        except (ValueError, TypeError) as error:
            raise SpecError(f"pruner {choice.name}: {error}") from error


def check_pruner(choice: Choice, max_step: int | None, direction: Direction) -> None:
    """Raises SpecError for an unknown name or option, or a value that does not fit."""
    make_pruner(choice, max_step, direction)


def check_can_pause(choice: Choice, function: str) -> None:
    """Raises SpecError for a pruner that pauses trials: this function trains by itself, and tuner
    has no checkpoints of it."""
    kind = PRUNERS.get(choice.name)
    if kind is not None and kind.pauses:
        raise SpecError(
            f"pruner {choice.name} pauses trials and goes on with them later, which tuner cannot "
            f"do with {function}, since it trains by itself: take asha or hyperband"
        )


def rungs(choice: Choice, max_step: int, reports_an_epoch: int) -> list[int]:
    """The steps, up to `max_step`, at which a study's pruner compares trials."""
    kind = PRUNERS[choice.name]
    return kind.rungs({**kind.settings, **choice.options}, max_step, reports_an_epoch)
