"""What each column of a table is taken for: a number, a category, a text or a date.

A column's kind follows from all of its cells, so it does not depend on the order of the rows or on
the split. What is learnt from its values (`table_encoding.py`) comes from the training rows alone.
Every doubtful decision is noted, with the option that changes it, or refused.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from tuner.errors import DatasetError
from tuner.preparation.cells import Cells, convert_to_texts, read_cells
from tuner.preparation.date_texts import (
    DIGITS,
    UNITS,
    number_order,
    numbers_to_seconds,
)
from tuner.preparation.known_columns import read_known_columns
from tuner.preparation.number_texts import (
    NumberFormat,
    find_format,
)
from tuner.preparation.text_columns import (
    MAX_CATEGORIES,
    CellFormat,
    ReadColumn,
    TextColumn,
    UnclearColumn,
    capitals_note,
    category_column,
    check_range,
    column_option,
    date_column,
    infer_column,
    name_notes,
    number_column,
    quote_option,
)
from tuner.search_space.parameter_types import sort_by_similarity
from tuner.values import describe_lacking, join_names

if TYPE_CHECKING:
    import pandas as pd

    from tuner.study.spec import ColumnKind


@dataclass(frozen=True, eq=False)
class ReadTable:
    """`columns`: those of the train part in the table's order, without those left out (`dropped`).
    `parts`: the cells of each part by column. `problems`: one for each unusable column."""

    columns: tuple[ReadColumn, ...] = ()
    parts: Mapping[str, Mapping[str, Cells]] = field(default_factory=dict)
    dropped: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


def read_columns(
    frames: Mapping[str, "pd.DataFrame"], kinds: Mapping[str, "ColumnKind"]
) -> ReadTable:
    """All columns of all parts. `kinds`: those that the user has named. Nothing is raised: errors
    are among the problems."""
    train = frames["train"]
    names = list(train.columns)
    problems = check_kinds(kinds, names)
    columns: list[ReadColumn] = []
    dropped = tuple(name for name in names if kinds.get(name) == "drop")
    for name in names:
        if name not in dropped:
            try:
                columns.append(read_column(train[name], kinds.get(name)))
            except (DatasetError, UnclearColumn) as error:
                problems.append(str(error))
    if not columns and not problems:
        problems.append("no column is left to learn from" if names else "x has no columns")
    parts = {"train": {column.name: column.cells for column in columns}}
    for part, frame in frames.items():
        if part != "train":
            parts[part], wrong = _read_part(frame, columns, part)
            problems += wrong
    notes = tuple(note for column in columns for note in column.notes)
    return ReadTable(tuple(columns), parts, dropped, notes, tuple(problems))


def _read_part(
    frame: "pd.DataFrame", columns: Sequence[ReadColumn], part: str
) -> tuple[dict[str, Cells], list[str]]:
    lacking = [column.name for column in columns if column.name not in frame.columns]
    if lacking:
        return {}, [f"{part} {describe_lacking(lacking)}"]
    cells, problems = read_known_columns(frame, columns)
    return cells, [f"{part}: {problem}" for problem in problems]


def check_kinds(
    kinds: Mapping[str, "ColumnKind"], names: Sequence[str], target: str = ""
) -> list[str]:
    """The errors in the kinds that the user has named for columns of a table."""
    problems = []
    for name, kind in kinds.items():
        if name not in names:
            close = join_names(sort_by_similarity(name, names)[:5])
            problems.append(
                f"--column {quote_option(name, kind)}: no such column; there are: {close}"
            )
        elif kind == "target" and name != target:
            problems.append(
                f"--column {quote_option(name, kind)}: the target is "
                + (f"{target!r} already" if target else "given beside these columns")
            )
        elif kind != "target" and name == target:
            problems.append(
                f"--column {quote_option(name, kind)}: it is the target; --task says how it is "
                "learnt"
            )
    return problems


def read_column(series: "pd.Series[Any]", kind: "ColumnKind | None" = None) -> ReadColumn:
    """One column, by what it holds or as the kind that the user gives. Raises DatasetError or
    UnclearColumn, with the cause, if it cannot be that."""
    name, cells = str(series.name), read_cells(series)
    if cells.form == "texts" and not cells.texts:  # nothing but gaps
        cells = Cells(np.full(len(cells), np.nan))
    if kind is not None:
        if kind == "date" and cells.form == "dates":
            return _typed_date(name, cells, series)
        return _read_as_given(name, cells, kind)
    if cells.form == "numbers":
        check_range(name, cells)
        return ReadColumn(name, "number", cells, notes=name_notes(name, [_date_hint(name, cells)]))
    if cells.form == "dates":
        return _typed_date(name, cells, series)
    if _is_categorical(series):
        return category_column(name, cells)
    return infer_column(name, cells)


def _typed_date(name: str, cells: Cells, series: "pd.Series[Any]") -> ReadColumn:
    zone = getattr(series.dtype, "tz", None)
    note = "" if zone is None or str(zone) == "UTC" else f"times of {zone} are converted to UTC"
    return ReadColumn(name, "date", cells, notes=name_notes(name, [note]))


def _is_categorical(series: "pd.Series[Any]") -> bool:
    import pandas as pd

    return isinstance(series.dtype, pd.CategoricalDtype)


# Whole numbers in these ranges may be times from 2000 to 2035 or dates from 1900 to 2099.
_TIMES_S = (946_684_800, 2_051_222_400)
_DAYS = (19_000_101, 20_991_231)

# Smaller numbers (as seconds, before March 1973) are probably years, or days of a spreadsheet.
_FEWEST_S = 1e8


def _date_hint(name: str, cells: Cells) -> str:
    """A note on whole numbers that look like dates; "" if they do not."""
    values = cells.values
    if values.dtype.kind not in "iuf" or not len(values) or cells.gaps().all():
        return ""
    low, high = float(np.fmin.reduce(values)), float(np.fmax.reduce(values))
    looks = ""
    for unit in ("seconds", "milliseconds"):
        if all(_TIMES_S[0] <= end / UNITS[unit] <= _TIMES_S[1] for end in (low, high)):
            looks = f"{unit} since 1970"
    if _DAYS[0] <= low and high <= _DAYS[1]:
        numbers = values[~cells.gaps()].astype(np.float64)
        looks = "dates as 20251231" if number_order(numbers) == DIGITS else ""
    return (
        f"numbers; if they are {looks}: {column_option(name, 'date')}"
        if looks and low < high
        else ""
    )


def _read_as_given(name: str, cells: Cells, kind: "ColumnKind") -> ReadColumn:
    """The column as the kind that the user gives. Raises UnclearColumn if it cannot be that."""
    if kind == "number":
        return _given_number(name, cells)
    if kind == "date":
        return _given_date(name, cells)
    texts = convert_to_texts(cells)
    if kind == "category" and len(texts.texts) > MAX_CATEGORIES:
        raise UnclearColumn(
            f"--column {quote_option(name, kind)}: it holds {len(texts.texts)} different values, "
            f"more than {MAX_CATEGORIES}"
        )
    if kind == "category":
        return _given_category(name, texts)
    return ReadColumn(name, kind, texts)


def _given_category(name: str, texts: Cells) -> ReadColumn:
    notes = name_notes(name, [capitals_note(texts.texts, "categories")])
    return ReadColumn(name, "category", texts, notes=notes)


def _given_number(name: str, cells: Cells) -> ReadColumn:
    if cells.form == "numbers":
        check_range(name, cells)
        return ReadColumn(name, "number", cells)
    if cells.form == "dates":
        raise UnclearColumn(f"--column {quote_option(name, 'number')}: it holds dates; take date")
    texts = TextColumn(name, cells)
    others = ~texts.is_number & ~texts.is_mark
    if others.any() or not texts.is_number.any():
        others = others if others.any() else ~texts.is_number
        raise UnclearColumn(
            f"--column {quote_option(name, 'number')}: {texts.count(others)} of {texts.total} "
            "cells are no numbers" + (f" ({texts.examples(others)})" if texts.total else "")
        )
    format_, remark = find_format(texts.written())
    if format_ is None:
        raise UnclearColumn(f"--column {quote_option(name, 'number')}: {remark}")
    return number_column(texts, format_, remark, is_given=True)


def _given_date(name: str, cells: Cells) -> ReadColumn:
    if cells.form == "numbers":
        return _date_of_numbers(name, cells)
    texts = TextColumn(name, cells)
    if np.all(texts.is_number | texts.is_mark):
        return _date_of_numbers(name, texts.numbers(NumberFormat()))
    read = texts.dates()
    others = np.isnan(read.seconds) & ~texts.is_mark
    if others.any() or not texts.count(~others):
        raise UnclearColumn(
            f"--column {quote_option(name, 'date')}: {texts.count(others)} of {texts.total} cells "
            "are no dates, or are written in another way than the others"
            + (f" ({texts.examples(others)})" if others.any() else "")
        )
    return date_column(texts, read)


def _date_of_numbers(name: str, cells: Cells) -> ReadColumn:
    check_range(name, cells)
    values = cells.values.astype(np.float64)
    if cells.gaps().all():
        return ReadColumn(name, "date", Cells(values, "dates"))
    held = values[~cells.gaps()]
    order = number_order(held)
    if order == "seconds" and np.abs(held).max() < _FEWEST_S:
        raise UnclearColumn(
            f"--column {quote_option(name, 'date')}: its numbers ({held.min():.12g} … "
            f"{held.max():.12g}) are neither dates as 20251231 nor times since 1970; write dates "
            "as 2025-12-31, or leave it a number"
        )
    how = "as in 20251231" if order == DIGITS else f"as {order} since 1970"
    notes = name_notes(name, [f"numbers are read as dates {how}"])
    dates = Cells(numbers_to_seconds(values, order), "dates")
    return ReadColumn(name, "date", dates, CellFormat(order=order), notes)
