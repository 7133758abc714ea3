"""Charts as tables: for readers who cannot see them, and to copy numbers from."""

from collections.abc import Sequence
from dataclasses import dataclass

from tuner.reports.charts import Axis, Bars, Chart, Panel, Parallel, thinned
from tuner.values import format_number

_MOST_ROWS = 200


@dataclass(frozen=True)
class ChartTable:
    """`rows`: texts, one for each of the columns."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""


def chart_tables(chart: Chart) -> list[ChartTable]:
    """A table for each panel, with at most about 200 rows each."""
    return [_table(panel) for panel in chart.panels]


def _table(panel: Panel | Bars | Parallel) -> ChartTable:
    if isinstance(panel, Bars):
        rows = list(zip(panel.names, panel.texts(), strict=True))
        return ChartTable(panel.label, ("name", panel.label), rows)
    return _parallel(panel) if isinstance(panel, Parallel) else _panel(panel)


def _panel(panel: Panel) -> ChartTable:
    most = max(2, _MOST_ROWS // max(1, len(panel.series)))
    (shown,) = thinned(Chart("", [panel]), most).panels
    assert isinstance(shown, Panel)
    rows = [
        (series.label, _place(panel.x, x), format_number(y))
        for series in shown.series
        for x, y in zip(series.x, series.y, strict=True)
    ]
    points = sum(len(series.x) for series in panel.series)
    note = f"{len(rows):,} of {points:,} points" if len(rows) < points else ""
    title = f"{panel.y.label} by {panel.x.label}"
    return ChartTable(title, ("series", panel.x.label, panel.y.label), rows, note)


def _place(axis: Axis, value: float) -> str:
    if axis.choices:
        return axis.choices[int(value)]
    return f"{value:g}" if float(value).is_integer() else format_number(value)


def _parallel(parallel: Parallel) -> ChartTable:
    columns = ("trial", parallel.score_label, *(scale.label for scale in parallel.scales))
    ranked = list(zip(parallel.trials, parallel.scores, strict=True))[:_MOST_ROWS]
    rows = [
        (str(number), format_number(score), *(s.text(s.values[rank]) for s in parallel.scales))
        for rank, (number, score) in enumerate(ranked)
    ]
    note = f"the best {len(rows)}" if len(rows) < len(parallel.trials) else ""
    return ChartTable("trials, best first", columns, rows, note)
