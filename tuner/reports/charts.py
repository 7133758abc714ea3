"""Charts as plain data. The terminal (cli/terminal_charts.py) and files (reports/chart_files.py)
draw the same chart, and `--json` prints it."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from statistics import quantiles
from typing import Any, TypeVar

from tuner.study.messages import Direction

T = TypeVar("T")

# Positive values that differ by more than this factor are drawn on a logarithmic axis.
_LOG_FROM = 100.0
# A value is out of the frame if it is farther from the best than this many times the distance
# between the best value and the worse quartile.
_FARTHEST = 25.0


class Form(StrEnum):
    """How a series is drawn."""

    LINE = "line"
    DASHES = "dashes"
    STEPS = "steps"
    """A line that stays at a value until the next one."""
    POINTS = "points"
    DOTS = "dots"
    """Small and pale points."""
    CROSSES = "crosses"
    BEST = "best"
    """A large mark on top of all others."""


@dataclass(frozen=True)
class Axis:
    """`choices`: of a categorical axis; its values are positions among them. `limits`: what the
    frame shows; None shows all values."""

    label: str
    log: bool = False
    choices: tuple[str, ...] = ()
    limits: tuple[float, float] | None = None

    @property
    def title(self) -> str:
        """Its label, which says whether it is logarithmic."""
        return f"{self.label} (log)" if self.log else self.label


@dataclass(frozen=True)
class Series:
    """Points that belong together, all finite. Series of one `colour` look alike in all panels.
    `tag`: a short text at a line's end."""

    label: str
    x: Sequence[float]
    y: Sequence[float]
    form: Form = Form.LINE
    colour: int = 0
    tag: str = ""


@dataclass(frozen=True)
class Panel:
    """Series in one frame."""

    x: Axis
    y: Axis
    series: Sequence[Series]


@dataclass(frozen=True)
class Bars:
    """Horizontal bars, one for each name, from the top. `are_counts`: the values are whole
    numbers."""

    label: str
    names: Sequence[str]
    values: Sequence[float]
    are_counts: bool = False

    def texts(self) -> list[str]:
        """The values as people read them."""
        return [f"{value:,.0f}" if self.are_counts else f"{value:.3f}" for value in self.values]


@dataclass(frozen=True)
class Scale:
    """One axis of a parallel-coordinates chart, with each trial's value; None where a trial does
    not have the parameter. Values of a categorical one are positions among `choices`."""

    label: str
    values: Sequence[float | None]
    log: bool = False
    choices: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """Its label, which says whether it is logarithmic."""
        return f"{self.label} (log)" if self.log else self.label

    @property
    def range(self) -> tuple[float, float]:
        """The smallest and the largest value."""
        if self.choices:
            return 0.0, float(len(self.choices) - 1)
        numbers = [value for value in self.values if value is not None]
        return min(numbers), max(numbers)

    def text(self, value: float | None) -> str:
        """The value as people read it."""
        if value is None:
            return "–"
        return self.choices[int(value)] if self.choices else f"{value:.4g}"

    def share(self, value: float) -> float:
        """Where the value lies on the scale: from 0 to 1."""
        low, high = self.range
        if self.log:
            low, high, value = math.log(low), math.log(high), math.log(value)
        return (value - low) / (high - low) if high > low else 0.5


@dataclass(frozen=True)
class Parallel:
    """Trials as lines across parallel scales, best first. `scores`: of each trial."""

    trials: Sequence[int]
    score_label: str
    scores: Sequence[float]
    scales: Sequence[Scale]


@dataclass(frozen=True)
class Chart:
    """`caption`: what one must know to read it, a sentence each."""

    title: str
    panels: Sequence[Panel | Bars | Parallel]
    caption: Sequence[str] = field(default_factory=tuple)

    def facts(self) -> dict[str, Any]:
        """The data of the chart, for JSON."""
        return asdict(self)


def places(axis: Axis, series: Series) -> list[float]:
    """Where the points of the series lie on the x axis. Those of one choice are spread around it,
    so that they do not cover each other."""
    if not axis.choices or series.form == Form.BEST:
        return list(series.x)
    # Multiples of the golden ratio: neighbours differ much.
    return [x + 0.6 * (number * 0.618034 % 1.0) - 0.3 for number, x in enumerate(series.x)]


def value_axis(label: str, values: Sequence[float], direction: Direction | None = None) -> Axis:
    """An axis that shows the values well: logarithmic if positive values span several powers of
    ten. With a direction, its frame holds these values alone, but for a few that are far worse
    than the others."""
    limits = None if direction is None else _without_far_worse(values, direction)
    shown = [value for value in values if limits is None or limits[0] <= value <= limits[1]]
    is_log = min(shown) > 0 and max(shown) > _LOG_FROM * min(shown)
    return Axis(label, log=is_log, limits=limits)


def _without_far_worse(values: Sequence[float], direction: Direction) -> tuple[float, float]:
    """The range of the values but those that are far worse than most."""
    low, high = min(values), max(values)
    lower, _, upper = quantiles(values, n=4, method="inclusive") if len(values) > 1 else [low] * 3
    if direction == "maximize":
        farthest = high - _FARTHEST * (high - lower)
        return min(value for value in values if value >= farthest), high
    farthest = low + _FARTHEST * (upper - low)
    return low, max(value for value in values if value <= farthest)


def thinned(chart: Chart, most: int) -> Chart:
    """The chart with at most so many points in each series, spread evenly; its caption says so.
    Lines of steps lose only points at which they do not rise or fall, as long as that suffices."""
    panels: list[Panel | Bars | Parallel] = []
    drawn = total = 0
    for panel in chart.panels:
        if isinstance(panel, Panel):
            series = [_thin(each, most) for each in panel.series]
            points = [each for each in panel.series if each.form is not Form.STEPS]
            total += sum(len(each.x) for each in points)
            drawn += sum(min(len(each.x), most) for each in points)
            panels.append(Panel(panel.x, panel.y, series))
        else:
            panels.append(panel)
    caption = list(chart.caption)
    if drawn < total:
        caption.append(f"{drawn:,} of {total:,} points are drawn")
    return Chart(chart.title, panels, caption)


def _thin(series: Series, most: int) -> Series:
    kept = range(len(series.x))
    if series.form is Form.STEPS:
        y, last = series.y, len(series.y) - 1
        kept_steps = [place for place in kept if place in (0, last) or y[place] != y[place - 1]]
        kept_places = evenly(kept_steps, most)
    else:
        kept_places = evenly(kept, most)
    if len(kept_places) == len(series.x):
        return series
    x, y = ([values[place] for place in kept_places] for values in (series.x, series.y))
    return Series(series.label, x, y, series.form, series.colour, series.tag)


def evenly(items: Sequence[T], most: int) -> list[T]:
    """At most so many of the items, spread evenly: the first and the last are among them."""
    if len(items) <= most:
        return list(items)
    step = (len(items) - 1) / max(1, most - 1)
    return [items[round(number * step)] for number in range(most)]
