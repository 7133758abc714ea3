"""The figures of a network that predicts labels: of each label, which are confused, and whether
probabilities come true."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tuner.preparation.predictions import probabilities
from tuner.study.weighted_metrics import ScoredRows, areas_of, rank

_Array = npt.NDArray[Any]

BINS = 10


@dataclass(frozen=True)
class ClassFigures:
    """Of one class: the rows that have it, the rows that it is predicted for, and its metrics.
    `auc`: of this class against all others. None: no row to compute it from."""

    label: str
    rows: int
    predicted: int
    precision: float | None
    recall: float | None
    f1: float | None
    auc: float | None


@dataclass(frozen=True, eq=False)
class Confusion:
    """`counts[i, j]`: the rows of class `labels[i]` that are predicted as `labels[j]`."""

    labels: tuple[str, ...]
    counts: npt.NDArray[np.int64]

    def most_confused(self, most: int) -> list[tuple[str, str, int]]:
        """True label, predicted label and rows of the wrong predictions, the most common first."""
        wrong = self.counts.copy()
        np.fill_diagonal(wrong, 0)
        order = np.argsort(-wrong, axis=None, kind="stable")[:most]
        cells = zip(*np.unravel_index(order, wrong.shape), strict=True)
        return [(self.labels[i], self.labels[j], int(wrong[i, j])) for i, j in cells if wrong[i, j]]


@dataclass(frozen=True)
class CalibrationBin:
    """The rows whose probability lies from `low` to `high`: its mean, and the share of rows where
    what it is the probability of is true."""

    low: float
    high: float
    rows: int
    probability: float
    share: float


@dataclass(frozen=True)
class Calibration:
    """Whether probabilities come true.

    Of two classes: the probability of the second, and the share of rows that have it. Of several:
    the probability of the predicted class, and the share of rows where it is right (Guo et al.,
    2017). `bins`: those that have rows, of 10 of equal width. `expected_error`: the mean distance
    of the two, weighted by rows (expected calibration error, Naeini et al., 2015). `brier`: the
    mean squared error of the probabilities (Brier, 1950), of several classes summed over them.
    """

    bins: tuple[CalibrationBin, ...]
    expected_error: float
    brier: float


class LabelFigures(NamedTuple):
    """What an evaluation holds for labels, as its fields of these names."""

    per_class: tuple[ClassFigures, ...]
    confusion: Confusion
    calibration: Calibration


def label_figures(scored: ScoredRows, labels: Sequence[str]) -> LabelFigures:
    """`labels`: of the class numbers."""
    shares = scored.predictions
    if scored.task == "binary":
        shares = probabilities(shares[:, np.newaxis], "binary")
    predicted = scored.predicted
    size = len(labels)
    cells = scored.y.astype(np.intp) * size + predicted
    counts = np.bincount(cells, minlength=size * size).reshape(size, size).astype(np.int64)
    return LabelFigures(
        per_class=_class_figures(scored, labels),
        confusion=Confusion(tuple(labels), counts),
        calibration=_calibration(scored, shares, predicted),
    )


def _class_figures(scored: ScoredRows, labels: Sequence[str]) -> tuple[ClassFigures, ...]:
    areas = _roc_areas(scored)
    return tuple(
        _figures_of(label, scored.y == number, scored.predicted == number, areas.get(number))
        for number, label in enumerate(labels)
    )


def figures_of_labels(scored: ScoredRows, labels: Sequence[str]) -> tuple[ClassFigures, ...]:
    """Of labels of which a row may have several, each by itself."""
    every = np.ones((1, len(scored.y)))
    figures = []
    for number, label in enumerate(labels):
        is_actual, is_predicted = scored.y[:, number] == 1, scored.predicted[:, number] == 1
        area = float(areas_of(rank(is_actual, scored.predictions[:, number]), every)[0][0])
        figures.append(
            _figures_of(label, is_actual, is_predicted, area if math.isfinite(area) else None)
        )
    return tuple(figures)


def _figures_of(label: str, is_actual: Any, is_predicted: Any, auc: float | None) -> ClassFigures:
    actual, predicted, right = (
        int(each.sum()) for each in (is_actual, is_predicted, is_actual & is_predicted)
    )
    return ClassFigures(
        label=label,
        rows=actual,
        predicted=predicted,
        precision=right / predicted if predicted else None,
        recall=right / actual if actual else None,
        f1=2 * right / (actual + predicted) if actual + predicted else None,
        auc=auc,
    )


def _roc_areas(scored: ScoredRows) -> dict[int, float]:
    """By class number, of those that have one. Of two classes the first has the second's."""
    every = np.ones((1, len(scored.y)))
    areas = {each: float(areas_of(r, every)[0][0]) for each, r in scored.rankings.items()}
    if scored.task == "binary":
        areas[0] = areas[1]
    return {each: area for each, area in areas.items() if math.isfinite(area)}


def _calibration(scored: ScoredRows, shares: _Array, predicted: _Array) -> Calibration:
    rows = np.arange(len(scored.y))
    if scored.task == "binary":
        chances, is_true = shares[:, 1].astype(np.float64), scored.y == 1
        brier = float(((chances - is_true) ** 2).mean())
    else:
        chances, is_true = shares[rows, predicted].astype(np.float64), scored.y == predicted
        squares = np.square(shares, dtype=np.float64).sum(axis=1)
        of_truth = shares[rows, scored.y].astype(np.float64)
        brier = float((squares + 1.0 - 2.0 * of_truth).mean())
    # The outputs of a network of the user's own may be no probabilities.
    bin_of = np.clip(chances * BINS, 0, BINS - 1).astype(np.intp)
    counts = np.bincount(bin_of, minlength=BINS)
    sums = [np.bincount(bin_of, each, minlength=BINS) for each in (chances, is_true)]
    bins = tuple(
        CalibrationBin(
            i / BINS, (i + 1) / BINS, int(n), float(sums[0][i] / n), float(sums[1][i] / n)
        )
        for i, n in enumerate(counts)
        if n
    )
    expected_error = float(np.abs(sums[0] - sums[1]).sum() / len(rows))
    return Calibration(bins, expected_error, brier)
