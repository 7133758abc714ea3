"""Several arrays of rows under names: the inputs or the targets of data that have several."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from tuner.data.rows import AnyRows, Features, Indices, join_rows, rows_per_block
from tuner.errors import DatasetError


class NamedRows:
    """Name → rows (n, ...), all with the same n. Indexed by rows alike: `named[2:5]` and
    `named[numbers]` are NamedRows of these rows. Raises DatasetError for unequal row counts."""

    def __init__(self, parts: Mapping[str, AnyRows]) -> None:
        self.parts = dict(parts)
        counts = {name: len(rows) for name, rows in self.parts.items()}
        if len(set(counts.values())) != 1:
            lengths = ", ".join(f"{name!r} {count}" for name, count in counts.items())
            raise DatasetError(f"inputs and targets need equal numbers of rows, got {lengths}")

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.parts)

    @property
    def size(self) -> int:
        """How many values all arrays hold."""
        return sum(rows.size for rows in self.parts.values())

    @property
    def nbytes(self) -> int:
        return sum(rows.nbytes for rows in self.parts.values())

    @property
    def row_shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of a row of each."""
        return {name: tuple(map(int, rows.shape[1:])) for name, rows in self.parts.items()}

    def __len__(self) -> int:
        return len(next(iter(self.parts.values())))

    def __getitem__(self, rows: "slice | Sequence[int] | Indices") -> "NamedRows":
        return NamedRows({name: part[rows] for name, part in self.parts.items()})

    def map(self, change: Callable[[AnyRows], AnyRows]) -> "NamedRows":
        """Each array changed by a function."""
        return NamedRows({name: change(part) for name, part in self.parts.items()})

    def arrays(self) -> dict[str, Features]:
        """Name → the rows in memory."""
        return {name: np.asarray(part) for name, part in self.parts.items()}


SplitRows = AnyRows | NamedRows


def named_parts(rows: SplitRows) -> dict[str, AnyRows]:
    """The arrays by name; a single one is named ""."""
    return rows.parts if isinstance(rows, NamedRows) else {"": rows}


def take_arrays(rows: SplitRows) -> Any:
    """The rows in memory: an array, or a dict of arrays where there are names."""
    return rows.arrays() if isinstance(rows, NamedRows) else np.asarray(rows)


def map_rows(rows: SplitRows, change: Callable[[AnyRows], AnyRows]) -> SplitRows:
    """Rows changed by a function, each of several ones."""
    return rows.map(change) if isinstance(rows, NamedRows) else change(rows)


def join_split_rows(parts: Sequence[SplitRows]) -> SplitRows:
    """Rows of the same names, shapes and dtypes, one after the other."""
    first = parts[0]
    if not isinstance(first, NamedRows):
        return join_rows(list(parts))  # type: ignore[arg-type]
    named = [named_parts(part) for part in parts]
    return NamedRows({name: join_rows([part[name] for part in named]) for name in first.names})


def split_row_blocks(rows: SplitRows) -> Iterator[Any]:
    """The rows in blocks of a few MB: arrays, or dicts of arrays where there are names."""
    shapes = [part.shape for part in named_parts(rows).values()]
    size = min(map(rows_per_block, shapes)) if len(shapes) > 1 else rows_per_block(shapes[0])
    for start in range(0, len(rows), size):
        yield take_arrays(rows[start : start + size])
