"""Curves in a terminal: eight dots a character, a colour a curve."""

from collections.abc import Sequence

from rich.text import Text

# The bits of a braille character's dots, by row and column.
_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
_BLANK = 0x2800

Curve = Sequence[tuple[float, float]]


def drawn(curves: Sequence[tuple[Curve, str]], columns: int, rows: int) -> Text:
    """The curves, each with its rich style, over axes through zero; later ones lie on top.

    All share one frame, which holds every point.
    """
    points = [point for curve, _ in curves for point in curve]
    (left, right), (bottom, top) = (_span(values) for values in zip(*points, strict=True))
    width, height = 2 * columns - 1, 4 * rows - 1

    def place(x: float, y: float) -> tuple[int, int]:
        across, up = (x - left) / (right - left), (y - bottom) / (top - bottom)
        return round(across * width), round((1 - up) * height)

    cells: dict[tuple[int, int], tuple[int, str]] = {}
    axes = [(left + (right - left) * i / width, 0.0) for i in range(width + 1)]
    axes += [(0.0, bottom + (top - bottom) * i / height) for i in range(height + 1)]
    inside = [(x, y) for x, y in axes if left <= x <= right and bottom <= y <= top]
    for curve, style in [(inside, "bright_black"), *curves]:
        for x, y in curve:
            column, row = place(x, y)
            cell = row // 4, column // 2
            dots, before = cells.get(cell, (0, style))
            # An axis gives way to what crosses it.
            dots = dots if before == style else 0
            cells[cell] = dots | _DOTS[row % 4][column % 2], style
    return _text(cells, columns, rows)


def _span(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    return (low, high) if high > low else (low - 1.0, high + 1.0)


def _text(cells: dict[tuple[int, int], tuple[int, str]], columns: int, rows: int) -> Text:
    text = Text()
    for row in range(rows):
        for column in range(columns):
            dots, style = cells.get((row, column), (0, ""))
            text.append(chr(_BLANK + dots) if dots else " ", style)
        text.append("\n" if row < rows - 1 else "")
    return text
