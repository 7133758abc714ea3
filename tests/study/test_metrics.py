"""The table of metrics, and the values of those that the host computes."""

import numpy as np
import pytest

from tuner.errors import SpecError
from tuner.study.metrics import (
    METRICS,
    SPLITS,
    TASKS,
    Metric,
    Task,
    check_metric,
    compute,
    direction_of,
    host_metrics,
    metric_of,
    metrics_of,
)


def f1_of(truth: np.ndarray, labels: np.ndarray, positive: int) -> float:
    """The definition: the harmonic mean of precision and recall of one class."""
    hits = np.sum((truth == positive) & (labels == positive))
    if hits == 0:
        return 0.0
    precision, recall = hits / np.sum(labels == positive), hits / np.sum(truth == positive)
    return float(2 * precision * recall / (precision + recall))


def test_objectives_by_task() -> None:
    binary = [
        "accuracy", "loss", "auc", "pr_auc", "f1", "precision", "recall", "balanced_accuracy",
        "kappa", "log_loss",
    ]  # fmt: skip
    assert metrics_of("binary", "test") == [f"test_{name}" for name in binary]
    assert metrics_of("classes") == [f"val_{name}" for name in (*binary, "top_5_accuracy")]
    assert metrics_of("regression") == [
        f"val_{name}" for name in ("loss", "mae", "rmse", "r2", "mape")
    ]


@pytest.mark.parametrize("held_out", SPLITS)
@pytest.mark.parametrize("task", TASKS)
def test_each_objective_has_a_metric_and_a_direction(task: Task, held_out: str) -> None:
    for objective in metrics_of(task, held_out):  # type: ignore[arg-type]
        check_metric(objective, task, held_out)  # type: ignore[arg-type]
        metric = metric_of(objective)
        assert objective == f"{held_out}_{metric.name}"
        assert direction_of(objective) == metric.direction
        assert host_metrics(objective) == ((metric.name,) if metric.function else ())


@pytest.mark.parametrize("objective", ["val_acc", "train_loss", "accuracy", "", "val_"])
def test_an_unknown_objective_is_refused(objective: str) -> None:
    with pytest.raises(SpecError, match=r"unknown metric .*; there are: .*val_accuracy"):
        metric_of(objective)


def test_f1_of_classes_is_the_mean_over_classes() -> None:
    random = np.random.default_rng(0)
    truth, scores = random.integers(0, 4, 200), random.random((200, 4)).astype(np.float32)
    labels = scores.argmax(1)
    expected = np.mean([f1_of(truth, labels, positive) for positive in range(4)])
    assert compute(["f1"], truth, scores, "classes") == {"f1": pytest.approx(expected)}


def test_f1_of_two_classes_is_that_of_the_second() -> None:
    random = np.random.default_rng(1)
    truth, scores = random.integers(0, 2, 200), random.random(200).astype(np.float32)
    expected = f1_of(truth, (scores > 0.5).astype(int), 1)
    assert compute(["f1"], truth, scores, "binary") == {"f1": pytest.approx(expected)}
    assert compute(["f1"], truth, np.zeros(200, np.float32), "binary") == {"f1": 0.0}


def test_predictions_that_are_not_finite_give_no_score() -> None:
    scores = np.array([0.9, np.nan], np.float32)
    assert np.isnan(compute(["f1"], np.array([1, 0]), scores, "binary")["f1"])


def test_what_training_sums_up_itself_is_not_computed() -> None:
    assert compute(["accuracy", "loss"], np.array([1]), np.array([0.9]), "binary") == {}


def test_a_new_metric_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def median_error(truth: np.ndarray, predictions: np.ndarray, task: Task) -> float:
        return float(np.median(np.abs(truth - predictions)))

    metric = Metric("median_error", "minimize", ("regression",), "target", median_error)
    monkeypatch.setitem(METRICS, metric.name, metric)
    assert "val_median_error" in metrics_of("regression")
    assert direction_of("test_median_error") == "minimize"
    assert host_metrics("val_median_error") == ("median_error",)
    truth, predictions = np.array([1.0, 2.0, 4.0]), np.array([1.0, 3.0, 9.0], np.float32)
    assert compute(["median_error"], truth, predictions, "regression") == {"median_error": 1.0}


def test_own_metrics_are_asked_for_by_name() -> None:
    own = {"cost": lambda truth, predictions: 4.0}
    objectives = ("val_cost", "val_loss", "val_f1", "val_cost")
    assert host_metrics(*objectives, own=own) == ("cost", "f1")
    check_metric("val_cost", "binary", own=own)
    with pytest.raises(
        SpecError, match="unknown metric 'val_cots' for binary; there are: val_cost"
    ):
        check_metric("val_cots", "binary", own=own)
    truth, scores = np.array([1, 0]), np.array([0.9, 0.2], np.float32)
    assert compute(["cost", "f1"], truth, scores, "binary", own) == {"cost": 4.0, "f1": 1.0}
    scores[0] = np.nan
    assert np.isnan(compute(["cost"], truth, scores, "binary", own)["cost"])


def test_a_metric_of_another_task_is_told_so() -> None:
    with pytest.raises(SpecError, match=r"; val_r2 is for regression \(--task\)$"):
        check_metric("val_r2", "classes")
    with pytest.raises(SpecError) as refusal:
        check_metric("test_r2", "classes")
    assert "--task" not in str(refusal.value)
