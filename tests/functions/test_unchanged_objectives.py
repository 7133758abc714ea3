"""Optuna's objectives as they stand: the same file, run by Optuna and by tuner."""

import optuna
import pytest
from objective_studies import OBJECTIVES, ObjectiveStudies, asked_for, by_optuna, sha256
from optuna.trial import TrialState

from tuner.storage.pareto_front import pareto_front
from tuner.storage.studies import load_study

MINIMIZE, MAXIMIZE = ("minimize",), ("maximize",)


@pytest.fixture(autouse=True)
def quiet() -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)


def same_in_both(
    studies: ObjectiveStudies, name: str, trials: int, directions: tuple[str, ...] = MINIMIZE
) -> tuple[list[optuna.trial.FrozenTrial], list[optuna.trial.FrozenTrial]]:
    """The trials of both runs, after the file and what it asks for were compared."""
    file = studies.copy(name)
    print(f"{name}: SHA-256 {sha256(file)}")
    assert sha256(file) == sha256(OBJECTIVES / name)
    theirs = by_optuna(OBJECTIVES / name, trials, directions).trials
    studies.create(file, direction=directions, sampler="random")
    studies.run(trials)
    ours = studies.trials
    assert asked_for(ours) == asked_for(theirs)
    assert len(ours) == len(theirs) == trials
    assert [set(trial.user_attrs) - _OURS for trial in ours] == [set(t.user_attrs) for t in theirs]
    return ours, theirs


_OURS = {"end", "best_epoch", "parameter_count"}
COMPLETE, PRUNED = TrialState.COMPLETE, TrialState.PRUNED


def states(trials: list[optuna.trial.FrozenTrial]) -> set[TrialState]:
    return {trial.state for trial in trials}


def test_one_parameter(studies: ObjectiveStudies) -> None:
    ours, _ = same_in_both(studies, "parabola.py", 3)
    assert [trial.value for trial in ours] == [(t.params["x"] - 2) ** 2 for t in ours]


def test_parameters_under_conditions(studies: ObjectiveStudies) -> None:
    ours, theirs = same_in_both(studies, "classifiers.py", 8, MAXIMIZE)
    for trials in (ours, theirs):
        for trial in trials:
            assert ("svc_c" in trial.params) == (trial.params["classifier"] == "svc")


def test_pruning_in_a_training_loop(studies: ObjectiveStudies) -> None:
    ours, theirs = same_in_both(studies, "partial_fit.py", 12, MAXIMIZE)
    assert states(ours) == states(theirs) == {COMPLETE, PRUNED}
    for trial in ours:
        assert list(trial.intermediate_values) == list(range(len(trial.intermediate_values)))
        assert trial.value == trial.intermediate_values[trial.last_step or 0]


def test_two_values(studies: ObjectiveStudies) -> None:
    directions = ("minimize", "minimize")
    same_in_both(studies, "two_objectives.py", 12, directions)
    study = optuna.load_study(study_name="own", storage=studies.store.optuna)
    assert [direction.name.lower() for direction in study.directions] == list(directions)
    front = pareto_front(studies.store, load_study(studies.store))
    assert [trial.number for trial in front] == [trial.number for trial in study.best_trials]
    values = [(trial.value, trial.metrics["value_1"]) for trial in front]
    assert values == [tuple(trial.values) for trial in study.best_trials]


def test_attributes_and_constraints(studies: ObjectiveStudies) -> None:
    ours, theirs = same_in_both(studies, "attributes.py", 30)
    assert states(ours) == states(theirs) == {COMPLETE, PRUNED}
    for trial in [*ours, *theirs]:
        assert trial.user_attrs["weights"] == trial.params["width"] * 10
        assert trial.constraints == {"size": trial.params["width"] - 32}
        has_report = trial.last_step is not None
        assert (trial.value is None) == (trial.state == PRUNED and not has_report)


@pytest.mark.tensorflow
def test_keras_with_a_callback(studies: ObjectiveStudies) -> None:
    ours, theirs = same_in_both(studies, "keras_loop.py", 6)
    assert states(ours) == states(theirs) == {COMPLETE, PRUNED}
