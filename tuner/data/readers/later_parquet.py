"""Later rows of Parquet files, read in batches."""

import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from tuner.data.later_tables import choose_columns, table_rows
from tuner.data.raw import dataset_errors
from tuner.data.readers.parquet import refuse_same_names
from tuner.data.readers.reader import Source
from tuner.data.row_blocks import LaterRows, RowRequest

if TYPE_CHECKING:
    import pandas as pd

_CELLS_AT_ONCE = 2**20
_MOST_ROWS = 2**16
_PANDAS = b"pandas"


def open_parquet(source: Source, request: RowRequest) -> LaterRows:
    """Raises DatasetError for a broken file, and as `choose_columns`."""
    from pyarrow import parquet

    assert source.path is not None
    path = str(source.path)
    with dataset_errors(path):
        file = parquet.ParquetFile(source.path)
        index = _saved_index(file)
        names = [*file.schema_arrow.names, *(n for n, counts in index.items() if counts)]
        refuse_same_names(names, source.path)
        chosen = choose_columns(names, request, path, source.selector, [*index])
        count = file.metadata.num_rows
    counted = {name: counts for name, counts in index.items() if name in chosen.names and counts}
    return table_rows(
        lambda: _frames(file, chosen.names, counted, path), chosen, request, path, (), count
    )


def _saved_index(file: Any) -> dict[str, range | None]:
    """The named index of the frame that pandas saved: columns, and numbers that count the rows and
    are in no column."""
    content = (file.schema_arrow.metadata or {}).get(_PANDAS)
    index: dict[str, range | None] = {}
    for saved in json.loads(content).get("index_columns", []) if content else []:
        if isinstance(saved, str) and saved in file.schema_arrow.names:
            index[saved] = None
        elif isinstance(saved, dict) and saved.get("name") is not None:
            index[str(saved["name"])] = range(saved["start"], saved["stop"], saved["step"])
    return index


def _frames(
    file: Any, names: tuple[str, ...], counted: Mapping[str, range], path: str
) -> "Iterator[pd.DataFrame]":
    import pandas as pd
    import pyarrow as pa

    stored = [name for name in names if name not in counted]
    rows, at_once = 0, max(1, min(_MOST_ROWS, _CELLS_AT_ONCE // max(1, len(names))))
    with dataset_errors(path):
        for batch in file.iter_batches(at_once, columns=stored):
            table = pa.Table.from_batches([batch])
            frame = table.replace_schema_metadata(_without_index(table.schema.metadata)).to_pandas()
            frame.columns = table.column_names  # an unnamed index has no name for pandas
            frame.index = pd.RangeIndex(rows, rows + len(frame))
            for name, numbers in counted.items():
                frame[name] = np.asarray(numbers[rows : rows + len(frame)])
            rows += len(frame)
            yield frame[list(names)]


def _without_index(metadata: "dict[bytes, bytes] | None") -> "dict[bytes, bytes] | None":
    """pandas' own types of the columns, but all of them as columns."""
    if not metadata or _PANDAS not in metadata:
        return metadata
    content = json.loads(metadata[_PANDAS]) | {"index_columns": []}
    return metadata | {_PANDAS: json.dumps(content).encode()}
