"""A study's best trial, or one of its trials, as the one configuration of a comparison."""

from typing import Any

import pytest
from toy_study import ANY_X, Bench
from toy_training import TOY

from tuner.errors import DatasetError, SpecError, StudyError
from tuner.reports.comparisons import Subject, of_trial, prepare, results, train
from tuner.storage.studies import StudyRow, load_study
from tuner.storage.trials import find_best, find_trial

LAYERED: dict[str, Any] = {
    "x": ANY_X,
    "layers": {"type": "int", "low": 1, "high": 3},
    "width": {"type": "int", "low": 4, "high": 64, "log": True, "repeat": "layers"},
    "epochs": {"type": "int", "low": 3, "high": 6},
}


def searched(bench: Bench, parameters: dict[str, Any], trials: int, **options: Any) -> StudyRow:
    study = bench.create(parameters, **options)
    bench.run(trials)
    return study


def made(bench: Bench, subject: Subject, seeds: int = 2, **options: Any) -> StudyRow:
    return prepare(subject, seeds, bench.settings, lambda: bench.store, **options)


def test_the_winner_with_a_width_a_layer(bench: Bench) -> None:
    study = searched(bench, LAYERED, 6)
    best = find_best(bench.store, study).trial
    assert best is not None
    row = made(bench, subject := of_trial(bench.store, study, None, bench.settings))
    assert row.name == f"compare-toy-trial{best.number}"
    assert (
        train(bench.settings, bench.store, row, 2, workers=1, tracking=False, entry=TOY) is not None
    )
    (only,) = results(bench.store, row, subject).rows
    assert len(only.values) == 2
    assert best.last is not None
    assert only.params == best.params | {"epochs": best.last.best_epoch}
    assert row.spec.data == study.spec.data
    assert row.spec.metric == "test_accuracy"
    # All is done: nothing is started again.
    assert train(bench.settings, bench.store, row, 2, workers=1, tracking=False, entry=TOY) is None


def test_its_data_may_lie_elsewhere_but_must_be_the_same(bench: Bench) -> None:
    study = searched(bench, {"epochs": 1}, 1)
    moved = bench.folder / "moved.npz"
    (bench.folder / "points.npz").rename(moved)
    with pytest.raises(DatasetError, match="--data"):
        of_trial(bench.store, study, None, bench.settings)
    subject = of_trial(bench.store, study, None, bench.settings, str(moved))
    row = made(bench, subject, name="here")
    where = subject.data.source
    assert (
        train(bench.settings, bench.store, row, 1, workers=1, tracking=False, entry=TOY, data=where)
        is not None
    )
    bench.write_data(moved, seed=1)
    with pytest.raises(DatasetError, match="fingerprint"):
        made(bench, subject, name="there")


@pytest.mark.parametrize(("schedule", "epochs"), [("constant", 2), ("cosine", 5)])
def test_it_trains_to_the_chosen_epoch_unless_a_schedule_needs_all(
    bench: Bench, schedule: str, epochs: int
) -> None:
    parameters = {"act": "fall", "at": 3, "epochs": 5, "schedule": schedule}
    study = searched(bench, parameters, 1, baselines=[{"x": 0.5}])
    subject = of_trial(bench.store, study, 0, bench.settings)
    (flat,) = subject.space.configurations()
    params = subject.space.resolve(flat)
    assert (params["epochs"], params["x"]) == (epochs, 0.5)


def test_another_metric_becomes_the_one_of_the_test_split(bench: Bench) -> None:
    study = searched(bench, {}, 1, metric="val_loss", direction="minimize")
    assert of_trial(bench.store, study, None, bench.settings).metric == "test_loss"


def test_trials_that_have_not_finished(bench: Bench) -> None:
    study = bench.create(baselines=[{"x": 0.5}])
    with pytest.raises(StudyError, match="study 'toy' has no finished trial yet"):
        of_trial(bench.store, study, None, bench.settings)
    with pytest.raises(StudyError, match="trial 0 of study 'toy' is waiting, not finished"):
        of_trial(bench.store, study, 0, bench.settings)
    with pytest.raises(StudyError, match="has no trial 9"):
        of_trial(bench.store, study, 9, bench.settings)


def test_a_failed_trial(bench: Bench) -> None:
    study = searched(bench, {"act": "raise"}, 1)
    with pytest.raises(StudyError, match="trial 0 of study 'toy' is failed, not finished"):
        of_trial(bench.store, study, 0, bench.settings)


def test_a_pruned_trial_can_be_named(bench: Bench) -> None:
    study = searched(bench, {"act": "nan", "at": 3, "epochs": 4}, 1, baselines=[{"x": 0.5}])
    assert find_trial(bench.store, study, 0).state == "PRUNED"
    (flat,) = of_trial(bench.store, study, 0, bench.settings).space.configurations()
    assert flat == {"x": 0.5}


def test_a_comparison_has_no_winner(bench: Bench) -> None:
    study = searched(bench, {}, 1, baselines=[{"x": 0.5}])
    comparison = made(bench, of_trial(bench.store, study, None, bench.settings))
    with pytest.raises(StudyError, match="is a comparison itself"):
        of_trial(bench.store, load_study(bench.store, comparison.name), None, bench.settings)


def test_a_plateau_watches_what_is_trained_on(bench: Bench) -> None:
    study = searched(bench, {"schedule": "plateau"}, 1, baselines=[{"x": 0.5}])
    with pytest.raises(SpecError, match=r"^baselines\[0\]: schedule plateau watches the valid"):
        made(bench, of_trial(bench.store, study, None, bench.settings))


def test_another_seed_is_another_comparison(bench: Bench) -> None:
    study = searched(bench, {}, 1, baselines=[{"x": 0.5}])
    subject = of_trial(bench.store, study, None, bench.settings)
    one = made(bench, subject)
    assert made(bench, subject, seeds=5).study_id == one.study_id
    with pytest.raises(StudyError, match="exists with another definition: seed was 0, is 1"):
        made(bench, subject, seed=1)
    assert made(bench, subject, seed=1, name="mine").name == "mine"


def test_epochs_that_vary_are_fixed_for_the_winner(bench: Bench) -> None:
    study = searched(bench, LAYERED, 1)
    subject = of_trial(bench.store, study, 0, bench.settings)
    assert isinstance(subject.space.parameters["epochs"], int)
