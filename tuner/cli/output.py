"""Printing: tables for people, JSON for programs, errors in one line.

What is printed comes from SQL, from files and from MLflow, and may hold anything. So all of it goes
through here: control characters are shown as text (`\\x1b`), never sent to the terminal.
"""

import csv
import json
import math
import re
import sys
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import chain, islice
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from tuner.words import parse_scalar, word

# Control characters but newline and tab, what turns the direction of text around, line ends that
# only some programs know, and halves of characters, which cannot be encoded.
_CONTROL = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)
_CELL_CHARACTERS = 400
_NAME_CHARACTERS = 60
_COLUMN_CHARACTERS = 24
_VALUE_CHARACTERS = 120
_TEXT_CHARACTERS = 10_000
# So many rows settle the widths of a table whose rows still come.
_FIRST_ROWS = 100
_LEAST_WIDTH = 40


def escaped(text: str) -> str:
    """The text with its control characters shown as `\\x1b`; newlines and tabs stay."""
    return _CONTROL.sub(_code, text)


def one_line(text: str) -> str:
    """The same, newlines and tabs shown too."""
    return escaped(text).replace("\n", "\\n").replace("\t", "\\t")


def _code(match: re.Match[str]) -> str:
    number = ord(match[0])
    return f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}"


def clipped(text: str, most: int = _CELL_CHARACTERS) -> str:
    """The text, shortened where it is longer than a table should show."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def console() -> Console:
    # Piped output keeps whole lines: a table cut at 80 columns is of no use to grep.
    return Console(
        width=None if sys.stdout.isatty() else 160,
        highlight=False,
        soft_wrap=False,
        markup=False,
        emoji=False,
    )


def say(text: str = "") -> None:
    console().print(Text(escaped(text)), soft_wrap=True)


def complain(text: str) -> None:
    """One line on stderr."""
    print(f"tuner: {escaped(' '.join(text.split()))}", file=sys.stderr)


def show_rows(rows: Sequence[Mapping[str, Any]], as_json: bool, title: str | None = None) -> None:
    """A table with a column for each key of the rows, or the rows as JSON."""
    if as_json:
        print_json(list(rows))
        return
    if title:
        say(title)
    if not rows:
        return
    table = Table(box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True, header_style="bold")
    for name in rows[0]:
        right = any(_is_number(row.get(name)) for row in rows)
        table.add_column(Text(_head(name)), justify="right" if right else "left")
    for row in rows:
        # Text, not str: rich takes [brackets] in a str for its own markup.
        table.add_row(*(Text(_cell(name, value)) for name, value in row.items()))
    console().print(table)


def stream_rows(rows: Iterable[Mapping[str, Any]]) -> int:
    """A table that is printed while its rows still come; how many there were. In a terminal its
    last column takes the lines it needs, beside the others or, where little is left, below them;
    elsewhere a row is a line."""
    rows = iter(rows)
    first = list(islice(rows, _FIRST_ROWS))
    if not first:
        return 0
    layout = _Layout(first, console().width if sys.stdout.isatty() else None)
    print(f"\n{layout.head()}")
    count = 0
    for row in chain(first, rows):
        print(layout.lines(row))
        count += 1
    print()
    return count


class _Layout:
    """The columns of a table by its first rows. `width`: the terminal's, None for endless lines."""

    def __init__(self, first: Sequence[Mapping[str, Any]], width: int | None) -> None:
        *self._names, self._last = first[0]
        self._right = {name for name in self._names if any(_is_number(row[name]) for row in first)}
        self._widths = {
            name: max(
                cell_len(_head(name)),
                *(cell_len(_cell(name, row[name], _COLUMN_CHARACTERS)) for row in first),
            )
            for name in self._names
        }
        self._indent = sum(self._widths.values()) + 2 * len(self._names)
        self._below = width is not None and width - self._indent < _LEAST_WIDTH
        if self._below:
            self._indent = self._widths[self._names[0]] + 2
        self._rest = None if width is None else max(width - self._indent, _LEAST_WIDTH // 2)

    def head(self) -> str:
        line = self._line({name: _head(name) for name in self._names})
        title = _head(self._last)
        return f"{line}  {title}\n{'─' * cell_len(f'{line}  {title}')}"

    def lines(self, row: Mapping[str, Any]) -> str:
        line = self._line(
            {name: _cell(name, row[name], _COLUMN_CHARACTERS) for name in self._names}
        )
        text = _cell(self._last, row[self._last], most=_TEXT_CHARACTERS)
        if self._rest is None:
            return f"{line}  {text}"
        wrapped = textwrap.wrap(text, self._rest, break_on_hyphens=False) or [""]
        if self._below:
            wrapped.insert(0, "")
        margin = "\n" + " " * self._indent
        return f"{line}  {margin.join(wrapped)}".rstrip()

    def _line(self, cells: Mapping[str, str]) -> str:
        return "  ".join(self._padded(name, cell) for name, cell in cells.items())

    def _padded(self, name: str, cell: str) -> str:
        room = " " * max(0, self._widths[name] - cell_len(cell))
        return room + cell if name in self._right else cell + room


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _head(name: str) -> str:
    return one_line(clipped(name.replace("_", " "), _NAME_CHARACTERS))


def show_facts(facts: Mapping[str, Any], as_json: bool) -> None:
    """Names and values, one a line, or as a JSON object. Text of several lines stands below its
    name, so that none of its lines looks like another fact."""
    if as_json:
        print_json(facts)
        return
    width = max((len(name) for name in facts), default=0)
    for name, value in facts.items():
        if value is None or value in ({}, []):
            continue
        text = _middle_out(escaped(shown(value)))
        if "\n" in text:
            text = "\n" + textwrap.indent(text, "    ")
        say(f"{name.replace('_', ' '):<{width}}  {text}")


def _middle_out(text: str) -> str:
    """Of very long text the beginning and, as tracebacks say what happened there, the end."""
    left_out = len(text) - _TEXT_CHARACTERS
    if left_out <= 0:
        return text
    kept = _TEXT_CHARACTERS // 2
    return f"{text[:kept]}\n… {left_out:,} characters left out; --json has them …\n{text[-kept:]}"


def print_json(value: Any) -> None:
    print(json.dumps(_plain(value), indent=2, default=str, allow_nan=False))


def print_json_rows(rows: Iterable[Mapping[str, Any]]) -> None:
    """A JSON array, each of its rows printed as it comes."""
    before = "[\n"
    for row in rows:
        text = json.dumps(_plain(row), indent=2, default=str, allow_nan=False)
        print(before + textwrap.indent(text, "  "), end="")
        before = ",\n"
    print("[]" if before == "[\n" else "\n]")


def print_csv(
    rows: Iterable[Mapping[str, Any]], columns: Sequence[str], params: Sequence[str]
) -> None:
    """Rows as CSV, each printed as it comes: their `columns`, and their `params` spread over a
    column each."""
    writer = csv.writer(sys.stdout)
    writer.writerow([*columns, *params])
    for row in rows:
        values = [*(row[name] for name in columns), *(row["params"].get(name) for name in params)]
        writer.writerow(list(_csv_cells(values)))


def _csv_cells(values: Iterable[Any]) -> Iterator[Any]:
    for value in values:
        if isinstance(value, list):
            yield escaped(" ".join(map(_csv_word, value)))
        elif isinstance(value, bool):
            yield word(value)
        else:
            yield escaped(value) if isinstance(value, str) else value


def _csv_word(value: Any) -> str:
    return word(value) if isinstance(value, bool) else str(value)


def _plain(value: Any) -> Any:
    """JSON has no infinity and no NaN: they become text."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return value


def _cell(name: str, value: Any, most: int = _CELL_CHARACTERS) -> str:
    if name == "seconds" and isinstance(value, float) and abs(value) < 1e7:
        return f"{value:.1f}"
    return one_line(clipped(shown(value), most))


def shown(value: Any) -> str:
    """A value as a table shows it."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return word(value)
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 0.001 or abs(value) >= 10_000 else f"{value:.4f}"
    if isinstance(value, datetime):
        return value.astimezone().strftime("%Y-%m-%d %H:%M")
    if isinstance(value, Mapping):
        if any(isinstance(inner, Mapping) for inner in value.values()):
            return "; ".join(f"{name}: {shown(inner)}" for name, inner in value.items())
        return ", ".join(
            f"{clipped(str(name), _NAME_CHARACTERS)}={short(inner)}"
            for name, inner in value.items()
        )
    if isinstance(value, list | tuple):
        sentences = any(isinstance(inner, str) and " " in inner for inner in value)
        return ("; " if sentences else " ").join(short(inner) for inner in value)
    return str(value)


def short(value: Any) -> str:
    """A hyperparameter's value: few digits, and texts that look like other values in quotes."""
    if isinstance(value, float):
        return f"{value:.3g}"
    is_text = isinstance(value, str) and isinstance(parse_scalar(value), str)
    text = word(value) if isinstance(value, str) and not is_text else shown(value)
    return clipped(text, _VALUE_CHARACTERS)


def duration(seconds: float | None) -> str:
    """1:02:03, or 2:03; a dash for what is not known."""
    if seconds is None:
        return "–"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
