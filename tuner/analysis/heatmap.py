"""Configurations that vary in two numbers, as a heat map: in the terminal and as PNG."""

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rich.style import Style
from rich.table import Table as RichTable
from rich.text import Text

from tuner.analysis.table import Row, Table
from tuner.parameters import Scalar
from tuner.spec import direction_of

# Matplotlib's viridis, so that both pictures look alike.
_COLOURS = ((68, 1, 84), (59, 82, 139), (33, 145, 140), (94, 201, 98), (253, 231, 37))


class Panel(NamedTuple):
    """A map. `title`: of the categories it stands for. `cells[i][j]`: the mean at `ys[i]` and
    `xs[j]`; None where there is none."""

    title: str
    y: str
    x: str
    ys: list[float]
    xs: list[float]
    cells: list[list[float | None]]


def panels(table: Table) -> list[Panel]:
    """A panel for each combination of the categorical parameters that vary. None at all unless
    exactly two numeric ones do, and every pair of their values that is met is in each panel."""
    varying = table.varying
    numeric = [name for name in varying if _is_numeric(table.rows, name)]
    categories = [name for name in varying if _is_category(table.rows, name)]
    if len(numeric) != 2 or len(numeric) + len(categories) != len(varying):
        return []
    y, x = numeric
    groups: dict[str, list[Row]] = {}
    for row in table.rows:
        said = ((name, row.params.get(name)) for name in categories)
        title = ", ".join(f"{name} {_word(value)}" for name, value in said if value is not None)
        groups.setdefault(title, []).append(row)
    made = [_panel(table, title, y, x, rows) for title, rows in groups.items()]
    whole = all(len(p.ys) * len(p.xs) == len(groups[p.title]) for p in made)
    return made if whole else []


def _panel(table: Table, title: str, y: str, x: str, rows: Sequence[Row]) -> Panel:
    means = {(_number(row, y), _number(row, x)): table.mean(row) for row in rows}
    ys, xs = (sorted({pair[axis] for pair in means}) for axis in (0, 1))
    return Panel(title, y, x, ys, xs, [[means.get((one, two)) for two in xs] for one in ys])


def _number(row: Row, name: str) -> float:
    value = row.params[name]
    assert isinstance(value, int | float)  # _is_numeric has seen to it
    return value


def _is_numeric(rows: Sequence[Row], name: str) -> bool:
    values = [row.params.get(name) for row in rows]
    return all(isinstance(v, int | float) and not isinstance(v, bool) for v in values)


def _is_category(rows: Sequence[Row], name: str) -> bool:
    return all(isinstance(row.params.get(name), str | bool | None) for row in rows)


def _word(value: Scalar | list[Scalar]) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


class _Scale:
    """All panels share one; the better end is bright."""

    def __init__(self, table: Table, maps: Sequence[Panel]) -> None:
        found = [v for panel in maps for row in panel.cells for v in row if v is not None]
        self.low, self.high = (min(found), max(found)) if found else (0.0, 1.0)
        self.falls = direction_of(table.metric) == "minimize"
        self.format = "{:.2f}" if table.percent else "{:.4g}"

    def share(self, value: float) -> float:
        """0 for the worst value, 1 for the best."""
        width = self.high - self.low
        share = (value - self.low) / width if width > 0 else 0.5
        return 1 - share if self.falls else share


def in_terminal(table: Table, maps: Sequence[Panel]) -> list[RichTable]:
    """A rich table a panel, its cells coloured."""
    scale = _Scale(table, maps)
    pictures = []
    for panel in maps:
        title = panel.title or None
        picture = RichTable(box=None, title=title, title_justify="left", padding=(0, 0))
        picture.add_column(f"{panel.y} \\ {panel.x} ", justify="right")
        for x in panel.xs:
            picture.add_column(f"{x:g} ", justify="right")
        for y, row in zip(panel.ys, panel.cells, strict=True):
            picture.add_row(f"{y:g} ", *(_coloured(scale, value) for value in row))
        pictures.append(picture)
    return pictures


def _coloured(scale: _Scale, value: float | None) -> Text:
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
        round(one + (place - first) * (other - one))
        for one, other in zip(_COLOURS[first], _COLOURS[first + 1], strict=True)
    )
    return red, green, blue


def draw(table: Table, maps: Sequence[Panel], path: Path) -> None:
    """Write all panels side by side as PNG. Raises OSError."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    scale = _Scale(table, maps)
    width = sum(1.6 + 0.75 * len(panel.xs) for panel in maps)
    height = 1.6 + 0.5 * max(len(panel.ys) for panel in maps)
    figure = Figure(figsize=(width, height), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, len(maps), squeeze=False)[0]
    for axis, panel in zip(axes, maps, strict=True):
        _draw_panel(axis, panel, scale)
    figure.suptitle(table.metric.replace("_", " ") + (" (%)" if table.percent else ""))
    figure.savefig(path, format="png")


def _draw_panel(axis: Any, panel: Panel, scale: _Scale) -> None:
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
    # Labels by value: these axes are seldom linear.
    axis.set_xticks(range(len(panel.xs)), [f"{x:g}" for x in panel.xs])
    axis.set_yticks(range(len(panel.ys)), [f"{y:g}" for y in panel.ys])
    axis.set(xlabel=panel.x, ylabel=panel.y, title=panel.title)


def _pixel(share: float) -> tuple[float, float, float]:
    red, green, blue = _colour(share)
    return red / 255, green / 255, blue / 255
