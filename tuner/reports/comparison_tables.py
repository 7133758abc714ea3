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
from tuner.study.messages import Direction
from tuner.study.metrics import direction_of, is_share
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
    without a score ended. `reference`: a known result; an accuracy is in percent. `recorded`: the
    values of further metrics, by name."""

    params: Params
    values: tuple[float, ...] = ()
    seconds: tuple[float, ...] = ()
    others: Mapping[str, int] = field(default_factory=dict)
    reference: float | None = None
    recorded: Mapping[str, tuple[float, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class MetricColumn:
    """How a metric is shown: the mean and the sample standard deviation over seeds."""

    metric: str

    @property
    def percent(self) -> bool:
        return is_share(self.metric)

    @property
    def label(self) -> str:
        """The metric with its unit: "test_accuracy_percent"."""
        return f"{self.metric}_percent" if self.percent else self.metric

    @property
    def heading(self) -> str:
        """For people: "test accuracy %"."""
        return self.metric.replace("_", " ") + (" %" if self.percent else "")

    @property
    def _unit(self) -> float:
        return 100.0 if self.percent else 1.0

    def mean(self, values: Sequence[float]) -> float | None:
        """A share is in percent; None without values."""
        return self._unit * statistics.fmean(values) if values else None

    def deviation(self, values: Sequence[float]) -> float | None:
        """None for fewer than two values."""
        return self._unit * statistics.stdev(values) if len(values) > 1 else None

    def numbers(self, values: Sequence[float]) -> dict[str, float | None]:
        return {
            f"{self.label}_mean": _rounded(self.mean(values)),
            f"{self.label}_std": _rounded(self.deviation(values)),
        }

    def words(self, values: Sequence[float]) -> str | None:
        """ "97.93 ± 0.05"; None without values."""
        mean, deviation = self.mean(values), self.deviation(values)
        if mean is None:
            return None
        of_mean, of_deviation = ("{:.2f}", "{:.2f}") if self.percent else ("{:.4g}", "{:.2g}")
        spread = "" if deviation is None else f" ± {of_deviation.format(deviation)}"
        return of_mean.format(mean) + spread


@dataclass(frozen=True)
class ComparisonTable:
    """All configurations in order, and the metric that compares them. `searched`: the parameters
    that the space does not fix. `named_if_common`: those to name under the table if all
    configurations share their value. `record`: further metrics. `own_direction`: of the metric, if
    it is the user's own."""

    metric: str
    rows: Sequence[ComparisonRow]
    searched: Sequence[str]
    named_if_common: Sequence[str] = ()
    record: Sequence[str] = ()
    own_direction: Direction | None = None

    @property
    def column(self) -> MetricColumn:
        return MetricColumn(self.metric)

    @property
    def percent(self) -> bool:
        return self.column.percent

    @property
    def direction(self) -> Direction:
        return self.own_direction or direction_of(self.metric)

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
        return self.column.mean(row.values)

    def deviation(self, row: ComparisonRow) -> float | None:
        """The sample standard deviation over seeds; None for fewer than two."""
        return self.column.deviation(row.values)

    def reached(self, row: ComparisonRow) -> bool | None:
        """Whether the mean is at most half a point below the reference's accuracy, or at most 5 %
        above its error; None if either is missing."""
        mean = self.mean(row)
        if row.reference is None or mean is None:
            return None
        if self.direction == "minimize":
            return mean <= row.reference * _TOLERATED_RATIO
        if self.percent:
            return mean >= row.reference - _TOLERATED_POINTS
        return mean * _TOLERATED_RATIO >= row.reference

    def numbers(self) -> list[dict[str, Any]]:
        """A row per configuration with exact values. A list, of one value per layer, becomes
        "500 300 100"."""
        return [self._numbers(row) for row in self.rows]

    def _numbers(self, row: ComparisonRow) -> dict[str, Any]:
        cells: dict[str, Any] = {name: _plain(row.params.get(name)) for name in self.varying}
        cells["seeds"] = len(row.values)
        cells |= self.column.numbers(row.values)
        for name in self.record:
            cells |= MetricColumn(name).numbers(row.recorded.get(name, ()))
        return cells | self._last_columns(row, row.reference, self.reached(row))

    def words(self) -> list[dict[str, Any]]:
        """The same for people: "97.93 ± 0.05"; None for what is missing."""
        return [self._words(row) for row in self.rows]

    def _words(self, row: ComparisonRow) -> dict[str, Any]:
        cells: dict[str, Any] = {name: _in_words(row.params.get(name)) for name in self.varying}
        cells["seeds"] = len(row.values)
        cells[self.column.heading] = self.column.words(row.values)
        for name in self.record:
            column = MetricColumn(name)
            cells[column.heading] = column.words(row.recorded.get(name, ()))
        reference = None if row.reference is None else f"{row.reference:g}"
        reached = self.reached(row)
        return cells | self._last_columns(
            row, reference, None if reached is None else word(reached)
        )

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
    return ComparisonTable(
        metric=spec.metric,
        rows=rows,
        searched=space.varying(),
        named_if_common=tuple(named),
        record=spec.record,
        own_direction=spec.direction,
    )


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
        recorded=_recorded([trial for _, trial in scored]),
    )


def _recorded(trials: Sequence[TrialRow]) -> dict[str, tuple[float, ...]]:
    names = dict.fromkeys(name for trial in trials for name in trial.metrics)
    values = {name: [trial.metrics.get(name) for trial in trials] for name in names}
    return {name: tuple(v for v in values[name] if v is not None) for name in names}


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
