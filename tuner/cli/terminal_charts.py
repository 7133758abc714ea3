"""Charts in the terminal: lines as braille characters, points as marks. Where the output cannot
encode them, plain ASCII."""

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from tuner.cli.braille import Dots
from tuner.cli.output import format_value, one_line
from tuner.cli.terminal_tables import wrapped_words
from tuner.reports.charts import Axis, Bars, Chart, Form, Panel, Parallel, Scale, Series, places
from tuner.values import clipped

# Wider charts are no easier to read.
_WIDEST = 120
_NARROWEST_PANEL = 36
_FEWEST_COLUMNS = 10
_PANEL_ROWS = (9, 20)
# Lines of the terminal for the prompt, the title, the legend and the caption.
_OTHER_LINES = 6
_PIPED_WIDTH, _PIPED_HEIGHT = 80, 24
_LONGEST_NAME = 24
_COLOURS = ("cyan", "yellow", "green", "magenta", "red", "blue", "white", "bright_cyan",
            "bright_yellow", "bright_green")  # fmt: skip
_PALE = "bright_black"
_FRAME = "bright_black"
# Marks of lines in ASCII, by colour.
_ASCII_LINES = "*+xo#@%&=~"
_MOST_RANKS = 9

Place = tuple[float, float]


class TerminalChart:
    """A chart that fits the terminal's width. `is_piped`: as for a terminal of 80 x 24."""

    def __init__(self, chart: Chart, is_piped: bool) -> None:
        self._chart, self._is_piped = chart, is_piped

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width = _PIPED_WIDTH if self._is_piped else min(options.max_width, _WIDEST)
        height = _PIPED_HEIGHT if self._is_piped else options.size.height
        marks = Marks(options.encoding.startswith("utf"))
        yield Text(wrapped_words(one_line(self._chart.title), width, 0), style="bold")
        yield from _legend(self._chart, marks, width)
        yield from self._panels(marks, width, height)
        for sentence in self._chart.caption:
            yield Text(wrapped_words(one_line(sentence), width, 0), style="dim")

    def _panels(self, marks: "Marks", width: int, height: int) -> Iterator[Text]:
        panels = self._chart.panels
        columns = max(1, min(len(panels), (width + 2) // (_NARROWEST_PANEL + 2)))
        panel_width = (width + 2) // columns - 2
        rows = -(-len(panels) // columns)
        low, high = _PANEL_ROWS
        panel_height = min(max((height - _OTHER_LINES) // rows, low), high)
        for start in range(0, len(panels), columns):
            beside = [
                _panel_lines(panel, marks, panel_width, panel_height)
                for panel in panels[start : start + columns]
            ]
            for lines in zip(*beside, strict=True):
                row = Text()
                for place, line in enumerate(lines):
                    line.truncate(panel_width, pad=place < len(lines) - 1)
                    row.append_text(line).append("  " if place < len(lines) - 1 else "")
                row.rstrip()
                yield row


class Marks:
    """The characters that charts are drawn with."""

    def __init__(self, is_unicode: bool) -> None:
        self.is_unicode = is_unicode
        self.side, self.side_tick, self.corner, self.floor_tick, self.floor = (
            ("│", "┤", "└", "┬", "─") if is_unicode else ("|", "+", "+", "+", "-")
        )
        self.bar, self.dash = ("█", "–") if is_unicode else ("#", "-")
        self._marks = (
            {Form.POINTS: "•", Form.DOTS: "·", Form.CROSSES: "×", Form.BEST: "◉"}
            if is_unicode
            else {Form.POINTS: "o", Form.DOTS: ".", Form.CROSSES: "x", Form.BEST: "O"}
        )

    def mark(self, series: Series) -> str | None:
        """The character of each point; None for a line of braille dots."""
        if series.form in self._marks:
            return self._marks[series.form]
        if self.is_unicode:
            return None
        dashed = series.form is Form.DASHES
        return "." if dashed else _ASCII_LINES[series.colour % len(_ASCII_LINES)]

    def clip(self, text: str, most: int) -> str:
        """At most so many characters of a text, on one line."""
        cut = clipped(one_line(text), max(1, most))
        return cut if self.is_unicode else cut.replace("…", "~")

    def sample(self, series: Series) -> str:
        """The series in the legend."""
        mark = self.mark(series)
        if mark is not None:
            return mark * (3 if _is_line(series) else 1)
        return "⠒ ⠒" if series.form is Form.DASHES else "⠒⠒⠒"


def _is_line(series: Series) -> bool:
    return series.form in (Form.LINE, Form.DASHES, Form.STEPS)


def _style(series: Series) -> str:
    if series.form is Form.DOTS:
        return _PALE
    colour = _COLOURS[series.colour % len(_COLOURS)]
    return f"bold {colour}" if series.form is Form.BEST else colour


def _legend(chart: Chart, marks: Marks, width: int) -> Iterator[Text]:
    """Each kind of series once, in as many lines as it takes."""
    kinds: dict[str, Series] = {}
    for panel in chart.panels:
        for series in panel.series if isinstance(panel, Panel) else ():
            kinds.setdefault(series.label, series)
    line = Text()
    for label, series in kinds.items() if len(kinds) > 1 else ():
        entry = Text.assemble((marks.sample(series), _style(series)), " ", one_line(label))
        if line.cell_len and line.cell_len + 3 + entry.cell_len > width:
            yield line
            line = Text()
        line.append("   " if line.cell_len else "").append_text(entry)
    if line.cell_len:
        yield line


def _panel_lines(
    panel: Panel | Bars | Parallel, marks: Marks, width: int, height: int
) -> list[Text]:
    if isinstance(panel, Bars):
        return _bar_lines(panel, marks, width)
    if isinstance(panel, Parallel):
        return _parallel_lines(panel, marks, width)
    return _Frame(panel, marks, width, height).lines()


class _Frame:
    """A panel of so many columns and lines: its title, the canvas, and the axes with ticks."""

    def __init__(self, panel: Panel, marks: Marks, width: int, height: int) -> None:
        self._panel, self._marks = panel, marks
        series = panel.series
        self._rows = height - 3  # the title, the axis, its ticks
        x = [value for each in series for value in places(panel.x, each)]
        self._x = _ShownRange(panel.x, x)
        self._y = _ShownRange(panel.y, [value for each in series for value in each.y])
        self._labels = self._y.ticks(max(2, self._rows // 3))
        self._margin = max(len(text) for _, text in self._labels)
        self._end = max((len(each.tag) for each in series), default=0)
        self._columns = max(_FEWEST_COLUMNS, width - self._margin - 1 - self._end)

    def lines(self) -> list[Text]:
        title = f"{self._panel.y.title} by {self._panel.x.title}"
        return [Text(one_line(title)), *self._canvas(), *self._x_axis()]

    def _canvas(self) -> Iterator[Text]:
        marks, dots = self._marks, Dots(self._columns, self._rows)
        marked: dict[tuple[int, int], tuple[str, str]] = {}
        for series in self._panel.series:
            shown = self._places(series)
            path = _path(shown, series.form) if _is_line(series) else shown
            mark = marks.mark(series)
            if mark is None:
                dots.draw(self._along(path, series.form), _style(series))
            else:
                points = self._along(path, series.form) if _is_line(series) else path
                marked |= {self._cell(point): (mark, _style(series)) for point in points}
            if series.tag and shown:
                marked |= self._tag(shown[-1], series)
        ticks = {self._row(place): text for place, text in self._labels}
        for row in range(self._rows):
            line = Text(f"{ticks.get(row, ''):>{self._margin}}", style=_FRAME)
            line.append(marks.side_tick if row in ticks else marks.side, _FRAME)
            for column in range(self._columns + self._end):
                line.append(*marked.get((row, column), dots.at(row, column)))
            yield line

    def _places(self, series: Series) -> list[Place]:
        """The points on the canvas, from 0 to 1; those out of the frame are left out."""
        pairs = zip(places(self._panel.x, series), series.y, strict=True)
        shown = [(self._x.share(x), self._y.share(y)) for x, y in pairs]
        return [(x, y) for x, y in shown if 0 <= x <= 1 and 0 <= y <= 1]

    def _along(self, path: Sequence[Place], form: Form) -> Iterator[Place]:
        """Places along the path, one for each dot; a dashed one has gaps."""
        if len(path) == 1:
            yield path[0]
        drawn = 0
        for (x, y), (next_x, next_y) in pairwise(path):
            steps = math.ceil(
                max(abs(next_x - x) * 2 * self._columns, abs(next_y - y) * 4 * self._rows, 1)
            )
            for step in range(steps + 1):
                drawn += 1
                if form is not Form.DASHES or drawn % 6 < 3:
                    share = step / steps
                    yield x + (next_x - x) * share, y + (next_y - y) * share

    def _cell(self, place: Place) -> tuple[int, int]:
        return self._row(place[1]), round(place[0] * (2 * self._columns - 1)) // 2

    def _row(self, share: float) -> int:
        return round((1 - share) * (4 * self._rows - 1)) // 4

    def _tag(self, place: Place, series: Series) -> dict[tuple[int, int], tuple[str, str]]:
        row, column = self._cell(place)
        return {
            (row, column + 1 + number): (character, _style(series))
            for number, character in enumerate(one_line(series.tag))
        }

    def _x_axis(self) -> Iterator[Text]:
        marks = self._marks
        labels = self._x.ticks(max(2, self._columns // 8))
        line, texts = [marks.floor] * self._columns, [" "] * (self._columns + self._end)
        size = self._columns // len(labels) - 1 if self._panel.x.choices else self._columns
        free = 0
        for place, text in labels:
            text = marks.clip(text, size)
            column = round(place * (2 * self._columns - 1)) // 2
            start = min(max(column - len(text) // 2, 0), len(texts) - len(text))
            if start >= free:
                line[column] = marks.floor_tick
                texts[start : start + len(text)] = text
                free = start + len(text) + 1
        margin = " " * self._margin
        yield Text(margin + marks.corner + "".join(line), style=_FRAME)
        yield Text(margin + " " + "".join(texts), style=_FRAME)


def _path(points: Sequence[Place], form: Form) -> list[Place]:
    """The corners of a line through the points."""
    if form is not Form.STEPS:
        return list(points)
    path = list(points[:1])
    for (_, y), (next_x, next_y) in pairwise(points):
        path += [(next_x, y), (next_x, next_y)]
    return path


class _ShownRange:
    """The part of an axis that a frame shows."""

    def __init__(self, axis: Axis, values: Sequence[float]) -> None:
        self._axis = axis
        if axis.choices:
            low, high = -0.5, len(axis.choices) - 0.5
        else:
            low, high = axis.limits or (min(values), max(values))
        if high == low:
            # One value, in the middle of the frame.
            margin = 0.5 if low == 0 else abs(low) * (0.5 if axis.log else 0.1)
            low, high = low - margin, high + margin
        self._low, self._high = low, high
        # Ticks between whole numbers would mean nothing.
        self._least_step = 1.0 if all(float(value).is_integer() for value in values) else 0.0

    def share(self, value: float) -> float:
        """Where the value lies in the frame: from 0 to 1, or outside."""
        low, high = self._low, self._high
        if self._axis.log:
            if value <= 0:
                return -1.0
            low, high, value = math.log(low), math.log(high), math.log(value)
        return (value - low) / (high - low)

    def ticks(self, most: int) -> list[tuple[float, str]]:
        """Places and texts of about so many round values."""
        if self._axis.choices:
            return [(self.share(n), text) for n, text in enumerate(self._axis.choices)]
        choose = self._powers if self._axis.log else self._multiples
        # Rather too many than one.
        options = [choose(count) for count in range(most, most + 4)]
        values = next((each for each in options if len(each) > 1), options[0])
        values = values or [self._low, self._high]
        texts = [f"{value:.4g}" for value in values]
        if len(set(texts)) < len(texts):
            texts = [f"{value:.10g}" for value in values]
        ticks = [(self.share(value), text) for value, text in zip(values, texts, strict=True)]
        return [(min(max(place, 0.0), 1.0), text) for place, text in ticks]

    def _multiples(self, most: int) -> list[float]:
        """At most so many multiples of 1, 2 or 5 times a power of ten."""
        length = self._high - self._low
        power = 10.0 ** math.floor(math.log10(length / most))
        step = next(factor * power for factor in (1, 2, 5, 10) if length / (factor * power) <= most)
        step = max(step, self._least_step)
        first = math.ceil(self._low / step - 1e-9)
        last = math.floor(self._high / step + 1e-9)
        return [number * step for number in range(first, last + 1)]

    def _powers(self, most: int) -> list[float]:
        first, last = math.floor(math.log10(self._low)), math.ceil(math.log10(self._high))
        for factors in ((1, 2, 5), (1, 3), (1,)):
            values = [
                factor * 10.0**power for power in range(first, last + 1) for factor in factors
            ]
            values = [value for value in values if self._low <= value <= self._high]
            if len(values) <= max(most, 3):
                return values
        return values[:: -(-len(values) // most)]


def _to_the_right(name: str, columns: int) -> str:
    return " " * (columns - cell_len(name)) + name


def _bar_lines(bars: Bars, marks: Marks, width: int) -> list[Text]:
    longest = max(_LONGEST_NAME, width // 2)
    names = [marks.clip(name, longest) for name in bars.names]
    margin = max(map(cell_len, names))
    length = width - margin - 8
    largest = max(bars.values) or 1.0
    lines = [Text(one_line(bars.label))]
    for name, value, text in zip(names, bars.values, bars.texts(), strict=True):
        bar = marks.bar * round(length * value / largest)
        lines.append(
            Text.assemble(_to_the_right(name, margin), " ", (bar, _COLOURS[0]), f" {text}")
        )
    return lines


def _parallel_lines(parallel: Parallel, marks: Marks, width: int) -> list[Text]:
    """A line for each parameter: where the best trials lie on it, by their ranks."""
    names = [marks.clip(scale.title, _LONGEST_NAME) for scale in parallel.scales]
    margin = max(map(cell_len, names))
    best = list(zip(parallel.trials, parallel.scores, strict=True))[:_MOST_RANKS]
    ranks = ", ".join(
        f"{rank}: trial {number} ({format_value(score)})"
        for rank, (number, score) in enumerate(best, start=1)
    )
    heading = wrapped_words(f"{one_line(parallel.score_label)}, {ranks}", width, 0)
    lines = [Text(line) for line in heading.split("\n")]
    for name, scale in zip(names, parallel.scales, strict=True):
        line = Text(_to_the_right(name, margin) + "  ")
        drawn = _choice_line if scale.choices else _number_line
        lines.append(line.append_text(drawn(scale, marks, width - margin - 2)))
    return lines


def _number_line(scale: Scale, marks: Marks, width: int) -> Text:
    """The smallest value, a line with the ranks on it, and the largest value. Trials without the
    parameter are named at the end."""
    low, high = (f"{value:.3g}" for value in scale.range)
    missing = [str(r) for r, v in enumerate(scale.values[:_MOST_RANKS], start=1) if v is None]
    end = f"  {marks.dash} {' '.join(missing)}" if missing else ""
    length = max(_FEWEST_COLUMNS, width - 20 - len(end))
    cells = [(marks.floor, _FRAME)] * length
    for rank, value in reversed(list(enumerate(scale.values, start=1))):
        if value is not None:
            cells[round(scale.share(value) * (length - 1))] = _rank_mark(rank, marks)
    return Text.assemble((f"{low:>9} ", _FRAME), *cells, (f" {high:<9}", _FRAME), (end, _PALE))


def _rank_mark(rank: int, marks: Marks) -> tuple[str, str]:
    if rank > _MOST_RANKS:
        return ("·" if marks.is_unicode else "."), _PALE
    return str(rank), f"bold {_COLOURS[1]}" if rank == 1 else _COLOURS[0]


def _choice_line(scale: Scale, marks: Marks, width: int) -> Text:
    """Each choice with the ranks of the trials that have it."""
    line = Text(" " * 10)
    ranks_of: dict[float | None, list[int]] = {place: [] for place in range(len(scale.choices))}
    for rank, value in enumerate(scale.values[:_MOST_RANKS], start=1):
        ranks_of.setdefault(value, []).append(rank)
    for place, ranks in sorted(ranks_of.items(), key=lambda item: item[1] or [_MOST_RANKS + 1]):
        line.append(marks.dash if place is None else one_line(scale.choices[int(place)]), _FRAME)
        for rank in ranks:
            line.append(" ").append(*_rank_mark(rank, marks))
        line.append("   ")
    line.rstrip()
    if line.cell_len > width:
        line.truncate(width - 1, overflow="crop")
        line.append("…" if marks.is_unicode else "~")
    return line
