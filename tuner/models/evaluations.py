"""What a network's outputs for known rows are worth: metrics with intervals, and what is behind
them.

Arrays only: no network, no file. `evaluate_outputs` judges one network, `difference` compares two
on the same rows.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from tuner.models.label_figures import (
    Calibration,
    ClassFigures,
    Confusion,
    figures_of_labels,
    label_figures,
)
from tuner.models.resampling import LEVEL, Interval, Method, Resampling, of_repeated_rows
from tuner.models.residuals import Residuals, residuals_of
from tuner.preparation.kinds import Task
from tuner.preparation.predictions import Head
from tuner.study.metrics import METRICS, Metric, head_of
from tuner.study.weighted_metrics import ScoredRows, WeightedRows
from tuner.values import format_number, join_names

__all__ = [
    "Calibration",
    "ClassFigures",
    "Confusion",
    "Estimate",
    "Evaluation",
    "Residuals",
    "difference",
    "evaluate_outputs",
]

_Array = npt.NDArray[Any]

# Fewer say so little that it is worth a line.
_FEW_ROWS = 30


@dataclass(frozen=True)
class Estimate:
    """A figure and its 95 % interval. `value`: None where the rows give it none; `low`, `high`:
    None where it has no interval."""

    value: float | None
    low: float | None
    high: float | None


_NO_VALUE = Estimate(None, None, None)


@dataclass(frozen=True, eq=False, repr=False)
class Evaluation:
    """A network's figures for known rows.

    `metrics`: all of the task, by their names in METRICS, with 95 % intervals of `resamples`
    resamples by `method` (models/resampling.py). `loss` is without regularisation: cross entropy,
    or the mean squared error in the target's units. `per_class`, `confusion`, `calibration`: of
    classes, else empty and None; `residuals`: of regression, else None. `notes`: lines on what the
    figures do not say. `heads`: of several heads each, by name; `metrics` has those of all then,
    as `price_mae`.
    """

    task: Task
    rows: int
    metrics: dict[str, Estimate]
    per_class: tuple[ClassFigures, ...] = ()
    confusion: Confusion | None = None
    calibration: Calibration | None = None
    residuals: Residuals | None = None
    method: Method = "BCa"
    resamples: int = 0
    notes: tuple[str, ...] = ()
    heads: Mapping[str, "Evaluation"] = field(default_factory=dict)

    def __repr__(self) -> str:
        width = max(map(len, self.metrics), default=0)
        lines = [
            f"  {name:{width}}  {format_number(each.value)} "
            f"({format_number(each.low)} to {format_number(each.high)})"
            for name, each in self.metrics.items()
        ]
        return "\n".join([f"Evaluation of {self.rows:,} rows, 95 % intervals:", *lines])

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
            "residuals": self.residuals and self.residuals.to_json(),
            "notes": list(self.notes),
            **self._heads_to_json(),
        }

    def _heads_to_json(self) -> dict[str, Any]:
        if not self.heads:
            return {}
        return {"heads": {name: each.to_json() for name, each in self.heads.items()}}


def evaluate_outputs(
    outputs: Any,
    y: Any,
    task: Task,
    labels: Sequence[str],
    *,
    heads: Sequence[Head] = (),
    seed: int = 0,
    resamples: int = 2000,
) -> Evaluation:
    """All metrics of the task, with their intervals.

    Args:
        outputs: what the network gives for n rows: (n, classes) probabilities, (n, 1) the
            probability of the second of two labels, or (n, 1) values in the target's units.
        y: (n,) class numbers, indices of `labels`, or targets.
        labels: of the classes; empty for regression.
        heads: of a network with several: outputs and targets are dicts by their names.
        seed: of the resamples.
        resamples: at most; fewer for many rows (`resamples` of the evaluation).

    Raises ValueError for no rows, and for outputs and targets of different lengths.
    """
    if heads:
        return _evaluate_heads(outputs, y, heads, seed, resamples)
    predictions = predictions_of(outputs, y, task)
    if not np.isfinite(predictions).all():
        return _without_figures(predictions, task, labels)
    scored = ScoredRows(y, predictions, task)
    plan = Resampling.plan(len(y), max(1, len(labels)), resamples, seed)
    metrics, notes = _estimates(scored, _metrics_of(task, labels), plan)
    return Evaluation(
        task=task,
        rows=len(y),
        metrics=metrics,
        method=plan.method,
        resamples=plan.count,
        notes=(*_row_notes(y, task, labels), *notes),
        **_details(scored, labels),
    )


def _evaluate_heads(
    outputs: Mapping[str, _Array],
    y: Mapping[str, _Array],
    heads: Sequence[Head],
    seed: int,
    resamples: int,
) -> Evaluation:
    """Each head by itself; all resample the same rows."""
    evaluations = {
        head.name: evaluate_outputs(
            outputs[head.name], y[head.name], head.task, head.labels, seed=seed, resamples=resamples
        )
        for head in heads
    }
    first = next(iter(evaluations.values()))
    notes = dict.fromkeys(
        f"{name}: {note}" for name, evaluation in evaluations.items() for note in evaluation.notes
    )
    return Evaluation(
        task="several",
        rows=first.rows,
        metrics={
            f"{name}_{metric}": figure
            for name, evaluation in evaluations.items()
            for metric, figure in evaluation.metrics.items()
        },
        method=first.method,
        resamples=first.resamples,
        notes=tuple(notes),
        heads=evaluations,
    )


def difference(
    outputs_a: Any,
    outputs_b: Any,
    y: Any,
    task: Task,
    metric: str,
    *,
    heads: Mapping[str, Task] | None = None,
    seed: int = 0,
    resamples: int = 2000,
) -> Estimate:
    """The metric of network a less that of network b, on the same rows: a paired bootstrap, each
    resample with the same rows for both. An interval without 0: they differ.

    `metric`: a name in METRICS, without a split's prefix; of several `heads` (name → task) that of
    one, as `price_mae`. Otherwise as `evaluate_outputs`.
    """
    head = head_of(metric, heads or {})
    if head is not None and heads:
        outputs_a, outputs_b, y = (each[head] for each in (outputs_a, outputs_b, y))
        task, metric = heads[head], metric.removeprefix(f"{head}_")
    chosen = METRICS[metric]
    a, b = (ScoredRows(y, predictions_of(each, y, task), task) for each in (outputs_a, outputs_b))
    value = _value(chosen, a) - _value(chosen, b)
    if not math.isfinite(value):
        return _NO_VALUE
    plan = Resampling.plan(len(y), 2 * np.asarray(outputs_a).shape[1], resamples, seed)
    low, high, _ = plan.intervals(
        lambda weights: {
            metric: _weighted(chosen, WeightedRows(a, weights))
            - _weighted(chosen, WeightedRows(b, weights))
        },
        {metric: value},
    )[metric]
    return Estimate(value, low, high)


def _without_figures(predictions: _Array, task: Task, labels: Sequence[str]) -> Evaluation:
    """Of rows for which the network gives NaN or infinity."""
    rows = len(predictions)
    lost = int((~np.isfinite(predictions.reshape(rows, -1)).all(axis=1)).sum())
    return Evaluation(
        task=task,
        rows=rows,
        metrics=dict.fromkeys((each.name for each in _metrics_of(task, labels)), _NO_VALUE),
        notes=(f"outputs of {lost:,} of {rows:,} rows are not finite: there are no figures",),
    )


def predictions_of(
    outputs: Any, y: Any, task: Task, heads: Mapping[str, Task] | None = None
) -> Any:
    """Outputs as metrics take them: (n,), or (n, classes); of several `heads` (name → task) by
    name. Raises ValueError for no rows, and for outputs and targets of different lengths."""
    if heads:
        return {n: predictions_of(outputs[n], y[n], of_head) for n, of_head in heads.items()}
    outputs = np.asarray(outputs)
    if len(y) == 0 or len(outputs) != len(y):
        raise ValueError(f"{len(outputs)} outputs for {len(y)} targets")
    return outputs if task in ("classes", "multilabel") or y.ndim > 1 else outputs[:, 0]


def _metrics_of(task: Task, labels: Sequence[str]) -> list[Metric]:
    """The task's metrics; top-5 accuracy needs more than five classes."""
    return [
        metric
        for metric in METRICS.values()
        if task in metric.tasks and (task != "classes" or len(labels) > metric.classes)
    ]


def _value(metric: Metric, scored: ScoredRows) -> float:
    """NaN: undefined for these rows, or predictions are not finite."""
    if not np.isfinite(scored.predictions).all():
        return math.nan
    if metric.function is not None:
        return metric.function(scored.y, scored.predictions, scored.task)
    return float(_weighted(metric, WeightedRows(scored, np.ones((1, len(scored.y)))))[0])


def _weighted(metric: Metric, weighted: WeightedRows) -> _Array:
    """(b,)."""
    if metric.weighted is not None:
        return metric.weighted(weighted)
    scored, function = weighted.rows, metric.function
    assert function is not None  # Each metric has one of the two.
    return of_repeated_rows(
        lambda rows: function(scored.y[rows], scored.predictions[rows], scored.task),
        weighted.weights,
    )


def _estimates(
    scored: ScoredRows, metrics: Sequence[Metric], plan: Resampling
) -> tuple[dict[str, Estimate], list[str]]:
    """The metrics' estimates, and notes on those that lack something."""
    values = {metric.name: _value(metric, scored) for metric in metrics}
    defined = {name: value for name, value in values.items() if math.isfinite(value)}

    def figures(weights: _Array) -> dict[str, _Array]:
        weighted = WeightedRows(scored, weights)
        return {name: _weighted(METRICS[name], weighted) for name in defined}

    intervals = plan.intervals(figures, defined)
    estimates = dict.fromkeys(values, _NO_VALUE)
    for name, value in defined.items():
        interval = intervals[name]
        ends = _within_best(METRICS[name], interval.low, interval.high)
        estimates[name] = Estimate(value, *ends)
    notes = []
    if lacking := [name for name in values if name not in defined]:
        notes.append(f"no value for these rows: {join_names(lacking)}{_why(scored)}")
    if fixed := [name for name, each in intervals.items() if _has_no_width(each)]:
        notes.append(f"no width, since all resamples gave the same value: {join_names(fixed)}")
    for name, interval in intervals.items():
        if interval.undefined:
            notes.append(
                f"{name}: no value in {interval.undefined:,} of {plan.count:,} resamples, which "
                "are left out"
            )
    return estimates, notes


def _has_no_width(interval: Interval) -> bool:
    return interval.low is not None and interval.low == interval.high


def _why(scored: ScoredRows) -> str:
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
        counts = y.sum(axis=0) if y.ndim > 1 else np.bincount(y, minlength=len(labels))
        absent = np.flatnonzero(counts == 0)
        if len(absent):
            names = join_names(labels[i] for i in absent.tolist())
            notes.append(f"no row has the label: {names}")
    return notes


def _details(scored: ScoredRows, labels: Sequence[str]) -> dict[str, Any]:
    """What an evaluation holds for the task alone, by field."""
    if scored.task == "multilabel":
        return {"per_class": figures_of_labels(scored, labels)}
    if scored.y.ndim > 1:
        return {}
    if scored.task == "regression":
        return {"residuals": residuals_of(scored)}
    return label_figures(scored, labels)._asdict()
