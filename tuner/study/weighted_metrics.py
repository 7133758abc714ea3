"""The metrics for many weightings of the same rows at once: what a bootstrap needs.

`ScoredRows` keeps what does not depend on the weights, `WeightedRows` what several metrics of the
same weights share. Each metric takes weighted rows and returns one value for each weighting: the
metric of the rows where row i counts weights[:, i] times. NaN: undefined for those weights. With
whole weights they equal the functions of prediction_metrics.py on repeated rows; a test compares
the two.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from tuner.preparation.kinds import Task as Task

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Truth = npt.NDArray[Any]
    Predictions = npt.NDArray[np.floating]
    Numbers = npt.NDArray[np.intp]
    Floats = npt.NDArray[np.float64]

# Keras' own, in the losses that training reports.
_KERAS_EPSILON = 1e-7


class Ranking(NamedTuple):
    """Rows by falling score. `order`: row numbers. `positives`: the row numbers of the positive
    ones in this order. Of each positive row: how many rows, and how many positive ones, have a
    higher score (`above`), and at least its score (`upto`)."""

    order: Numbers
    positives: Numbers
    above: tuple[Numbers, Numbers]
    upto: tuple[Numbers, Numbers]


class ClassCells(NamedTuple):
    """Rows by true and predicted class: `order` puts equal ones together, cell i begins at
    `starts[i]`. `actual`, `predicted`, `right`: (cells, classes), 1 where a cell's rows are of a
    class, are predicted as it, or both."""

    order: Numbers
    starts: Numbers
    actual: Floats
    predicted: Floats
    right: Floats


@dataclass(frozen=True, eq=False)
class ScoredRows:
    """Rows with their true targets and predictions, as `metrics.compute` takes them; all
    predictions are finite."""

    y: Truth
    predictions: Predictions
    task: Task

    @cached_property
    def classes(self) -> int:
        return 2 if self.task == "binary" else int(self.predictions.shape[1])

    @cached_property
    def predicted(self) -> Numbers:
        """The most probable class, of equally probable ones the first; of several labels which are
        given, (n, k) of 0 and 1."""
        import numpy as np

        if self.task in ("binary", "multilabel"):
            return (self.predictions > 0.5).astype(np.intp)
        return np.asarray(self.predictions.argmax(axis=1), np.intp)

    @cached_property
    def is_right(self) -> Floats:
        """Whether the class, or every label, is right."""
        right = self.predicted == self.y
        return (right.all(axis=1) if right.ndim > 1 else right).astype("float64")

    @cached_property
    def is_in_five(self) -> Floats:
        """Whether the class is among the five most probable, of equally probable ones the last, as
        in scikit-learn."""
        import numpy as np

        five = np.argsort(self.predictions, axis=1, kind="stable")[:, -5:]
        return (five == self.y[:, np.newaxis]).any(axis=1).astype(np.float64)

    @cached_property
    def losses(self) -> Floats:
        """The task's own loss without regularisation: cross entropy, or the squared error in the
        units of the data."""
        if self.task == "regression":
            return _of_rows(self.squared_errors)
        return self._cross_entropies(_KERAS_EPSILON)

    @cached_property
    def log_losses(self) -> Floats:
        import numpy as np

        return self._cross_entropies(float(np.finfo(np.float32).eps))

    def _cross_entropies(self, epsilon: float) -> Floats:
        import numpy as np

        chances = np.clip(self.predictions.astype(np.float64), epsilon, 1.0 - epsilon)
        if self.task in ("binary", "multilabel"):
            return _of_rows(-np.log(np.where(self.y == 1, chances, 1.0 - chances)))
        of_truth = chances[np.arange(len(self.y)), self.y]
        return np.asarray(np.log(chances.sum(axis=1)) - np.log(of_truth))

    @cached_property
    def errors(self) -> Floats:
        return self.predictions.astype("float64") - self.y.astype("float64")

    @cached_property
    def error_sizes(self) -> Floats:
        return abs(self.errors)

    @cached_property
    def squared_errors(self) -> Floats:
        return self.errors**2

    @cached_property
    def centred(self) -> Floats:
        """The targets around their mean: the squares of large ones would lose the digits that
        differ."""
        return self.y.astype("float64") - self.y.mean(axis=0, dtype="float64")

    @cached_property
    def centred_squares(self) -> Floats:
        return self.centred**2

    @cached_property
    def relative_errors(self) -> Floats:
        """NaN where the target is 0: no error is a share of it."""
        import numpy as np

        target = np.where(self.y == 0, np.nan, self.y.astype(np.float64))
        return np.asarray(np.abs(self.errors / target))

    @cached_property
    def label_hits(self) -> Floats:
        """(n, k): 1 where a row has a label and is given it."""
        return (self.predicted * self.y).astype("float64")

    @cached_property
    def label_counts(self) -> Floats:
        """(n, k): whether a row has a label, plus whether it is given it."""
        return (self.predicted + self.y).astype("float64")

    @cached_property
    def cells(self) -> ClassCells:
        import numpy as np

        code = self.y.astype(np.intp) * self.classes + self.predicted
        order = np.argsort(code, kind="stable")
        cells, starts = np.unique(code[order], return_index=True)
        number = np.arange(self.classes)
        actual, predicted = (
            np.equal.outer(each, number).astype(np.float64)
            for each in np.divmod(cells, self.classes)
        )
        return ClassCells(order, starts, actual, predicted, actual * predicted)

    @cached_property
    def rankings(self) -> dict[int, Ranking]:
        """By class number: of each class that rows have against all others; of two classes of the
        second."""
        import numpy as np

        if self.task == "binary":
            return {1: rank(self.y == 1, self.predictions)}
        classes = np.unique(self.y).tolist()
        return {each: rank(self.y == each, self.predictions[:, each]) for each in classes}


def _of_rows(values: Floats) -> Floats:
    """(n,): the mean over the values of each row, where it has several."""
    return values.mean(axis=1) if values.ndim > 1 else values


def rank(is_positive: npt.NDArray[np.bool_], scores: Predictions) -> Ranking:
    """(n,) each."""
    import numpy as np

    order = np.argsort(-scores, kind="stable")
    ordered, is_positive = scores[order], is_positive[order]
    starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
    ends = np.append(starts[1:], len(ordered))
    group = np.searchsorted(starts, np.flatnonzero(is_positive), side="right") - 1
    positives = np.concatenate([[0], is_positive.cumsum()])
    above, upto = starts[group], ends[group]
    return Ranking(order, order[is_positive], (above, positives[above]), (upto, positives[upto]))


class ClassCounts(NamedTuple):
    """How many rows each class has, is predicted for, and is rightly predicted for: (b, classes)
    each."""

    actual: Floats
    predicted: Floats
    right: Floats


@dataclass(frozen=True, eq=False)
class WeightedRows:
    """`weights`: (b, n), b weightings of n rows; none is all 0."""

    rows: ScoredRows
    weights: Floats

    @cached_property
    def total(self) -> Floats:
        return self.weights.sum(axis=1)

    def sum(self, values: Floats) -> Floats:
        """(b,), of a value of each row; (b, k) of k."""
        return self.weights @ values

    def mean(self, values: Floats) -> Floats:
        """(b,), of one value of each row, or of the mean of its k values."""
        return self.sum(_of_rows(values)) / self.total

    @cached_property
    def counts(self) -> ClassCounts:
        import numpy as np

        cells = self.rows.cells
        weights = np.add.reduceat(self.weights.take(cells.order, axis=1), cells.starts, axis=1)
        return ClassCounts(weights @ cells.actual, weights @ cells.predicted, weights @ cells.right)

    @cached_property
    def areas(self) -> tuple[Floats, Floats]:
        """Below the ROC curve and the precision-recall curve: of several classes the means over the
        classes that have both positive and other rows, or positive ones."""
        import numpy as np

        areas = np.array([areas_of(each, self.weights) for each in self.rows.rankings.values()])
        has_area = ~np.isnan(areas)
        means = np.where(has_area, areas, 0.0).sum(axis=0) / np.maximum(has_area.sum(axis=0), 1)
        roc, precision_recall = np.where(has_area.any(axis=0), means, np.nan)
        return roc, precision_recall


def areas_of(ranking: Ranking, weights: Floats) -> tuple[Floats, Floats]:
    """Of one class, (b,) each, NaN where undefined.

    Below the ROC curve: the share of pairs of a positive and another row of which the positive one
    ranks higher; a pair of equal scores counts half (Hanley and McNeil, 1982). Below the
    precision-recall curve: average precision.
    """
    import numpy as np

    positive = weights.take(ranking.positives, axis=1)
    positives = _cumulative(positive)
    every = _cumulative(weights.take(ranking.order, axis=1))
    (rows_above, positives_above), (rows_upto, positives_upto) = ranking.above, ranking.upto
    positives_to_score, rows_to_score = (
        positives.take(positives_upto, axis=1),
        every.take(rows_upto, axis=1),
    )
    # Of the others: those above, and half of those with the same score.
    higher = rows_to_score - positives_to_score + every.take(rows_above, axis=1)
    higher -= positives.take(positives_above, axis=1)
    total = positives[:, -1]
    pairs = total * (every[:, -1] - total)
    precisions = positives_to_score / np.where(rows_to_score > 0, rows_to_score, 1.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        roc = 1.0 - 0.5 * np.einsum("bp,bp->b", positive, higher) / pairs
        precision_recall = np.einsum("bp,bp->b", positive, precisions) / total
    return roc, precision_recall


def _cumulative(weights: Floats) -> Floats:
    """(b, n + 1): the sum of the first 0, 1, …, n weights."""
    import numpy as np

    sums = np.zeros((len(weights), weights.shape[1] + 1))
    np.cumsum(weights, axis=1, out=sums[:, 1:])
    return sums


def accuracy(weighted: WeightedRows) -> Floats:
    return weighted.mean(weighted.rows.is_right)


def loss(weighted: WeightedRows) -> Floats:
    return weighted.mean(weighted.rows.losses)


def mae(weighted: WeightedRows) -> Floats:
    return weighted.mean(weighted.rows.error_sizes)


def rmse(weighted: WeightedRows) -> Floats:
    return weighted.mean(weighted.rows.squared_errors) ** 0.5


def auc(weighted: WeightedRows) -> Floats:
    return weighted.areas[0]


def pr_auc(weighted: WeightedRows) -> Floats:
    return weighted.areas[1]


def precision(weighted: WeightedRows) -> Floats:
    counts = weighted.counts
    return _over_classes(weighted, share(counts.right, counts.predicted))


def recall(weighted: WeightedRows) -> Floats:
    counts = weighted.counts
    return _over_classes(weighted, share(counts.right, counts.actual))


def f1(weighted: WeightedRows) -> Floats:
    counts = weighted.counts
    return _over_classes(weighted, share(2.0 * counts.right, counts.actual + counts.predicted))


def _over_classes(weighted: WeightedRows, figures: Floats) -> Floats:
    """The mean over the classes that rows have, or are predicted as; of two classes the second's
    figure. `figures`: (b, classes)."""
    if weighted.rows.task == "binary":
        return figures[:, 1]
    takes_part = weighted.counts.actual + weighted.counts.predicted > 0
    return (figures * takes_part).sum(axis=1) / takes_part.sum(axis=1)


def share(part: Floats, whole: Floats) -> Floats:
    """0 where the whole is 0."""
    import numpy as np

    return np.asarray(part / np.where(whole > 0, whole, 1.0))


def balanced_accuracy(weighted: WeightedRows) -> Floats:
    counts = weighted.counts
    return share(counts.right, counts.actual).sum(axis=1) / (counts.actual > 0).sum(axis=1)


def kappa(weighted: WeightedRows) -> Floats:
    import numpy as np

    counts, rows = weighted.counts, weighted.total
    observed = counts.right.sum(axis=1) / rows
    by_chance = (counts.actual * counts.predicted).sum(axis=1) / rows**2
    with np.errstate(divide="ignore", invalid="ignore"):
        values = (observed - by_chance) / (1.0 - by_chance)
    return np.where(by_chance < 1.0, values, np.nan)


def log_loss(weighted: WeightedRows) -> Floats:
    return weighted.mean(weighted.rows.log_losses)


def top_5_accuracy(weighted: WeightedRows) -> Floats:
    return weighted.mean(weighted.rows.is_in_five)


def f1_macro(weighted: WeightedRows) -> Floats:
    rows = weighted.rows
    return share(2.0 * weighted.sum(rows.label_hits), weighted.sum(rows.label_counts)).mean(axis=1)


def f1_micro(weighted: WeightedRows) -> Floats:
    rows = weighted.rows
    hits = 2.0 * weighted.sum(rows.label_hits.sum(axis=1))
    return share(hits, weighted.sum(rows.label_counts.sum(axis=1)))


def r2(weighted: WeightedRows) -> Floats:
    import numpy as np

    rows = weighted.rows
    unexplained, squares = weighted.sum(rows.squared_errors), weighted.sum(rows.centred_squares)
    total = weighted.total if unexplained.ndim == 1 else weighted.total[:, np.newaxis]
    spread = squares - weighted.sum(rows.centred) ** 2 / total
    varies = spread > 1e-12 * squares
    values = 1.0 - unexplained / np.where(varies, spread, 1.0)
    values = _of_rows(np.where(varies, values, np.where(unexplained == 0, 1.0, 0.0)))
    return np.where(weighted.total > 1, values, np.nan)


def mape(weighted: WeightedRows) -> Floats:
    return weighted.mean(weighted.rows.relative_errors)
