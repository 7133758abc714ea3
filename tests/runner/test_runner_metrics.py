"""A search by a metric that the host computes: its trials, their pruning, its target."""

import pytest
from test_runner_trials import SQLITE
from toy_study import Bench, any_of

from tuner.study.spec import Choice

F1 = {"metric": "val_f1", "direction": "maximize"}
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
