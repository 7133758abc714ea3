"""Tables of text. In a terminal they fit its width without cutting values: names and texts wrap,
and if that is not enough, each row folds into several lines. In a pipe each row is one line.
"""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from rich.cells import cell_len

_GAP = 2
# A column of wrapped text is at least this wide.
_NARROWEST_TEXT = 12
# In a pipe a longer cell does not widen its whole column.
_WIDEST_IN_PIPE = 60
_FOLD_INDENT = 6
_WIDEST_SLOT = 24
# The margin of a text that stands below its name.
_BELOW = 4


@dataclass(frozen=True)
class TableColumn:
    """A column. `right`: align it right, as numbers are."""

    name: str
    right: bool = False


Row = Mapping[str, str]


class Layout:
    """How a table's rows become lines, decided by its first rows. `width`: of the terminal; None
    for lines of any length. `lead`: the columns in the first line of a folded row; None for as
    many as fit."""

    def __init__(
        self,
        columns: Sequence[TableColumn],
        first: Sequence[Row],
        width: int | None,
        lead: int | None = None,
    ) -> None:
        self._columns, self._width = columns, width
        cells = {c.name: [row[c.name] for row in first] for c in columns}
        natural = [_widest([c.name, *cells[c.name]]) for c in columns]
        self._folded: Sequence[TableColumn] = ()
        if width is None:
            self._widths = [min(size, _WIDEST_IN_PIPE) for size in natural]
            return
        # A long name over short values wraps.
        values = [_widest([*_parts(c.name), *cells[c.name]]) for c in columns]
        least = [
            size if c.right else _least(c.name, cells[c.name], size)
            for c, size in zip(columns, values, strict=True)
        ]
        for smallest in (natural, values, least):
            if _total(smallest) <= width:
                self._widths = _stretched(smallest, natural, width)
                return
        self._fold(cells, natural, width, lead)

    def _fold(
        self, cells: Mapping[str, list[str]], natural: list[int], width: int, lead: int | None
    ) -> None:
        most = len(natural) - 1 if lead is None else lead
        fitting = [n for n in range(1, most + 1) if _total(natural[:n]) <= width]
        count = fitting[-1] if fitting else 1
        self._widths = [min(size, width) for size in natural[:count]]
        self._folded, self._columns = self._columns[count:], self._columns[:count]
        sizes = [
            cell_len(column.name) + 1 + max(map(cell_len, cells[column.name]))
            for column in self._folded
        ]
        self._room = width - _FOLD_INDENT
        usual = [size for size in sizes if size <= _WIDEST_SLOT] or [self._room]
        self._slot = min(max(usual) + _GAP, self._room)

    def head(self) -> list[str]:
        """The column names and a rule below them."""
        names = {column.name: column.name for column in self._columns}
        lines = self._lines(names, bottom=True)
        length = max([*map(cell_len, lines), _total(self._widths) if self._width else 0])
        return [*lines, "─" * (min(length, self._width) if self._width else length)]

    def lines(self, row: Row) -> list[str]:
        """The lines of one row."""
        lines = self._lines(row)
        return [*lines, *self._folded_lines(row)] if self._folded else lines

    def _lines(self, row: Row, bottom: bool = False) -> list[str]:
        if self._width is None:
            pieces = [[row[column.name]] for column in self._columns]
        else:
            pieces = [
                _wrapped(row[column.name], size)
                for column, size in zip(self._columns, self._widths, strict=True)
            ]
        height = max(map(len, pieces))
        if bottom:
            pieces = [[""] * (height - len(piece)) + piece for piece in pieces]
        return [
            self._line([piece[n] if n < len(piece) else "" for piece in pieces])
            for n in range(height)
        ]

    def _line(self, cells: Sequence[str]) -> str:
        padded = [
            _padded(cell, size, column.right)
            for cell, size, column in zip(cells, self._widths, self._columns, strict=True)
        ]
        return (" " * _GAP).join(padded).rstrip()

    def _folded_lines(self, row: Row) -> Iterator[str]:
        """`name=value` for the columns that have no room, aligned in slots."""
        line = ""
        for column in self._folded:
            if not row[column.name]:
                continue
            item = f"{column.name}={row[column.name]}"
            if line and cell_len(line) + cell_len(item) > self._room:
                yield " " * _FOLD_INDENT + line.rstrip()
                line = ""
            if cell_len(item) > self._room:
                for part in _wrapped(item, self._room):
                    yield " " * _FOLD_INDENT + part
                continue
            slots = math.ceil((cell_len(item) + _GAP) / self._slot)
            line += _padded(item, slots * self._slot, right=False)
        if line:
            yield " " * _FOLD_INDENT + line.rstrip()


def _widest(texts: Sequence[str]) -> int:
    return max(map(cell_len, texts))


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + _GAP * (len(widths) - 1)


def _parts(name: str) -> list[str]:
    """The parts of a name between which it may break: after a blank or an underscore."""
    return re.findall(r"[^ _]*_|[^ _]+", name) or [name]


def _least(name: str, cells: Sequence[str], size: int) -> int:
    """The least width of a text column: none of its words breaks."""
    words = [word for cell in cells for word in cell.split()] or [""]
    return max(_widest([*_parts(name), *words]), min(size, _NARROWEST_TEXT))


def _stretched(widths: Sequence[int], wanted: Sequence[int], most: int) -> list[int]:
    """The widths, with the room that is left of `most` given to the narrowest columns."""
    stretched = list(widths)
    for _ in range(most - _total(widths)):
        lacking = [want - has for want, has in zip(wanted, stretched, strict=True)]
        if max(lacking) <= 0:
            break
        stretched[lacking.index(max(lacking))] += 1
    return stretched


def _padded(cell: str, width: int, right: bool) -> str:
    room = " " * max(0, width - cell_len(cell))
    return room + cell if right else cell + room


def _wrapped(text: str, width: int) -> list[str]:
    """The text in lines of at most that width, broken between words if possible, else after
    underscores, else anywhere."""
    if cell_len(text) <= width:
        return [text]
    lines = [""]
    for word in re.findall(r"[^\S\xa0]+|[\S\xa0]+", text):
        parts = [word] if cell_len(word) <= width else _parts(word)
        for part in parts:
            if cell_len(lines[-1]) + cell_len(part) <= width:
                lines[-1] += part
            else:
                lines[-1] = lines[-1].rstrip()
                lines += _cut(part.strip(), width)
    return [line for line in lines if line]


def _cut(word: str, width: int) -> list[str]:
    pieces = [""]
    for character in word:
        if cell_len(pieces[-1]) + cell_len(character) > width:
            pieces.append("")
        pieces[-1] += character
    return pieces


def wrapped_words(text: str, width: int, indent: int) -> str:
    """A text after a margin of `indent` columns, in lines that begin below each other. If the room
    is too small for that or for one of the words, the text begins in a new line. Words joined by
    no-break blanks stay together if possible."""
    room = max(width - indent, _NARROWEST_TEXT)
    tokens = text.split(" ")
    words = [word for token in tokens for word in _breakable(token, room)]
    has_room = width - indent >= _NARROWEST_TEXT and max(map(cell_len, words)) <= room
    below = indent > _BELOW and not has_room
    if below:
        indent, room = _BELOW, max(width - _BELOW, _NARROWEST_TEXT)
    text = " ".join(word for token in tokens for word in _breakable(token, room))
    lines = _wrapped(text, room) or [""]
    first = "\n" + " " * indent if below else ""
    return (first + ("\n" + " " * indent).join(lines)).replace("\xa0", " ")


def _breakable(token: str, room: int) -> list[str]:
    return token.split("\xa0") if cell_len(token) > room else [token]
