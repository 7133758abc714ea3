"""Forecasts: the rows of a table, in the order of their time, as windows and what comes behind.

Training rows come before validation rows, and these before test rows; no window lies in two parts.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tuner.data.columns import ReadTable, read_columns
from tuner.data.dataset import PARTS, ColumnReport
from tuner.data.description import constant_notes, report_columns
from tuner.data.precision import Wide, needs_float64, table_samples, with_offsets
from tuner.data.raw import Raw
from tuner.data.scaling import Scaling, fit_scaling
from tuner.data.several_targets import encode_targets
from tuner.data.table_encoding import Table, TableRows, encoding_notes, learn_columns
from tuner.data.target import Target
from tuner.data.window_rows import WindowRows
from tuner.errors import DatasetError
from tuner.preparation.cells import read_cells
from tuner.preparation.encoding import Column
from tuner.preparation.window_rule import OrderedRows, WindowRule, order_rows
from tuner.values import suggest_names

if TYPE_CHECKING:  # training reads data without pydantic
    from tuner.study.spec import DataSpec

# Of a time those parts are channels that come again at least twice in the training rows; seconds.
_DAY_S = 86_400
_PERIODS = {
    "minute": 3600, "hour": _DAY_S, "weekday": 7 * _DAY_S, "day": 31 * _DAY_S, "month": 366 * _DAY_S
}  # fmt: skip
_Mask = npt.NDArray[np.bool_]


class Windows(NamedTuple):
    """A table as windows: the rows of each part with their target, and what is known of them."""

    rows: dict[str, WindowRows]
    target: Target
    rule: WindowRule
    columns: tuple[Column, ...]
    scaling: Scaling
    shift: Wide | None
    float64: bool
    reports: tuple[ColumnReport, ...]
    notes: tuple[str, ...]


def read_windows(raw: Raw, spec: "DataSpec") -> Windows:
    """Raises DatasetError for data that are no single table with a target of numbers, for columns
    that are not there, and for parts that hold no window."""
    frame, rule = _whole_table(raw, spec)
    kinds = {name: kind for name, kind in spec.columns.items() if kind != "target"}
    channels = frame.drop(columns=[rule.series] if rule.series else [])
    table = read_columns({"train": channels}, kinds)
    target = _target(frame[rule.target], table, raw.source)
    cells = table.parts["train"]
    ordered = order_rows(
        len(frame),
        None if rule.series is None else read_cells(frame[rule.series]),
        None if rule.time is None else cells[rule.time],
        rule,
        raw.source,
    )
    chosen = _parts_by_time(ordered, spec)
    tables = {part: Table(cells, ordered.order[mask]) for part, mask in chosen.items()}
    columns = _channels(tables["train"], table, rule, exact=spec.scaling != "none")
    bases = {part: np.asarray(TableRows(each, columns)) for part, each in tables.items()}
    starts = {part: _starts(part, ordered, mask, rule, raw.source) for part, mask in chosen.items()}
    rows = {part: WindowRows(bases[part], starts[part], rule.steps) for part in PARTS}
    shift = np.array([c.offset for c in columns for _ in c.features], np.float64)
    one_hot = np.array([c.is_one_hot for c in columns for _ in c.features])
    lines = [*table.notes, *constant_notes(tables["train"], columns), *_time_notes(ordered, rule)]
    lines += [line for part in PARTS for line in encoding_notes(tables[part], columns, part)]
    return Windows(
        rows,
        _targets_behind(target, rows, tables, rule),
        rule,
        columns,
        fit_scaling(bases["train"], spec.scaling, one_hot, by_columns=True),
        shift if shift.any() else None,
        bool(shift.any()) and needs_float64(table_samples(tables["train"], columns), shift),
        report_columns(table, columns, ()),
        tuple(lines),
    )


def _whole_table(raw: Raw, spec: "DataSpec") -> tuple[Any, WindowRule]:
    """All columns of the table, the target among them."""
    pair = raw.parts["train"]
    name = getattr(pair.y, "name", None)
    if list(raw.parts) != ["train"] or not hasattr(pair.x, "iloc") or name is None:
        raise DatasetError(
            f"{raw.source}: --window is of one table with a named target, as file.csv:COLUMN"
        )
    if spec.weights is not None:
        raise DatasetError(f"{raw.source}: --weights and --window do not go together")
    if spec.task not in (None, "regression"):
        raise DatasetError(f"{raw.source}: --window forecasts numbers, not {spec.task}")
    frame = pair.x.set_axis([str(column) for column in pair.x.columns], axis=1)
    frame = frame.assign(**{str(name): pair.y.to_numpy()})
    for option, column in (("time", spec.time), ("series", spec.series)):
        if column is not None and (column not in frame.columns or column == str(name)):
            meant = suggest_names(column, list(frame.columns))
            raise DatasetError(f"{raw.source}: --{option} {column}: no such column{meant}")
    assert spec.window is not None
    return frame, WindowRule(spec.window, spec.horizon, str(name), spec.time, spec.series)


def _target(values: Any, table: ReadTable, source: str) -> Target:
    problems = list(table.problems)
    target = None
    try:
        target = encode_targets({"train": values}, "regression", {}, None, source)
    except DatasetError as error:
        problems.insert(0, str(error).removeprefix(f"{source}: "))
    if problems or target is None:
        raise DatasetError(f"{source}: {'; '.join(problems)}")
    return target


def _parts_by_time(ordered: OrderedRows, spec: "DataSpec") -> dict[str, _Mask]:
    """Which rows, in their order, belong to each part: the last share of the times to test, of
    those before the last share to validation. Rows of one time are in one part."""
    times = np.sort(ordered.times)
    first_of_test = times[min(len(times) - 1, int(len(times) * (1 - spec.test)))]
    before = times[times < first_of_test]
    border = int(len(before) * (1 - spec.validation))
    first_of_validation = before[border] if border < len(before) else first_of_test
    is_test = ordered.times >= first_of_test
    is_train = ordered.times < first_of_validation
    return {"train": is_train, "validation": ~is_train & ~is_test, "test": is_test}


def _starts(
    part: str, ordered: OrderedRows, chosen: _Mask, rule: WindowRule, source: str
) -> npt.NDArray[np.intp]:
    starts = ordered.starts(chosen, rule.steps + rule.horizon)
    if not len(starts):
        of_series = np.bincount(ordered.series[chosen]).max(initial=0)
        longest = f"{of_series} rows" + (" in the longest series" if rule.series else "")
        raise DatasetError(
            f"{source}: the {part} part has {longest}, and a window of {rule.steps} with a horizon "
            f"of {rule.horizon} needs {rule.steps + rule.horizon}; give a shorter --window, or "
            "more rows"
        )
    return starts


def _channels(train: Table, table: ReadTable, rule: WindowRule, exact: bool) -> tuple[Column, ...]:
    """What each column becomes. Of the time those parts that come again, such as the hour; none of
    a time of numbers."""
    read = [c for c in table.columns if c.name != rule.time or c.kind == "date"]
    columns = learn_columns(train, read)
    columns = with_offsets(train, columns) if exact else columns
    return tuple(
        column
        for column in (_periodic(c, train) if c.name == rule.time else c for c in columns)
        if column.features
    )


def _periodic(column: Column, train: Table) -> Column:
    span = float(np.ptp(train.column(column.name).values))
    parts = tuple(p for p in column.parts if span >= 2 * _PERIODS.get(p, np.inf))
    return replace(column, has_days=False, parts=parts)


def _targets_behind(
    target: Target, rows: Mapping[str, WindowRows], tables: Mapping[str, Table], rule: WindowRule
) -> Target:
    """y of each window: (n, horizon), or (n,) for a horizon of 1."""
    behind = rule.steps + np.arange(rule.horizon)
    values = {}
    for part, windows in rows.items():
        of_part = target.values["train"][tables[part].numbers]
        y = of_part[windows.starts[:, np.newaxis] + behind]
        values[part] = y[:, 0] if rule.horizon == 1 else y
    return replace(target, values=values, value_names=forecast_names(rule))


def forecast_names(rule: WindowRule) -> tuple[str, ...]:
    """The names of the values of a forecast; none for a horizon of 1."""
    if rule.horizon == 1:
        return ()
    return tuple(f"{rule.target}+{step + 1}" for step in range(rule.horizon))


def _time_notes(ordered: OrderedRows, rule: WindowRule) -> list[str]:
    """Lines on the order, on times that come twice, and on gaps between times."""
    if rule.time is None:
        return ["the rows are taken in their order; --time COLUMN sorts them"]
    steps = np.diff(ordered.times.astype(np.float64))[np.diff(ordered.series) == 0]
    if not len(steps):
        return []
    notes = []
    if twice := int((steps == 0).sum()):
        remedy = "" if rule.series else "; if the table holds several series: --series COLUMN"
        notes.append(f"{rule.time}: {twice} rows have the time of the row before{remedy}")
    forward = steps[steps > 0]
    usual = float(np.median(forward)) if len(forward) else 0.0
    if gaps := int((forward > 1.5 * usual).sum()):
        notes.append(
            f"{rule.time}: {gaps} steps are longer than the usual one (the longest "
            f"{forward.max() / usual:.3g} times); windows go across them"
        )
    return notes


def naive_forecast_note(windows: Windows) -> str:
    """A line on the error of the simplest forecasts of the validation rows: the last value, and
    what followed the value of one window before."""
    target, rule = windows.target.values["validation"], windows.rule
    column = _channel_of(windows.columns, rule.target)
    if column is None:
        return ""
    rows = windows.rows["validation"]
    shift = 0.0 if windows.shift is None else float(windows.shift[column])
    channel = rows.base[:, column].astype(np.float64) + shift
    y = target.reshape(len(target), -1)
    last = float(np.mean(np.abs(y - channel[rows.starts + rule.steps - 1][:, np.newaxis])))
    line = f"naive forecasts of the validation rows: the last value errs by {last:.4g} (MAE)"
    if rule.steps >= rule.horizon:
        before = channel[rows.starts[:, np.newaxis] + np.arange(rule.horizon)]
        seasonal = float(np.mean(np.abs(y - before)))
        line += f", the values of one window before by {seasonal:.4g}"
    return line


def _channel_of(columns: Sequence[Column], name: str) -> int | None:
    start = 0
    for column in columns:
        if column.name == name and column.kind == "number":
            return start
        start += len(column.features)
    return None
