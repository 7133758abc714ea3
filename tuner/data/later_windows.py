"""Later rows of a table as windows: a forecast for each row that has enough rows before it."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from tuner.data.later_target import encode_later_target
from tuner.data.row_blocks import LaterRows, RowBlock, RowRequest
from tuner.errors import DatasetError

if TYPE_CHECKING:
    import pandas as pd


def window_rows(
    read: "Callable[[], Iterable[pd.DataFrame]]",
    target: str | None,
    request: RowRequest,
    source: str,
    notes: Sequence[str] = (),
) -> LaterRows:
    """The windows of a table, by series and time. Their index is the time, and the series, of the
    row in which each ends; their target what follows it, NaN where the table ends before. The whole
    table is read at once: windows need rows that lie apart."""
    rule = request.preparation.window
    assert rule is not None

    def blocks() -> "Iterator[RowBlock]":
        import pandas as pd

        frames = list(read())
        if not frames:
            raise DatasetError(f"{source}: holds no rows")
        frame = pd.concat(frames, ignore_index=True)
        windows = request.preparation.find_windows(frame, source)
        index = frame[list(rule.beside)].iloc[windows.ends] if rule.beside else None
        values = None
        if target is not None:
            values = windows.behind(encode_later_target(frame[target], request, source))
        for start in range(0, len(windows.starts), request.rows_at_once):
            some = slice(start, start + request.rows_at_once)
            yield RowBlock(
                windows.windows(some),
                None if index is None else index.iloc[some],
                None if values is None else values[some],
                start,
            )

    note = f"a forecast for each row that has {rule.steps - 1} rows before it"
    return LaterRows(source, blocks, (*notes, note), None, target)
