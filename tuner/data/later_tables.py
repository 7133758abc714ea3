"""Tables for a saved network: which of their columns are rows, index and target."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from tuner.data.later_target import encode_later_target, encode_later_targets
from tuner.data.later_windows import window_rows
from tuner.data.readers.reader import selected_columns
from tuner.data.row_blocks import LaterRows, RowBlock, RowRequest, TargetValues
from tuner.errors import DatasetError
from tuner.preparation.cells import first_row_of, has_index_name
from tuner.values import join_names, suggest_names

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class ChosenColumns:
    """Of a table: the columns that the network takes (`rows`), those given back as the `index`, and
    the `target`, or several `targets`; a line on each decision."""

    rows: tuple[str, ...]
    index: tuple[str, ...] = ()
    target: str | None = None
    notes: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """All of them, each once."""
        target = () if self.target is None else (self.target,)
        return tuple(dict.fromkeys((*self.index, *self.rows, *target, *self.targets)))


def choose_columns(
    names: Sequence[str],
    request: RowRequest,
    source: str,
    target: str = "",
    saved_index: Sequence[str] = (),
) -> ChosenColumns:
    """The columns of a table with these names. `target`: its target, where that has another name
    than in training. `saved_index`: columns that are known to be the index.

    The index is the first column if the network does not take it, such as an id. Raises
    DatasetError as `Preparation.choose_columns`, and for a target that is not there.
    """
    preparation, several = request.preparation, request.target_columns
    if several and set(selected_columns(target, names)) == set(several):
        target = ""  # they are found by their names anyway
    _check_target(target, several, names, source)
    target = target or preparation.target or ""
    index = tuple(name for name in saved_index if name not in preparation.names)
    first = names[0] if names else ""
    if not index and names and first not in (*preparation.names, target, *several):
        # Where a column is missing, the first one may be it under another name.
        has_all = preparation.names and set(preparation.names) <= set(names)
        if has_all or has_index_name(first) or first in preparation.ignored:
            index = (first,)
    others = [name for name in names if name not in index]
    with_target = target in others
    if with_target and target not in preparation.names:
        others.remove(target)
    rows, notes = preparation.choose_columns(others, source)
    # What is said of the chosen columns alone is said again when they are prepared.
    said_later = preparation.choose_columns(rows, source)[1]
    notes = [note for note in notes if note not in said_later]
    targets = several if set(several) <= set(names) else ()
    chosen_target = target if with_target else None
    return ChosenColumns(tuple(rows), index, chosen_target, tuple(notes), targets)


def _check_target(target: str, several: Sequence[str], names: Sequence[str], source: str) -> None:
    """`several`: the targets of a network that has more than one, which it finds by their names."""
    if several and target:
        raise DatasetError(
            f"{source}: the network has several targets; it looks for them by their names, "
            f"{join_names(several)}: leave {target!r} out"
        )
    if target and target not in names:
        raise DatasetError(
            f"{source}: no column {target!r}{suggest_names(target, names)}; it has "
            f"{join_names(names)}"
        )


def table_rows(
    read: Callable[[], Iterable["pd.DataFrame"]],
    chosen: ChosenColumns,
    request: RowRequest,
    source: str,
    notes: Sequence[str] = (),
    count: int | None = None,
) -> LaterRows:
    """Later rows of a table. `read`: its chosen columns in frames, whose indices count the rows of
    the whole table. Of many features a block has fewer rows than a frame."""
    if request.preparation.window is not None:
        return window_rows(read, chosen.target, request, source, (*notes, *chosen.notes))

    def blocks() -> Iterator[RowBlock]:
        at_once = request.rows_at_once
        for frame in read():
            for start in range(0, len(frame), at_once):
                yield table_block(frame.iloc[start : start + at_once], chosen, request, source)

    named = ",".join(chosen.targets) or chosen.target
    return LaterRows(source, blocks, (*notes, *chosen.notes), count, named)


def table_block(
    frame: "pd.DataFrame", chosen: ChosenColumns, request: RowRequest, source: str
) -> RowBlock:
    target: Callable[[], TargetValues] | None = None
    if chosen.targets:
        target = partial(encode_later_targets, frame[list(chosen.targets)], request, source)
    elif chosen.target is not None:
        target = partial(encode_later_target, frame[chosen.target], request, source)
    index = frame[list(chosen.index)] if chosen.index else None
    return RowBlock(frame[list(chosen.rows)], index, target, first_row_of(frame))
