"""What MLflow shows of the metrics that a study records."""

from typing import Any

import pytest
from toy_study import toy_spec

from tuner.storage.attempt_rows import AttemptRow, ReportRow
from tuner.storage.deliveries import TrackedTrial
from tuner.study.spec import OwnMetricSpec, StudySpec
from tuner.tracking.content import curve_points, result_points, study_params

RECORDING: dict[str, Any] = {
    "record": ("val_auc", "val_own"),
    "own_metrics": {"own": OwnMetricSpec(path="c.py", function="own")},
}


def report(epoch: int, accuracy: float, whole: bool = True, **recorded: float) -> ReportRow:
    metrics = {"val_accuracy": accuracy} | recorded
    return ReportRow(epoch * 2 - (not whole), epoch, whole, metrics, at=5.0)


ROWS = [
    report(1, 0.99, whole=False, val_auc=0.11),
    report(1, 0.5, val_auc=0.22, val_own=2.0),
    report(2, 0.7, val_auc=0.33),
    report(3, 0.6, val_auc=0.44, val_own=4.0),
]


def results(spec: StudySpec, best_epoch: int | None, rows: list[ReportRow]) -> dict[str, float]:
    names = AttemptRow.__dataclass_fields__
    values = {"attempt": 1, "started_at": 1.0, "ended_at": 9.0, "best_epoch": best_epoch}
    attempt = AttemptRow(**dict.fromkeys(names) | values)
    trial = TrackedTrial(1, 0, "COMPLETE", {}, attempt, 1.0, None)
    return {point.key: point.value for point in result_points(spec, trial, rows)}


@pytest.mark.parametrize("best_epoch", [2, None])  # None: it was pruned
def test_a_run_has_the_value_of_the_best_epoch(best_epoch: int | None) -> None:
    shown = results(toy_spec(**RECORDING), best_epoch, ROWS)
    assert shown["best_val_auc"] == 0.33
    assert "best_val_own" not in shown  # it had no value there
    assert {point.key for point in curve_points(ROWS)} == {"val_accuracy", "val_auc", "val_own"}


def test_while_no_epoch_is_over_the_best_report_counts() -> None:
    assert results(toy_spec(**RECORDING), None, ROWS[:1])["best_val_auc"] == 0.11
    assert "best_val_auc" not in results(toy_spec(**RECORDING), None, [])


def test_other_studies_get_no_more_keys() -> None:
    shown = results(toy_spec(), 2, ROWS)
    assert not [key for key in shown if key.startswith("best_val_")]
    assert not {"record", "own_metrics"} & study_params(toy_spec()).keys()


def test_the_study_says_what_it_records() -> None:
    params = study_params(toy_spec(**RECORDING))
    assert (params["record"], params["own_metrics"]) == ("val_auc, val_own", "c.py:own")
