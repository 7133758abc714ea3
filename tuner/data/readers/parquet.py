"""Parquet files, as pandas and others write them."""

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tuner.data.readers.reader import TableFile, table_reader
from tuner.errors import DatasetError
from tuner.preparation.cells import is_index, row_number_notes
from tuner.values import join_names

if TYPE_CHECKING:
    import pandas as pd


def read_parquet(path: Path) -> TableFile:
    """Raises DatasetError for columns of one name, and whatever Arrow raises for a broken file."""
    import pandas as pd
    import pyarrow.parquet

    refuse_same_names(pyarrow.parquet.read_schema(path).names, path)
    return tidy_frame(pd.read_parquet(path), path)


def tidy_frame(frame: "pd.DataFrame", path: Path) -> TableFile:
    """A frame that pandas saved. Its index is left out, or becomes a column if it has a name."""
    frame, notes = _without_index(frame)
    frame.columns = frame.columns.map(str)
    refuse_same_names(list(frame.columns), path)
    whole = {str(name): column.to_numpy() for name, column in frame.items() if _is_whole(column)}
    indices = [name for name, values in whole.items() if is_index(name, values)]
    notes += [f"{name}: an index of the rows, is left out" for name in indices]
    frame = frame.drop(columns=indices)
    named = {name: values for name, values in whole.items() if name not in indices}
    return TableFile(frame, (*notes, *row_number_notes(named)))


def refuse_same_names(names: list[str], path: Path) -> None:
    """Raises DatasetError if two columns have one name."""
    twice = [repr(name) for name, count in Counter(names).items() if count > 1]
    if twice:
        raise DatasetError(
            f"{path}: several columns are named {join_names(twice)}; rename or remove all but one"
        )


def _without_index(frame: "pd.DataFrame") -> tuple["pd.DataFrame", list[str]]:
    names = list(frame.index.names)
    if names == [None]:
        notes = [] if _counts(frame.index) else ["the index of the rows, without a name, left out"]
        return frame.reset_index(drop=True), notes
    if any(name is None or name in frame.columns for name in names):
        return frame.reset_index(drop=True), ["the index of the rows is left out"]
    return frame.reset_index(), [f"{name}: was the index of the rows" for name in names]


def _counts(index: "pd.Index[Any]") -> bool:
    import pandas as pd

    return isinstance(index, pd.RangeIndex)


def _is_whole(column: "pd.Series[Any]") -> bool:
    return isinstance(column.dtype, np.dtype) and column.dtype.kind in "iu"


READER = table_reader(".parquet", example="file.parquet:target", read_file=read_parquet)
