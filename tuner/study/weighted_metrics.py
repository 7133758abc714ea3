"""The metrics for many weightings of the same rows at once: what a bootstrap needs.

Each function takes y_true, predictions and the task, as `metrics.compute` describes them, does once
what does not depend on the weights, and returns a function from weights (b, n) to values (b,): the
metric of the rows where row i counts weights[:, i] times. NaN: undefined for those weights. For
weights of 1 they are the functions of prediction_metrics.py, and a test compares the two.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from tuner.preparation.kinds import Task as Task

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Truth = npt.NDArray[Any]
    Predictions = npt.NDArray[np.floating]
    Floats = npt.NDArray[np.float64]
    # From weights (b, n) to values (b,).
    OfWeights = Callable[[Floats], Floats]

# Keras' own, in the losses that training reports.
_KERAS_EPSILON = 1e-7


def _mean(row_values: Floats) -> OfWeights:
    return lambda weights: weights @ row_values / weights.sum(axis=1)


def accuracy(y_true: Truth, predictions: Predictions, task: Task) -> OfWeights:
    return _mean((predicted_classes(predictions, task) == y_true).astype("float64"))


def predicted_classes(predictions: Predictions, task: Task) -> npt.NDArray[np.intp]:
    """(n,): the most probable class, the first of equally probable ones."""
    import numpy as np

    if task == "binary":
        return (predictions > 0.5).astype(np.intp)
    return np.asarray(predictions.argmax(axis=1), np.intp)


def loss(y_true: Truth, predictions: Predictions, task: Task) -> OfWeights:
    """The task's own loss without regularisation: cross entropy, or the mean squared error in the
    units of the data."""
    if task == "regression":
        return _mean(_errors(y_true, predictions) ** 2)
    return _mean(_cross_entropies(y_true, predictions, task, _KERAS_EPSILON))


def log_loss(y_true: Truth, predictions: Predictions, task: Task) -> OfWeights:
    import numpy as np

    epsilon = float(np.finfo(np.float32).eps)
    return _mean(_cross_entropies(y_true, predictions, task, epsilon))


def _cross_entropies(y_true: Truth, predictions: Predictions, task: Task, epsilon: float) -> Floats:
    import numpy as np

    if task == "binary":
        second = np.clip(predictions.astype(np.float64), epsilon, 1.0 - epsilon)
        return -np.log(np.where(y_true == 1, second, 1.0 - second))
    chances = np.clip(predictions.astype(np.float64), epsilon, 1.0 - epsilon)
    return np.asarray(np.log(chances.sum(axis=1)) - np.log(chances[np.arange(len(y_true)), y_true]))


def top_5_accuracy(y_true: Truth, predictions: Predictions, task: Task) -> OfWeights:
    import numpy as np

    # Of equally probable classes the later ones come first, as in scikit-learn.
    five = np.argsort(predictions, axis=1, kind="stable")[:, -5:]
    return _mean((five == y_true[:, np.newaxis]).any(axis=1).astype(np.float64))


def _errors(y_true: Truth, predictions: Predictions) -> Floats:
    return predictions.astype("float64") - y_true.astype("float64")


def mae(y_true: Truth, predictions: Predictions, task: Task) -> OfWeights:
    return _mean(abs(_errors(y_true, predictions)))


def rmse(y_true: Truth, predictions: Predictions, task: Task) -> OfWeights:
    squares = _mean(_errors(y_true, predictions) ** 2)
    return lambda weights: squares(weights) ** 0.5


def mean_absolute_percentage_error(
    y_true: Truth, predictions: Predictions, task: Task
) -> OfWeights:
    import numpy as np

    with np.errstate(divide="ignore", invalid="ignore"):
        shares = np.abs(_errors(y_true, predictions) / y_true.astype(np.float64))
    return _mean(np.where(y_true == 0, np.nan, shares))


def r2(y_true: Truth, predictions: Predictions, task: Task) -> OfWeights:
    import numpy as np

    squares = _errors(y_true, predictions) ** 2
    # Around the mean: the squares of large targets would lose the digits that differ.
    target = y_true.astype(np.float64) - y_true.mean(dtype=np.float64)

    def of_weights(weights: Floats) -> Floats:
        rows = weights.sum(axis=1)
        unexplained = weights @ squares
        total = np.maximum(weights @ target**2 - (weights @ target) ** 2 / rows, 0.0)
        varies = total > 1e-12 * (weights @ target**2)
        values = 1.0 - unexplained / np.where(varies, total, 1.0)
        constant = np.where(unexplained == 0, 1.0, 0.0)
        return np.where(rows > 1, np.where(varies, values, constant), np.nan)

    return of_weights


class ClassCounts(NamedTuple):
    """How many rows each class has, is predicted for, and is rightly predicted for: (b, classes)
    each."""

    actual: Floats
    predicted: Floats
    right: Floats


def class_counts(
    y_true: Truth, predictions: Predictions, task: Task
) -> Callable[[Floats], ClassCounts]:
    """The counts of the classes that rows have, or are predicted as."""
    import numpy as np

    predicted = predicted_classes(predictions, task)
    size = 2 if task == "binary" else predictions.shape[1]
    # Rows of one true and one predicted class count alike, however many they are.
    order, starts, cells = _groups(y_true.astype(np.intp) * size + predicted)
    true_class, predicted_class = np.divmod(cells, size)
    of_true = np.equal.outer(true_class, np.arange(size)).astype(np.float64)
    of_predicted = np.equal.outer(predicted_class, np.arange(size)).astype(np.float64)

    def of_weights(weights: Floats) -> ClassCounts:
        counts = np.add.reduceat(weights[:, order], starts, axis=1)
        return ClassCounts(
            counts @ of_true, counts @ of_predicted, counts @ (of_true * of_predicted)
        )

    return of_weights


def _groups(codes: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], npt.NDArray[Any], Any]:
    """The order in which equal codes stand together, where each code begins in it, and the
    codes."""
    import numpy as np

    order = np.argsort(codes, kind="stable")
    ordered = codes[order]
    starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
    return order, starts, ordered[starts]


def _of_counts(
    formula: Callable[[ClassCounts], Floats],
) -> Callable[[Truth, Predictions, Task], OfWeights]:
    """A metric that is a mean over the classes which rows have, or are predicted as; of two classes
    that of the second. `formula`: the figure of each class, (b, classes)."""

    def metric(y_true: Truth, predictions: Predictions, task: Task) -> OfWeights:
        count = class_counts(y_true, predictions, task)

        def of_weights(weights: Floats) -> Floats:
            counts = count(weights)
            figures = formula(counts)
            if task == "binary":
                return figures[:, 1]
            takes_part = counts.actual + counts.predicted > 0
            return (figures * takes_part).sum(axis=1) / takes_part.sum(axis=1)

        return of_weights

    return metric


def _share(part: Floats, whole: Floats) -> Floats:
    """0 where the whole is 0."""
    import numpy as np

    return np.asarray(part / np.where(whole > 0, whole, 1.0))


precision = _of_counts(lambda counts: _share(counts.right, counts.predicted))
recall = _of_counts(lambda counts: _share(counts.right, counts.actual))
f1 = _of_counts(lambda counts: _share(2.0 * counts.right, counts.actual + counts.predicted))


def balanced_accuracy(y_true: Truth, predictions: Predictions, task: Task) -> OfWeights:
    count = class_counts(y_true, predictions, task)

    def of_weights(weights: Floats) -> Floats:
        counts = count(weights)
        recalls = _share(counts.right, counts.actual)
        return recalls.sum(axis=1) / (counts.actual > 0).sum(axis=1)

    return of_weights


def cohen_kappa(y_true: Truth, predictions: Predictions, task: Task) -> OfWeights:
    import numpy as np

    count = class_counts(y_true, predictions, task)

    def of_weights(weights: Floats) -> Floats:
        counts, rows = count(weights), weights.sum(axis=1)
        observed = counts.right.sum(axis=1) / rows
        by_chance = (counts.actual * counts.predicted).sum(axis=1) / rows**2
        with np.errstate(divide="ignore", invalid="ignore"):
            values = (observed - by_chance) / (1.0 - by_chance)
        return np.where(by_chance < 1.0, values, np.nan)

    return of_weights


def area_under_roc(y_true: Truth, predictions: Predictions, task: Task) -> OfWeights:
    return _over_classes(_roc_area, y_true, predictions, task)


def average_precision(y_true: Truth, predictions: Predictions, task: Task) -> OfWeights:
    return _over_classes(_precision_area, y_true, predictions, task)


def _over_classes(
    area: Callable[[Floats, Floats], Floats], y_true: Truth, predictions: Predictions, task: Task
) -> OfWeights:
    """The mean over the classes that rows have, each against all others; of two classes that of the
    second. `area`: from the weights of positive rows, and of all, by threshold from the highest on,
    (b, thresholds) each."""
    import numpy as np

    if task == "binary":
        classes = [(y_true == 1, *_thresholds(predictions))]
    else:
        classes = [
            (y_true == each, *_thresholds(predictions[:, each])) for each in np.unique(y_true)
        ]

    def of_weights(weights: Floats) -> Floats:
        total, count = np.zeros(len(weights)), np.zeros(len(weights))
        for is_positive, order, starts in classes:
            every = weights[:, order]
            positive = every * is_positive[order]
            if len(starts) < len(order):
                every = np.add.reduceat(every, starts, axis=1)
                positive = np.add.reduceat(positive, starts, axis=1)
            values = area(positive, every)
            has_value = ~np.isnan(values)
            total[has_value] += values[has_value]
            count += has_value
        return np.where(count > 0, total / np.maximum(count, 1), np.nan)

    return of_weights


def _thresholds(scores: Predictions) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """The order of falling scores, and where each score begins in it."""
    order, starts, _ = _groups(-scores)
    return order, starts


def _roc_area(positive: Floats, every: Floats) -> Floats:
    """The share of pairs of a positive and a negative row of which the positive ranks higher; a
    pair of equal scores counts half (Hanley and McNeil, 1982)."""
    import numpy as np

    negative = every - positive
    higher = positive.cumsum(axis=1) - 0.5 * positive
    pairs = positive.sum(axis=1) * negative.sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.einsum("bt,bt->b", higher, negative) / pairs)


def _precision_area(positive: Floats, every: Floats) -> Floats:
    import numpy as np

    precisions = _share(positive.cumsum(axis=1), every.cumsum(axis=1))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.einsum("bt,bt->b", precisions, positive) / positive.sum(axis=1))
