"""New data for a saved network: one row out for each row in, in order, in blocks."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tuner.data.readers import find_source
from tuner.data.readers.delimited import read_delimited
from tuner.data.readers.parquet import read_parquet
from tuner.preparation.kinds import Task
from tuner.preparation.preparation import Preparation
from tuner.settings import Settings

if TYPE_CHECKING:
    import pandas as pd

TargetValues = npt.NDArray[np.int32] | npt.NDArray[np.float64]


class RowBlock:
    """Some rows, one after the other.

    `rows`: what `Preparation.prepare` takes, a DataFrame or an array (n, …). `index`: the index
    columns of the input, as text or numbers; None where it has none.
    """

    def __init__(
        self,
        rows: Any,
        index: "pd.DataFrame | None" = None,
        target: TargetValues | Callable[[], TargetValues] | None = None,
    ) -> None:
        self.rows, self.index, self._target = rows, index, target

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def target(self) -> TargetValues | None:
        """(n,): int32 numbers of the labels, or float64 values; None where the data have none.

        Encoded when it is asked for, so that a target that cannot be read harms nobody who ignores
        it. Raises DatasetError for gaps and for labels that the network does not know.
        """
        if callable(self._target):
            self._target = self._target()
        return self._target


@dataclass(frozen=True, eq=False)
class LaterRows:
    """Rows of a file or a known data set.

    `source` begins every message about them. `notes`: a line on each decision of the reader, and
    on columns that are ignored. `count`: the number of rows, None where it is not known before
    they are read. `target`: the name of the target; None where the data have none.
    """

    source: str
    read: Callable[[], Iterator[RowBlock]]
    notes: tuple[str, ...] = ()
    count: int | None = None
    target: str | None = None

    def blocks(self) -> Iterator[RowBlock]:
        """The rows in order, a few MB at a time. Raises DatasetError, with the row, for what cannot
        be read."""
        return self.read()


def open_rows(
    text: str,
    preparation: Preparation,
    settings: Settings,
    task: Task,
    labels: Sequence[str],
) -> LaterRows:
    """The rows that `text` names, as `--data` does; a word after a file's colon names the target.

    Raises DatasetError for data that cannot be found or read, or that are not what the network
    takes.
    """
    source = find_source(text, settings)[0]
    assert source.path is not None
    read = read_parquet if source.path.suffix == ".parquet" else read_delimited
    table = read(source.path)
    name = source.selector or preparation.target
    frame = table.frame
    target = None
    if name in frame.columns:
        values = frame[name].astype(str).to_numpy()
        if task == "regression":
            target = frame[name].to_numpy(np.float64)
        else:
            numbers = {label: i for i, label in enumerate(labels)}
            target = np.array([numbers[each] for each in values], np.int32)
        frame = frame.drop(columns=name)
    return LaterRows(
        str(source.path),
        lambda: iter([RowBlock(frame, None, target)]),
        table.notes,
        len(frame),
        name if target is not None else None,
    )
