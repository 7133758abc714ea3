"""Columns that only number the rows: in a file sorted by class they give the answer away."""

import re
import shlex
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

# How pandas calls the index of a frame that has no name for it: in CSV, read back, in Parquet.
_INDEX_NAMES = re.compile(r"|Unnamed: 0(?:\.\d+)*|__index_level_0__")
_FEWEST_ROWS = 10

_Whole = npt.NDArray[np.integer]


def is_index(name: str, values: _Whole) -> bool:
    """Whether this is the index of the frame that was saved: it has no name of its own, and counts
    the rows, also where these were chosen, shuffled or joined since."""
    if _INDEX_NAMES.fullmatch(name) is None or not len(values) or values.min() < 0:
        return False
    if len(np.unique(values)) == len(values):
        return True
    return bool(np.mean(np.diff(values) == 1) > 0.9)


def numbers_rows(values: _Whole) -> bool:
    """Whether the values are 0, 1, 2, … or 1, 2, 3, …"""
    count = len(values)
    if count < _FEWEST_ROWS or values[0] not in (0, 1) or values[-1] != values[0] + count - 1:
        return False
    return bool(np.all(np.diff(values) == 1))


def row_number_notes(columns: Mapping[str, _Whole]) -> tuple[str, ...]:
    """What to say of columns with a name that number the rows."""
    return tuple(
        f"{name}: is the row number; --column {shlex.quote(f'{name}=drop')} leaves it out"
        for name, values in columns.items()
        if numbers_rows(values)
    )
