"""Curves in the terminal as braille characters, eight dots each."""

from collections.abc import Iterable, Sequence

from rich.text import Text

# The bit of each dot of a braille character, by row and column.
_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
_BLANK = 0x2800

Points = Sequence[tuple[float, float]]


class Dots:
    """A canvas of braille characters. Places go from 0 to 1, from the left and from the bottom;
    those outside are not drawn."""

    def __init__(self, columns: int, rows: int) -> None:
        self.columns, self.rows = columns, rows
        self._cells: dict[tuple[int, int], tuple[int, str]] = {}

    def draw(self, places: Iterable[tuple[float, float]], style: str) -> None:
        """A dot at each place, in a rich style. A character has one style, so it replaces dots of
        other styles there."""
        width, height = 2 * self.columns - 1, 4 * self.rows - 1
        for x, y in places:
            column, row = round(x * width), round((1 - y) * height)
            if 0 <= column <= width and 0 <= row <= height:
                cell = row // 4, column // 2
                dots, before = self._cells.get(cell, (0, style))
                dots = dots if before == style else 0
                self._cells[cell] = dots | _DOTS[row % 4][column % 2], style

    def at(self, row: int, column: int) -> tuple[str, str]:
        """The character there, from the top left, and its style."""
        dots, style = self._cells.get((row, column), (0, ""))
        return (chr(_BLANK + dots) if dots else " "), style

    def lines(self) -> list[Text]:
        """The canvas, a text for each row."""
        return [
            Text.assemble(*(self.at(row, column) for column in range(self.columns)))
            for row in range(self.rows)
        ]


def plot_braille(curves: Sequence[tuple[Points, str]], *, columns: int, rows: int) -> Text:
    """The curves, each with its rich style, and axes through zero, in one frame that holds every
    point. Later curves lie on top."""
    points = [point for curve, _ in curves for point in curve]
    (left, right), (bottom, top) = (_span(values) for values in zip(*points, strict=True))
    dots = Dots(columns, rows)
    width, height = 2 * columns - 1, 4 * rows - 1
    axes = [(left + (right - left) * i / width, 0.0) for i in range(width + 1)]
    axes += [(0.0, bottom + (top - bottom) * i / height) for i in range(height + 1)]
    for curve, style in [(axes, "bright_black"), *curves]:
        dots.draw(
            (((x - left) / (right - left), (y - bottom) / (top - bottom)) for x, y in curve), style
        )
    return Text("\n").join(dots.lines())


def _span(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    return (low, high) if high > low else (low - 1.0, high + 1.0)
