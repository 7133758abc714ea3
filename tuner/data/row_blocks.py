"""Rows for a saved network, in blocks: one row out for each row in, in order."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tuner.errors import DatasetError
from tuner.preparation.kinds import Task
from tuner.preparation.predictions import Head, count_rows
from tuner.preparation.preparation import Preparation
from tuner.settings import Settings

if TYPE_CHECKING:
    import pandas as pd

_MOST_VALUES = 2**23
# (n,) int32 or float64; (n, k) of several values or labels; dicts of such of several heads.
TargetValues = Any


@dataclass(frozen=True)
class RowRequest:
    """What a network takes, and how its target is encoded: see `NetworkDescription`. `targets`: its
    heads, or the only one."""

    preparation: Preparation
    task: Task
    labels: tuple[str, ...]
    settings: Settings
    targets: tuple[Head, ...] = ()

    @property
    def target_columns(self) -> tuple[str, ...]:
        """The columns that hold several targets; none for a single one."""
        columns = tuple(name for head in self.targets for name in head.target_columns)
        return columns if len(columns) > 1 else ()

    @property
    def rows_at_once(self) -> int:
        """The most rows of a block: prepared, they are some 32 MB."""
        return max(1, _MOST_VALUES // max(1, self.preparation.row_values))


class RowBlock:
    """Some rows, one after the other.

    `rows`: what `Preparation.prepare` takes, a DataFrame or an array (n, …). `index`: the index
    columns of the input under their names; None where it has none. `first_row`: how many rows come
    before these.
    """

    def __init__(
        self,
        rows: Any,
        index: "pd.DataFrame | None" = None,
        target: TargetValues | Callable[[], TargetValues] | None = None,
        first_row: int = 0,
    ) -> None:
        self.rows, self.index, self.first_row = rows, index, first_row
        self._target = target

    def __len__(self) -> int:
        return count_rows(self.rows)

    @property
    def target(self) -> TargetValues | None:
        """(n,): int32 numbers of the labels, or float64 values; (n, k) of several values or labels,
        a dict of several heads; None where the data have none.

        It is encoded when it is asked for, so that predictions need not care what it holds. Raises
        DatasetError for gaps, and for labels that the network does not know.
        """
        if callable(self._target):
            self._target = self._target()
        return self._target


@dataclass(frozen=True, eq=False)
class LaterRows:
    """Rows of a file, a folder or a known data set.

    `source` begins every message about them. `notes`: a line on each decision of the reader, and
    on columns that the network does not take. `count`: the number of rows, None where it is known
    only once they are read. `target`: the name of the target, None where the data have none.
    """

    source: str
    read_blocks: Callable[[], Iterator[RowBlock]]
    notes: tuple[str, ...] = ()
    count: int | None = None
    target: str | None = None

    def blocks(self) -> Iterator[RowBlock]:
        """The rows in order, a few MB at a time, none of them empty. Raises DatasetError, with the
        row, for what cannot be read, and where there are no rows."""
        any_rows = False
        for block in self.read_blocks():
            if len(block):
                any_rows = True
                yield block
        if not any_rows:
            raise DatasetError(f"{self.source}: holds no rows")
