"""Files of tables: CSV and its kin, and Parquet."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tuner.data.cells import is_index, row_number_notes
from tuner.data.raw import listed, reading
from tuner.data.readers.delimited import read_delimited
from tuner.errors import DatasetError

if TYPE_CHECKING:
    import pandas as pd

_NO_HEADER = "; its first line looks like data: if the header is missing, add one"
_NO_SEPARATOR = "; no ',', ';', tab or '|' separates cells in its first lines; save it as CSV"


@dataclass(frozen=True)
class TableFile:
    """All columns of a file. `notes`: what was taken for what, a line each. `hint`: added to a
    message that the target is not there."""

    frame: "pd.DataFrame"
    notes: tuple[str, ...] = ()
    hint: str = ""


def read_table_file(path: Path) -> TableFile:
    """Raises DatasetError where it cannot be read."""
    if path.suffix.lower() == ".parquet":
        with reading(str(path)):
            return _read_parquet(path)
    file = read_delimited(path)
    hint = _NO_HEADER if file.looks_like_data else ""
    hint = hint or (_NO_SEPARATOR if file.frame.shape[1] == 1 else "")
    return TableFile(file.frame, file.notes, hint)


def _read_parquet(path: Path) -> TableFile:
    """The index of a frame that was saved is left out, or becomes a column where it has a name."""
    import pandas as pd
    import pyarrow.parquet as parquet

    _refuse_twice(parquet.read_schema(path).names, path)
    frame = pd.read_parquet(path)
    frame, notes = _without_index(frame)
    frame.columns = frame.columns.map(str)
    _refuse_twice(list(frame.columns), path)
    whole = {str(name): column.to_numpy() for name, column in frame.items() if _is_whole(column)}
    indices = [name for name, values in whole.items() if is_index(name, values)]
    notes += [f"{name}: an index of the rows, is left out" for name in indices]
    frame = frame.drop(columns=indices)
    named = {name: values for name, values in whole.items() if name not in indices}
    return TableFile(frame, (*notes, *row_number_notes(named)))


def _refuse_twice(names: list[str], path: Path) -> None:
    twice = [repr(name) for name, count in Counter(names).items() if count > 1]
    if twice:
        raise DatasetError(
            f"{path}: several columns are named {listed(twice)}; rename or remove all but one"
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
