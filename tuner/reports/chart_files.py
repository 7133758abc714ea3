"""Charts as files: pictures by matplotlib, and Optuna's own interactive pages.

Pictures are not Optuna's own: with a dozen parameters its labels overlap or are cut off, its slices
are 4480 pixels wide, and pruned trials, most of a Hyperband study, are missing.
"""

import html
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuner.errors import UsageError
from tuner.reports.charts import Bars, Chart, Form, Panel, Parallel, Scale, places
from tuner.reports.interactive_charts import interactive
from tuner.system.names import install_command
from tuner.values import clipped

if TYPE_CHECKING:
    from tuner.reports.plotted_study import PlottedStudy

PICTURES = (".png", ".svg", ".pdf")
PAGE = ".html"

# Okabe and Ito's colours, which colour-blind readers can tell apart.
_COLOURS = (
    "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00",
    "#56B4E9", "#000000", "#F0E442", "#999999", "#882255",
)  # fmt: skip
_PALE = "#9AA5B1"
_PANELS_A_ROW = 3
_DPI = 120
# Where a trial that does not have a parameter meets its scale.
_MISSING = -0.08
_MOST_NAMED_CHOICES = 12
_LONGEST_NAME = 60  # characters


def check_file(path: Path, formats: Sequence[str] = PICTURES) -> None:
    """Raises UsageError for a file whose suffix names no format."""
    if path.suffix not in formats:
        raise UsageError(f"{path}: must end in {', '.join(formats)}")


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Around writing the file, whose folder is created. Raises UsageError if that fails."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield
    except FileExistsError as error:
        raise UsageError(f"{path}: cannot be written: {path.parent} is no folder") from error
    except OSError as error:
        raise UsageError(f"{path}: cannot be written ({error.strerror or error})") from error


def save_picture(chart: Chart, path: Path) -> None:
    """Draw the chart into a file, in the format of its suffix. Needs no display. Raises
    UsageError if the file cannot be written."""
    import matplotlib
    from matplotlib.figure import Figure

    columns = min(_PANELS_A_ROW, len(chart.panels))
    rows = -(-len(chart.panels) // columns)
    size = _size(chart, columns, rows)
    # Names may hold $, which is no formula here.
    with matplotlib.rc_context({"text.parse_math": False, "font.size": 9}):
        figure = Figure(figsize=size, layout="constrained")
        for number, panel in enumerate(chart.panels, start=1):
            axes = figure.add_subplot(rows, columns, number)
            _DRAWERS[type(panel)](axes, panel)
            if isinstance(panel, Panel) and (number == 1 or columns * rows == 1):
                _add_legend(figure, axes, is_alone=len(chart.panels) == 1)
        figure.suptitle(chart.title, fontsize=11)
        if chart.caption:
            figure.supxlabel("; ".join(chart.caption), fontsize=8, color="0.35")
        with writing(path):
            figure.savefig(path, dpi=_DPI)


def _size(chart: Chart, columns: int, rows: int) -> tuple[float, float]:
    """Inches."""
    first = chart.panels[0]
    if isinstance(first, Bars):
        return 7.0, 1.2 + 0.26 * len(first.names)
    if isinstance(first, Parallel):
        return 2.5 + 1.0 * max(4, len(first.scales)), 5.0
    return (8.0, 4.5) if columns == 1 else (1.0 + 3.6 * columns, 0.8 + 2.7 * rows)


def _add_legend(figure: Any, axes: Any, is_alone: bool) -> None:
    handles, labels = axes.get_legend_handles_labels()
    unique = dict(zip(labels, handles, strict=True))
    if len(unique) > 1:
        place = {"loc": "best"} if is_alone else {"loc": "outside upper right"}
        owner = axes if is_alone else figure
        owner.legend(unique.values(), unique.keys(), fontsize=8, **place)


def _draw_panel(axes: Any, panel: Panel) -> None:
    for order, series in enumerate(panel.series):
        style = _style(series.form, series.colour) | {"zorder": 2 + order}
        (line,) = axes.plot(places(panel.x, series), series.y, label=series.label, **style)
        if series.form == Form.STEPS:
            line.set_drawstyle("steps-post")
    axes.set_xlabel(panel.x.title)
    axes.set_ylabel(panel.y.title)
    for axis, ticks in ((panel.x, axes.xaxis), (panel.y, axes.yaxis)):
        if axis.log:
            _scale_logarithmically(ticks)
    axes.grid(color="0.92", zorder=0)
    axes.spines[["top", "right"]].set_visible(False)
    if panel.x.choices:
        turned = {"rotation": 30, "ha": "right"} if sum(map(len, panel.x.choices)) > 24 else {}
        axes.set_xticks(range(len(panel.x.choices)), panel.x.choices, **turned)
        axes.set_xlim(-0.5, len(panel.x.choices) - 0.5)
    elif not panel.x.log:
        axes.xaxis.get_major_locator().set_params(integer=_are_whole(panel))
    if panel.y.limits is not None:
        _limit(axes, *panel.y.limits, panel.y.log)


def _scale_logarithmically(axis: Any) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axis._set_axes_scale("log")
    axis.set_major_locator(LogLocator(subs=(1.0, 3.0), numticks=6))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def _are_whole(panel: Panel) -> bool:
    """Whether ticks between whole numbers would mean nothing."""
    return all(float(x).is_integer() for series in panel.series for x in series.x)


def _limit(axes: Any, low: float, high: float, is_log: bool) -> None:
    if is_log:
        axes.set_ylim(low / 1.1, high * 1.1)
    elif high > low:
        margin = 0.05 * (high - low)
        axes.set_ylim(low - margin, high + margin)


def _style(form: Form, colour: int) -> dict[str, Any]:
    paint = _paint(colour)
    points = {"linestyle": "none", "color": paint}
    return {
        Form.LINE: {"color": paint, "linewidth": 1.8},
        Form.DASHES: {"color": paint, "linewidth": 1.4, "linestyle": "--"},
        Form.STEPS: {"color": paint, "linewidth": 1.6},
        Form.POINTS: points | {"marker": "o", "markersize": 4.5, "alpha": 0.8},
        Form.DOTS: points | {"marker": "o", "markersize": 3, "color": _PALE, "alpha": 0.8},
        Form.CROSSES: points | {"marker": "x", "markersize": 5},
        Form.BEST: points | {"marker": "o", "markersize": 9, "markerfacecolor": "none"},
    }[form]


def _draw_bars(axes: Any, bars: Bars) -> None:
    places = range(len(bars.names))
    drawn = axes.barh(places, bars.values, color=_COLOURS[0])
    axes.bar_label(drawn, bars.texts(), padding=3, fontsize=8)
    axes.set_yticks(places, [clipped(name, _LONGEST_NAME) for name in bars.names])
    axes.invert_yaxis()
    axes.margins(x=0.1)
    axes.set_xlabel(bars.label)
    axes.spines[["top", "right"]].set_visible(False)


def _draw_parallel(axes: Any, parallel: Parallel) -> None:
    from matplotlib import colormaps
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    # The best first: by rank, so that one bad trial does not make all others look alike.
    paints, count = colormaps["viridis"], len(parallel.trials)
    for rank in reversed(range(count)):
        share = 1.0 - rank / max(1, count - 1)
        heights = [_height(scale, scale.values[rank]) for scale in parallel.scales]
        width, strength = (2.2, 1.0) if rank == 0 else (1.0, 0.25 + 0.6 * share)
        axes.plot(range(len(heights)), heights, color=paints(share), lw=width, alpha=strength)
    for place, scale in enumerate(parallel.scales):
        axes.axvline(place, color="0.5", linewidth=0.8, zorder=0)
        for height, text in _marks(scale):
            box = {"facecolor": "white", "edgecolor": "none", "alpha": 0.7, "pad": 0.6}
            axes.text(place + 0.04, height, text, fontsize=7, va="center", bbox=box)
    names = [scale.title for scale in parallel.scales]
    axes.set_xticks(range(len(names)), names, rotation=30, ha="right")
    axes.set_yticks([])
    axes.set_ylim(2 * _MISSING, 1 - _MISSING)
    axes.set_xlim(-0.2, len(names) - 0.4)
    axes.spines[:].set_visible(False)
    colours = ScalarMappable(Normalize(0, 1), paints)
    bar = axes.figure.colorbar(colours, ax=axes, ticks=[0, 1], fraction=0.03, pad=0.02)
    bar.ax.set_yticklabels([f"{parallel.scores[-1]:.4g}", f"{parallel.scores[0]:.4g}"])
    bar.set_label(f"{parallel.score_label}, by rank")


def _height(scale: Scale, value: float | None) -> float:
    return _MISSING if value is None else scale.share(value)


def _marks(scale: Scale) -> list[tuple[float, str]]:
    """The texts along a scale, with their heights."""
    marks = [(_MISSING, "–")] if None in scale.values else []
    if scale.choices:
        named = list(enumerate(scale.choices))[:_MOST_NAMED_CHOICES]
        return marks + [(scale.share(place), text) for place, text in named]
    low, high = scale.range
    if low == high:
        return [*marks, (scale.share(low), f"{low:.3g}")]
    return [*marks, (0.0, f"{low:.3g}"), (1.0, f"{high:.3g}")]


_DRAWERS: dict[type, Callable[[Any, Any], None]] = {
    Panel: _draw_panel,
    Bars: _draw_bars,
    Parallel: _draw_parallel,
}


def save_page(chart: Chart, plotted: "PlottedStudy", kind: str, path: Path) -> None:
    """Write a page that needs no network: Optuna's own plot of that kind, or the chart where Optuna
    has none. Raises UsageError if plotly is missing or the file cannot be written."""
    from optuna import visualization

    from tuner.reports.study_plots import STUDY_PLOTS

    if not visualization.is_available():
        raise UsageError(
            f"{path}: pages need plotly, which is not installed: {install_command('plotly')}; or "
            f"give a file that ends in {', '.join(PICTURES)}"
        )
    plot = STUDY_PLOTS[kind]
    if plot.optuna_name is None:
        figures = _own_figures(chart)
    else:
        options: dict[str, Any] = {"target_name": plotted.metric}
        if plot.takes_params:
            options["params"] = list(plotted.params)
        figures = [getattr(visualization, plot.optuna_name)(plotted.optuna_study(), **options)]
    with writing(path):
        figures[0].write_html(path)
        with path.open("a", encoding="utf-8") as page:
            for figure in figures[1:]:
                page.write(figure.to_html(include_plotlyjs=False, full_html=False))


def _own_figures(chart: Chart) -> list[Any]:
    """The chart's panels as Plotly's figures."""
    from plotly.graph_objects import Figure

    figures = []
    for panel in interactive(chart)["panels"]:
        for trace in panel["data"]:
            colour = trace["meta"]["colour"]
            trace["marker"] = trace.get("marker", {}) | {"color": _paint(colour)}
            if "line" in trace:
                trace["line"] = trace["line"] | {"color": _paint(colour)}
        title = {"text": html.escape(chart.title, quote=False)}
        layout = panel["layout"] | {"title": title, "template": "plotly_white"}
        figures.append(Figure(panel["data"], layout))
    return figures


def _paint(colour: int | None) -> str:
    return _PALE if colour is None else _COLOURS[colour % len(_COLOURS)]
