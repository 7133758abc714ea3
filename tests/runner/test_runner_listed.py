"""Configurations dealt out by the place of the trial, and studies that hold the test split out."""

from collections import Counter
from collections.abc import Container
from typing import Any

import numpy as np
import pytest
from at_once import at_once, run_toy
from test_runner_trials import SQLITE
from toy_study import Bench, any_of

from tuner.data import load_dataset
from tuner.errors import SlotLost
from tuner.runner import open_writer, trained_on
from tuner.runner.policy import completed, failed
from tuner.storage import leases, slots
from tuner.storage.studies import StudyRow, load_study
from tuner.storage.trials import TrialRow
from tuner.study.ends import TrialEnd
from tuner.study.messages import Ended
from tuner.study.spec import Choice

XS = [0.5, 0.25, 0.75]
LISTED = Choice(name="listed")
HELD_OUT: dict[str, Any] = {"held_out": "test", "metric": "test_accuracy", "sampler": LISTED}


def create(bench: Bench, **options: Any) -> StudyRow:
    return bench.create(baselines=[{"x": x} for x in XS], **{"sampler": LISTED} | options)


def xs(bench: Bench) -> list[Any]:
    return [trial.params["x"] for trial in bench.trials]


def test_in_turn_again_and_again_with_new_seeds(bench: Bench) -> None:
    create(bench)
    assert bench.trials == []
    bench.run(4)
    assert bench.run(4).status.done_here == 0
    bench.run(7)
    assert xs(bench) == [*XS, *XS, XS[0]]
    assert len({trial.value for trial in bench.trials}) == 7


def test_two_loops_deal_evenly(bench: Bench) -> None:
    create(bench)
    done = at_once(run_toy, str(bench.folder), bench.url, 9, count=2)
    assert sum(done) == 9
    assert Counter(xs(bench)) == dict.fromkeys(XS, 3)
    assert bench.states == ["COMPLETE"] * 9


@SQLITE
def test_values_of_every_kind(bench: Bench) -> None:
    pairs = [{"x": 1.0, "flag": True}, {"x": 0.5, "flag": "no"}]
    bench.create({"flag": any_of(True, "no", 3)}, pairs, sampler=LISTED)
    bench.run(2)
    assert [(trial.params["x"], trial.params["flag"]) for trial in bench.trials] == [
        (1.0, True),
        (0.5, "no"),
    ]


def curve(bench: Bench, trial: TrialRow) -> list[set[str]]:
    return [set(row.metrics) for row in bench.curve(trial)]


@SQLITE
def test_the_test_split_is_read_after_the_last_epoch(bench: Bench) -> None:
    create(bench, **HELD_OUT)
    bench.run(3, workers=2)
    for trial in bench.trials:
        assert curve(bench, trial) == [{"loss"}, {"loss"}, {"loss", "test_loss", "test_accuracy"}]
        assert trial.value == bench.curve(trial)[-1].metrics["test_accuracy"]
    assert bench.states == ["COMPLETE"] * 3


@SQLITE
def test_nothing_stops_early_and_the_last_epoch_counts(bench: Bench) -> None:
    bench.create({"act": "fall", "at": 3, "epochs": 6, "patience": 1}, [{"x": 0.8}], **HELD_OUT)
    bench.run(1)
    (trial,) = bench.trials
    assert trial.last is not None
    assert (trial.end, trial.last.epochs, trial.last.best_epoch) == ("complete", 6, 6)
    assert trial.value == pytest.approx(0.08)


@SQLITE
def test_a_trial_that_lost_its_worker_goes_on(bench: Bench) -> None:
    bench.create({"act": "crash", "at": 3, "crashes": 1, "epochs": 4}, [{"x": 0.5}], **HELD_OUT)
    bench.run(1, asked={"checkpoint_every_s": 0.0})
    (trial,) = bench.trials
    assert [row.end for row in trial.attempts] == ["worker_lost", "complete"]
    assert trial.attempts[1].resumed_epoch == 2
    assert [len(metrics) for metrics in curve(bench, trial)] == [1, 1, 1, 3]


@SQLITE
def test_a_diverged_one_is_told_as_such(bench: Bench) -> None:
    bench.create({"act": "nan", "at": 2}, [{"x": 0.5}], **HELD_OUT)
    bench.run(1)
    assert [(trial.state, trial.end) for trial in bench.trials] == [("PRUNED", "diverged")]


@SQLITE
def test_workers_are_given_all_rows_but_the_test_s(bench: Bench) -> None:
    create(bench, **HELD_OUT)
    spec = load_study(bench.store).spec
    whole, given = load_dataset(spec.data, bench.settings), trained_on(bench.settings, spec)
    assert len(given.train) == len(whole.train) + len(whole.validation)
    np.testing.assert_array_equal(given.validation.x, whole.test.x)
    search = trained_on(bench.settings, bench.create(name="search").spec)
    np.testing.assert_array_equal(search.train.x, whole.train.x)
    np.testing.assert_array_equal(search.validation.x, whole.validation.x)


def run_by_hand(bench: Bench, study: StudyRow, total: int, failing: Container[int]) -> None:
    """All places of a study, one trial at a time; those of the `failing` numbers fail."""
    slots.ensure_slots(bench.store, study, total)
    writer = open_writer(bench.store, study, leases.open_lease(bench.store, study))
    while (running := writer.begin(0, total)) is not None:
        if running.number in failing:
            writer.end(running, failed(TrialEnd.USER_ERROR, "ValueError"))
        else:
            writer.end(running, completed(Ended("complete", 0.5, 1, 1, 7)))


@pytest.mark.parametrize("failing", [{0}, {1}, {0, 1, 2, 4}, {8}])
def test_failed_trials_shift_no_configuration(bench: Bench, failing: set[int]) -> None:
    run_by_hand(bench, create(bench), 9, failing)
    dealt = [trial.params["x"] for trial in bench.trials if trial.state == "COMPLETE"]
    assert Counter(dealt) == dict.fromkeys(XS, 3)
    assert bench.states.count("FAIL") == len(failing)


@SQLITE
@pytest.mark.parametrize("failing", [{0}, {3}, {0, 1, 4}])
def test_a_failed_point_of_a_grid_is_tried_again(bench: Bench, failing: set[int]) -> None:
    parameters = {"x": any_of(0.2, 0.4), "pace": any_of(0.0, 0.001)}
    run_by_hand(bench, bench.create(parameters, sampler=Choice(name="grid")), 4, failing)
    points = [(t.params["x"], t.params["pace"]) for t in bench.trials if t.state == "COMPLETE"]
    assert sorted(points) == [(0.2, 0.0), (0.2, 0.001), (0.4, 0.0), (0.4, 0.001)]
    retried = [trial.retry_of for trial in bench.trials if trial.retry_of is not None]
    assert set(retried) == failing


@SQLITE
def test_a_point_that_was_taken_over_is_not_queued_again(bench: Bench) -> None:
    study = bench.create({"x": any_of(0.2, 0.4)}, sampler=Choice(name="grid"))
    slots.ensure_slots(bench.store, study, 2)
    held_up = open_writer(bench.store, study, leases.open_lease(bench.store, study, lasts_s=-1.0))
    running = held_up.begin(0, 2)
    assert running is not None
    fence = bench.store.optuna.fence
    other = open_writer(bench.store, study, leases.open_lease(bench.store, study))
    other.repair()
    assert other.begin(0, 2) is not None
    bench.store.optuna.fence = fence  # the two are processes of their own elsewhere
    with pytest.raises(SlotLost):
        held_up.end(running, failed(TrialEnd.USER_ERROR, "ValueError"))
    assert len(bench.trials) == 2
