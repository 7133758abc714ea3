"""The activation functions as curves, computed by the code that networks use.

Drawn into files by matplotlib, and in the terminal as braille characters, eight dots each.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from rich.text import Text

from tuner.algorithms.options import unknown
from tuner.errors import UsageError
from tuner.search_space.parameters import ACTIVATIONS, defaults
from tuner.settings import quiet_tensorflow
from tuner.system.logs import stderr_muted

_REACH = 4.0
_POINTS = 161
_FORMATS = (".png", ".svg", ".pdf")


class ActivationCurve(NamedTuple):
    """One activation: its values and derivatives at the points x."""

    name: str
    x: list[float]
    y: list[float]
    derivative: list[float]


def activation_curves(names: Sequence[str], leaky_slope: float) -> list[ActivationCurve]:
    """The named activations, or all of them. Raises SpecError for an unknown name, and UsageError
    for a slope outside [0, 1)."""
    for name in names:
        if name not in ACTIVATIONS:
            raise unknown("activation", name, ACTIVATIONS)
    if not 0 <= leaky_slope < 1:
        raise UsageError(f"the leaky slope must be >= 0 and < 1, got {leaky_slope:g}")
    x = np.linspace(-_REACH, _REACH, _POINTS)
    quiet_tensorflow()
    with stderr_muted():
        # TensorFlow takes seconds to import. Mistakes are reported before that.
        from tuner.training.ops.activations import activation_curve

        numbers = {**defaults("mlp"), "leaky_slope": leaky_slope}
        curves = [(name, *activation_curve(name, x, numbers)) for name in names or ACTIVATIONS]
    return [
        ActivationCurve(name, x.tolist(), y.tolist(), slope.tolist()) for name, y, slope in curves
    ]


def check_drawing(path: Path) -> None:
    """Raises UsageError for a file whose suffix names no format."""
    if path.suffix not in _FORMATS:
        raise UsageError(f"{path}: must end in {', '.join(_FORMATS)}")


def save_drawing(curves: Sequence[ActivationCurve], path: Path) -> None:
    """Draw into a file, in the format of its suffix. Raises UsageError if it cannot be written."""
    from matplotlib.figure import Figure

    columns = min(4, len(curves))
    rows = -(-len(curves) // columns)
    figure = Figure(figsize=(3 * columns, 2.6 * rows), layout="constrained")
    for number, curve in enumerate(curves, start=1):
        axes = figure.add_subplot(rows, columns, number, title=curve.name)
        axes.plot(curve.x, curve.y, label="function")
        axes.plot(curve.x, curve.derivative, label="derivative")
        axes.axhline(0, color="0.8", zorder=0)
        axes.axvline(0, color="0.8", zorder=0)
        if number == 1:
            axes.legend()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=150)
    except OSError as error:
        raise UsageError(f"{path}: cannot be written ({error.strerror or error})") from error


# The bit of each dot of a braille character, by row and column.
_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
_BLANK = 0x2800

Points = Sequence[tuple[float, float]]


def plot_braille(curves: Sequence[tuple[Points, str]], *, columns: int, rows: int) -> Text:
    """The curves, each with its rich style, and axes through zero, in one frame that holds every
    point. Later curves lie on top."""
    points = [point for curve, _ in curves for point in curve]
    (left, right), (bottom, top) = (_span(values) for values in zip(*points, strict=True))
    width, height = 2 * columns - 1, 4 * rows - 1

    def dot_of(x: float, y: float) -> tuple[int, int]:
        across, up = (x - left) / (right - left), (y - bottom) / (top - bottom)
        return round(across * width), round((1 - up) * height)

    cells: dict[tuple[int, int], tuple[int, str]] = {}
    axes = [(left + (right - left) * i / width, 0.0) for i in range(width + 1)]
    axes += [(0.0, bottom + (top - bottom) * i / height) for i in range(height + 1)]
    inside = [(x, y) for x, y in axes if left <= x <= right and bottom <= y <= top]
    for curve, style in [(inside, "bright_black"), *curves]:
        for x, y in curve:
            column, row = dot_of(x, y)
            cell = row // 4, column // 2
            dots, before = cells.get(cell, (0, style))
            # A character has one style, so a curve replaces the dots of other curves there.
            dots = dots if before == style else 0
            cells[cell] = dots | _DOTS[row % 4][column % 2], style
    return _render(cells, columns, rows)


def _span(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    return (low, high) if high > low else (low - 1.0, high + 1.0)


def _render(cells: dict[tuple[int, int], tuple[int, str]], columns: int, rows: int) -> Text:
    text = Text()
    for row in range(rows):
        for column in range(columns):
            dots, style = cells.get((row, column), (0, ""))
            text.append(chr(_BLANK + dots) if dots else " ", style)
        text.append("\n" if row < rows - 1 else "")
    return text
