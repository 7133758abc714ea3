"""The trial that an Optuna objective is given: what it tells, and what it answers."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
from objective_studies import ObjectiveStudies
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState

from tuner.errors import NetworkError, SpecError, TrialPruned
from tuner.functions.calls import Call
from tuner.functions.objective_trial import ObjectiveTrial, run_objective
from tuner.functions.trial_files import OwnFiles
from tuner.manage.creation import create_study
from tuner.manage.wanted_study import wanted_study
from tuner.storage.studies import load_study
from tuner.storage.trials import enqueue, find_trial
from tuner.study.engines import OWN_CODE
from tuner.study.messages import (
    Distribution,
    Ended,
    Event,
    Goal,
    Noted,
    Reply,
    Report,
    StudyOrigin,
    Suggest,
    TrialRequest,
    WorkerSetup,
)


class Told:
    """A loop that gives each parameter its first choice or its lowest value, and prunes from the
    step `pruned_from` on."""

    def __init__(self, pruned_from: float = math.inf) -> None:
        self.events: list[Event] = []
        self._pruned_from = pruned_from

    def __call__(self, event: Event) -> Reply:
        self.events.append(event)
        if isinstance(event, Suggest):
            asked = event.distribution
            return Reply(value=asked.choices[0] if asked.choices else asked.low)
        is_late = isinstance(event, Report) and (event.own_step or 0) >= self._pruned_from
        return Reply(prune=is_late)


def call(function: Callable[..., Any], told: Told, objectives: int = 1) -> Call:
    goals = [Goal(f"value_{n}", "minimize") for n in range(objectives)]
    request = TrialRequest("f.py:f", {}, 1, goals[0], further_goals=tuple(goals[1:]), number=7)
    setup = WorkerSetup(data=None, study=StudyOrigin("mine"))
    return Call(function, "f.py:f", request, told, OwnFiles(None), setup)


def trial_of(told: Told, objectives: int = 1) -> ObjectiveTrial:
    return ObjectiveTrial(call(lambda trial: 0.0, told, objectives))


def ended(objective: Callable[[Any], Any], told: Told | None = None, objectives: int = 1) -> Ended:
    return run_objective(call(objective, told or Told(), objectives))


@pytest.mark.filterwarnings("ignore:Choices for a categorical")
def test_each_suggestion_is_asked_for_once() -> None:
    told = Told()
    trial = trial_of(told)
    assert trial.suggest_float("rate", 0.5, 1, step=0.5) == 0.5
    assert trial.suggest_int("depth", 1, 8, log=True) == 1
    assert trial.suggest_categorical("kind", ["a", None, (1, 2)]) == "a"
    assert trial.suggest_int("depth", 1, 8, log=True) == 1
    assert trial.suggest_uniform("u", 0, 1) == 0.0
    assert trial.suggest_loguniform("l", 1, 2) == 1.0
    assert trial.suggest_discrete_uniform("d", 0, 1, 0.25) == 0.0
    assert told.events[:3] == [
        Suggest("rate", Distribution("float", 0.5, 1.0, 0.5)),
        Suggest("depth", Distribution("int", 1, 8, 1, log=True)),
        Suggest("kind", Distribution("categorical", choices=("a", None, (1, 2)))),
    ]
    assert len(told.events) == 6
    assert list(trial.params) == ["rate", "depth", "kind", "u", "l", "d"]
    assert trial.distributions == {
        "rate": FloatDistribution(0.5, 1, step=0.5),
        "depth": IntDistribution(1, 8, log=True),
        "kind": CategoricalDistribution(("a", None, (1, 2))),
        "u": FloatDistribution(0, 1),
        "l": FloatDistribution(1, 2, log=True),
        "d": FloatDistribution(0, 1, step=0.25),
    }


def test_a_second_range_of_a_name_is_warned_of() -> None:
    trial = trial_of(Told())
    trial.suggest_float("x", 0, 1)
    with pytest.warns(RuntimeWarning, match="twice"):
        assert trial.suggest_float("x", 5, 6) == 0.0


def test_it_has_all_that_optunas_trial_has() -> None:
    public = {name for name in dir(optuna.Trial) if not name.startswith("_")}
    assert public <= set(dir(ObjectiveTrial)) | set(vars(trial_of(Told())))


def test_the_trial_passes_for_optunas() -> None:
    seen = []
    ended(lambda trial: seen.append(isinstance(trial, optuna.Trial)) or 0.0)
    assert seen == [True]


def test_the_study_is_known_by_name_and_direction() -> None:
    study = trial_of(Told()).study
    assert (study.study_name, study.direction.name) == ("mine", "MINIMIZE")
    with pytest.raises(AttributeError, match="a worker knows its own trial"):
        study.best_value  # noqa: B018


def test_the_pruner_is_asked_at_each_step() -> None:
    told = Told(pruned_from=2)
    answers = []

    def objective(trial: Any) -> float:
        for step in range(4):
            trial.report(1 / (step + 1), step)
            answers.append(trial.should_prune())
            if answers[-1]:
                raise optuna.TrialPruned
        return 0.0

    end = ended(objective, told)
    assert answers == [False, False, True]
    assert (end.end, end.score, end.epochs) == ("pruned", pytest.approx(1 / 3), 3)
    steps = [(each.step, each.own_step) for each in told.events if isinstance(each, Report)]
    assert steps == [(1, 0), (2, 1), (3, 2)]


def test_pruning_needs_no_report_and_no_optuna() -> None:
    def objective(trial: Any) -> float:
        raise TrialPruned("at once")

    end = ended(objective)
    assert (end.end, end.score) == ("pruned", None)


def test_a_step_counts_once() -> None:
    told = Told()
    trial = trial_of(told)
    trial.report(1, 3)
    with pytest.warns(RuntimeWarning, match="step 3 is ignored"):
        trial.report(2, 3)
    assert trial.last_report == 1.0
    for value, step, error in [("a", 1, TypeError), (1, "b", TypeError), (1, -1, ValueError)]:
        with pytest.raises(error):
            trial.report(value, step)  # type: ignore[arg-type]
    assert len(told.events) == 1


def test_attributes_and_constraints_are_told() -> None:
    told = Told()
    trial = trial_of(told)
    trial.set_user_attr("note", {"a": [1]})
    trial.set_constraint("size", 3)
    assert told.events == [Noted({"note": {"a": [1]}}), Noted(constraints={"size": 3.0})]
    assert (trial.user_attrs, trial.constraints) == ({"note": {"a": [1]}}, {"size": 3.0})
    with pytest.raises(TypeError):
        trial.set_user_attr("set", {1})
    with pytest.raises(ValueError, match="nan"):
        trial.set_constraint("other", math.nan)


@pytest.mark.parametrize(
    ("returned", "says"),
    [
        (math.nan, "returned nan"),
        (None, "returned None: return a number"),
        ("much", "returned 'much': return a number"),
        ((1, 2), "returned 2 values, and the study has 1 objective"),
    ],
)
def test_what_is_no_score_is_said(returned: object, says: str) -> None:
    with pytest.raises(NetworkError, match="f.py:f " + says):
        ended(lambda trial: returned)


def test_a_score_may_come_alone_or_in_a_list() -> None:
    assert ended(lambda trial: [2]).values == (2.0,)
    assert ended(lambda trial: -math.inf).score == -math.inf


def test_several_objectives_have_no_reports() -> None:
    told = Told()

    def objective(trial: Any) -> tuple[float, int]:
        for ask in (lambda: trial.report(1, 0), trial.should_prune):
            with pytest.raises(NotImplementedError):
                ask()
        return 0.5, 3

    assert ended(objective, told, objectives=2).values == (0.5, 3.0)
    [report] = told.events
    assert isinstance(report, Report)
    assert report.metrics == {"value_0": 0.5, "value_1": 3.0}
    with pytest.raises(NetworkError, match="returned 1 value, and the study has 2"):
        ended(lambda trial: 1.0, objectives=2)


# With a loop and SQL

DIES_ONCE = """
from pathlib import Path


def objective(trial):
    x, n = trial.suggest_float("x", 0, 1), trial.suggest_int("n", 1, 10**9)
    seen = Path("seen.txt")
    before = seen.read_text() if seen.exists() else ""
    seen.write_text(f"{before}{x} {n}\\n")
    if not before:
        raise SystemExit(9)
    return x
"""


def test_a_trial_that_is_begun_again_has_its_values_again(
    studies: ObjectiveStudies, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import thread_workers

    code = DIES_ONCE.replace("raise SystemExit(9)", "import thread_workers as t; raise t.Died(9)")
    assert thread_workers.Died
    studies.create(studies.write(code), sampler="random")
    studies.run(1)
    [trial] = studies.trials
    first, second = (tmp_path / "seen.txt").read_text().splitlines()
    assert first == second == f"{trial.params['x']} {trial.params['n']}"
    row = find_trial(studies.store, load_study(studies.store), 0)
    assert [attempt.end for attempt in row.attempts] == ["worker_lost", "complete"]


def test_a_space_that_changes_fails_as_in_optuna(studies: ObjectiveStudies) -> None:
    code = """
def objective(trial):
    return trial.suggest_categorical("n", list(range(trial.number + 1)))
"""
    studies.create(studies.write(code))
    outcome = studies.run(2)
    assert outcome.reason == "errors"
    assert outcome.failure is not None
    assert "parameter 'n': CategoricalDistribution does not support dynamic" in outcome.failure
    states = [trial.state for trial in studies.trials]
    assert states == [TrialState.COMPLETE, *[TrialState.FAIL] * 3]


def test_a_queued_configuration_needs_no_declared_space(studies: ObjectiveStudies) -> None:
    study = studies.create(studies.copy("parabola.py"))
    enqueue(studies.store, study, {"x": 2.5, "unknown": 1})
    studies.run(2)
    assert studies.trials[0].params == {"x": 2.5}
    assert studies.trials[0].value == 0.25


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"sampler": "grid"}, "sampler grid needs to know all parameters beforehand"),
        ({"params": {"x": 1.0}}, "x would have no effect"),
        ({"direction": "up"}, "must be maximize or minimize"),
        ({"direction": "minimize,maximize", "sampler": "cmaes"}, "takes one objective"),
        ({"direction": "minimize,maximize", "pruner": "median"}, "no trial is pruned"),
    ],
)
def test_what_an_objective_cannot_have_is_refused_at_creation(
    studies: ObjectiveStudies, options: dict[str, Any], says: str
) -> None:
    with pytest.raises(SpecError, match=says):
        studies.create(studies.copy("parabola.py"), **options)


def test_an_objective_gets_the_studys_data(studies: ObjectiveStudies) -> None:
    studies.create(studies.write("def objective(trial): return trial.data.outputs"), data="digits")
    studies.run(1)
    assert [trial.value for trial in studies.trials] == [10.0]


def test_a_syntax_error_is_said_with_its_line(studies: ObjectiveStudies) -> None:
    with pytest.raises(NetworkError, match=r"^objectives\.py:2: SyntaxError: "):
        studies.create(studies.write("import math\ndef objective(trial:\n"))


def test_what_trained_it_is_the_objective_itself() -> None:
    told = Told()

    def objective(trial: ObjectiveTrial) -> float:
        trial.report(1.0, 0)
        return 1.0

    assert run_objective(call(objective, told)).engine == OWN_CODE
    assert [event.engine for event in told.events if isinstance(event, Report)] == [OWN_CODE]


def test_a_metric_of_a_compiled_model_needs_its_direction(studies: ObjectiveStudies) -> None:
    studies.write("def build(params, input_shape, outputs): ...")
    options = {"network": "objectives.py:build", "data": "digits", "metric": "val_profit"}
    with pytest.raises(SpecError, match="model is compiled with, say --direction too"):
        create_study(wanted_study("own", **options), studies.settings, lambda: studies.store)
