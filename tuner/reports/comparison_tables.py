"""A comparison's table, one row per configuration: words for people, numbers for programs."""

import csv
import io
import json
import math
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tuner.search_space.parameter_types import Params
from tuner.storage.trials import TrialRow
from tuner.study.metrics import direction_of, metric_of
from tuner.study.spec import StudySpec
from tuner.values import Scalar, word

# A reference counts as reached by an accuracy at most this many percentage points below it, or by
# an error at most this many times as large.
_TOLERATED_POINTS = 0.5
_TOLERATED_RATIO = 1.05
# Named under a table although they have their defaults.
_ALWAYS_NAMED = ("epochs", "batch_size", "optimizer", "learning_rate")


@dataclass(frozen=True)
class ComparisonRow:
    """One configuration. `values` and `seconds`: one per finished trial. `others`: how trials
    without a score ended. `reference`: a known result; an accuracy is in percent."""

    params: Params
    values: tuple[float, ...] = ()
    seconds: tuple[float, ...] = ()
    others: Mapping[str, int] = field(default_factory=dict)
    reference: float | None = None


@dataclass(frozen=True)
class ComparisonTable:
    """All configurations in order, and the metric that compares them. `searched`: the parameters
    that the space does not fix. `named_if_common`: those to name under the table if all
    configurations share their value."""

    metric: str
    rows: Sequence[ComparisonRow]
    searched: Sequence[str]
    named_if_common: Sequence[str] = ()

    @property
    def percent(self) -> bool:
        return metric_of(self.metric).unit == "share"

    @property
    def label(self) -> str:
        """The metric with its unit: "test_accuracy_percent"."""
        return f"{self.metric}_percent" if self.percent else self.metric

    @property
    def varying(self) -> list[str]:
        """The searched parameters in which the configurations differ. A default that depends on one
        of them, such as the momentum of sgd, is not searched."""
        return [name for name in self.searched if len({_key(row, name) for row in self.rows}) > 1]

    @property
    def common(self) -> Params:
        """The parameters of `named_if_common` that have one value in all configurations."""
        first = self.rows[0].params
        shared = [name for name in first if len({_key(row, name) for row in self.rows}) == 1]
        return {name: first[name] for name in shared if name in self.named_if_common}

    def mean(self, row: ComparisonRow) -> float | None:
        """The mean over seeds, an accuracy in percent; None if no trial has finished."""
        return self._unit * statistics.fmean(row.values) if row.values else None

    def deviation(self, row: ComparisonRow) -> float | None:
        """The sample standard deviation over seeds; None for fewer than two."""
        return self._unit * statistics.stdev(row.values) if len(row.values) > 1 else None

    def reached(self, row: ComparisonRow) -> bool | None:
        """Whether the mean is at most half a point below the reference's accuracy, or at most 5 %
        above its error; None if either is missing."""
        mean = self.mean(row)
        if row.reference is None or mean is None:
            return None
        if self.percent:
            return mean >= row.reference - _TOLERATED_POINTS
        if direction_of(self.metric) == "maximize":
            return mean * _TOLERATED_RATIO >= row.reference
        return mean <= row.reference * _TOLERATED_RATIO

    @property
    def _unit(self) -> float:
        return 100.0 if self.percent else 1.0

    def numbers(self) -> list[dict[str, Any]]:
        """A row per configuration with exact values. A list, of one value per layer, becomes
        "500 300 100"."""
        return [self._numbers(row) for row in self.rows]

    def _numbers(self, row: ComparisonRow) -> dict[str, Any]:
        cells: dict[str, Any] = {name: _plain(row.params.get(name)) for name in self.varying}
        cells["seeds"] = len(row.values)
        cells[f"{self.label}_mean"] = _rounded(self.mean(row))
        cells[f"{self.label}_std"] = _rounded(self.deviation(row))
        return cells | self._last_columns(row, row.reference, self.reached(row))

    def words(self) -> list[dict[str, Any]]:
        """The same for people: "97.93 ± 0.05"; None for what is missing."""
        return [self._words(row) for row in self.rows]

    def _words(self, row: ComparisonRow) -> dict[str, Any]:
        cells: dict[str, Any] = {name: _in_words(row.params.get(name)) for name in self.varying}
        cells["seeds"] = len(row.values)
        metric = self.metric.replace("_", " ") + (" %" if self.percent else "")
        cells[metric] = self._mean_and_deviation(row)
        reference = None if row.reference is None else f"{row.reference:g}"
        reached = self.reached(row)
        return cells | self._last_columns(
            row, reference, None if reached is None else word(reached)
        )

    def _mean_and_deviation(self, row: ComparisonRow) -> str | None:
        mean, deviation = self.mean(row), self.deviation(row)
        if mean is None:
            return None
        of_mean, of_deviation = ("{:.2f}", "{:.2f}") if self.percent else ("{:.4g}", "{:.2g}")
        spread = "" if deviation is None else f" ± {of_deviation.format(deviation)}"
        return of_mean.format(mean) + spread

    def _last_columns(
        self, row: ComparisonRow, reference: object, reached: object
    ) -> dict[str, Any]:
        """Reference, time and notes. Columns that are empty in all rows are left out."""
        cells: dict[str, Any] = {}
        if any(other.reference is not None for other in self.rows):
            cells |= {"reference": reference, "reached": reached}
        cells["seconds"] = round(statistics.fmean(row.seconds), 2) if row.seconds else None
        if any(other.others for other in self.rows):
            counts = (f"{n} {end.replace('_', ' ')}" for end, n in row.others.items())
            cells["notes"] = ", ".join(counts) or None
        return cells


def make_table(
    spec: StudySpec, trials: Sequence[TrialRow], references: Sequence[float | None]
) -> ComparisonTable:
    """A comparison's trials by configuration, in the order of its space. `references`: one per
    configuration, or none."""
    space = spec.space
    configurations = [space.resolve(flat) for flat in space.configurations()]
    references = references or [None] * len(configurations)
    grouped: dict[str, list[TrialRow]] = {}
    for trial in trials:
        grouped.setdefault(_exact(trial.params), []).append(trial)
    rows = [
        _row(params, grouped.get(_exact(params), []), reference)
        for params, reference in zip(configurations, references, strict=True)
    ]
    # Nothing stops early in a comparison, so patience has no effect.
    named = {*space.parameters, *_ALWAYS_NAMED} - {"patience"}
    return ComparisonTable(spec.metric, rows, space.varying(), tuple(named))


def _row(params: Params, trials: Sequence[TrialRow], reference: float | None) -> ComparisonRow:
    scored = [
        (trial.value, trial)
        for trial in trials
        if trial.state == "COMPLETE" and trial.value is not None and math.isfinite(trial.value)
    ]
    others = Counter(trial.end or "failed" for trial in trials if trial.state in ("PRUNED", "FAIL"))
    return ComparisonRow(
        params=params,
        values=tuple(value for value, _ in scored),
        seconds=tuple(_training_seconds(trial) for _, trial in scored),
        others=dict(others),
        reference=reference,
    )


def _training_seconds(trial: TrialRow) -> float:
    """Seconds of training, including earlier attempts that left a checkpoint."""
    return sum(trial.last.seconds.values()) if trial.last else 0.0


def _exact(value: object) -> str:
    return json.dumps(value, sort_keys=True)


def _key(row: ComparisonRow, name: str) -> str | None:
    return _exact(row.params[name]) if name in row.params else None


def _rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.10g}")


def _plain(value: Scalar | list[Scalar] | None) -> Scalar | None:
    return " ".join(_in_words(item) or "" for item in value) if isinstance(value, list) else value


def _in_words(value: Scalar | list[Scalar] | None) -> str | None:
    if isinstance(value, list):
        return " ".join(str(_in_words(item)) for item in value)
    if isinstance(value, bool):
        return word(value)
    return f"{value:.6g}" if isinstance(value, float) else None if value is None else str(value)


def params_in_words(params: Params) -> str:
    """ "depth 2, width 300 100, activation tanh" """
    return ", ".join(f"{name} {_in_words(value)}" for name, value in params.items())


def markdown_table(table: ComparisonTable) -> str:
    """The table in GitHub's Markdown."""
    rows = table.words()
    cells = [list(rows[0]), ["---"] * len(rows[0])]
    cells += [[_cell(value) for value in row.values()] for row in rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in cells)


def _cell(value: object) -> str:
    if value is None:
        return "–"
    text = f"{value:.1f}" if isinstance(value, float) else str(value)
    return text.replace("|", "\\|")


def csv_text(table: ComparisonTable) -> str:
    """The table as CSV: mean and deviation in a column each, truth values as true and false."""
    rows = table.numbers()
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(rows[0])
    for row in rows:
        writer.writerow(str(v).lower() if isinstance(v, bool) else v for v in row.values())
    return text.getvalue()
