"""Heat maps of comparisons that vary in two numbers: in the terminal, and as PNG."""

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rich.style import Style
from rich.table import Table
from rich.text import Text

from tuner.reports.comparison_tables import ComparisonRow, ComparisonTable
from tuner.values import Scalar

# Colours of matplotlib's viridis, which both forms use.
_COLOURS = ((68, 1, 84), (59, 82, 139), (33, 145, 140), (94, 201, 98), (253, 231, 37))


class HeatMapPanel(NamedTuple):
    """One map. `title`: the values of the categorical parameters. `y` and `x`: names of parameters.
    `cells[i][j]`: the mean at `ys[i]` and `xs[j]`; None if no trial has finished there."""

    title: str
    y: str
    x: str
    ys: list[float]
    xs: list[float]
    cells: list[list[float | None]]


def heat_map_panels(table: ComparisonTable) -> list[HeatMapPanel]:
    """A panel for each combination of the categorical parameters that vary. Empty unless exactly
    two numeric parameters vary, and each panel has all pairs of their values."""
    varying = table.varying
    numeric = [name for name in varying if _is_numeric(table.rows, name)]
    categories = [name for name in varying if _is_category(table.rows, name)]
    if len(numeric) != 2 or len(numeric) + len(categories) != len(varying):
        return []
    y, x = numeric
    groups: dict[str, list[ComparisonRow]] = {}
    for row in table.rows:
        values = ((name, row.params.get(name)) for name in categories)
        title = ", ".join(f"{name} {_word(value)}" for name, value in values if value is not None)
        groups.setdefault(title, []).append(row)
    panels = [_make_panel(table, title, y, x, rows) for title, rows in groups.items()]
    are_whole = all(len(p.ys) * len(p.xs) == len(groups[p.title]) for p in panels)
    return panels if are_whole else []


def _make_panel(
    table: ComparisonTable, title: str, y: str, x: str, rows: Sequence[ComparisonRow]
) -> HeatMapPanel:
    means = {(_number(row, y), _number(row, x)): table.mean(row) for row in rows}
    ys, xs = (sorted({pair[axis] for pair in means}) for axis in (0, 1))
    cells = [[means.get((at_y, at_x)) for at_x in xs] for at_y in ys]
    return HeatMapPanel(title, y, x, ys, xs, cells)


def _number(row: ComparisonRow, name: str) -> float:
    value = row.params[name]
    assert isinstance(value, int | float)  # _is_numeric has checked it.
    return value


def _is_numeric(rows: Sequence[ComparisonRow], name: str) -> bool:
    values = [row.params.get(name) for row in rows]
    return all(isinstance(v, int | float) and not isinstance(v, bool) for v in values)


def _is_category(rows: Sequence[ComparisonRow], name: str) -> bool:
    return all(isinstance(row.params.get(name), str | bool | None) for row in rows)


def _word(value: Scalar | list[Scalar]) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


class _ColourScale:
    """The scale that all panels share. Better values are brighter."""

    def __init__(self, table: ComparisonTable, panels: Sequence[HeatMapPanel]) -> None:
        means = [v for panel in panels for row in panel.cells for v in row if v is not None]
        self.low, self.high = (min(means), max(means)) if means else (0.0, 1.0)
        self.falls = table.direction == "minimize"
        self.format = "{:.2f}" if table.percent else "{:.4g}"

    def share(self, value: float) -> float:
        """0 for the worst value, 1 for the best."""
        width = self.high - self.low
        share = (value - self.low) / width if width > 0 else 0.5
        return 1 - share if self.falls else share


def terminal_heat_maps(table: ComparisonTable, panels: Sequence[HeatMapPanel]) -> list[Table]:
    """A rich table with coloured cells for each panel."""
    scale = _ColourScale(table, panels)
    pictures = []
    for panel in panels:
        title = panel.title or None
        picture = Table(box=None, title=title, title_justify="left", padding=(0, 0))
        picture.add_column(f"{panel.y} \\ {panel.x} ", justify="right")
        for x in panel.xs:
            picture.add_column(f"{x:g} ", justify="right")
        for y, row in zip(panel.ys, panel.cells, strict=True):
            picture.add_row(f"{y:g} ", *(_coloured_cell(scale, value) for value in row))
        pictures.append(picture)
    return pictures


def _coloured_cell(scale: _ColourScale, value: float | None) -> Text:
    if value is None:
        return Text(" – ", style="dim")
    red, green, blue = _colour(scale.share(value))
    ink = "black" if 0.3 * red + 0.6 * green + 0.1 * blue > 120 else "white"
    style = Style(color=ink, bgcolor=f"rgb({red},{green},{blue})")
    return Text(f" {scale.format.format(value)} ", style=style)


def _colour(share: float) -> tuple[int, int, int]:
    place = min(max(share, 0.0), 1.0) * (len(_COLOURS) - 1)
    first = min(int(place), len(_COLOURS) - 2)
    red, green, blue = (
        round(low + (place - first) * (high - low))
        for low, high in zip(_COLOURS[first], _COLOURS[first + 1], strict=True)
    )
    return red, green, blue


def save_heat_maps(table: ComparisonTable, panels: Sequence[HeatMapPanel], path: Path) -> None:
    """Write all panels side by side as PNG. Raises OSError."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    scale = _ColourScale(table, panels)
    width = sum(1.6 + 0.75 * len(panel.xs) for panel in panels)
    height = 1.6 + 0.5 * max(len(panel.ys) for panel in panels)
    figure = Figure(figsize=(width, height), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for axis, panel in zip(axes, panels, strict=True):
        _draw_panel(axis, panel, scale)
    figure.suptitle(table.metric.replace("_", " ") + (" (%)" if table.percent else ""))
    figure.savefig(path, format="png")


def _draw_panel(axis: Any, panel: HeatMapPanel, scale: _ColourScale) -> None:
    pixels = [
        [(0.9, 0.9, 0.9) if v is None else _pixel(scale.share(v)) for v in row]
        for row in panel.cells
    ]
    axis.imshow(pixels, aspect="auto", origin="lower")
    for i, j in itertools.product(range(len(panel.ys)), range(len(panel.xs))):
        value = panel.cells[i][j]
        if value is not None:
            ink = "black" if scale.share(value) > 0.5 else "white"
            text = scale.format.format(value)
            axis.text(j, i, text, ha="center", va="center", color=ink, fontsize=8)
    # Ticks by position, labels by value: the values are seldom evenly spaced.
    axis.set_xticks(range(len(panel.xs)), [f"{x:g}" for x in panel.xs])
    axis.set_yticks(range(len(panel.ys)), [f"{y:g}" for y in panel.ys])
    axis.set(xlabel=panel.x, ylabel=panel.y, title=panel.title)


def _pixel(share: float) -> tuple[float, float, float]:
    red, green, blue = _colour(share)
    return red / 255, green / 255, blue / 255
