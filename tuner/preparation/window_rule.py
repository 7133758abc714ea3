"""Windows over the rows of a table: in which order the rows are, and where windows begin."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tuner.errors import DatasetError
from tuner.preparation.cells import Cells, read_cells
from tuner.preparation.text_columns import UnclearColumn, infer_column

if TYPE_CHECKING:  # pandas takes half a second to import: only tables pay it
    import pandas as pd

Numbers = npt.NDArray[np.intp]


@dataclass(frozen=True)
class WindowRule:
    """A row of x is `steps` rows of a table, one after the other; y the next `horizon` values of
    the column `target`. `time`: the column that orders the rows; None for their own order.
    `series`: the column that tells several series apart."""

    steps: int
    horizon: int
    target: str
    time: str | None = None
    series: str | None = None

    @property
    def beside(self) -> tuple[str, ...]:
        """The columns that a table needs beside the channels."""
        return tuple(name for name in (self.series, self.time) if name is not None)

    @classmethod
    def from_json(cls, content: Mapping[str, Any] | None) -> "WindowRule | None":
        return None if content is None else cls(**content)


@dataclass(frozen=True, eq=False)
class OrderedRows:
    """The rows of a table by series and time: their numbers in `order`, and in that order the
    number of the series and the time of each."""

    order: Numbers
    series: npt.NDArray[np.int64]
    times: npt.NDArray[Any]

    def starts(self, chosen: npt.NDArray[np.bool_], length: int) -> Numbers:
        """Where windows of `length` rows begin, counted among the `chosen` rows alone: each lies in
        one series."""
        of_series = self.series[chosen]
        count = len(of_series) - length + 1
        if count <= 0:
            return np.empty(0, np.intp)
        return np.flatnonzero(of_series[:count] == of_series[length - 1 :])


def order_rows(
    rows: int, series: Cells | None, times: Cells | None, names: WindowRule, source: str
) -> OrderedRows:
    """Raises DatasetError for a time or a series that misses values, and a time of texts."""
    numbers = np.zeros(rows, np.int64)
    if series is not None:
        _refuse_gaps(series, f"{source}: the series {names.series!r}")
        if series.form == "texts":
            rank = np.argsort(np.argsort(np.array(series.texts, np.str_)))
            numbers = rank[series.values].astype(np.int64)
        else:
            numbers = np.unique(series.values, return_inverse=True)[1].astype(np.int64)
    of_time: npt.NDArray[Any] = np.arange(rows)
    if times is not None:
        if times.form == "texts":
            raise DatasetError(
                f"{source}: the time {names.time!r} holds texts such as {times.texts[0]!r}, which "
                "have no order; write dates as 2025-12-31 or numbers"
            )
        _refuse_gaps(times, f"{source}: the time {names.time!r}")
        of_time = times.values
    order = np.lexsort((np.arange(rows), of_time, numbers))
    return OrderedRows(order, numbers[order], of_time[order])


def read_ordered_cells(series: "pd.Series[Any]") -> Cells:
    """A column of times, or of names of series, by what it holds."""
    cells = read_cells(series)
    if cells.form != "texts" or not cells.texts:
        return cells
    try:
        return infer_column(str(series.name), cells).cells
    except UnclearColumn:  # more names than categories may have
        return cells


def _refuse_gaps(cells: Cells, what: str) -> None:
    gaps = cells.gaps()
    if gaps.any():
        raise DatasetError(
            f"{what} is missing in {int(gaps.sum())} rows (first: row {int(gaps.argmax()) + 1}); "
            "fill or remove them"
        )


def windows_at(base: npt.NDArray[Any], starts: Numbers, steps: int) -> npt.NDArray[Any]:
    """(n, steps, channels): the windows of `base` (rows, channels) that begin at `starts`."""
    return base[starts[:, np.newaxis] + np.arange(steps)]


@dataclass(frozen=True, eq=False)
class WindowedTable:
    """`base` (rows, channels): the rows of a table in their order; windows begin at `starts`."""

    base: npt.NDArray[Any]
    starts: npt.NDArray[np.intp]
    ordered: OrderedRows
    rule: WindowRule
    findings: Any

    @property
    def ends(self) -> npt.NDArray[np.intp]:
        """The number of the row of the table in which each window ends."""
        return self.ordered.order[self.starts + self.rule.steps - 1]

    def windows(self, chosen: slice = slice(None)) -> npt.NDArray[Any]:
        """(n, steps, channels): some of the windows."""
        return windows_at(self.base, self.starts[chosen], self.rule.steps)

    def behind(self, values: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """The values of rows (rows,) that follow each window: (n, horizon), or (n,) for one. NaN
        where the series has ended."""
        places = self.starts[:, np.newaxis] + self.rule.steps + np.arange(self.rule.horizon)
        inside = np.minimum(places, len(self.base) - 1)
        of_series = self.ordered.series
        exists = (places < len(self.base)) & (
            of_series[inside] == of_series[self.starts][:, np.newaxis]
        )
        following = np.where(exists, values[self.ordered.order][inside], np.nan)
        return following[:, 0] if self.rule.horizon == 1 else following
