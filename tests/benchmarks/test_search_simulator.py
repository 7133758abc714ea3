"""The simulator: whose epoch ends when, what a method is told, and what counts as spent."""

import math

import numpy as np
import pytest
from curve_tables import ScriptedMethod

from benchmarks.search.contract import Answer
from benchmarks.search.lookup import NearestNeighbour
from benchmarks.search.simulator import ContractError, Course, Simulator
from benchmarks.search.spaces import TableParameter, TableSpace
from benchmarks.search.tables import CurveTable

SPACE = TableSpace((TableParameter("x", "float", 0.0, 2.0),))
POINTS = ({"x": 0.0}, {"x": 1.0}, {"x": 2.0})
CURVES = np.array([[5.0, 4.0, 3.0], [9.0, 1.0, 2.0], [8.0, np.nan, np.nan]])


def simulate(method, workers=1, budget=100, seconds=None):
    table = CurveTable("t", SPACE, POINTS, CURVES, seconds)
    return Simulator(method, NearestNeighbour(table), workers, budget).run()


def test_a_trial_reports_each_epoch_and_finishes_with_its_best():
    method = ScriptedMethod([POINTS[1]])
    course = simulate(method)
    assert method.told == [
        ("report", 0, 1, 9.0),
        ("report", 0, 2, 1.0),
        ("report", 0, 3, 2.0),
        ("finished", 0, 1.0),
    ]
    assert (course.spent, course.trials, course.complete, course.stuck) == (3, 1, 1, True)
    assert (course.epochs, course.scores) == ([1, 2], [9.0, 1.0])


def test_a_diverged_epoch_is_spent_and_ends_the_trial():
    method = ScriptedMethod([POINTS[2], POINTS[0]])
    course = simulate(method, budget=3)
    assert method.told[0] == ("report", 0, 1, 8.0)
    assert method.told[1][:2] == ("finished", 0) and math.isnan(method.told[1][2])
    assert method.told[2] == ("report", 1, 1, 5.0)
    assert (course.spent, course.diverged, course.epochs, course.scores) == (3, 1, [1, 3], [8, 5])


def test_workers_take_turns_and_all_their_epochs_count():
    method = ScriptedMethod(POINTS[:2])
    course = simulate(method, workers=2, budget=4)
    assert [told[1:3] for told in method.told] == [(0, 1), (1, 1), (0, 2), (1, 2)]
    assert (course.spent, course.stuck, course.complete) == (4, False, 0)


def test_a_slow_trial_reports_less_often():
    method = ScriptedMethod(POINTS[:2])
    simulate(method, workers=2, budget=4, seconds=np.array([3.0, 1.0, 1.0]))
    assert [told[1:] for told in method.told if told[0] == "report"] == [
        (1, 1, 9.0),
        (1, 2, 1.0),
        (0, 1, 5.0),
        (1, 3, 2.0),
    ]


def test_a_stopped_trial_is_told_no_more_and_frees_its_worker():
    method = ScriptedMethod([POINTS[0], POINTS[1]], {(0, 1): Answer.STOP})
    simulate(method)
    assert [told[:2] for told in method.told if told[1] == 0] == [("report", 0)]
    assert ("finished", 1, 1.0) in method.told


def test_a_paused_trial_goes_on_where_it_was():
    method = ScriptedMethod([POINTS[0], POINTS[1]], {(0, 2): Answer.PAUSE}, resumed=[0])
    course = simulate(method)
    assert [told[1:3] for told in method.told if told[0] == "report"] == [
        (0, 1),
        (0, 2),
        (1, 1),
        (1, 2),
        (1, 3),
        (0, 3),
    ]
    assert (course.spent, course.trials, course.asks, course.complete) == (6, 2, 3, 2)


def test_the_answer_after_the_last_epoch_does_not_matter():
    method = ScriptedMethod([POINTS[0]], {(0, 3): Answer.PAUSE}, resumed=[])
    assert simulate(method).complete == 1
    assert method.told[-1] == ("finished", 0, 3.0)


@pytest.mark.parametrize(
    ("method", "problem"),
    [
        (ScriptedMethod(POINTS, number=lambda index: 7), "trial 7 was started before"),
        (ScriptedMethod([], resumed=[4]), "trial 4 is not paused"),
        (ScriptedMethod([POINTS[0]], {(0, 1): Answer.STOP}, resumed=[0]), "trial 0 is not paused"),
    ],
)
def test_what_the_contract_forbids_is_refused(method, problem):
    with pytest.raises(ContractError, match=problem):
        simulate(method)


def test_the_best_so_far_and_the_epochs_to_a_target():
    course = Course(epochs=[2, 5, 9], scores=[3.0, 2.0, 1.0])
    assert [course.best_at(n) for n in (1, 2, 8, 9)] == [math.inf, 3.0, 2.0, 1.0]
    assert [course.epochs_to(target) for target in (4.0, 2.5, 1.0, 0.5)] == [2, 5, 9, None]
