"""Later rows of Parquet files, read in batches."""

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from tuner.data.later_tables import choose_columns, table_rows
from tuner.data.raw import dataset_errors
from tuner.data.readers.parquet import refuse_same_names
from tuner.data.readers.reader import Source
from tuner.data.row_blocks import LaterRows, Wanted

if TYPE_CHECKING:
    import pandas as pd

_CELLS_AT_ONCE = 2**20
_MOST_ROWS = 2**16
_PANDAS = b"pandas"


def open_parquet(source: Source, wanted: Wanted) -> LaterRows:
    """Raises DatasetError for a broken file, and as `choose_columns`."""
    from pyarrow import parquet

    assert source.path is not None
    path = str(source.path)
    with dataset_errors(path):
        file = parquet.ParquetFile(source.path)
        names = list(file.schema_arrow.names)
        refuse_same_names(names, source.path)
        chosen = choose_columns(names, wanted, path, source.selector, _saved_index(file))
        count = file.metadata.num_rows
    return table_rows(lambda: _frames(file, chosen.names, path), chosen, wanted, path, (), count)


def _saved_index(file: Any) -> list[str]:
    """The columns that were the index of the frame that pandas saved."""
    content = (file.schema_arrow.metadata or {}).get(_PANDAS)
    if content is None:
        return []
    saved = json.loads(content).get("index_columns", [])
    return [name for name in saved if isinstance(name, str) and name in file.schema_arrow.names]


def _frames(file: Any, names: tuple[str, ...], path: str) -> "Iterator[pd.DataFrame]":
    import pandas as pd
    import pyarrow as pa

    rows, at_once = 0, max(1, min(_MOST_ROWS, _CELLS_AT_ONCE // max(1, len(names))))
    with dataset_errors(path):
        for batch in file.iter_batches(at_once, columns=list(names)):
            table = pa.Table.from_batches([batch])
            frame = table.replace_schema_metadata(_without_index(table.schema.metadata)).to_pandas()
            frame = frame[list(names)]
            frame.index = pd.RangeIndex(rows, rows + len(frame))
            rows += len(frame)
            yield frame


def _without_index(metadata: "dict[bytes, bytes] | None") -> "dict[bytes, bytes] | None":
    """pandas' own types of the columns, but all of them as columns."""
    if not metadata or _PANDAS not in metadata:
        return metadata
    content = json.loads(metadata[_PANDAS]) | {"index_columns": []}
    return metadata | {_PANDAS: json.dumps(content).encode()}
