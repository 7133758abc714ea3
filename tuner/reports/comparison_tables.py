"""A comparison: a row a configuration, as words for people and as numbers for programs.

Configurations that vary in two numbers, as a heat map: in the terminal and as PNG.
"""

import csv
import io
import itertools
import json
import math
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from rich.style import Style
from rich.table import Table as RichTable
from rich.text import Text

from tuner.search_space.parameter_types import Params
from tuner.storage.trials import TrialRow
from tuner.study.metrics import direction_of, metric_of
from tuner.study.spec import StudySpec
from tuner.values import Scalar, word

_POINTS = 0.5  # of accuracy, below a reference that counts as reached
_SHARE = 1.05  # of a reference's error
_ALWAYS_TOLD = ("epochs", "batch_size", "optimizer", "learning_rate")


@dataclass(frozen=True)
class ComparisonRow:
    """One configuration. `values` and `seconds`: a finished trial each; `others`: how trials ended
    that have no score; `reference`: a known result, an accuracy in percent."""

    params: Params
    values: tuple[float, ...] = ()
    seconds: tuple[float, ...] = ()
    others: Mapping[str, int] = field(default_factory=dict)
    reference: float | None = None


@dataclass(frozen=True)
class ComparisonTable:
    """All configurations in their order, and the metric they are compared by. `searched`: the
    parameters that the space does not fix; `told`: those to be told of where they are alike."""

    metric: str
    rows: Sequence[ComparisonRow]
    searched: Sequence[str]
    told: Sequence[str] = ()

    @property
    def percent(self) -> bool:
        return metric_of(self.metric).unit == "share"

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

    def mean(self, row: ComparisonRow) -> float | None:
        """Over its seeds, an accuracy in percent; None where no trial has finished."""
        return self._unit * statistics.fmean(row.values) if row.values else None

    def deviation(self, row: ComparisonRow) -> float | None:
        """The sample standard deviation over its seeds; None for fewer than two."""
        return self._unit * statistics.stdev(row.values) if len(row.values) > 1 else None

    def reached(self, row: ComparisonRow) -> bool | None:
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

    def _numbers(self, row: ComparisonRow) -> dict[str, Any]:
        found: dict[str, Any] = {name: _plain(row.params.get(name)) for name in self.varying}
        found["seeds"] = len(row.values)
        found[f"{self.label}_mean"] = _rounded(self.mean(row))
        found[f"{self.label}_std"] = _rounded(self.deviation(row))
        found |= self._optional(row.reference, self.reached(row), _mean(row.seconds), row)
        return found

    def words(self) -> list[dict[str, Any]]:
        """The same as people read it: "97.93 ± 0.05"; None where there is nothing."""
        return [self._words(row) for row in self.rows]

    def _words(self, row: ComparisonRow) -> dict[str, Any]:
        found: dict[str, Any] = {name: _shown(row.params.get(name)) for name in self.varying}
        found["seeds"] = len(row.values)
        metric = self.metric.replace("_", " ") + (" %" if self.percent else "")
        found[metric] = self._spread(row)
        reference = None if row.reference is None else f"{row.reference:g}"
        reached = self.reached(row)
        words = None if reached is None else word(reached)
        return found | self._optional(reference, words, _mean(row.seconds), row)

    def _spread(self, row: ComparisonRow) -> str | None:
        mean, deviation = self.mean(row), self.deviation(row)
        if mean is None:
            return None
        of_mean, of_deviation = ("{:.2f}", "{:.2f}") if self.percent else ("{:.4g}", "{:.2g}")
        spread = "" if deviation is None else f" ± {of_deviation.format(deviation)}"
        return of_mean.format(mean) + spread

    def _optional(
        self, reference: object, reached: object, seconds: float | None, row: ComparisonRow
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
) -> ComparisonTable:
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
    return ComparisonTable(spec.metric, rows, space.varying(), tuple(told))


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
        seconds=tuple(_spent(trial) for _, trial in scored),
        others=dict(others),
        reference=reference,
    )


def _spent(trial: TrialRow) -> float:
    """Seconds of training, those of earlier attempts that it went on from included."""
    return sum(trial.last.seconds.values()) if trial.last else 0.0


def _exact(value: object) -> str:
    return json.dumps(value, sort_keys=True)


def _key(row: ComparisonRow, name: str) -> str | None:
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


def markdown(table: ComparisonTable) -> str:
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


def csv_text(table: ComparisonTable) -> str:
    """Mean and deviation in a column each; truth values as true and false."""
    rows = table.numbers()
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(rows[0])
    for row in rows:
        writer.writerow(str(v).lower() if isinstance(v, bool) else v for v in row.values())
    return text.getvalue()


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


def panels(table: ComparisonTable) -> list[Panel]:
    """A panel for each combination of the categorical parameters that vary. None at all unless
    exactly two numeric ones do, and every pair of their values that is met is in each panel."""
    varying = table.varying
    numeric = [name for name in varying if _is_numeric(table.rows, name)]
    categories = [name for name in varying if _is_category(table.rows, name)]
    if len(numeric) != 2 or len(numeric) + len(categories) != len(varying):
        return []
    y, x = numeric
    groups: dict[str, list[ComparisonRow]] = {}
    for row in table.rows:
        said = ((name, row.params.get(name)) for name in categories)
        title = ", ".join(f"{name} {_word(value)}" for name, value in said if value is not None)
        groups.setdefault(title, []).append(row)
    made = [_panel(table, title, y, x, rows) for title, rows in groups.items()]
    whole = all(len(p.ys) * len(p.xs) == len(groups[p.title]) for p in made)
    return made if whole else []


def _panel(
    table: ComparisonTable, title: str, y: str, x: str, rows: Sequence[ComparisonRow]
) -> Panel:
    means = {(_number(row, y), _number(row, x)): table.mean(row) for row in rows}
    ys, xs = (sorted({pair[axis] for pair in means}) for axis in (0, 1))
    return Panel(title, y, x, ys, xs, [[means.get((one, two)) for two in xs] for one in ys])


def _number(row: ComparisonRow, name: str) -> float:
    value = row.params[name]
    assert isinstance(value, int | float)  # _is_numeric has seen to it
    return value


def _is_numeric(rows: Sequence[ComparisonRow], name: str) -> bool:
    values = [row.params.get(name) for row in rows]
    return all(isinstance(v, int | float) and not isinstance(v, bool) for v in values)


def _is_category(rows: Sequence[ComparisonRow], name: str) -> bool:
    return all(isinstance(row.params.get(name), str | bool | None) for row in rows)


def _word(value: Scalar | list[Scalar]) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


class _Scale:
    """All panels share one; the better end is bright."""

    def __init__(self, table: ComparisonTable, maps: Sequence[Panel]) -> None:
        found = [v for panel in maps for row in panel.cells for v in row if v is not None]
        self.low, self.high = (min(found), max(found)) if found else (0.0, 1.0)
        self.falls = direction_of(table.metric) == "minimize"
        self.format = "{:.2f}" if table.percent else "{:.4g}"

    def share(self, value: float) -> float:
        """0 for the worst value, 1 for the best."""
        width = self.high - self.low
        share = (value - self.low) / width if width > 0 else 0.5
        return 1 - share if self.falls else share


def in_terminal(table: ComparisonTable, maps: Sequence[Panel]) -> list[RichTable]:
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


def draw(table: ComparisonTable, maps: Sequence[Panel], path: Path) -> None:
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
