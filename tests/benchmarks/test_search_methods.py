"""The methods of the bench, driven by the simulator on a small table."""

import math
from typing import ClassVar

import pytest
from curve_tables import mixed_table

from benchmarks.search.contract import Answer, NewTrial, PausedTrial, Setting
from benchmarks.search.lookup import NearestNeighbour
from benchmarks.search.methods import code_version, make_method, top_k
from benchmarks.search.methods.tuner_search import parse_form, tuner_space
from benchmarks.search.simulator import Simulator
from tuner.algorithms.pruners import PRUNERS
from tuner.study.spec import Choice

TABLE = mixed_table()
LOOKUP = NearestNeighbour(TABLE)
METHODS = (
    "random",
    "top-k",
    "optuna:tpe",
    "optuna:random+hyperband",
    "optuna:tpe+asha",
    "optuna:tpe+median",
    "tuner:tpe+hyperband",
    "tuner:random+median+patience",
    "prior:wrong/random+hyperband",
    "tuner:tpe+promotion",
)


def setting(seed=0, workers=2):
    return Setting(TABLE.space, TABLE.max_epochs, seed, workers, TABLE.name, TABLE.priors)


class Recorded:
    """A method, and all that it was asked and told."""

    def __init__(self, method):
        self.method, self.calls = method, []

    def ask(self):
        work = self.method.ask()
        self.calls.append(work)
        return work

    def report(self, trial, epoch, value):
        answer = self.method.report(trial, epoch, value)
        self.calls.append((trial, epoch, value, answer))
        return answer

    def finished(self, trial, value):
        self.method.finished(trial, value)
        self.calls.append((trial, "ended diverged" if math.isnan(value) else value))


def course_of(name, seed=0, budget=100):
    method = Recorded(make_method(name, setting(seed)))
    return Simulator(method, LOOKUP, 2, budget).run(), method.calls


@pytest.mark.parametrize("name", METHODS)
def test_a_method_spends_its_budget_and_repeats_itself_with_a_seed(name):
    course, calls = course_of(name)
    assert (course.spent, course.stuck) == (100, False)
    assert course.trials > 10
    assert course_of(name)[1] == calls
    assert course_of(name, seed=1)[1] != calls
    for work in calls:
        if isinstance(work, NewTrial):
            assert set(work.params) <= set(TABLE.space.names)
            assert ("momentum" in work.params) == (work.params["optimizer"] == "sgd")


@pytest.mark.parametrize("name", ["optuna:random+hyperband", "tuner:random+asha"])
def test_pruners_end_most_trials_early(name):
    course, calls = course_of(name)
    stops = [call for call in calls if isinstance(call, tuple) and call[-1] is Answer.STOP]
    assert len(stops) > course.trials / 2 > course.complete > 0


def test_promotion_pauses_trials_and_goes_on_with_some():
    course, calls = course_of("tuner:random+promotion")
    pauses = [call for call in calls if isinstance(call, tuple) and call[-1] is Answer.PAUSE]
    goes_on = [call for call in calls if isinstance(call, PausedTrial)]
    assert len(pauses) > course.trials / 2 > len(goes_on) > 0
    assert course.complete > 0


class TestTopK:
    """Rounds of four configurations, of which the best goes on."""

    VALUES: ClassVar = {0: 3.0, 1: 1.0, 2: 2.0, 3: 4.0}

    def test_the_best_of_a_round_is_trained_to_its_end(self, monkeypatch):
        monkeypatch.setattr(top_k, "ROUND", 4)
        monkeypatch.setattr(top_k, "KEPT", 1)
        method = make_method("top-k", setting())
        started = [method.ask() for _ in range(4)]
        assert all(isinstance(work, NewTrial) for work in started)
        assert method.ask() is None  # until the last first epoch has ended
        for work in started:
            assert method.report(work.trial, 1, self.VALUES[work.trial]) is Answer.PAUSE
        assert method.ask() == PausedTrial(1)
        assert method.ask() is None
        assert method.report(1, 2, 9.0) is Answer.GO_ON
        method.finished(1, 0.5)
        assert isinstance(method.ask(), NewTrial)

    def test_a_round_in_which_all_diverge_is_followed_by_another(self, monkeypatch):
        monkeypatch.setattr(top_k, "ROUND", 2)
        method = make_method("top-k", setting())
        for work in [method.ask(), method.ask()]:
            method.finished(work.trial, math.nan)
        assert isinstance(method.ask(), NewTrial)


class TestTunerSearch:
    def test_optuna_is_told_the_running_best(self):
        method = make_method("tuner:random", setting())
        trial = method.ask().trial
        for epoch, value in enumerate((3.0, 1.0, 2.0), start=1):
            assert method.report(trial, epoch, value) is Answer.GO_ON
        frozen = method.study.trials[0]
        assert frozen.intermediate_values == {1: 3.0, 2: 1.0, 3: 1.0}

    def test_a_pruner_of_trends_reads_raw_values(self):
        method = make_method("tuner:random+patient(patience=2)", setting())
        trial = method.ask().trial
        for epoch, value in enumerate((3.0, 1.0, 2.0), start=1):
            method.report(trial, epoch, value)
        assert method.study.trials[0].intermediate_values[3] == 2.0

    def test_a_diverged_trial_is_told_pruned_and_infeasible(self):
        method = make_method("tuner:tpe", setting())
        trial = method.ask().trial
        method.report(trial, 1, 5.0)
        method.finished(trial, math.nan)
        frozen = method.study.trials[0]
        assert (frozen.state.name, frozen.constraints) == ("PRUNED", {"feasible": 1.0})

    def test_patience_completes_a_trial_with_its_best(self):
        method = make_method("tuner:random+asha+patience", setting())
        trial = method.ask().trial
        answers = [method.report(trial, epoch, float(epoch)) for epoch in range(1, 7)]
        assert answers == [Answer.GO_ON] * 5 + [Answer.STOP]
        frozen = method.study.trials[0]
        assert (frozen.state.name, frozen.value) == ("COMPLETE", 1.0)
        assert frozen.intermediate_values[9] == 1.0  # the rung that it did not reach

    def test_its_space_is_the_tables(self):
        space = tuner_space(TABLE.space)
        for params in TABLE.configurations:
            assert space.flatten(params) == params

    def test_a_form_names_options(self):
        text = "tpe(n_startup_trials=20,group=false)+hyperband(reduction_factor=4)+patience"
        assert parse_form(text) == (
            Choice(name="tpe", options={"n_startup_trials": 20, "group": False}),
            Choice(name="hyperband", options={"reduction_factor": 4}),
            5,
        )


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("bohb", "unknown method 'bohb'; there are: random"),
        ("random:3", "random takes no form"),
        ("optuna:cma", "samplers are tpe, random"),
        ("tuner:tpe+hyperban", "unknown pruner 'hyperban'; there are: hyperband"),
        ("tuner:tpe+asha(rungs=3)", "pruner asha has no option 'rungs'"),
        ("tuner:tpe(seed)+asha", "an option takes NAME=VALUE, got 'seed'"),
        ("tuner:tpe+asha+median", "is not tuner:SAMPLER"),
        ("tuner:", "is no NAME"),
    ],
)
def test_a_wrong_name_is_refused(name, problem):
    with pytest.raises(ValueError, match=problem):
        make_method(name, setting())


def test_the_version_is_of_the_code_that_a_method_uses(monkeypatch):
    versions = {name: code_version(name) for name in ("random", "tuner:tpe", "tuner:random")}
    assert len(set(versions.values())) == 3
    assert code_version("tuner:tpe") == versions["tuner:tpe"]
    with_pruner = code_version("tuner:tpe+hyperband")
    monkeypatch.setitem(PRUNERS["hyperband"].settings, "min_resource", 2)
    assert code_version("tuner:tpe+hyperband") != with_pruner
    assert code_version("tuner:tpe") == versions["tuner:tpe"]
    pausing = code_version("tuner:tpe+promotion")
    monkeypatch.setattr("benchmarks.search.methods._PAUSING_CODE", ())
    assert code_version("tuner:tpe+promotion") != pausing
    assert code_version("tuner:tpe") == versions["tuner:tpe"]
    monkeypatch.setattr("benchmarks.search.methods.version", lambda package: "5.9")
    assert code_version("tuner:tpe") != versions["tuner:tpe"]


def test_a_prior_is_taken_from_the_table() -> None:
    first = make_method("prior:first-good/random", setting()).ask()
    assert isinstance(first, NewTrial)
    assert first.params == TABLE.priors["good"]
    with pytest.raises(ValueError, match="no prior perfect of table"):
        make_method("prior:perfect/random", setting())
