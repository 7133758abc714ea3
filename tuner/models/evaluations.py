"""What a network's outputs for known rows are worth: metrics with intervals, and what is behind
them.

Arrays only: no network, no file. `evaluate_outputs` judges one network, `difference` compares two
on the same rows.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tuner.models.resampling import LEVEL, OfWeights, Resampling, repeating
from tuner.preparation.kinds import Task
from tuner.preparation.predictions import probabilities
from tuner.study.metrics import METRICS, Metric
from tuner.study.weighted_metrics import area_under_roc, class_counts, predicted_classes
from tuner.values import join_names

_Array = npt.NDArray[Any]

_FEW_ROWS = 30
BINS = 10
_TARGET_GROUPS = 5
_ERROR_LEVELS = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)
_SIZE_LEVELS = (0.5, 0.75, 0.9, 0.95, 0.99, 1.0)


@dataclass(frozen=True)
class Estimate:
    """A figure and its 95 % interval. `value`: None where the rows give it none; `low`, `high`:
    None where it has no interval."""

    value: float | None
    low: float | None
    high: float | None


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


@dataclass(frozen=True)
class TargetGroup:
    """The rows whose target lies from `low` to `high`. `bias`: the mean of prediction - target."""

    low: float
    high: float
    rows: int
    bias: float
    mae: float
    rmse: float


@dataclass(frozen=True)
class Residuals:
    """The errors of a regression, prediction - target, in the target's units: mean, standard
    deviation, their quantiles and those of their sizes by level, and the errors by groups of
    targets of about equally many rows, the smallest targets first."""

    mean: float
    deviation: float
    quantiles: dict[float, float]
    sizes: dict[float, float]
    by_target: tuple[TargetGroup, ...]


@dataclass(frozen=True, eq=False)
class Evaluation:
    """A network's figures for known rows.

    `metrics`: all of the task, by their names in METRICS, with 95 % intervals of `resamples`
    resamples by `method` (models/resampling.py). `loss` is without regularisation: cross entropy,
    or the mean squared error in the target's units. `per_class`, `confusion`, `calibration`: of
    classes, else empty and None; `residuals`: of regression, else None. `notes`: lines on what the
    figures do not say.
    """

    task: Task
    rows: int
    metrics: dict[str, Estimate]
    per_class: tuple[ClassFigures, ...] = ()
    confusion: Confusion | None = None
    calibration: Calibration | None = None
    residuals: Residuals | None = None
    method: str = "BCa"
    resamples: int = 0
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """As JSON takes it; a figure without a value is null."""
        confusion = self.confusion and {
            "labels": self.confusion.labels,
            "counts": self.confusion.counts.tolist(),
        }
        return {
            "task": self.task,
            "rows": self.rows,
            "metrics": {name: asdict(each) for name, each in self.metrics.items()},
            "interval": {"level": LEVEL, "method": self.method, "resamples": self.resamples},
            "per_class": [asdict(each) for each in self.per_class],
            "confusion": confusion,
            "calibration": self.calibration and asdict(self.calibration),
            "residuals": self.residuals and _residuals_json(self.residuals),
            "notes": list(self.notes),
        }


def _residuals_json(residuals: Residuals) -> dict[str, Any]:
    content = asdict(residuals)
    for name in ("quantiles", "sizes"):
        content[name] = {str(level): value for level, value in content[name].items()}
    return content


def evaluate_outputs(
    outputs: _Array,
    y: _Array,
    task: Task,
    labels: Sequence[str],
    *,
    seed: int = 0,
    resamples: int = 2000,
) -> Evaluation:
    """All metrics of the task, with their intervals.

    Args:
        outputs: what the network gives for n rows: (n, classes) probabilities, (n, 1) the
            probability of the second of two labels, or (n, 1) values in the target's units.
        y: (n,) class numbers, indices of `labels`, or targets.
        labels: of the classes; empty for regression.
        seed: of the resamples.
        resamples: at most; fewer for many rows (`resamples` of the evaluation).

    Raises ValueError for no rows, and for outputs and targets of different lengths.
    """
    predictions = _predictions(outputs, y, task)
    unfinished = int((~np.isfinite(predictions.reshape(len(y), -1)).all(axis=1)).sum())
    if unfinished:
        names = [metric.name for metric in _metrics_of(task, labels)]
        note = f"outputs of {unfinished:,} of {len(y):,} rows are not finite: there are no figures"
        return Evaluation(
            task, len(y), dict.fromkeys(names, Estimate(None, None, None)), notes=(note,)
        )
    scored = _Scored(y, predictions, task)
    plan = Resampling.plan(len(y), len(labels) if task == "classes" else 1, resamples, seed)
    metrics, notes = _estimates(scored, _metrics_of(task, labels), plan)
    return Evaluation(
        task=task,
        rows=len(y),
        metrics=metrics,
        method=plan.method,
        resamples=plan.count,
        notes=(*_row_notes(y, task, labels), *notes),
        **(_of_regression(scored) if task == "regression" else _of_classes(scored, labels)),
    )


def difference(
    outputs_a: _Array,
    outputs_b: _Array,
    y: _Array,
    task: Task,
    metric: str,
    *,
    seed: int = 0,
    resamples: int = 2000,
) -> Estimate:
    """The metric of network a less that of network b, on the same rows: a paired bootstrap, each
    resample with the same rows for both. An interval without 0: they differ.

    `metric`: a name in METRICS, without a split's prefix. Otherwise as `evaluate_outputs`.
    """
    pair = [_Scored(y, _predictions(each, y, task), task) for each in (outputs_a, outputs_b)]
    values = [scored.value(METRICS[metric]) for scored in pair]
    value = values[0] - values[1]
    if not math.isfinite(value):
        return Estimate(None, None, None)
    of_a, of_b = (scored.weighted(METRICS[metric]) for scored in pair)
    columns = np.asarray(outputs_a).shape[1]
    plan = Resampling.plan(len(y), 2 * columns, resamples, seed)
    interval = plan.intervals({metric: lambda w: of_a(w) - of_b(w)}, {metric: value})[metric]
    return Estimate(value, interval.low, interval.high)


def _predictions(outputs: _Array, y: _Array, task: Task) -> _Array:
    """As metrics take them: (n,), or (n, classes)."""
    outputs = np.asarray(outputs)
    if len(y) == 0 or len(outputs) != len(y):
        raise ValueError(f"{len(outputs)} outputs for {len(y)} targets")
    return outputs if task == "classes" else outputs[:, 0]


def _metrics_of(task: Task, labels: Sequence[str]) -> list[Metric]:
    """The task's metrics; top-5 accuracy needs more than five classes."""
    return [
        metric
        for metric in METRICS.values()
        if task in metric.tasks and (task != "classes" or len(labels) > metric.classes)
    ]


@dataclass(frozen=True, eq=False)
class _Scored:
    """Targets (n,) with predictions as metrics take them."""

    y: _Array
    predictions: _Array
    task: Task

    def value(self, metric: Metric) -> float:
        """NaN: undefined for these rows."""
        if metric.function is not None:
            return metric.function(self.y, self.predictions, self.task)
        return float(self.weighted(metric)(np.ones((1, len(self.y))))[0])

    def weighted(self, metric: Metric) -> OfWeights:
        if metric.weighted is not None:
            return metric.weighted(self.y, self.predictions, self.task)
        function = metric.function
        assert function is not None  # Each metric has one of the two.
        return repeating(lambda rows: function(self.y[rows], self.predictions[rows], self.task))


def _estimates(
    scored: _Scored, metrics: Sequence[Metric], plan: Resampling
) -> tuple[dict[str, Estimate], list[str]]:
    """The metrics' estimates, and notes on those that lack something."""
    values = {metric.name: scored.value(metric) for metric in metrics}
    defined = {name: value for name, value in values.items() if math.isfinite(value)}
    statistics = {
        metric.name: scored.weighted(metric) for metric in metrics if metric.name in defined
    }
    intervals = plan.intervals(statistics, defined)
    estimates = dict.fromkeys(values, Estimate(None, None, None))
    for name, value in defined.items():
        low, high = intervals[name].low, intervals[name].high
        estimates[name] = Estimate(value, *_within_best(METRICS[name], low, high))
    notes = []
    if lacking := [name for name in values if name not in defined]:
        notes.append(f"no value for these rows: {join_names(lacking)}{_why(scored)}")
    for name, interval in intervals.items():
        if interval.undefined:
            notes.append(
                f"{name}: no value in {interval.undefined:,} of {plan.count:,} resamples, which "
                "are left out"
            )
    return estimates, notes


def _why(scored: _Scored) -> str:
    if scored.task != "regression":
        return " (all rows have one class)" if scored.y.min() == scored.y.max() else ""
    zeros = int((scored.y == 0).sum())
    return f" ({zeros:,} targets are 0)" if zeros else ""


def _within_best(
    metric: Metric, low: float | None, high: float | None
) -> tuple[float | None, float | None]:
    """A normal interval may reach beyond the best value: 1, or 0 of an error."""
    if low is None or high is None:
        return low, high
    return (low, min(high, 1.0)) if metric.direction == "maximize" else (max(low, 0.0), high)


def _row_notes(y: _Array, task: Task, labels: Sequence[str]) -> list[str]:
    notes = []
    if len(y) < _FEW_ROWS:
        what = "1 row says" if len(y) == 1 else f"{len(y)} rows say"
        notes.append(f"{what} little of a network: take more")
    if task != "regression":
        absent = np.flatnonzero(np.bincount(y, minlength=len(labels)) == 0)
        if len(absent):
            names = join_names(labels[i] for i in absent)
            notes.append(f"no row has the label: {names}")
    return notes


def _of_classes(scored: _Scored, labels: Sequence[str]) -> dict[str, Any]:
    shares = scored.predictions
    if scored.task == "binary":
        shares = probabilities(shares[:, np.newaxis], "binary")
    predicted = predicted_classes(scored.predictions, scored.task)
    size = len(labels)
    cells = scored.y.astype(np.intp) * size + predicted
    counts = np.bincount(cells, minlength=size * size).reshape(size, size).astype(np.int64)
    return {
        "per_class": _class_figures(scored, shares, labels),
        "confusion": Confusion(tuple(labels), counts),
        "calibration": _calibration(scored, shares, predicted),
    }


def _class_figures(
    scored: _Scored, shares: _Array, labels: Sequence[str]
) -> tuple[ClassFigures, ...]:
    every = np.ones((1, len(scored.y)))
    counts = class_counts(scored.y, scored.predictions, scored.task)(every)
    figures = []
    for number, label in enumerate(labels):
        actual, predicted, right = (float(each[0, number]) for each in counts)
        is_one = (scored.y == number).astype(np.int32)
        auc = float(area_under_roc(is_one, shares[:, number], "binary")(every)[0])
        figures.append(
            ClassFigures(
                label=label,
                rows=int(actual),
                predicted=int(predicted),
                precision=right / predicted if predicted else None,
                recall=right / actual if actual else None,
                f1=2 * right / (actual + predicted) if actual + predicted else None,
                auc=auc if math.isfinite(auc) else None,
            )
        )
    return tuple(figures)


def _calibration(scored: _Scored, shares: _Array, predicted: _Array) -> Calibration:
    rows = np.arange(len(scored.y))
    if scored.task == "binary":
        chances, is_true = shares[:, 1].astype(np.float64), scored.y == 1
        brier = float(((chances - is_true) ** 2).mean())
    else:
        chances, is_true = shares[rows, predicted].astype(np.float64), scored.y == predicted
        squares = np.square(shares, dtype=np.float64).sum(axis=1)
        of_truth = shares[rows, scored.y].astype(np.float64)
        brier = float((squares + 1.0 - 2.0 * of_truth).mean())
    bin_of = np.minimum((chances * BINS).astype(np.intp), BINS - 1)
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


def _of_regression(scored: _Scored) -> dict[str, Any]:
    target = scored.y.astype(np.float64)
    errors = scored.predictions.astype(np.float64) - target
    residuals = Residuals(
        mean=float(errors.mean()),
        deviation=float(errors.std()),
        quantiles=_quantiles(errors, _ERROR_LEVELS),
        sizes=_quantiles(np.abs(errors), _SIZE_LEVELS),
        by_target=_by_target(target, errors),
    )
    return {"residuals": residuals}


def _quantiles(values: _Array, levels: Sequence[float]) -> dict[float, float]:
    return dict(zip(levels, np.quantile(values, levels).tolist(), strict=True))


def _by_target(target: _Array, errors: _Array) -> tuple[TargetGroup, ...]:
    """Equal targets are in one group, so that there may be fewer of them."""
    ends = np.unique(np.quantile(target, np.linspace(0, 1, _TARGET_GROUPS + 1)[1:]))
    group_of = np.searchsorted(ends, target)
    groups = []
    for number in np.unique(group_of):
        members = group_of == number
        own = errors[members]
        groups.append(
            TargetGroup(
                low=float(target[members].min()),
                high=float(target[members].max()),
                rows=len(own),
                bias=float(own.mean()),
                mae=float(np.abs(own).mean()),
                rmse=float(np.sqrt((own**2).mean())),
            )
        )
    return tuple(groups)
