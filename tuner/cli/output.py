"""Printing: tables for people, JSON for programs, errors in one line."""

import csv
import json
import math
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table


def console() -> Console:
    # Piped output keeps whole lines: a table cut at 80 columns is of no use to grep.
    return Console(width=None if sys.stdout.isatty() else 160, highlight=False, soft_wrap=False)


def say(text: str = "") -> None:
    console().print(text, markup=False, soft_wrap=True)


def complain(text: str) -> None:
    """One line on stderr."""
    print(f"tuner: {' '.join(text.split())}", file=sys.stderr)


def show_rows(rows: Sequence[Mapping[str, Any]], as_json: bool, title: str | None = None) -> None:
    """A table with a column for each key of the rows, or the rows as JSON."""
    if as_json:
        print_json(list(rows))
        return
    if title:
        say(title)
    if not rows:
        return
    table = Table(box=SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for name, value in rows[0].items():
        numeric = isinstance(value, int | float) and not isinstance(value, bool)
        table.add_column(name.replace("_", " "), justify="right" if numeric else "left")
    for row in rows:
        table.add_row(*(_cell(name, value) for name, value in row.items()))
    console().print(table)


def show_facts(facts: Mapping[str, Any], as_json: bool) -> None:
    """Names and values, one a line, or as a JSON object."""
    if as_json:
        print_json(facts)
        return
    width = max((len(name) for name in facts), default=0)
    for name, value in facts.items():
        if value is not None and value != {} and value != []:
            say(f"{name.replace('_', ' '):<{width}}  {shown(value)}")


def print_json(value: Any) -> None:
    print(json.dumps(_plain(value), indent=2, default=str, allow_nan=False))


def print_csv(rows: Sequence[Mapping[str, Any]], params: Sequence[str]) -> None:
    """Rows as CSV, their `params` spread over a column each."""
    fixed = [name for name in rows[0] if name != "params"] if rows else []
    writer = csv.writer(sys.stdout)
    writer.writerow([*fixed, *params])
    for row in rows:
        spread = [row["params"].get(name) for name in params]
        cells = [" ".join(map(str, v)) if isinstance(v, list) else v for v in spread]
        writer.writerow([*(row[name] for name in fixed), *cells])


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
    return f"{value:.1f}" if name == "seconds" and value is not None else shown(value)


def shown(value: Any) -> str:
    """A value as a table shows it."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 0.001 or abs(value) >= 10_000 else f"{value:.4f}"
    if isinstance(value, datetime):
        return value.astimezone().strftime("%Y-%m-%d %H:%M")
    if isinstance(value, Mapping):
        if any(isinstance(inner, Mapping) for inner in value.values()):
            return "; ".join(f"{name}: {shown(inner)}" for name, inner in value.items())
        return ", ".join(f"{name}={short(inner)}" for name, inner in value.items())
    if isinstance(value, list | tuple):
        sentences = any(isinstance(inner, str) and " " in inner for inner in value)
        return ("; " if sentences else " ").join(short(inner) for inner in value)
    return str(value)


def short(value: Any) -> str:
    """A hyperparameter's value: few digits."""
    return f"{value:.3g}" if isinstance(value, float) else shown(value)


def duration(seconds: float | None) -> str:
    """1:02:03, or 2:03; a dash for what is not known."""
    if seconds is None:
        return "–"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
