"""A comparison: a row a configuration, as words for people and as numbers for programs."""

import csv
import io
import json
import math
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tuner.parameters import Params, Scalar
from tuner.spec import StudySpec, direction_of
from tuner.storage.trials import TrialRow
from tuner.words import word

_POINTS = 0.5  # of accuracy, below a reference that counts as reached
_SHARE = 1.05  # of a reference's error
_ALWAYS_TOLD = ("epochs", "batch_size", "optimizer", "learning_rate")


@dataclass(frozen=True)
class Row:
    """One configuration. `values` and `seconds`: a finished trial each; `others`: how trials ended
    that have no score; `reference`: a known result, an accuracy in percent."""

    params: Params
    values: tuple[float, ...] = ()
    seconds: tuple[float, ...] = ()
    others: Mapping[str, int] = field(default_factory=dict)
    reference: float | None = None


@dataclass(frozen=True)
class Table:
    """All configurations in their order, and the metric they are compared by. `searched`: the
    parameters that the space does not fix; `told`: those to be told of where they are alike."""

    metric: str
    rows: Sequence[Row]
    searched: Sequence[str]
    told: Sequence[str] = ()

    @property
    def percent(self) -> bool:
        return self.metric.endswith("accuracy")

    @property
    def label(self) -> str:
        """The metric with its unit: "test_accuracy_percent"."""
        return f"{self.metric}_percent" if self.percent else self.metric

    @property
    def varying(self) -> list[str]:
        """The parameters in which the configurations differ. What only comes and goes with one of
        them, such as the default momentum of sgd, is none."""
        return [name for name in self.searched if len({_key(row, name) for row in self.rows}) > 1]

    @property
    def common(self) -> Params:
        """What all configurations share of the parameters to be told of."""
        first = self.rows[0].params
        shared = [name for name in first if len({_key(row, name) for row in self.rows}) == 1]
        return {name: first[name] for name in shared if name in self.told}

    def mean(self, row: Row) -> float | None:
        """Over its seeds, an accuracy in percent; None where no trial has finished."""
        return self._unit * statistics.fmean(row.values) if row.values else None

    def deviation(self, row: Row) -> float | None:
        """The sample standard deviation over its seeds; None for fewer than two."""
        return self._unit * statistics.stdev(row.values) if len(row.values) > 1 else None

    def reached(self, row: Row) -> bool | None:
        """Whether the mean is within half a point of the reference's accuracy, or within 5 % of
        its error; None where there is nothing to compare."""
        mean = self.mean(row)
        if row.reference is None or mean is None:
            return None
        if self.percent:
            return mean >= row.reference - _POINTS
        if direction_of(self.metric) == "maximize":
            return mean * _SHARE >= row.reference
        return mean <= row.reference * _SHARE

    @property
    def _unit(self) -> float:
        return 100.0 if self.percent else 1.0

    def numbers(self) -> list[dict[str, Any]]:
        """Exact values under plain names; a list of one value a layer as "500 300 100"."""
        return [self._numbers(row) for row in self.rows]

    def _numbers(self, row: Row) -> dict[str, Any]:
        found: dict[str, Any] = {name: _plain(row.params.get(name)) for name in self.varying}
        found["seeds"] = len(row.values)
        found[f"{self.label}_mean"] = _rounded(self.mean(row))
        found[f"{self.label}_std"] = _rounded(self.deviation(row))
        found |= self._optional(row.reference, self.reached(row), _mean(row.seconds), row)
        return found

    def words(self) -> list[dict[str, Any]]:
        """The same as people read it: "97.93 ± 0.05"; None where there is nothing."""
        return [self._words(row) for row in self.rows]

    def _words(self, row: Row) -> dict[str, Any]:
        found: dict[str, Any] = {name: _shown(row.params.get(name)) for name in self.varying}
        found["seeds"] = len(row.values)
        metric = self.metric.replace("_", " ") + (" %" if self.percent else "")
        found[metric] = self._spread(row)
        reference = None if row.reference is None else f"{row.reference:g}"
        reached = self.reached(row)
        words = None if reached is None else word(reached)
        return found | self._optional(reference, words, _mean(row.seconds), row)

    def _spread(self, row: Row) -> str | None:
        mean, deviation = self.mean(row), self.deviation(row)
        if mean is None:
            return None
        of_mean, of_deviation = ("{:.2f}", "{:.2f}") if self.percent else ("{:.4g}", "{:.2g}")
        spread = "" if deviation is None else f" ± {of_deviation.format(deviation)}"
        return of_mean.format(mean) + spread

    def _optional(
        self, reference: object, reached: object, seconds: float | None, row: Row
    ) -> dict[str, Any]:
        """The last columns; those that no row has anything in are left out."""
        found: dict[str, Any] = {}
        if any(other.reference is not None for other in self.rows):
            found |= {"reference": reference, "reached": reached}
        found["seconds"] = None if seconds is None else round(seconds, 2)
        if any(other.others for other in self.rows):
            counts = (f"{n} {end.replace('_', ' ')}" for end, n in row.others.items())
            found["notes"] = ", ".join(counts) or None
        return found


def make_table(
    spec: StudySpec, trials: Sequence[TrialRow], references: Sequence[float | None]
) -> Table:
    """The trials of a comparison by configuration, in the order in which its space names them."""
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
    # Patience is of no use here: nothing stops early.
    told = {*space.parameters, *_ALWAYS_TOLD} - {"patience"}
    return Table(spec.metric, rows, space.varying(), tuple(told))


def _row(params: Params, trials: Sequence[TrialRow], reference: float | None) -> Row:
    scored = [
        (trial.value, trial)
        for trial in trials
        if trial.state == "COMPLETE" and trial.value is not None and math.isfinite(trial.value)
    ]
    others = Counter(trial.end or "failed" for trial in trials if trial.state in ("PRUNED", "FAIL"))
    return Row(
        params=params,
        values=tuple(value for value, _ in scored),
        seconds=tuple(_spent(trial) for _, trial in scored),
        others=dict(others),
        reference=reference,
    )


def _spent(trial: TrialRow) -> float:
    """Seconds of training, those of earlier attempts that it went on from included."""
    return sum(trial.last.seconds.values()) if trial.last else 0.0


def _exact(value: object) -> str:
    return json.dumps(value, sort_keys=True)


def _key(row: Row, name: str) -> str | None:
    return _exact(row.params[name]) if name in row.params else None


def _mean(values: Sequence[float]) -> float | None:
    return statistics.fmean(values) if values else None


def _rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.10g}")


def _plain(value: Scalar | list[Scalar] | None) -> Scalar | None:
    return " ".join(_shown(one) or "" for one in value) if isinstance(value, list) else value


def _shown(value: Scalar | list[Scalar] | None) -> str | None:
    if isinstance(value, list):
        return " ".join(str(_shown(one)) for one in value)
    if isinstance(value, bool):
        return word(value)
    return f"{value:.6g}" if isinstance(value, float) else None if value is None else str(value)


def in_words(params: Params) -> str:
    """ "depth 2, width 300 100, activation tanh" """
    return ", ".join(f"{name} {_shown(value)}" for name, value in params.items())


def markdown(table: Table) -> str:
    """A GitHub table."""
    rows = table.words()
    cells = [list(rows[0]), ["---"] * len(rows[0])]
    cells += [[_cell(value) for value in row.values()] for row in rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in cells)


def _cell(value: object) -> str:
    if value is None:
        return "–"
    text = f"{value:.1f}" if isinstance(value, float) else str(value)
    return text.replace("|", "\\|")


def csv_text(table: Table) -> str:
    """Mean and deviation in a column each; truth values as true and false."""
    rows = table.numbers()
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(rows[0])
    for row in rows:
        writer.writerow(str(v).lower() if isinstance(v, bool) else v for v in row.values())
    return text.getvalue()
