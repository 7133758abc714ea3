"""Pruners by name: options, and what they decide."""

import inspect
import warnings
from typing import Any

import optuna
import pytest

from tuner.algorithms.options import POSITIVE
from tuner.algorithms.pruners import (
    PRUNERS,
    KnownBrackets,
    PrunerKind,
    check_can_pause,
    check_pruner,
    make_pruner,
    rungs,
)
from tuner.errors import SpecError
from tuner.study.spec import Choice
from tuner.values import Scalar

NEEDED: dict[str, dict[str, Scalar]] = {"threshold": {"lower": 0.5}}
OWN = {"patient": {"wrapped"}}  # options that are no argument of Optuna's constructor


def pruned_at(pruner: optuna.pruners.BasePruner, others: int = 20, steps: int = 27) -> int | None:
    """The step, of so many, at which a bad trial that gets worse is pruned after good ones."""
    study = optuna.create_study(direction="maximize", pruner=pruner, study_name="fixed")
    for _ in range(others):
        trial = study.ask()
        for step in range(1, steps + 1):
            trial.report(0.9, step)
            trial.should_prune()
        study.tell(trial, 0.9)
    trial = study.ask()
    for step in range(1, steps + 1):
        trial.report(0.1 - step / 1000, step)
        if trial.should_prune():
            return step
    return None


@pytest.mark.parametrize("name", PRUNERS)
def test_options_are_the_installed_constructors(name: str) -> None:
    kind = PRUNERS[name]
    taken = inspect.signature(kind.build).parameters
    own = OWN.get(name, set())
    assert (set(kind.options) | set(kind.settings)) - own <= set(taken)
    for option, said in kind.options.items():
        if option not in own:
            assert said.type.__name__ in str(taken[option].annotation)


@pytest.mark.parametrize("name", [name for name in PRUNERS if name != "none"])
def test_each_prunes_a_hopeless_trial(name: str) -> None:
    choice = Choice(name=name, options=NEEDED.get(name, {}))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pruner = make_pruner(choice, 27, "maximize")
    assert pruned_at(pruner) is not None


def test_none_prunes_nothing() -> None:
    assert pruned_at(make_pruner(Choice(name="none"), 27, "maximize")) is None


def test_asha_starts_at_the_first_step() -> None:
    assert pruned_at(make_pruner(Choice(name="asha"), 27, "maximize")) == 1
    later = Choice(name="asha", options={"min_resource": 9})
    assert pruned_at(make_pruner(later, 27, "maximize")) == 9


def test_patient_waits_and_hands_on_options() -> None:
    def step(**options: Any) -> int | None:
        return pruned_at(make_pruner(Choice(name="patient", options=options), 27, "maximize"))

    soon, late = step(patience=1), step(patience=5)
    assert soon is not None
    assert late is not None
    assert soon < late
    assert step(patience=1, n_warmup_steps=20) == 20
    assert step(patience=1, wrapped="none") is not None


def test_threshold_on_a_loss_needs_an_upper_bound() -> None:
    choice = Choice(name="threshold", options={"upper": 5})
    check_pruner(choice, 27, "minimize")
    with pytest.raises(SpecError, match="threshold needs the option lower"):
        check_pruner(choice, 27, "maximize")


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("hyprband", {}, "unknown pruner 'hyprband'; there are: hyperband, "),
        ("hyperband", {"factor": 2}, "no option 'factor'; it takes: reduction_factor, "),
        ("hyperband", {"max_resource": 9}, "no option 'max_resource'"),
        ("hyperband", {"reduction_factor": 1}, "reduction_factor must be >= 2, got 1"),
        ("hyperband", {"min_resource": 28}, "min_resource must be at most the 27 steps"),
        ("asha", {"min_resource": "auto"}, "min_resource must be a whole number, got 'auto'"),
        ("median", {"interval_steps": 0}, "interval_steps must be >= 1, got 0"),
        ("percentile", {"percentile": 101}, "percentile must be <= 100, got 101"),
        ("threshold", {}, "pruner threshold needs the option lower"),
        ("threshold", {"lower": 0.9, "upper": 0.1}, "pruner threshold: lower should be smaller"),
        ("patient", {"wrapped": "patient"}, "unknown pruner to wrap 'patient'"),
        ("patient", {"wrapped": "promotion"}, "unknown pruner to wrap 'promotion'"),
        ("promotion", {"min_resource": 28}, "min_resource must be at most the 27 steps"),
        ("promotion", {"reduction_factor": 1}, "reduction_factor must be >= 2, got 1"),
        ("promotion", {"max_resource": 9}, "no option 'max_resource'"),
        ("patient", {"wrapped": "mean"}, "unknown pruner to wrap 'mean'; there are: median"),
        ("patient", {"percentile": 5}, "pruner patient has no option 'percentile'"),
        ("patient", {"wrapped": "threshold"}, "threshold needs the option lower"),
        ("none", {"patience": 3}, "pruner none has no option 'patience'; it takes: none"),
    ],
)
def test_mistakes(name: str, options: dict[str, Scalar], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        check_pruner(Choice(name=name, options=options), 27, "maximize")


@pytest.mark.parametrize("name", PRUNERS)
def test_only_promotion_asks_for_checkpoints(name: str) -> None:
    choice = Choice(name=name)
    if name != "promotion":
        check_can_pause(choice, "own.py:train")
        return
    with pytest.raises(SpecError, match=r"do with own\.py:train, since it trains by itself: take"):
        check_can_pause(choice, "own.py:train")


@pytest.mark.parametrize("name", PRUNERS)
def test_single_step_studies_can_be_pruned(name: str) -> None:
    """But by those that need a second step, or do nothing."""
    pruner = make_pruner(Choice(name=name, options=NEEDED.get(name, {})), 1, "maximize")
    idle = name in ("patient", "none", "promotion")
    assert pruned_at(pruner, steps=1) == (None if idle else 1)


def test_only_patient_and_threshold_read_raw_values() -> None:
    raw = [name for name, kind in PRUNERS.items() if kind.reads_raw]
    assert raw == ["threshold", "patient"]


def test_brackets_hold_the_trials_that_optuna_puts_there() -> None:
    study = optuna.create_study(study_name="brackets")
    ours, theirs = KnownBrackets(max_resource=27), optuna.pruners.HyperbandPruner(max_resource=27)
    for count in (40, 20):  # those of later trials are not known yet
        study.add_trials([optuna.trial.create_trial(value=0.5) for _ in range(count)])
        for trial in study.trials:
            assert ours.prune(study, trial) == theirs.prune(study, trial)
        brackets = [
            [
                [trial.number for trial in pruner._create_bracket_study(study, n).get_trials()]
                for n in range(4)
            ]
            for pruner in (ours, theirs)
        ]
        assert brackets[0] == brackets[1]
        assert sum(map(len, brackets[0])) == len(study.trials)


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("hyperband", {}, [1, 3, 9, 27]),
        ("asha", {"min_resource": 2, "reduction_factor": 4}, [2, 8, 32]),
        ("median", {}, [5, 10, 15, 20, 25, 30, 35, 40]),
        ("none", {}, []),
    ],
)
def test_where_trials_are_compared(
    name: str, options: dict[str, Scalar], expected: list[int]
) -> None:
    assert rungs(Choice(name=name, options=options), 40, 5) == expected


class LatePruner(optuna.pruners.BasePruner):
    """Prunes every trial at a step."""

    def __init__(self, at_step: int, last_step: int) -> None:
        self._at_step, self._last_step = at_step, last_step

    def prune(self, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> bool:
        return trial.last_step in (self._at_step, self._last_step)


def test_a_new_pruner_is_one_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    late = PrunerKind(
        LatePruner,
        {"at_step": POSITIVE},
        {"at_step": 5},
        complete=lambda settings, max_step, direction: {**settings, "last_step": max_step},
        rungs=lambda settings, max_step, reports_an_epoch: [settings["at_step"]],
    )
    monkeypatch.setitem(PRUNERS, "late", late)
    choice = Choice(name="late", options={"at_step": 7})
    assert pruned_at(make_pruner(Choice(name="late"), 27, "maximize")) == 5
    assert pruned_at(make_pruner(choice, 27, "maximize")) == 7
    assert rungs(choice, 27, 1) == [7]
    with pytest.raises(SpecError, match="at_step must be >= 1, got 0"):
        check_pruner(Choice(name="late", options={"at_step": 0}), 27, "maximize")
