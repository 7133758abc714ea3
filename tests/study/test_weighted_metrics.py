"""The metrics of weighted rows, against those of rows that are repeated."""

import math
import warnings
from typing import Any

import numpy as np
import pytest

from tuner.study.metrics import METRICS, Task, compute
from tuner.study.weighted_metrics import ScoredRows, WeightedRows

ROWS, CLASSES = 60, 7
PAIRS = [(task, name) for name, metric in METRICS.items() for task in metric.tasks]
# What training sums up itself, written out with NumPy.
SUMS: dict[str, Any] = {
    "accuracy": lambda y, p: np.mean((p > 0.5 if p.ndim == 1 else p.argmax(1)) == y),
    "mae": lambda y, p: np.mean(np.abs(y - p)),
    "rmse": lambda y, p: np.sqrt(np.mean((y - p) ** 2)),
    "subset_accuracy": lambda y, p: np.mean(((p > 0.5) == (y == 1)).all(axis=1)),
}


def scored(task: Task, rows: int = ROWS) -> ScoredRows:
    """Predictions with ties that are right more often than by chance. Class 6 has no row."""
    draw = np.random.default_rng(5)
    if task == "regression":
        y = draw.normal(size=rows) + 3.0
        return ScoredRows(y, (y + draw.normal(size=rows)).astype(np.float32), task)
    if task == "binary":
        y = draw.integers(0, 2, rows)
        return ScoredRows(y, np.round(0.7 * draw.random(rows) + 0.3 * y, 1), task)
    if task == "multilabel":
        given = draw.integers(0, 2, (rows, CLASSES)).astype(np.float32)
        return ScoredRows(given, np.round(0.7 * draw.random(given.shape) + 0.3 * given, 1), task)
    y = draw.integers(0, CLASSES - 1, rows)
    shares = np.round(draw.random((rows, CLASSES)) + np.eye(CLASSES)[y], 1) + 0.1
    return ScoredRows(y, (shares / shares.sum(1, keepdims=True)).astype(np.float32), task)


def of_weights(name: str, rows: ScoredRows, weights: Any) -> Any:
    function = METRICS[name].weighted
    assert function is not None, f"{name} would be resampled row by row"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return function(WeightedRows(rows, np.asarray(weights, np.float64)))


def of_repeated(name: str, rows: ScoredRows, weights: Any) -> float:
    taken = np.repeat(np.arange(len(weights)), weights)
    y, predictions = rows.y[taken], rows.predictions[taken]
    if name in SUMS:
        return float(SUMS[name](y, predictions))
    if name == "loss":
        if rows.task == "regression":
            return float(np.mean((y - predictions) ** 2))
        if rows.task == "multilabel":
            chances = np.clip(np.where(y == 1, predictions, 1 - predictions), 1e-7, 1)
            return float(np.mean(-np.log(chances)))
        name = "log_loss"  # they differ only for probabilities below 1.2e-7
    return compute([name], y, predictions, rows.task)[name]


@pytest.mark.parametrize(("task", "name"), PAIRS)
def test_weighted_rows_are_repeated_rows(task: Task, name: str) -> None:
    rows = scored(task)
    weights = np.random.default_rng(1).multinomial(ROWS, [1 / ROWS] * ROWS, size=6)
    expected = [of_repeated(name, rows, each) for each in weights]
    assert of_weights(name, rows, weights) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("task", ["classes", "binary"])
def test_rows_of_one_class_have_the_values_of_the_functions(task: Task) -> None:
    rows = scored(task)
    weights = (rows.y == 0).astype(int)
    for name in [name for each, name in PAIRS if each == task and name != "auc"]:
        value = of_weights(name, rows, [weights])[0]
        assert value == pytest.approx(of_repeated(name, rows, weights), rel=1e-6, nan_ok=True), name
    assert math.isnan(of_weights("auc", rows, [weights])[0])


def test_a_share_of_a_target_of_0_has_no_value() -> None:
    rows = ScoredRows(np.array([0.0, 2.0]), np.array([1.0, 1.0]), "regression")
    assert math.isnan(of_weights("mape", rows, [[1, 1]])[0])


def test_equal_targets_leave_nothing_to_explain() -> None:
    y = np.full(3, 1e6)
    exact = ScoredRows(y, y, "regression")
    other = ScoredRows(y, y + 1, "regression")
    assert of_weights("r2", exact, [[1, 1, 1]])[0] == 1.0
    assert of_weights("r2", other, [[1, 2, 0]])[0] == 0.0
