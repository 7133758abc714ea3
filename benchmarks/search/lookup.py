"""The learning curve of any configuration, read from a table of some."""

from collections.abc import Callable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from benchmarks.search.spaces import Params, TableSpace
from benchmarks.search.tables import CurveTable


class Lookup(Protocol):
    """Equal configurations have equal curves."""

    def curve(self, params: Params) -> NDArray[np.float64]:
        """The values after each epoch, shape (max_epochs,), to be minimised; NaN from the epoch on
        in which the trial diverges."""

    def seconds(self, params: Params) -> float:
        """How long an epoch takes; 1 where the table does not say."""


class NearestNeighbour:
    """The curve of the table's nearest configuration, each parameter scaled to [0, 1]. Another
    choice, and a parameter that applies to one of the two alone, count as the whole range."""

    def __init__(self, table: CurveTable) -> None:
        self._table = table
        self._points = np.array([indicators(table.space, c) for c in table.configurations])

    def curve(self, params: Params) -> NDArray[np.float64]:
        return self._table.curves[self.index(params)]

    def seconds(self, params: Params) -> float:
        seconds = self._table.seconds
        return 1.0 if seconds is None else float(seconds[self.index(params)])

    def index(self, params: Params) -> int:
        """The row of the nearest configuration."""
        distances = ((self._points - indicators(self._table.space, params)) ** 2).sum(axis=1)
        return int(distances.argmin())


# Two indicator columns differ where two choices do: together they count as the whole range, 1.
_HALF = np.sqrt(0.5)


def indicators(space: TableSpace, params: Params) -> NDArray[np.float64]:
    """A configuration as numbers, whose squared distances are comparable: a place for each number,
    a column for each choice. A number that does not apply is two columns away from one that does.
    """
    columns: list[float] = []
    for parameter, place in zip(space.parameters, space.places(params), strict=True):
        missing = bool(np.isnan(place))
        if parameter.kind == "categorical":
            chosen = None if missing else params[parameter.name]
            columns += [_HALF * (choice == chosen) for choice in parameter.choices]
            columns.append(_HALF * missing)
        else:
            columns += [0.5 if missing else place, float(missing)]
    return np.array(columns)


LOOKUPS: dict[str, Callable[[CurveTable], Lookup]] = {"nearest": NearestNeighbour}
