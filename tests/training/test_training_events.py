"""What a trial says while it trains: intervals, and the four ways in which it ends."""

import math
import os
from dataclasses import replace
from typing import Any

import pytest

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import numpy as np
from tensorflow_helpers import make_dataset, make_request, outcome, train, weights

from tuner.study.messages import Goal, Report
from tuner.training.trial import Trainer

pytestmark = pytest.mark.tensorflow


def test_the_first_epoch_reports_k_times_and_later_ones_once() -> None:
    intervals, ended = train(Trainer(make_dataset()), make_request(intervals=3, epochs=3))
    assert [i.step for i in intervals] == [1, 2, 3, 6, 9]
    assert [i.epoch for i in intervals] == [1, 1, 1, 2, 3]
    assert [i.whole for i in intervals] == [False, False, True, True, True]
    assert (ended.end, ended.epochs) == ("complete", 3)
    names = {"loss", "accuracy", "val_loss", "val_accuracy"}
    assert all(set(i.metrics) == names for i in intervals)
    seconds = [sum(i.seconds.values()) for i in intervals]
    assert seconds == sorted(seconds)
    assert min(ended.seconds.values()) > 0
    assert set(ended.seconds) == {"prepare", "first_call", "train", "evaluate"}


@pytest.mark.parametrize("engine", ["auto", "keras"])
def test_what_makes_a_program_is_told_from_the_training_behind_it(engine: Any) -> None:
    trainer, trial_request = Trainer(make_dataset()), make_request(epochs=1, engine=engine)
    (interval,), first = train(trainer, trial_request)
    assert interval.seconds["first_call"] > 0
    assert interval.seconds["train"] > 0
    _, second = train(trainer, trial_request)
    assert second.seconds["first_call"] == 0
    assert second.seconds["train"] > 0
    assert (second.score, second.epochs) == (first.score, first.epochs)


def test_reporting_more_often_changes_no_weight() -> None:
    trainer = Trainer(make_dataset())
    once, five = (outcome(trainer, make_request(intervals=k, epochs=2)) for k in (1, 5))
    assert once[1] == five[1]
    assert once[0][-1]["val_loss"] == five[0][-1]["val_loss"]


def test_an_epoch_of_fewer_steps_than_intervals_reports_at_each_step() -> None:
    trainer = Trainer(make_dataset(rows=20))
    intervals, _ = train(trainer, make_request(intervals=5, epochs=2, batch_size=10))
    assert [(i.step, i.epoch) for i in intervals] == [(1, 1), (5, 1), (10, 2)]


@pytest.mark.parametrize("compiler", ["keras", "keras, xla"])
def test_fewer_rows_than_a_batch(compiler: str, request: pytest.FixtureRequest) -> None:
    if compiler == "keras, xla":
        request.getfixturevalue("xla")
    trainer = Trainer(make_dataset(rows=20))
    trial_request = make_request(intervals=3, epochs=2, batch_size=64)
    intervals, ended = train(trainer, replace(trial_request, engine="keras"))
    assert [i.step for i in intervals] == [3, 6]
    assert (ended.end, ended.engine) == ("complete", compiler)
    shared, _ = train(trainer, trial_request)
    for ours, theirs in zip(shared, intervals, strict=True):
        assert ours.metrics == pytest.approx(theirs.metrics, rel=1e-5)
    assert intervals[1].metrics["loss"] < intervals[0].metrics["loss"]


def test_closing_the_events_stops_training() -> None:
    trainer = Trainer(make_dataset())
    trial_request = make_request(intervals=3, epochs=50, patience=50)
    events = trainer.run(trial_request)
    first = next(events)
    at_stop = [w.tobytes() for w in weights(trainer)]
    events.close()  # type: ignore[attr-defined]
    assert isinstance(first, Report)
    assert (first.step, first.whole) == (1, False)
    assert [w.tobytes() for w in weights(trainer)] == at_stop
    short = make_request(seed=9, epochs=2)
    assert outcome(trainer, short) == outcome(Trainer(make_dataset()), short)


@pytest.mark.parametrize("metric", ["val_loss", "val_accuracy"])
def test_early_stopping_restores_the_best_epoch(metric: str) -> None:
    goal = Goal(metric, "minimize" if metric == "val_loss" else "maximize")
    trainer = Trainer(make_dataset())
    trial_request = make_request(goal=goal, width=64, learning_rate=1.0, epochs=200, patience=3)
    intervals, ended = train(trainer, trial_request)
    curve = [i.metrics[metric] for i in intervals]
    best = min(curve) if goal.direction == "minimize" else max(curve)
    assert ended.end == "early_stopped"
    assert ended.score == best
    assert ended.best_epoch == curve.index(best) + 1
    assert ended.epochs == len(curve) == ended.best_epoch + 3
    program, feed = trainer.prepare(trial_request)
    again = dict(zip(program.objective.names, feed.evaluate() / 33, strict=True))
    assert again[metric.removeprefix("val_")] == pytest.approx(best, rel=1e-6)


def test_a_reached_target_ends_the_trial() -> None:
    trainer, free = Trainer(make_dataset()), make_request(epochs=20, patience=20)
    curve = [i.metrics["val_loss"] for i in train(trainer, free)[0]]
    goal = replace(free.goal, target=curve[4])
    intervals, ended = train(trainer, replace(free, goal=goal))
    assert ended.end == "target"
    assert ended.score is not None
    assert ended.score <= curve[4]
    assert (
        ended.epochs == len(intervals) == next(n for n, v in enumerate(curve, 1) if v <= curve[4])
    )


@pytest.mark.parametrize("compiler", ["graph", "xla"])
def test_divergence_ends_within_its_interval(compiler: str, request: pytest.FixtureRequest) -> None:
    if compiler == "xla":
        request.getfixturevalue("xla")
    trainer = Trainer(make_dataset("regression"))
    trial_request = make_request(
        activation="relu", learning_rate=1e6, batch_size=4, epochs=10, intervals=2
    )
    intervals, ended = train(trainer, trial_request)
    assert (ended.end, ended.epochs, ended.score) == ("diverged", 1, None)
    assert [i.step for i in intervals] == [1]
    assert not math.isfinite(intervals[0].metrics["loss"])


def test_divergence_after_a_good_epoch_restores_it() -> None:
    trainer = Trainer(make_dataset("regression"))
    # Without hidden layers the error grows by a constant factor a step, so it takes a few epochs.
    trial_request = make_request(depth=0, learning_rate=1.5, epochs=100, patience=100)
    intervals, ended = train(trainer, trial_request)
    assert ended.end == "diverged"
    assert 1 < ended.epochs < 100
    assert ended.best_epoch == 1
    assert ended.score == intervals[0].metrics["val_loss"]
    assert all(np.isfinite(w).all() for w in weights(trainer))


def test_the_test_split_is_read_after_the_last_epoch_alone_and_selects_nothing() -> None:
    rising = make_request(
        epochs=6, patience=1, learning_rate=3.0, goal=Goal("test_accuracy", "maximize")
    )
    trial_request = replace(rising, held_out="test")
    trainer = Trainer(make_dataset())
    intervals, ended = train(trainer, trial_request)
    assert [set(i.metrics) for i in intervals[:-1]] == [{"loss", "accuracy"}] * 5
    last = intervals[-1].metrics
    assert set(last) == {"loss", "accuracy", "test_loss", "test_accuracy"}
    assert (ended.end, ended.epochs, ended.best_epoch) == ("complete", 6, 6)
    assert ended.score == last["test_accuracy"]
    # The last epoch's weights are kept: those that a search trains into the same epoch.
    assert all(np.isfinite(w).all() for w in weights(trainer))
    patient = replace(rising, goal=Goal("val_accuracy", "maximize"))
    again, _ = train(trainer, replace(patient, params=rising.params | {"patience": 100}))
    assert again[-1].metrics["val_accuracy"] == ended.score
