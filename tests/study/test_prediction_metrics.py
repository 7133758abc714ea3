"""The metrics that the host computes, against their definitions written out with NumPy."""

import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tuner.errors import SpecError
from tuner.study.metrics import METRICS, TASKS, Task, check_has_values, compute

CLASSES = 7
Values = np.ndarray


def value(name: str, y_true: Values, predictions: Values, task: Task) -> float:
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a worker's log must not fill with them
        return compute([name], y_true, np.asarray(predictions, np.float32), task)[name]


def data(task: Task, seed: int) -> tuple[Values, Values]:
    """Predictions, with ties, that are right more often than by chance."""
    draw = np.random.default_rng(seed)
    if task == "regression":
        y = draw.normal(size=80) + 3.0
        return y, (y + draw.normal(size=80)).astype(np.float32)
    if task == "binary":
        y = draw.integers(0, 2, 80)
        return y, np.round(0.7 * draw.random(80) + 0.3 * y, 1).astype(np.float32)
    if task == "multilabel":
        marks = draw.integers(0, 2, (80, 3))
        return marks, (0.7 * draw.random((80, 3)) + 0.3 * marks).astype(np.float32)
    y = draw.integers(0, CLASSES, 80)
    weights = np.round(draw.random((80, CLASSES)) + np.eye(CLASSES)[y], 1) + 0.1
    return y, (weights / weights.sum(1, keepdims=True)).astype(np.float32)


def ranking(positive: Values, scores: Values) -> float:
    """The chance that a positive row gets a higher score than a negative one (Hanley, McNeil)."""
    difference = scores[positive][:, None] - scores[~positive][None, :]
    return float(np.mean((difference > 0) + 0.5 * (difference == 0)))


def precision_by_recall(positive: Values, scores: Values) -> float:
    """The sum of the precisions at each threshold, times the recall that it adds."""
    total = recall_before = 0.0
    for threshold in sorted(set(scores), reverse=True):
        found = scores >= threshold
        recall = float(np.sum(found & positive) / np.sum(positive))
        total += (recall - recall_before) * float(np.sum(found & positive) / np.sum(found))
        recall_before = recall
    return total


def labels(predictions: Values) -> Values:
    return (predictions > 0.5).astype(int) if predictions.ndim == 1 else predictions.argmax(1)


def one_by_one(score: Callable[[Values, Values], float]) -> Callable[[Values, Values], float]:
    """Of two classes the second's, else the mean over the classes."""

    def mean(y: Values, predictions: Values) -> float:
        if predictions.ndim == 1:
            return score(y == 1, predictions)
        return float(np.mean([score(y == k, predictions[:, k]) for k in np.unique(y)]))

    return mean


def by_label(score: Callable[[Values, Values], float]) -> Callable[[Values, Values], float]:
    def mean(y: Values, predictions: Values) -> float:
        predicted = labels(predictions)
        classes = [1] if predictions.ndim == 1 else range(CLASSES)
        return float(np.mean([score(y == k, predicted == k) for k in classes]))

    return mean


def precision(truth: Values, predicted: Values) -> float:
    return float(np.sum(truth & predicted) / np.sum(predicted))


def recall(truth: Values, predicted: Values) -> float:
    return float(np.sum(truth & predicted) / np.sum(truth))


def harmonic(truth: Values, predicted: Values) -> float:
    p, r = precision(truth, predicted), recall(truth, predicted)
    return 2 * p * r / (p + r)


def balanced(y: Values, predictions: Values) -> float:
    return float(np.mean([recall(y == k, labels(predictions) == k) for k in np.unique(y)]))


def kappa(y: Values, predictions: Values) -> float:
    predicted = labels(predictions)
    by_chance = sum(np.mean(y == k) * np.mean(predicted == k) for k in range(CLASSES))
    return float((np.mean(y == predicted) - by_chance) / (1 - by_chance))


def cross_entropy(y: Values, predictions: Values) -> float:
    chances = predictions.astype(np.float64)
    if chances.ndim == 1:
        return float(-np.mean(np.log(np.where(y == 1, chances, 1 - chances))))
    return float(-np.mean(np.log(chances[np.arange(len(y)), y] / chances.sum(1))))


def in_top_5(y: Values, predictions: Values) -> float:
    own = predictions[np.arange(len(y)), y][:, None]
    return float(np.mean(np.sum(predictions > own, axis=1) < 5))


def explained(y: Values, predictions: Values) -> float:
    return float(1 - np.sum((y - predictions) ** 2) / np.sum((y - y.mean()) ** 2))


def harmonic_of(has_it: Values, is_given_it: Values) -> float:
    """Two divided by the sum of the reciprocals of precision and recall."""
    right = np.sum(has_it & is_given_it)
    return float(2 / (np.sum(is_given_it) / right + np.sum(has_it) / right))


DEFINITIONS: dict[str, Callable[[Values, Values], float]] = {
    "auc": one_by_one(ranking),
    "pr_auc": one_by_one(precision_by_recall),
    "f1": by_label(harmonic),
    "precision": by_label(precision),
    "recall": by_label(recall),
    "balanced_accuracy": balanced,
    "kappa": kappa,
    "log_loss": cross_entropy,
    "top_5_accuracy": in_top_5,
    "f1_macro": lambda y, p: float(
        np.mean([harmonic_of(y[:, i] == 1, p[:, i] > 0.5) for i in range(y.shape[1])])
    ),
    "f1_micro": lambda y, p: harmonic_of(y.ravel() == 1, p.ravel() > 0.5),
    "r2": explained,
    "mape": lambda y, predictions: float(np.mean(np.abs((y - predictions) / y))),
}
CASES = [(name, task) for name, m in METRICS.items() if m.function for task in m.tasks]


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize(("name", "task"), CASES)
def test_it_is_what_its_definition_says(name: str, task: Task, seed: int) -> None:
    y, predictions = data(task, seed)
    if name == "top_5_accuracy":  # no ties, which may be broken either way
        predictions = predictions + np.linspace(0, 1e-3, CLASSES, dtype=np.float32)
    assert value(name, y, predictions, task) == pytest.approx(
        DEFINITIONS[name](y, predictions), rel=1e-5
    )


@pytest.mark.parametrize("name", DEFINITIONS)
def test_a_perfect_prediction_is_the_best(name: str) -> None:
    best = 0.0 if METRICS[name].direction == "minimize" else 1.0
    for task in METRICS[name].tasks:
        y, _ = data(task, seed=0)
        perfect = np.eye(CLASSES)[y] if task == "classes" else y
        assert value(name, y, perfect, task) == pytest.approx(best, abs=2e-6)


MEANS = ["auc", "pr_auc", "balanced_accuracy", "log_loss", "top_5_accuracy", "kappa"]


@pytest.mark.parametrize("name", MEANS)
def test_a_class_that_the_split_lacks_is_left_out(name: str) -> None:
    y, predictions = data("classes", seed=3)
    lacks = y != 2
    expected = DEFINITIONS[name](y[lacks], predictions[lacks])
    assert value(name, y[lacks], predictions[lacks], "classes") == pytest.approx(expected, rel=1e-5)


def test_the_first_of_several_classes_alone_has_a_precision_recall_curve() -> None:
    """Of two classes it has none, because the second is the one that is looked for."""
    y, predictions = np.zeros(3, int), data("classes", seed=3)[1][:3]
    assert value("pr_auc", y, predictions, "classes") == 1.0
    check_has_values("val_pr_auc", "classes", y, classes=CLASSES, held_out="val")


def test_the_fifth_class_counts_and_the_sixth_does_not() -> None:
    chances = np.tile(np.arange(CLASSES, 0, -1.0) / 28, (CLASSES, 1))
    for y in range(CLASSES):
        assert value("top_5_accuracy", np.array([y]), chances[:1], "classes") == (y < 5)
    assert value("top_5_accuracy", np.arange(CLASSES), chances, "classes") == 5 / CLASSES


@pytest.mark.parametrize("name", ["f1", "precision", "recall"])
def test_a_class_that_is_only_predicted_counts_as_zero(name: str) -> None:
    y, predictions = np.array([0, 1, 0]), np.eye(CLASSES)[[0, 1, 4]]
    # Class 0: one of its two rows is found; class 1 is right; class 4 has no row.
    of_first = {"f1": 2 / 3, "precision": 1.0, "recall": 0.5}[name]
    expected = (of_first + 1.0 + 0.0) / 3
    assert value(name, y, predictions, "classes") == pytest.approx(expected)


def test_a_class_that_is_never_predicted_has_no_precision() -> None:
    y, nothing = np.array([0, 1, 1]), np.zeros(3)
    assert {n: value(n, y, nothing, "binary") for n in ("precision", "recall", "f1")} == {
        "precision": 0.0, "recall": 0.0, "f1": 0.0,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "y", "task"),
    [
        ("auc", [1, 1], "binary"), ("auc", [3, 3], "classes"), ("pr_auc", [0, 0], "binary"),
        ("kappa", [1, 1], "binary"), ("mape", [0.0, 2.0], "regression"),
        ("r2", [1.0], "regression"),
    ],
)  # fmt: skip
def test_what_is_undefined_is_nan(name: str, y: list[float], task: Task) -> None:
    truth = np.array(y)
    predictions = np.eye(CLASSES)[[3, 3]] if task == "classes" else np.array(y)
    assert math.isnan(value(name, truth, predictions, task))


def test_certain_predictions_have_a_finite_log_loss() -> None:
    """As scikit-learn of float32 probabilities: at least its epsilon, 2**-23."""
    worst = value("log_loss", np.array([1, 0]), np.array([0.0, 1.0]), "binary")
    assert worst == pytest.approx(23 * math.log(2), rel=1e-4)
    of_classes = value("log_loss", np.array([2]), np.eye(CLASSES)[[3]], "classes")
    assert of_classes == pytest.approx(23 * math.log(2), rel=1e-4)


def test_rows_that_float32_rounds_away_from_one_are_taken() -> None:
    y, predictions = data("classes", seed=5)
    scaled = predictions * np.float32(1.0001)
    for name in ("log_loss", "auc", "top_5_accuracy"):
        assert value(name, y, scaled, "classes") == pytest.approx(
            value(name, y, predictions, "classes"), rel=1e-4
        )


def test_a_constant_target_has_no_variance_to_explain() -> None:
    constant = np.full(5, 2.0)
    assert value("r2", constant, np.full(5, 2.0), "regression") == 1.0
    assert value("r2", constant, np.full(5, 3.0), "regression") == 0.0


@pytest.mark.parametrize(
    ("objective", "task", "y", "classes", "message"),
    [
        ("val_top_5_accuracy", "classes", [0, 1], 5, "is always 1 for 5 classes"),
        ("val_auc", "binary", [1, 1], 2, r"all 2 rows of the validation split .*\(--validation\)"),
        ("val_kappa", "classes", [1, 1], 3, "has no value"),
        ("val_pr_auc", "binary", [0, 0], 2, "has no value"),
        ("val_mape", "regression", [0.0, 1.0, 0.0], 0, "2 of 3 .* take val_mae or val_rmse"),
    ],
)
def test_metrics_without_a_value_on_the_data_are_refused(
    objective: str, task: Task, y: list[float], classes: int, message: str
) -> None:
    with pytest.raises(SpecError, match=f"^{objective} .*{message}"):
        check_has_values(objective, task, np.array(y), classes=classes, held_out="val")


@pytest.mark.parametrize("task", TASKS)
def test_usual_data_have_values_of_all_metrics(task: Task) -> None:
    y, _ = data(task, seed=0)
    for name in (*(name for name, metric in METRICS.items() if task in metric.tasks), "own"):
        check_has_values(f"test_{name}", task, y, classes=CLASSES, held_out="test")


def test_every_metric_says_what_it_is() -> None:
    entries: list[Any] = [metric.doc for metric in METRICS.values()]
    assert all(doc.endswith(".") and len(doc) < 80 for doc in entries)
