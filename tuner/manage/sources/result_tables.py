"""A CSV file of results: a row for each trial, or with a column `epoch` for each epoch of one."""

import csv
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from tuner.errors import UsageError
from tuner.manage.sources import WantedHistory
from tuner.study.history import UNNAMED, History, PastTrial
from tuner.system.locations import expanded_path, is_file
from tuner.values import Scalar, join_names, parse_word, shown

# Columns that are no parameters: those that `tuner study export` writes, and our own.
_TRIAL, _EPOCH, _STATE, _CURVE = "trial", "epoch", "state", "curve"
_SCORES = ("score", UNNAMED)
_NO_PARAMS = {_TRIAL, _EPOCH, _STATE, _CURVE, *_SCORES, "end", "epochs", "seconds"}
_PARAM = "_param"
_METRIC = "val_"
_WITHOUT_RESULT = ("fail", "failed", "running", "waiting", "damaged")


class _Row(NamedTuple):
    """A line of the file: `where` names it."""

    where: str
    cells: dict[str, str]


def recognizes(wanted: WantedHistory) -> bool:
    return wanted.source.lower().endswith((".csv", ".tsv"))


def read(wanted: WantedHistory) -> History:
    """A column `value`, `score` or the metric's own holds the result; `epoch`, with `trial`, makes
    a row one epoch's; `curve` holds a list of values by epoch, or of several metrics, as JSON.
    `state` may say pruned. Columns called `val_…` are further metrics, all others parameters."""
    rows, columns = _read_rows(wanted.source)
    results = [name for name in (wanted.metric, *_SCORES) if name in columns]
    if not results and _CURVE not in columns:
        raise UsageError(
            f"{wanted.source}: has no column {wanted.metric!r}, 'value' or 'score' with the "
            f"result of each trial; it has: {join_names(columns)}"
        )
    if _EPOCH in columns and _TRIAL not in columns:
        raise UsageError(f"{wanted.source}: a column 'epoch' needs a column 'trial' beside it")
    groups: dict[str, list[_Row]] = {}
    for number, row in enumerate(rows):
        groups.setdefault(row.cells.get(_TRIAL) or str(number), []).append(row)
    trials = [_trial(key, group, wanted, results) for key, group in groups.items()]
    ended = tuple(trial for trial in trials if trial is not None)
    missing = len(trials) - len(ended)
    return History(
        name=f"table {expanded_path(wanted.source).resolve()}",
        trials=ended,
        objective=wanted.metric,
        left_out={"without a result": missing} if missing else {},
    )


def _read_rows(source: str) -> tuple[list[_Row], list[str]]:
    path = expanded_path(source)
    if not is_file(path):
        raise UsageError(f"{source}: there is no such file")
    separator = "\t" if source.lower().endswith(".tsv") else ","
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, delimiter=separator, strict=True)
            columns = list(reader.fieldnames or [])
            rows = [_Row(f"{source}, line {reader.line_num}", row) for row in reader]
    except (OSError, UnicodeError, csv.Error) as error:
        raise UsageError(f"{source}: cannot be read as CSV: {error}") from error
    if len(set(columns)) < len(columns) or not all(columns):
        raise UsageError(f"{source}: each column needs a name of its own in the first line")
    for row in rows:
        if None in row.cells or None in row.cells.values():
            raise UsageError(f"{row.where}: has not as many cells as the first line")
    return rows, columns


def _trial(
    key: str, rows: Sequence[_Row], wanted: WantedHistory, results: Sequence[str]
) -> PastTrial | None:
    """The trial of these rows; None for one without a result."""
    first = rows[0]
    state = first.cells.get(_STATE, "").strip().lower()
    if state in _WITHOUT_RESULT:
        return None
    params = _params(first, wanted.metric)
    if any(_params(row, wanted.metric) != params for row in rows):
        raise UsageError(f"{first.where}: trial {shown(key)} has other parameters in a later row")
    curve = _curve(rows, wanted.metric, results)
    values = _last_values(first, results, wanted.metric) if len(rows) == 1 else {}
    scores = [metrics[wanted.metric] for metrics in curve.values() if wanted.metric in metrics]
    if wanted.metric not in values and scores:
        values[wanted.metric] = max(scores) if wanted.maximize else min(scores)
    if wanted.metric not in values:
        return None
    return PastTrial(key, params, values, curve, pruned=state == "pruned")


def _params(row: _Row, metric: str) -> dict[str, Scalar]:
    """What a trial was given. An empty cell is a parameter that it did not have."""
    params: dict[str, Scalar] = {}
    for name, cell in row.cells.items():
        is_other = name in _NO_PARAMS or name == metric or name.startswith(_METRIC)
        if is_other or not cell.strip():
            continue
        value = parse_word(cell.strip())
        if value is not None:
            params[name.removesuffix(_PARAM)] = value
    return params


def _curve(
    rows: Sequence[_Row], metric: str, results: Sequence[str]
) -> dict[int, dict[str, float]]:
    curve: dict[int, dict[str, float]] = {}
    for row in rows:
        if row.cells.get(_CURVE, "").strip():
            curve |= dict(_stored_curve(row, metric))
        if row.cells.get(_EPOCH, "").strip():
            epoch = _number(row, _EPOCH)
            if epoch is None or epoch != int(epoch) or epoch < 0:
                raise UsageError(f"{row.where}: the epoch {shown(row.cells[_EPOCH])} is none")
            curve[int(epoch)] = _last_values(row, results, metric)
    return {epoch + (0 in curve): metrics for epoch, metrics in sorted(curve.items())}


def _stored_curve(row: _Row, metric: str) -> Iterator[tuple[int, dict[str, float]]]:
    """A JSON list of values by epoch, or an object with such a list for each metric."""
    try:
        content: Any = json.loads(row.cells[_CURVE])
        curves: Mapping[str, Iterable[Any]] = (
            content if isinstance(content, dict) else {metric: content}
        )
        columns = {name: [float(value) for value in values] for name, values in curves.items()}
    except (ValueError, TypeError) as error:
        raise UsageError(
            f"{row.where}: the curve must be a JSON list of numbers, or an object with such "
            f"lists by metric, got {shown(row.cells[_CURVE])}"
        ) from error
    for epoch in range(1, max(map(len, columns.values()), default=0) + 1):
        metrics = {
            name: values[epoch - 1] for name, values in columns.items() if epoch <= len(values)
        }
        yield epoch, {name: value for name, value in metrics.items() if math.isfinite(value)}


def _last_values(row: _Row, results: Sequence[str], metric: str) -> dict[str, float]:
    """The metrics in a row. The first of the columns `results` holds the wanted one."""
    values = {name: _number(row, name) for name in row.cells if name.startswith(_METRIC)}
    for name in results[:1]:
        values[metric] = _number(row, name)
    return {name: value for name, value in values.items() if value is not None}


def _number(row: _Row, name: str) -> float | None:
    """The number in a cell; None for an empty one, and for one that is not finite."""
    cell = row.cells[name].strip()
    if not cell:
        return None
    try:
        value = float(cell)
    except ValueError as error:
        raise UsageError(f"{row.where}: {name} must be a number, got {shown(cell)}") from error
    return value if math.isfinite(value) else None
