"""The target of later rows, encoded as that of the training rows was."""

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tuner.data.row_blocks import RowRequest, TargetValues
from tuner.data.target import refuse_rows
from tuner.errors import DatasetError
from tuner.preparation.cells import Cells, convert_to_texts, first_row_of, read_cells
from tuner.preparation.known_columns import match_categories, read_cells_as
from tuner.preparation.text_columns import CellFormat, UnclearColumn
from tuner.values import join_names, suggest_names

if TYPE_CHECKING:
    import pandas as pd


def encode_later_target(values: "pd.Series[Any]", request: RowRequest, source: str) -> TargetValues:
    """(n,) int32 numbers of the labels, or float64 values for a regression.

    Labels are compared as texts; where all labels are numbers, 1.0 is 1. Raises DatasetError,
    beginning with `source`, for gaps, infinite values, and labels that the network does not know.
    """
    what = f"{source}: the target{f' {str(values.name)!r}' if values.name is not None else ''}"
    rows_before = first_row_of(values)
    if request.task == "regression":
        numbers = _read_numbers(values, request, source).values.astype(np.float64)
        refuse_rows(np.isnan(numbers), what, "is missing", rows_before)
        return numbers
    cells = match_categories(convert_to_texts(_read(values, source)), request.labels)
    refuse_rows(cells.gaps(), what, "is missing", rows_before)
    return _class_numbers(cells, request.labels, what)


def _read_numbers(values: "pd.Series[Any]", request: RowRequest, source: str) -> Cells:
    try:
        return read_cells_as(values, "number", CellFormat(request.preparation.target_format))
    except (DatasetError, UnclearColumn) as error:
        raise DatasetError(f"{source}: the target: {error}") from error


def _read(values: "pd.Series[Any]", source: str) -> Cells:
    try:
        return read_cells(values, may_drop=False)
    except DatasetError as error:
        raise DatasetError(f"{source}: the target: {error}") from error


def _class_numbers(cells: Cells, labels: tuple[str, ...], what: str) -> npt.NDArray[np.int32]:
    numbers = {label: number for number, label in enumerate(labels)}
    known = np.array([numbers.get(text, -1) for text in cells.texts], np.int32)
    unknown = np.flatnonzero(known < 0)
    held = unknown[cells.counts()[unknown] > 0] if len(unknown) else unknown
    if not len(held):
        return known[cells.values]
    numbered = _numbered_classes(cells, labels)
    if numbered is not None:
        return numbered[cells.values]
    texts = [cells.texts[number] for number in held]
    close = suggest_names(texts[0], labels)
    raise DatasetError(
        f"{what} holds {join_names(map(repr, texts[:5]))}{', …' * (len(texts) > 5)} (first in row "
        f"{cells.first_row(held)}), which the network does not know{close}; its labels are "
        f"{join_names(labels)}"
    )


def _numbered_classes(cells: Cells, labels: tuple[str, ...]) -> npt.NDArray[np.int32] | None:
    """Classes that are given by their number, 0 to k-1, where no label is a number; None for other
    texts."""
    if any(label.isdecimal() for label in labels):
        return None
    numbers = {str(number): number for number in range(len(labels))}
    if not set(cells.texts) <= numbers.keys():
        return None
    return np.array([numbers[text] for text in cells.texts], np.int32)
