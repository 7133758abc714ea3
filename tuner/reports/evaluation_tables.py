"""An evaluation as tables: names and values, no printing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from rich.cells import cell_len

from tuner.models.evaluations import Evaluation
from tuner.models.label_figures import Calibration, Confusion
from tuner.models.residuals import Residuals
from tuner.preparation.kinds import Task
from tuner.values import clipped, format_number

Rows = list[dict[str, Any]]

# Of more labels the worst are shown, and the pairs that are most often confused.
_MOST_LABELS = 20
_MOST_PAIRS = 10
_LABEL_CHARACTERS = 24
_LOSSES: dict[Task, str] = {
    "classes": "cross entropy",
    "binary": "cross entropy",
    "multilabel": "cross entropy",
    "regression": "mean squared error",
    "several": "cross entropy of labels, mean squared error of numbers",
}
_TRUE = "true \\ predicted"


@dataclass(frozen=True)
class EvaluationTable:
    """`title`: the line above it. `names`: its columns that are named by the data. `foot`: a line
    below it, or ""."""

    title: str
    rows: Sequence[Mapping[str, Any]]
    names: Sequence[str] = ()
    foot: str = ""


def evaluation_tables(evaluation: Evaluation, width: int | None) -> list[EvaluationTable]:
    """All that is shown. `width`: of the terminal; None for lines of any length."""
    tables = [_metrics(evaluation)]
    if evaluation.per_class:
        tables.append(_classes(evaluation))
    if evaluation.confusion is not None:
        tables.append(_confusion(evaluation.confusion, width))
    if evaluation.calibration is not None:
        tables.append(_calibration(evaluation.calibration, _chance_of(evaluation)))
    if evaluation.residuals is not None:
        tables += _residuals(evaluation.residuals)
    for name, head in evaluation.heads.items():
        of_head = evaluation_tables(head, width)[1:]  # the metrics of all heads come first
        tables += [replace(table, title=f"{name}: {table.title}") for table in of_head]
    return tables


def _metrics(evaluation: Evaluation) -> EvaluationTable:
    rows = [
        {"metric": name, "value": each.value, "from": each.low, "to": each.high}
        for name, each in evaluation.metrics.items()
    ]
    title = f"metrics with 95 % intervals ({describe_intervals(evaluation)})"
    return EvaluationTable(
        title, rows, foot=f"loss: {_LOSSES[evaluation.task]}, without regularisation"
    )


def describe_intervals(evaluation: Evaluation) -> str:
    """How the intervals were made, in words."""
    if not evaluation.resamples or evaluation.rows < 2:
        return "none for these rows"
    kind = "BCa bootstrap" if evaluation.method == "BCa" else "normal, bootstrap"
    return f"{kind}, {evaluation.resamples:,} resamples"


def _classes(evaluation: Evaluation) -> EvaluationTable:
    figures = evaluation.per_class
    title = "by label"
    if len(figures) > _MOST_LABELS:
        with_rows = [each for each in figures if each.f1 is not None]
        figures = tuple(sorted(with_rows, key=lambda each: each.f1 or 0.0)[:_MOST_LABELS])
        title = (
            f"the {len(figures)} of {len(evaluation.per_class):,} labels with the lowest f1; "
            "--json has all"
        )
    rows = [
        {
            "label": each.label,
            "rows": each.rows,
            "predicted": each.predicted,
            "precision": each.precision,
            "recall": each.recall,
            "f1": each.f1,
            "auc": each.auc,
        }
        for each in figures
    ]
    return EvaluationTable(title, rows)


def _confusion(confusion: Confusion, width: int | None) -> EvaluationTable:
    """The matrix where it fits, its columns named by labels or else by their numbers; else the
    pairs that are most often confused."""
    count = len(confusion.labels)
    labels = [clipped(label, _LABEL_CHARACTERS) for label in confusion.labels]
    numbers = [str(number) for number in range(1, count + 1)]
    numbered = [f"{n} {label}" for n, label in zip(numbers, labels, strict=True)]
    for heads, names in ((labels, labels), (numbers, numbered)):
        if count <= _MOST_LABELS and len(set(heads)) == count and _TRUE not in heads:
            rows = [
                {_TRUE: name} | dict(zip(heads, counts, strict=True))
                for name, counts in zip(names, confusion.counts.tolist(), strict=True)
            ]
            if width is None or _width(rows) <= width:
                return EvaluationTable("confusion: rows by true and predicted label", rows, heads)
    pairs = [
        {"true": true, "predicted": predicted, "rows": rows}
        for true, predicted, rows in confusion.most_confused(_MOST_PAIRS)
    ]
    title = "the labels most often confused; --json has the whole matrix" if pairs else ""
    return EvaluationTable(title or "no row has a wrong label", pairs)


def _width(rows: Rows) -> int:
    columns = [[name, *(str(row[name]) for row in rows)] for name in rows[0]]
    return sum(max(map(cell_len, column)) for column in columns) + 2 * (len(columns) - 1)


def _chance_of(evaluation: Evaluation) -> str:
    """What the probabilities of the calibration are those of."""
    if evaluation.task == "binary" and evaluation.confusion is not None:
        return f"probability of {clipped(evaluation.confusion.labels[1], _LABEL_CHARACTERS)}"
    return "probability of the predicted label"


def _calibration(calibration: Calibration, of_what: str) -> EvaluationTable:
    rows = [
        {
            "probability": f"{each.low:.1f} to {each.high:.1f}",
            "rows": each.rows,
            "mean": each.probability,
            "came_true": each.share,
        }
        for each in calibration.bins
    ]
    error, brier = map(format_number, (calibration.expected_error, calibration.brier))
    return EvaluationTable(
        f"{of_what}: expected calibration error {error}, Brier score {brier}", rows
    )


def _residuals(residuals: Residuals) -> list[EvaluationTable]:
    errors = {f"{level:.0%}": value for level, value in residuals.quantiles.items()}
    sizes = {f"{level:.0%}": value for level, value in residuals.sizes.items()}
    mean, deviation = map(format_number, (residuals.mean, residuals.deviation))
    groups = [
        {
            "target": f"{format_number(each.low)} to {format_number(each.high)}",
            "rows": each.rows,
            "mean_error": each.bias,
            "mae": each.mae,
            "rmse": each.rmse,
        }
        for each in residuals.by_target
    ]
    return [
        EvaluationTable(
            f"quantiles of the error, prediction - target: mean {mean}, deviation {deviation}",
            [errors],
        ),
        EvaluationTable("quantiles of the error's size", [sizes]),
        EvaluationTable("by size of the target", groups),
    ]
