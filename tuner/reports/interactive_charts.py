"""Charts as plain JSON that Plotly draws in a browser: one figure for each panel.

Nothing here imports Plotly. Texts are escaped, since Plotly takes some HTML tags in them.
"""

import html
import math
from collections.abc import Callable, Sequence
from typing import Any

from tuner.reports.charts import Axis, Bars, Chart, Form, Panel, Parallel, Series, places
from tuner.values import clipped

Figure = dict[str, Any]

_LONGEST_NAME = 36
_MOST_PARALLEL = 100
_MOST_UNIT_TICKS = 10
_FEW_POWERS, _MOST_LOG_TICKS = 3, 6
_BAR_PIXELS, _BARS_MARGIN = 26, 70
# Where a trial that does not have a parameter meets its scale.
_MISSING = -0.1

# How a trace of each form is drawn. The browser adds the colours: `meta.colour` is the place in
# the theme's list, None the pale one.
_TRACES: dict[Form, Figure] = {
    Form.LINE: {"mode": "lines", "line": {"width": 2}},
    Form.DASHES: {"mode": "lines", "line": {"width": 1.6, "dash": "dash"}},
    Form.STEPS: {"mode": "lines", "line": {"width": 2, "shape": "hv"}},
    Form.POINTS: {"mode": "markers", "marker": {"size": 7, "opacity": 0.8}},
    Form.DOTS: {"mode": "markers", "marker": {"size": 5, "opacity": 0.7}},
    Form.CROSSES: {"mode": "markers", "marker": {"size": 7, "symbol": "x"}},
    Form.BEST: {
        "mode": "markers",
        "marker": {"size": 13, "symbol": "circle-open", "line": {"width": 2.5}},
    },
}


def interactive(chart: Chart) -> dict[str, Any]:
    """The chart's title and caption, and for each panel Plotly's `data` and `layout`, without
    colours."""
    return {
        "title": chart.title,
        "caption": list(chart.caption),
        "panels": [_DRAWERS[type(panel)](panel) for panel in chart.panels],
    }


def _escaped(text: str) -> str:
    return html.escape(text, quote=False)


def _panel(panel: Panel) -> Figure:
    labels = {series.label for series in panel.series}
    return {
        "label": f"{panel.y.title} by {panel.x.title}",
        "data": _traces(panel),
        "layout": {
            "xaxis": _axis(panel.x, [x for each in panel.series for x in each.x])
            | _whole_ticks(panel),
            "yaxis": _axis(panel.y, [y for each in panel.series for y in each.y]),
            "showlegend": len(labels) > 1,
        },
    }


def _traces(panel: Panel) -> list[Figure]:
    """Those of one label are in the legend once."""
    traces, seen = [], set()
    for series in panel.series:
        traces.append(_trace(panel.x, series) | {"showlegend": series.label not in seen})
        seen.add(series.label)
    return traces


def _whole_ticks(panel: Panel) -> Figure:
    """No ticks between whole numbers, where these are all that there is."""
    values = [x for series in panel.series for x in series.x]
    are_whole = all(float(x).is_integer() for x in values)
    is_few = bool(values) and max(values) - min(values) < _MOST_UNIT_TICKS
    return {"dtick": 1} if are_whole and is_few and not panel.x.choices else {}


def _trace(x: Axis, series: Series) -> Figure:
    trace: Figure = {"type": "scatter", "name": _escaped(series.label)} | _TRACES[series.form]
    trace |= {"x": places(x, series), "y": list(series.y)}
    return trace | {"meta": {"colour": None if series.form is Form.DOTS else series.colour}}


def _axis(axis: Axis, values: Sequence[float]) -> Figure:
    drawn: Figure = {"title": {"text": _escaped(axis.title)}, "automargin": True}
    if axis.choices:
        names = [_escaped(clipped(choice, _LONGEST_NAME)) for choice in axis.choices]
        drawn |= {"tickvals": list(range(len(names))), "ticktext": names}
        drawn |= {"range": [-0.5, len(names) - 0.5]}
    if axis.log:
        ticks = _log_ticks(*(axis.limits or (min(values), max(values))))
        drawn |= {"type": "log", "tickvals": ticks, "ticktext": [f"{tick:g}" for tick in ticks]}
    if axis.limits is not None and axis.limits[0] < axis.limits[1]:
        drawn["range"] = _frame(axis.limits, axis.log)
    return drawn


def _log_ticks(low: float, high: float) -> list[float]:
    """At most about six numbers between them: powers of ten, with 2 and 5 times these where the
    powers are few."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    factors = (1, 2, 5) if len(powers) <= _FEW_POWERS else (1,)
    ticks = [factor * 10.0**power for power in powers for factor in factors]
    ticks = [tick for tick in ticks if low * 0.999 <= tick <= high * 1.001]
    return ticks[:: -(-len(ticks) // _MOST_LOG_TICKS) or 1]


def _frame(limits: tuple[float, float], is_log: bool) -> list[float]:
    """The range to show, with a margin; of a logarithmic axis in powers of ten."""
    low, high = map(math.log10, limits) if is_log else limits
    margin = 0.05 * (high - low)
    return [low - margin, high + margin]


def _bars(bars: Bars) -> Figure:
    rows = list(range(len(bars.names)))
    names = [_escaped(clipped(name, _LONGEST_NAME)) for name in bars.names]
    trace = {
        "type": "bar",
        "orientation": "h",
        "x": list(bars.values),
        "y": rows,
        "text": bars.texts(),
        "hovertext": [_escaped(name) for name in bars.names],
        "hoverinfo": "text+x",
        "cliponaxis": False,
        "meta": {"colour": 0},
    }
    layout = {
        "xaxis": {"title": {"text": _escaped(bars.label)}, "rangemode": "tozero"},
        "yaxis": {
            "tickvals": rows,
            "ticktext": names,
            "autorange": "reversed",
            "automargin": True,
        },
        "showlegend": False,
        "height": _BARS_MARGIN + _BAR_PIXELS * len(rows),
    }
    return {"label": bars.label, "data": [trace], "layout": layout}


def _parallel(parallel: Parallel) -> Figure:
    """A line for each of the best trials; the best one is drawn last, on top."""
    count = min(_MOST_PARALLEL, len(parallel.trials))
    traces = [_parallel_trace(parallel, rank, count) for rank in reversed(range(count))]
    names = [_escaped(clipped(scale.title, _LONGEST_NAME)) for scale in parallel.scales]
    layout = {
        "xaxis": {"tickvals": list(range(len(names))), "ticktext": names, "automargin": True},
        "yaxis": {"visible": False, "range": [2 * _MISSING, 1.15]},
        "showlegend": False,
        "hovermode": "closest",
        "annotations": _scale_ends(parallel),
    }
    label = f"parameters of the best {count} trials by {parallel.score_label}"
    return {"label": label, "data": traces, "layout": layout}


def _parallel_trace(parallel: Parallel, rank: int, count: int) -> Figure:
    heights = []
    texts = []
    for scale in parallel.scales:
        value = scale.values[rank]
        heights.append(_MISSING if value is None else scale.share(value))
        texts.append(f"{_escaped(scale.label)}: {_escaped(scale.text(value))}")
    score = f"{_escaped(parallel.score_label)} {parallel.scores[rank]:.4g}"
    share = 1.0 - rank / max(1, count - 1)
    return {
        "type": "scatter",
        "mode": "lines",
        "name": f"trial {parallel.trials[rank]}, {score}",
        "x": list(range(len(heights))),
        "y": heights,
        "text": texts,
        "hoverinfo": "text+name",
        "line": {"width": 3 if rank == 0 else 1.4},
        "opacity": 1.0 if rank == 0 else 0.15 + 0.6 * share,
        "meta": {"colour": 1 if rank == 0 else 0},
    }


def _scale_ends(parallel: Parallel) -> list[Figure]:
    """The smallest and the largest value of each scale, and a dash where trials lack it."""
    notes: list[Figure] = []
    for place, scale in enumerate(parallel.scales):
        low, high = scale.range
        ends = {0.0: low, 1.0: high} if low < high else {0.5: low}
        texts = {height: _escaped(clipped(scale.text(value), 12)) for height, value in ends.items()}
        if None in scale.values:
            texts[_MISSING] = "–"
        notes += [
            {"x": place, "y": height, "text": text, "showarrow": False, "yshift": 9}
            for height, text in texts.items()
        ]
    return notes


_DRAWERS: dict[type, Callable[[Any], Figure]] = {
    Panel: _panel,
    Bars: _bars,
    Parallel: _parallel,
}
