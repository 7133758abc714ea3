"""Matrices that miss values (NaN): each gap takes the median of its column in the training part."""

from collections.abc import Iterator, Sequence

import numpy as np

from tuner.data.rows import (
    IN_MEMORY_BYTES,
    AnyRows,
    ChangedRows,
    Features,
    Rows,
    row_blocks,
)
from tuner.data.tables import Column, gap_note


def learn_gaps(train: AnyRows, names: Sequence[str]) -> tuple[Column, ...]:
    """What each column of the training rows (n, features) becomes."""
    return tuple(
        Column(name, fill=_median(values))
        for name, values in zip(names, _columns(train), strict=True)
    )


def _columns(x: AnyRows) -> Iterator[Features]:
    """The columns one by one, gathered in groups: rows are read whole."""
    count, width = x.shape
    group = max(1, IN_MEMORY_BYTES // (count * x.dtype.itemsize))
    for first in range(0, width, group):
        columns = np.empty((min(group, width - first), count), x.dtype)
        start = 0
        for block in row_blocks(x):
            columns[:, start : start + len(block)] = block[:, first : first + group].T
            start += len(block)
        yield from columns


def _median(column: Features) -> float:
    values = column.astype(np.float64)
    known = values[~np.isnan(values)]
    return float(np.median(known)) if len(known) else 0.0


def filled(x: AnyRows, columns: Sequence[Column]) -> Rows:
    """The matrix without gaps, float32, its columns' offsets subtracted."""
    fill = np.array([column.fill for column in columns])
    offset = np.array([column.offset for column in columns])

    def fill_block(block: Features) -> Features:
        values = block.astype(np.float64)
        return (np.where(np.isnan(values), fill, values) - offset).astype(np.float32)

    return ChangedRows(x, fill_block, np.dtype(np.float32))


def gap_notes(x: AnyRows, columns: Sequence[Column], part: str) -> list[str]:
    """How many gaps each column of a part has, one line for each that has any."""
    counts = np.zeros(len(columns), np.int64)
    if x.dtype.kind == "f":
        for block in row_blocks(x):
            counts += np.isnan(block).sum(axis=0)
    return [
        gap_note(part, column, int(gaps))
        for column, gaps in zip(columns, counts, strict=True)
        if gaps
    ]
