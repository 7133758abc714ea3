"""How trials end, and what SQL says of them."""

import math
from multiprocessing import forkserver
from typing import Any

import optuna
import pytest
from optuna.trial import FrozenTrial
from toy_study import Bench, any_of
from toy_training import BROKEN, STILLBORN

from tuner.errors import WorkerError
from tuner.storage.studies import load_study
from tuner.study.artifacts import open_artifacts
from tuner.study.spec import Choice

SQLITE = pytest.mark.parametrize("store", ["sqlite"], indirect=True)
ACTS = any_of("learn", "flat", "fall", "raise", "crash", "nan", "inf", "unsaved", "unsafe")
MEDIAN = Choice(name="median", options={"n_startup_trials": 1})


def told(bench: Bench) -> list[FrozenTrial]:
    """The trials as Optuna has them."""
    return optuna.load_study(study_name="toy", storage=bench.store.optuna).get_trials()


def acting(bench: Bench, *acts: str, **options: Any) -> None:
    """A study whose first trials act like that, with x = 0.8 and falling slowly."""
    parameters = {"act": ACTS} | options.pop("parameters", {})
    baselines = [{"act": act, "x": 0.8 - i / 100} for i, act in enumerate(acts)]
    bench.create(parameters, baselines, **options)


def test_a_whole_trial(bench: Bench) -> None:
    acting(bench, "learn")
    outcome = bench.run(1)
    (trial,) = bench.trials
    (attempt,) = trial.attempts
    assert (trial.state, attempt.end, attempt.epochs, attempt.best_epoch) == (
        "COMPLETE",
        "complete",
        3,
        3,
    )
    assert trial.value == attempt.score == outcome.status.best
    assert trial.value == pytest.approx(0.7, abs=2e-3)
    assert (attempt.parameter_count, attempt.engine) == (7, "toy")
    assert attempt.seconds == {"train": pytest.approx(0.3)}
    curve = bench.curve(trial)
    assert [row.step for row in curve] == [1, 2, 3]
    assert [row.metrics["val_accuracy"] for row in curve] == sorted(
        row.metrics["val_accuracy"] for row in curve
    )
    assert set(curve[0].metrics) == {"loss", "val_loss", "val_accuracy"}


@SQLITE
def test_an_early_stop_stands_at_the_remaining_rungs(bench: Bench) -> None:
    parameters = {"epochs": 27, "patience": 2}
    acting(bench, "flat", parameters=parameters, pruner=Choice(name="hyperband"))
    bench.run(1)
    (trial,) = told(bench)
    assert trial.state.name == "COMPLETE"
    assert trial.intermediate_values == dict.fromkeys((1, 2, 3, 9, 27), 0.8)
    assert bench.trials[0].end == "early_stopped"


@SQLITE
def test_a_pruned_trial_keeps_its_best_as_its_value(bench: Bench) -> None:
    warm = Choice(name="median", options={"n_startup_trials": 1, "n_warmup_steps": 2})
    bench.create(
        {"act": ACTS}, [{"act": "learn", "x": 0.9}, {"act": "fall", "x": 0.2}], pruner=warm
    )
    bench.run(2)
    _, pruned = told(bench)
    first_epoch = pruned.intermediate_values[1]
    assert pruned.state.name == "PRUNED"
    assert (
        pruned.value == pruned.intermediate_values[2] == first_epoch == pytest.approx(0.1, abs=2e-3)
    )
    _, trial = bench.trials
    assert (trial.end, trial.value, trial.last and trial.last.score) == (
        "pruned",
        first_epoch,
        first_epoch,
    )
    assert trial.last is not None
    assert (trial.last.epochs, trial.last.ended_at is not None) == (2, True)
    assert trial.last.engine == "toy"
    raw = [row.metrics["val_accuracy"] for row in bench.curve(trial)]
    assert raw == [first_epoch, pytest.approx(0.02)]
    assert bench.slots == {"done": 2}


@SQLITE
def test_a_pruner_that_reads_raw_values_is_given_them(bench: Bench) -> None:
    acting(bench, "fall", pruner=Choice(name="threshold", options={"lower": 0.1}))
    bench.run(1)
    (trial,) = told(bench)
    assert trial.state.name == "PRUNED"
    assert trial.intermediate_values[2] == pytest.approx(0.08)


@SQLITE
def test_the_last_epoch_is_not_judged(bench: Bench) -> None:
    parameters = {"epochs": 1}
    bench.create(parameters, [{"x": 0.9}, {"x": 0.1}], pruner=MEDIAN)
    bench.run(2)
    assert bench.states == ["COMPLETE", "COMPLETE"]


def test_a_diverged_trial_is_infeasible_and_never_the_best(bench: Bench) -> None:
    acting(bench, "nan", "inf", "learn", pruner=Choice(name="hyperband"))
    outcome = bench.run(3)
    *diverged, whole = told(bench)
    assert (whole.constraints, outcome.status.best_trial) == ({}, 2)
    for trial in diverged:
        assert (trial.state.name, trial.constraints) == ("PRUNED", {"feasible": 1.0})
        assert list(trial.intermediate_values) == [1]
        row = bench.trials[trial.number]
        assert row.end == "diverged"
        last = bench.curve(row)[-1].metrics["val_accuracy"]
        assert not math.isfinite(last)
    assert bench.slots == {"done": 3}


def test_a_users_error_fails_the_trial_and_frees_its_slot(bench: Bench) -> None:
    acting(bench, "raise", "learn", "raise", "raise", "learn")
    outcome = bench.run(3)
    assert outcome.reason is None
    assert bench.states[:5] == ["FAIL", "COMPLETE", "FAIL", "FAIL", "COMPLETE"]
    assert bench.states.count("COMPLETE") == 3
    failed = bench.trials[0]
    assert (failed.end, failed.value) == ("user_error", None)
    assert failed.last is not None
    assert "cannot be built" in (failed.last.detail or "")
    assert bench.slots == {"done": 3}


@SQLITE
def test_three_errors_in_a_row_stop_the_study(bench: Bench) -> None:
    acting(bench, "learn", "raise", "raise", "raise", "learn")
    outcome = bench.run(5)
    assert (outcome.reason, outcome.status.done) == ("errors", 1)
    assert outcome.failure is not None
    assert outcome.failure.startswith("trial 3: ValueError: the network of this trial")
    assert bench.states == ["COMPLETE", "FAIL", "FAIL", "FAIL", "WAITING"]
    assert bench.slots == {"done": 1, "open": 4}
    assert bench.run(3).reason is None
    assert bench.states[4] == "COMPLETE"


def test_a_lost_worker_costs_one_attempt(bench: Bench) -> None:
    acting(bench, "learn", "crash", parameters={"crashes": 1})
    bench.run(3)
    assert bench.states == ["COMPLETE"] * 3
    crashed = bench.trials[1]
    assert [(a.attempt, a.end) for a in crashed.attempts] == [(1, "worker_lost"), (2, "complete")]
    assert crashed.params["x"] == 0.79
    # The lost attempt's curve stays beside the whole one.
    assert [row.step for row in bench.curve(crashed)] == [1, 2, 3]


@SQLITE
def test_a_trial_that_loses_three_workers_is_infeasible(bench: Bench) -> None:
    acting(bench, "crash", "learn")
    outcome = bench.run(2)
    assert outcome.reason is None
    lost, whole = told(bench)
    assert (lost.state.name, lost.constraints) == ("PRUNED", {"feasible": 1.0})
    assert whole.state.name == "COMPLETE"
    trial = bench.trials[0]
    assert [a.end for a in trial.attempts] == ["worker_lost"] * 3
    assert "exit code 9" in (trial.attempts[-1].detail or "")
    assert bench.slots == {"done": 2}


@SQLITE
@pytest.mark.parametrize("act", ["unsaved", "unsafe"])
def test_a_score_outlives_a_network_that_cannot_be_saved(
    bench: Bench, act: str, caplog: pytest.LogCaptureFixture
) -> None:
    acting(bench, act, "learn")
    outcome = bench.run(2)
    trial, other = bench.trials
    assert (trial.state, trial.end, trial.last and trial.last.model_path) == (
        "COMPLETE",
        "complete",
        None,
    )
    assert trial.last is not None
    assert trial.last.detail
    assert ("the network of trial 0 is not saved" in caplog.text) is (act == "unsaved")
    assert len(trial.attempts) == 1
    assert other.state == "COMPLETE"
    assert outcome.status.best_trial == 0


@SQLITE
@pytest.mark.parametrize("limit", [{"timeout_s": 6.0}, {"trial_timeout_s": 1.0}])
def test_what_is_trained_outlives_a_save_that_is_cut_off(
    bench: Bench, limit: dict[str, float]
) -> None:
    bench.create({"act": any_of("unending", "learn")}, [{"act": "unending", "x": 0.8}])
    outcome = bench.run(1, **limit)
    (trial,) = bench.trials
    assert (trial.state, trial.end, outcome.put_back) == ("COMPLETE", "complete", 0)
    assert trial.value == pytest.approx(0.7, abs=2e-3)
    assert trial.last is not None
    assert "saving its network" in (trial.last.detail or "")
    assert bench.slots == {"done": 1}


@SQLITE
def test_workers_that_cannot_start_cost_no_trial(bench: Bench) -> None:
    forkserver._forkserver._stop()  # type: ignore[attr-defined]  # or it writes to another log
    acting(bench, "learn")
    with pytest.raises(WorkerError, match=r"cannot start: RuntimeError: no such device$"):
        bench.run(2, entry=BROKEN)
    with pytest.raises(WorkerError, match=r"end as they start, with exit code 7; see .*log"):
        bench.run(2, entry=STILLBORN)
    assert "RUNNING" not in bench.states
    assert bench.slots == {"open": 2}
    assert bench.run(2).reason is None
    assert bench.states == ["COMPLETE"] * 2
    log = bench.settings.checkpoints / load_study(bench.store).uuid / "search.log"
    text = log.read_text()
    assert "no such device" in text  # of a worker
    assert "trial 1 ended: complete" in text  # of the loop


@SQLITE
def test_only_new_bests_are_saved(bench: Bench) -> None:
    acting(
        bench,
        "learn",
        "learn",
        parameters={"x": any_of(0.8, 0.79, 0.9)},
        sampler=Choice(name="random"),
    )
    only_best = {"keep_models": 1}
    bench.run(1, asked=only_best)
    first = bench.trials[0].last
    assert first is not None
    uuid = load_study(bench.store).uuid
    assert first.model_path == f"{uuid}/trial-0/attempt-1.keras"
    assert first.model is not None
    assert open_artifacts(bench.settings).get(first.model).read_text() == "0.8"
    bench.run(2, asked=only_best)
    second = bench.trials[1].last
    assert second is not None
    assert (second.end, second.model_path) == ("complete", None)
    assert bench.run(None, more=1, asked={"log_models": "all"}).status.done_here == 1
    third = bench.trials[2].last
    assert third is not None
    assert third.model_path == f"{uuid}/trial-2/attempt-1.keras"
