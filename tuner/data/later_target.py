"""The target of later rows, encoded as that of the training rows was."""

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tuner.data.row_blocks import RowRequest, TargetValues
from tuner.data.target import refuse_rows
from tuner.errors import DatasetError
from tuner.preparation.cells import Cells, convert_to_texts, first_row_of, read_cells
from tuner.preparation.known_columns import match_categories, read_cells_as
from tuner.preparation.predictions import Head
from tuner.preparation.text_columns import CellFormat, UnclearColumn
from tuner.values import describe_lacking, join_names, suggest_names

if TYPE_CHECKING:
    import pandas as pd


def encode_later_targets(values: Any, request: RowRequest, source: str) -> TargetValues:
    """Several targets. `values`: a DataFrame that has their columns, arrays or Series by the names
    of heads, or a matrix (n, k). Raises DatasetError as `encode_later_target`, and for targets that
    are not there."""
    heads = {head.name: _encode_head(values, head, request, source) for head in request.targets}
    return heads if request.task == "several" else next(iter(heads.values()))


def _encode_head(values: Any, head: Head, request: RowRequest, source: str) -> TargetValues:
    own = replace(
        request,
        task=head.task,
        labels=head.labels,
        preparation=replace(request.preparation, target_format=head.format),
        targets=(),
    )
    names = head.target_columns
    columns = _columns_of(values, head, source)
    if len(columns) == 1:
        return encode_later_target(columns[0], own, source)
    numbers = replace(own, task="regression", labels=())
    matrix = np.stack([encode_later_target(c, numbers, source) for c in columns], axis=1)
    if head.task != "multilabel":
        return matrix
    if not np.isin(matrix, (0, 1)).all():
        wrong = names[int(np.argmin(np.isin(matrix, (0, 1)).all(axis=0)))]
        raise DatasetError(f"{source}: the label {wrong!r} must be 0 or 1 in each row")
    return matrix.astype(np.float32)


def _columns_of(values: Any, head: Head, source: str) -> "list[pd.Series[Any]]":
    """The columns of a head's targets, each named."""
    import pandas as pd

    names = head.target_columns
    held = values
    if isinstance(values, Mapping):
        if head.name not in values:
            raise DatasetError(
                f"{source}: no targets {head.name!r}; there are {join_names(map(str, values))}"
            )
        held = values[head.name]
    if hasattr(held, "iloc") and held.ndim == 2:
        if lacking := [name for name in names if name not in held.columns]:
            raise DatasetError(f"{source}: {describe_lacking(lacking, 'target')}")
        return [held[name] for name in names]
    array = np.asarray(held)
    matrix = array[:, np.newaxis] if array.ndim == 1 else array
    if matrix.ndim != 2 or matrix.shape[1] != len(names):
        raise DatasetError(
            f"{source}: the targets have shape {array.shape}, the network has {len(names)} "
            f"({join_names(names)})"
        )
    return [pd.Series(matrix[:, i], name=name) for i, name in enumerate(names)]


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
    class_of_text = np.array([numbers.get(text, -1) for text in cells.texts], np.int32)
    unknown = np.flatnonzero(class_of_text < 0)
    unknown_texts = unknown[cells.counts()[unknown] > 0] if len(unknown) else unknown
    if not len(unknown_texts):
        return class_of_text[cells.values]
    numbered = _numbered_classes(cells, labels)
    if numbered is not None:
        return numbered[cells.values]
    texts = [cells.texts[number] for number in unknown_texts]
    close = suggest_names(texts[0], labels)
    raise DatasetError(
        f"{what} holds {join_names(map(repr, texts[:5]))}{', …' * (len(texts) > 5)} (first in row "
        f"{cells.first_row(unknown_texts)}), which the network does not know{close}; its labels "
        f"are {join_names(labels)}"
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
