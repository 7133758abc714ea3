"""Columns of later rows, read with the kinds and formats that the training rows have taught."""

import math
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tuner.errors import DatasetError
from tuner.preparation.cells import Cells, convert_to_texts, read_cells, rename_texts, text_of
from tuner.preparation.date_texts import DIGITS, TIME, UNITS, numbers_to_seconds
from tuner.preparation.encoding import Column
from tuner.preparation.kinds import ColumnKind
from tuner.preparation.number_texts import TRUTH_VALUES, NumberFormat
from tuner.preparation.text_columns import (
    CellFormat,
    ReadColumn,
    TextColumn,
    UnclearColumn,
    check_range,
    spread_to_rows,
)

if TYPE_CHECKING:
    import pandas as pd


def read_known_columns(
    frame: "pd.DataFrame", columns: Sequence[ReadColumn | Column]
) -> tuple[dict[str, Cells], list[str]]:
    """The cells by column, read with the kinds and formats that were learnt; and the errors of
    columns that hold anything else."""
    cells, problems = {}, []
    for column in columns:
        try:
            cells[column.name] = read_cells_as(frame[column.name], column.kind, column.format)
        except (DatasetError, UnclearColumn) as error:
            problems.append(str(error))
    return cells, problems


def read_cells_as(series: "pd.Series[Any]", kind: ColumnKind, format_: CellFormat) -> Cells:
    """A column of later rows, read with the kind and format that were learnt. Raises DatasetError
    or UnclearColumn if it holds anything else."""
    name, cells = str(series.name), read_cells(series, may_drop=False)
    if kind in ("category", "text"):
        return convert_to_texts(cells)
    if kind == "date":
        return _later_dates(name, cells, format_)
    if cells.form == "texts":
        cells = _truth_values(cells) or _later_numbers(name, cells, format_)
    elif cells.form == "dates":
        raise DatasetError(f"column {name!r} must hold numbers, it holds dates")
    check_range(name, cells)
    return cells


def _truth_values(cells: Cells) -> Cells | None:
    """Texts that are truth values, as a reader of files types them; None where some are not."""
    if any(text not in TRUTH_VALUES for text in cells.texts):
        return None
    values = [TRUTH_VALUES[text] for text in cells.texts]
    return spread_to_rows(cells, np.array(values, np.float64), "numbers")


def _later_numbers(name: str, cells: Cells, format_: CellFormat) -> Cells:
    """Texts as numbers, written as in training or, all of them, as plain numbers."""
    texts = TextColumn(name, cells)
    numbers = texts.numbers(format_.number or NumberFormat())
    if format_.number and _others(texts, numbers).any():
        plain = texts.numbers(NumberFormat())
        numbers = numbers if _others(texts, plain).any() else plain
    _require(texts, numbers, "number", _describe_number(format_.number))
    return numbers


def _later_dates(name: str, cells: Cells, format_: CellFormat) -> Cells:
    if cells.form == "dates":
        return cells
    of_numbers = format_.order in (*UNITS, DIGITS)
    if cells.form == "numbers":
        values = cells.values.astype(np.float64)
        if not of_numbers and not cells.gaps().all():
            raise DatasetError(f"column {name!r} must hold dates, it holds numbers")
        # A column of gaps alone can be read in any way.
        return Cells(
            numbers_to_seconds(values, (format_.order or "") if of_numbers else "seconds"), "dates"
        )
    texts = TextColumn(name, cells)
    if of_numbers:
        numbers = texts.numbers(NumberFormat())
        dates = Cells(numbers_to_seconds(numbers.values, format_.order or ""), "dates")
    else:
        order = "ymd" if format_.order is None else format_.order
        dates = spread_to_rows(cells, texts.dates(order).seconds, "dates")
    _require(texts, dates, "date", _DATES.get(format_.order, f"{format_.order} since 1970"))
    return dates


_DATES = {
    None: "dates such as 2025-12-31",
    "ymd": "dates such as 2025-12-31",
    "dmy": "dates with the day first, such as 31.12.2025",
    "mdy": "dates with the month first, such as 12/31/2025",
    "": "dates such as 31 Dec 2025",
    TIME: "times such as 23:59",
    DIGITS: "dates such as 20251231",
}


def _describe_number(number: NumberFormat | None) -> str:
    number = number or NumberFormat()
    unit = f" {number.unit}" if number.unit else ""
    return f"numbers such as 1{number.thousands}234{number.decimal}5{unit}"


def _others(texts: TextColumn, cells: Cells) -> npt.NDArray[np.bool_]:
    """Which texts were not read, and are no marks for missing."""
    wrong = np.isnan(cells.values) & (texts.cells.values >= 0)
    others = np.zeros(len(texts.cells.texts), np.bool_)
    others[texts.cells.values[wrong]] = True
    return others & ~texts.is_mark


def _require(texts: TextColumn, cells: Cells, kind: str, written: str) -> None:
    others = _others(texts, cells)
    if others.any():
        raise DatasetError(
            f"column {texts.name!r} must hold {kind}s, written as in training; "
            f"{texts.count(others)} of {texts.total} cells do not ({texts.examples(others)}); "
            f"training had {written}"
        )


_LONGEST_WHOLE = 400  # digits; Python refuses to read more than 4300
_WHOLE = re.compile(r"[+-]?\d+")


def match_categories(cells: Cells, categories: Sequence[str]) -> Cells:
    """Texts that name one of the categories in another way, renamed to it: where all categories are
    numbers, 1.0 is 1; where they are truth values, true is True. A blank that is no category is a
    gap, as in a file. Other texts stay as they are."""
    known = set(categories)
    if "" in cells.texts and "" not in known:
        is_blank = cells.values == cells.texts.index("")
        cells = replace(cells, values=np.where(is_blank, -1, cells.values))
    new = [text for text in cells.texts if text not in known]
    if not new or not known:
        return cells
    same = {_value_of(category): category for category in categories}
    if len(same) < len(known) or None in same:
        return cells
    names = {text: same[value] for text in new if (value := _value_of(text)) in same}
    return rename_texts(cells, names) if names else cells


def _value_of(text: str) -> str | None:
    """A number or truth value in one spelling; None for other texts."""
    if text in TRUTH_VALUES:
        return text.lower()
    if _WHOLE.fullmatch(text):
        return str(int(text)) if len(text) < _LONGEST_WHOLE else text
    try:
        value = float(text)
    except ValueError:
        return None
    return text_of(value) if math.isfinite(value) else None


def name_numbers(categories: Sequence[str]) -> bool:
    """Whether all of these categories, or words, are numbers or truth values."""
    return bool(categories) and all(_value_of(category) is not None for category in categories)
