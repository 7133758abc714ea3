"""A search by a metric that the host computes: its trials, their pruning, its target."""

from typing import Any

import optuna
import pytest
from test_runner_trials import SQLITE
from toy_study import Bench, any_of

from tuner.storage.studies import load_study
from tuner.storage.trials import stream_trials
from tuner.study.spec import Choice, CodeFile, OwnMetricSpec

F1 = {"metric": "val_f1", "direction": "maximize"}
# A toy computes no metric: each one is 1.1 minus its accuracy where less is better.
OWN_COST: dict[str, Any] = {
    "metric": "val_cost",
    "direction": "minimize",
    "own_metrics": {"cost": OwnMetricSpec(path="c.py", function="cost", direction="minimize")},
    "code": {name: CodeFile.of(b"") for name in ("toy.py", "c.py")},
}
MEDIAN = Choice(name="median", options={"n_startup_trials": 1})


@SQLITE
def test_it_scores_trials_and_decides_which_is_pruned(bench: Bench) -> None:
    bench.create(baselines=[{"x": 0.8}, {"x": 0.4}], pruner=MEDIAN, **F1)
    outcome = bench.run(2)
    assert bench.states == ["COMPLETE", "PRUNED"]
    whole, pruned = bench.trials
    assert whole.value == pytest.approx(0.6, abs=2e-3)  # a tenth below its accuracy
    assert outcome.status.best == whole.value
    curves = [[row.metrics["val_f1"] for row in bench.curve(trial)] for trial in bench.trials]
    assert curves[0][-1] == whole.value
    assert curves[1] == [pruned.value] == [pytest.approx(0.1, abs=2e-3)]


@SQLITE
def test_its_target_and_its_patience_follow_it(bench: Bench) -> None:
    parameters = {"epochs": 27, "patience": 2, "act": any_of("learn", "flat")}
    trials = [{"x": 0.5, "act": "flat"}, {"x": 0.9, "act": "learn"}]
    bench.create(parameters, trials, **F1)
    assert bench.run(9, target=0.5).reason == "target"
    assert [trial.end for trial in bench.trials[:2]] == ["early_stopped", "target"]
    assert bench.trials[1].last is not None
    assert bench.trials[1].last.epochs == 2  # an accuracy of 0.675; the first had 0.45


@SQLITE
def test_other_studies_ask_for_no_predictions(bench: Bench) -> None:
    bench.create(baselines=[{"x": 0.8}])
    bench.run(1)
    assert set(bench.curve(bench.trials[0])[-1].metrics) == {"loss", "val_loss", "val_accuracy"}


@SQLITE
def test_all_decisions_follow_an_own_metric_of_which_less_is_better(bench: Bench) -> None:
    bench.create(baselines=[{"x": 0.8}, {"x": 0.4}, {"x": 1.0}], pruner=MEDIAN, **OWN_COST)
    outcome = bench.run(3)
    assert bench.states == ["COMPLETE", "PRUNED", "COMPLETE"]
    first, _, best = bench.trials
    assert first.value == pytest.approx(0.4, abs=2e-3)
    assert outcome.status.best == best.value == pytest.approx(0.225, abs=2e-3)
    ranked = stream_trials(bench.store, load_study(bench.store), best_first=True)
    assert [trial.number for trial in ranked] == [2, 0, 1]
    study = optuna.load_study(study_name="toy", storage=bench.store.optuna)
    assert (study.direction.name, study.best_trial.number) == ("MINIMIZE", 2)


@SQLITE
def test_its_target_and_its_patience_are_reached_from_above(bench: Bench) -> None:
    parameters = {"epochs": 27, "patience": 2, "act": any_of("learn", "flat")}
    trials = [{"x": 0.5, "act": "flat"}, {"x": 0.9, "act": "learn"}]
    bench.create(parameters, trials, **OWN_COST)
    assert bench.run(9, target=0.5).reason == "target"
    assert [trial.end for trial in bench.trials[:2]] == ["early_stopped", "target"]
    assert bench.trials[1].last is not None
    assert bench.trials[1].last.epochs == 2  # 1.1 - 0.675; the first had 0.65
    bench.create(parameters, [{"x": 0.9, "act": "flat"}] * 2, name="patient", **OWN_COST)
    assert bench.run(9, patience_trials=1).reason == "patience"


RECORDED = {"epochs": 4, "patience": 4, "act": any_of("fall", "crash", "learn"), "crashes": 1}


@SQLITE
def test_recorded_metrics_are_those_of_the_best_epoch(bench: Bench) -> None:
    """Also of a trial that lost its worker, and of one that was pruned."""
    acts = [{"x": 0.8, "act": "fall"}, {"x": 0.9, "act": "crash"}, {"x": 0.1, "act": "learn"}]
    bench.create(
        RECORDED | {"at": 3},
        acts,
        record=("val_auc", "val_loss", "val_own"),
        own_metrics={"own": OwnMetricSpec(path="c.py", function="own")},
        code=OWN_COST["code"],
        pruner=MEDIAN,
    )
    bench.run(3, asked={"checkpoint_every_s": 0.0})
    assert [len(trial.attempts) for trial in bench.trials] == [1, 2, 1]
    assert bench.states == ["COMPLETE", "COMPLETE", "PRUNED"]
    for trial, best_epoch in zip(bench.trials, (2, 4, 1), strict=True):
        curve = bench.curve(trial)
        assert [row.epoch for row in curve] == list(range(1, len(curve) + 1))
        best = curve[best_epoch - 1].metrics
        assert best["val_accuracy"] == trial.value
        assert trial.metrics == {name: best[name] for name in ("val_auc", "val_loss", "val_own")}
        assert trial.metrics["val_auc"] == pytest.approx(best["val_accuracy"] - 0.1)
