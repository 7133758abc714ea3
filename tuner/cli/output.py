"""Printing: tables for people, JSON and CSV for programs, errors in one line.

Names and texts from SQL, from files and from MLflow may hold anything. All of them are printed
through this module, which shows control characters as text (`\x1b`): none reaches the terminal.
"""

import csv
import json
import logging
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
from tuner.system.logs import log_format, log_message
from tuner.values import clipped, format_number, parse_scalar, word

# Control characters except newline and tab, marks that change the direction of text, line ends that
# only some programs know, and surrogates, which cannot be encoded.
_CONTROL = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)
# Longer values are cut: nobody typed them.
_CELL_CHARACTERS = 2_000
_NAME_CHARACTERS = 200
_TEXT_CHARACTERS = 10_000
_COMMAND = re.compile(r"\btuner( --\S+ \S+)* [a-z]")
# A streamed table takes its widths from this many rows.
_FIRST_ROWS = 100


def escape_controls(text: str) -> str:
    """The text with its control characters written out, as `\\x1b`; newlines and tabs stay."""
    return _CONTROL.sub(_control_code, text)


def one_line(text: str) -> str:
    """The same, with newlines and tabs written out too."""
    return escape_controls(text).replace("\n", "\\n").replace("\t", "\\t")


def _control_code(match: re.Match[str]) -> str:
    number = ord(match[0])
    return f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}"


def console() -> Console:
    """A rich console on standard output, without markup."""
    # Piped output keeps whole lines: a table cut at 80 columns is of no use to grep.
    return Console(
        width=None if sys.stdout.isatty() else 160,
        highlight=False,
        soft_wrap=False,
        markup=False,
        emoji=False,
    )


def say(text: str = "") -> None:
    """Print lines for people, in a terminal broken between words. A suggested command stays whole,
    if need be in a line of its own, so that it can be copied."""
    width = terminal_width()
    lines = escape_controls(text).split("\n")
    if width is not None:
        lines = [wrap_line(line, width) for line in lines]
    console().print(Text("\n".join(lines)), soft_wrap=True)


def wrap_line(line: str, width: int) -> str:
    """The line broken between words, a suggested command in a line of its own."""
    if cell_len(line) <= width:
        return line
    margin = " " * (len(line) - len(line.lstrip()))
    match = _COMMAND.search(line)
    if match is None:
        return margin + wrapped_words(line.lstrip(), width, len(margin))
    before, (command, _, after) = line[: match.start()], line[match.start() :].partition("   ")
    lines = [wrap_line(before.rstrip(), width)] if before.strip() else []
    lines.append(f"{margin}{'  ' if lines else ''}{command}")
    return "\n".join([*lines, f"{margin}      {after}"] if after else lines)


def complain(text: str, is_error: bool = False, error: BaseException | None = None) -> None:
    """Print one line on stderr. `is_error`: it is why the command ends; as JSON, with the traceback
    of `error`."""
    line = escape_controls(" ".join(text.split()))
    if log_format() == "json":
        log_message(line, logging.ERROR if is_error else logging.WARNING, error)
    else:
        print(f"tuner: {line}", file=sys.stderr)


def terminal_width() -> int | None:
    """Columns of the terminal; None where standard output is no terminal."""
    return console().width if sys.stdout.isatty() else None


def show_rows(
    rows: Sequence[Mapping[str, Any]],
    as_json: bool,
    title: str | None = None,
    lead: int | None = None,
) -> None:
    """Print a table with a column for each key of the rows, or the rows as JSON. `lead`: as in
    Layout."""
    if as_json:
        print_json(list(rows))
        return
    if title:
        say(title)
    stream_rows(rows, lead=lead)


def stream_rows(
    rows: Iterable[Mapping[str, Any]], names: Sequence[str] = (), lead: int | None = None
) -> int:
    """Print a table while its rows are still being read. `names`: the columns that hold
    parameters. `lead`: as in Layout. Returns the number of rows."""
    rows = iter(rows)
    first = list(islice(rows, _FIRST_ROWS))
    if not first:
        return 0
    heads = {name: one_line(name) if name in names else _column_name(name) for name in first[0]}
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


def _column_name(name: str) -> str:
    return one_line(clipped(name.replace("_", " "), _NAME_CHARACTERS))


def show_facts(facts: Mapping[str, Any], as_json: bool) -> None:
    """Print names and values, one per line, or a JSON object. A text of several lines stands below
    its name, so that none of its lines looks like another fact."""
    if as_json:
        print_json(facts)
        return
    size = max((len(name) for name in facts), default=0) + 2
    for name, value in facts.items():
        if value is None or value in ({}, []):
            continue
        print_line(f"{name.replace('_', ' '):<{size}}{_format_fact(value, size)}")


def _format_fact(value: Any, indent: int) -> str:
    """The value as text. Lines after the first are indented; in a terminal all fit its width."""
    items = isinstance(value, Mapping | list | tuple)
    text = _shorten_middle(escape_controls(format_value(value, joined="\xa0" if items else " ")))
    if "\n" in text:
        return "\n" + textwrap.indent(text, "    ")
    width = terminal_width()
    return text.replace("\xa0", " ") if width is None else wrapped_words(text, width, indent)


def print_fact(name: str, text: str) -> None:
    """Print a text after its name. In a terminal its lines begin below each other."""
    width = terminal_width()
    text = (
        escape_controls(text)
        if width is None
        else wrapped_words(escape_controls(text), width, len(name))
    )
    print_line(name + text)


def print_line(text: str) -> None:
    """Print text that is wrapped and free of control characters already."""
    console().print(Text(text), soft_wrap=True)


def _shorten_middle(text: str) -> str:
    """Very long text without its middle. The end stays: there a traceback names the error."""
    left_out = len(text) - _TEXT_CHARACTERS
    if left_out <= 0:
        return text
    half = _TEXT_CHARACTERS // 2
    return f"{text[:half]}\n… {left_out:,} characters left out; --json has them …\n{text[-half:]}"


def print_json(value: Any) -> None:
    print(json.dumps(_json_value(value), indent=2, default=str, allow_nan=False))


def print_json_rows(rows: Iterable[Mapping[str, Any]]) -> None:
    """Print a JSON array row by row, while the rows are still being read."""
    before = "[\n"
    for row in rows:
        text = json.dumps(_json_value(row), indent=2, default=str, allow_nan=False)
        print(before + textwrap.indent(text, "  "), end="")
        before = ",\n"
    print("[]" if before == "[\n" else "\n]")


def print_csv(
    rows: Iterable[Mapping[str, Any]], columns: Sequence[str], params: Sequence[str]
) -> None:
    """Print rows as CSV while they are still being read: their `columns`, then one column for each
    of `params`."""
    writer = csv.writer(sys.stdout)
    writer.writerow([*columns, *params])
    for row in rows:
        values = [*(row[name] for name in columns), *(row["params"].get(name) for name in params)]
        writer.writerow(list(_csv_cells(values)))


def _csv_cells(values: Iterable[Any]) -> Iterator[Any]:
    for value in values:
        if isinstance(value, list):
            yield escape_controls(" ".join(map(_csv_word, value)))
        elif isinstance(value, bool):
            yield word(value)
        else:
            yield escape_controls(value) if isinstance(value, str) else value


def _csv_word(value: Any) -> str:
    return word(value) if isinstance(value, bool) else str(value)


def _json_value(value: Any) -> Any:
    """The value with infinity and NaN as text, since JSON has neither."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, Mapping):
        return {str(k): _json_value(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_json_value(v) for v in value]
    return value


def _cell(name: str, value: Any) -> str:
    if name == "seconds" and isinstance(value, float) and abs(value) < 1e7:
        return f"{value:.1f}"
    return one_line(clipped(format_value(value), _CELL_CHARACTERS))


def _param_cell(_name: str, value: Any) -> str:
    """A parameter's value with few digits; of a list all values, separated by blanks."""
    values = value if isinstance(value, list) else [value]
    return one_line(clipped(" ".join(map(format_param, values)), _CELL_CHARACTERS))


def format_value(value: Any, joined: str = " ") -> str:
    """A value as tables show it. `joined`: replaces the blanks inside an item of a mapping; a
    no-break blank keeps the item in one line."""
    if isinstance(value, bool):
        return word(value)
    if value is None or isinstance(value, float):
        return format_number(value)
    if isinstance(value, datetime):
        return value.astimezone().strftime("%Y-%m-%d %H:%M")
    if isinstance(value, Mapping):
        if any(isinstance(inner, Mapping) for inner in value.values()):
            return "; ".join(f"{name}: {format_value(inner)}" for name, inner in value.items())
        items = (f"{clipped(str(n), _NAME_CHARACTERS)}={format_param(v)}" for n, v in value.items())
        return ", ".join(item.replace(" ", joined) for item in items)
    if isinstance(value, list | tuple):
        sentences = any(isinstance(inner, str) and " " in inner for inner in value)
        return ("; " if sentences else " ").join(format_param(inner) for inner in value)
    return str(value)


def format_param(value: Any) -> str:
    """A parameter's value: numbers with few digits, texts that look like other values in quotes."""
    if isinstance(value, float):
        return f"{value:.3g}"
    is_text = isinstance(value, str) and isinstance(parse_scalar(value), str)
    text = word(value) if isinstance(value, str) and not is_text else format_value(value)
    return clipped(text, _CELL_CHARACTERS)
