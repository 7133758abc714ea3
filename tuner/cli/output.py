"""Printing: tables for people, JSON for programs, errors in one line.

What is printed comes from SQL, from files and from MLflow, and may hold anything. So all of it goes
through here: control characters are shown as text (`\x1b`), never sent to the terminal.

Curves in a terminal: eight dots a character, a colour a curve.
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

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from tuner.cli.terminal_tables import Layout, TableColumn, wrapped_words
from tuner.values import clipped, parse_scalar, word

# Control characters but newline and tab, what turns the direction of text around, line ends that
# only some programs know, and halves of characters, which cannot be encoded.
_CONTROL = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)
# What is longer is no value that anybody gave.
_CELL_CHARACTERS = 2_000
_NAME_CHARACTERS = 200
_TEXT_CHARACTERS = 10_000
_COMMAND = re.compile(r"\btuner( --\S+ \S+)* [a-z]")
# So many rows settle the widths of a table whose rows still come.
_FIRST_ROWS = 100


def escaped(text: str) -> str:
    """The text with its control characters shown as `\\x1b`; newlines and tabs stay."""
    return _CONTROL.sub(_code, text)


def one_line(text: str) -> str:
    """The same, newlines and tabs shown too."""
    return escaped(text).replace("\n", "\\n").replace("\t", "\\t")


def _code(match: re.Match[str]) -> str:
    number = ord(match[0])
    return f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}"


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
    """Lines for people. In a terminal they are broken between words. A command is kept whole, in a
    line of its own where it has no room: it is there to be copied."""
    width = terminal_width()
    lines = escaped(text).split("\n")
    if width is not None:
        lines = [line if cell_len(line) <= width else _broken(line, width) for line in lines]
    console().print(Text("\n".join(lines)), soft_wrap=True)


def _broken(line: str, width: int) -> str:
    margin = " " * (len(line) - len(line.lstrip()))
    found = _COMMAND.search(line)
    if found is None:
        return margin + wrapped_words(line.lstrip(), width, len(margin))
    before, (command, _, after) = line[: found.start()], line[found.start() :].partition("   ")
    lines = [_broken(before.rstrip(), width)] if before.strip() else []
    lines.append(f"{margin}{'  ' if lines else ''}{command}")
    return "\n".join([*lines, f"{margin}      {after}"] if after else lines)


def complain(text: str) -> None:
    """One line on stderr."""
    print(f"tuner: {escaped(' '.join(text.split()))}", file=sys.stderr)


def terminal_width() -> int | None:
    """Of the terminal that shows what is printed; None where it goes elsewhere."""
    return console().width if sys.stdout.isatty() else None


def show_rows(
    rows: Sequence[Mapping[str, Any]],
    as_json: bool,
    title: str | None = None,
    lead: int | None = None,
) -> None:
    """A table with a column for each key of the rows, or the rows as JSON. `lead`: see Layout."""
    if as_json:
        print_json(list(rows))
        return
    if title:
        say(title)
    stream_rows(rows, lead=lead)


def stream_rows(
    rows: Iterable[Mapping[str, Any]], names: Sequence[str] = (), lead: int | None = None
) -> int:
    """A table that is printed while its rows still come; how many there were. `names`: columns
    of hyperparameters. `lead`: see Layout."""
    rows = iter(rows)
    first = list(islice(rows, _FIRST_ROWS))
    if not first:
        return 0
    heads = {name: one_line(name) if name in names else _head(name) for name in first[0]}
    columns = [
        TableColumn(heads[name], any(_is_number(row.get(name)) for row in first)) for name in heads
    ]

    def cells(row: Mapping[str, Any]) -> dict[str, str]:
        return {
            head: (_param_cell if name in names else _cell)(name, row.get(name))
            for name, head in heads.items()
        }

    layout = Layout(columns, [cells(row) for row in first], terminal_width(), lead)
    print("", *layout.head(), sep="\n")
    count = 0
    for row in chain(first, rows):
        print("\n".join(layout.lines(cells(row))))
        count += 1
    print()
    return count


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
    size = max((len(name) for name in facts), default=0) + 2
    for name, value in facts.items():
        if value is None or value in ({}, []):
            continue
        print_line(f"{name.replace('_', ' '):<{size}}{_fact(value, size)}")


def _fact(value: Any, indent: int) -> str:
    """As text whose lines but the first are indented, in a terminal so that they fit it."""
    items = isinstance(value, Mapping | list | tuple)
    text = _middle_out(escaped(shown(value, joined="\xa0" if items else " ")))
    if "\n" in text:
        return "\n" + textwrap.indent(text, "    ")
    width = terminal_width()
    return text.replace("\xa0", " ") if width is None else wrapped_words(text, width, indent)


def say_fact(name: str, text: str) -> None:
    """A text behind its name, in a terminal in lines that begin below each other."""
    width = terminal_width()
    text = escaped(text) if width is None else wrapped_words(escaped(text), width, len(name))
    print_line(name + text)


def print_line(text: str) -> None:
    """Text whose lines are broken already, and which holds no control characters."""
    console().print(Text(text), soft_wrap=True)


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


def _cell(name: str, value: Any) -> str:
    if name == "seconds" and isinstance(value, float) and abs(value) < 1e7:
        return f"{value:.1f}"
    return one_line(clipped(shown(value), _CELL_CHARACTERS))


def _param_cell(_name: str, value: Any) -> str:
    """A hyperparameter's value: few digits, one for each layer."""
    values = value if isinstance(value, list) else [value]
    return one_line(clipped(" ".join(map(short, values)), _CELL_CHARACTERS))


def shown(value: Any, joined: str = " ") -> str:
    """A value as a table shows it. `joined`: what stands for blanks inside of an item of several,
    so that lines are not broken there."""
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
        items = (f"{clipped(str(n), _NAME_CHARACTERS)}={short(v)}" for n, v in value.items())
        return ", ".join(item.replace(" ", joined) for item in items)
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
    return clipped(text, _CELL_CHARACTERS)


def duration(seconds: float | None) -> str:
    """1:02:03, or 2:03; a dash for what is not known."""
    if seconds is None:
        return "–"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


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
