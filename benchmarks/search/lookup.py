"""The learning curve of any configuration, read from a table of some."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from benchmarks.search.spaces import Params, Scalar, TableSpace
from benchmarks.search.tables import CurveTable


class Lookup(Protocol):
    """Equal configurations have equal curves. `table`: the configurations with whose scores a
    search's are compared; its curves are those that `curve` gives for them."""

    @property
    def table(self) -> CurveTable: ...

    def curve(self, params: Params) -> NDArray[np.float64]:
        """The values after each epoch, shape (max_epochs,), to be minimised; NaN from the epoch on
        in which the trial diverges."""

    def curves(self, configurations: Sequence[Params]) -> NDArray[np.float64]:
        """Of several at once, shape (configurations, max_epochs)."""

    def seconds(self, params: Params) -> float:
        """How long an epoch takes; 1 where the table does not say."""

    def for_run(self) -> "Lookup":
        """The lookup for another run: itself, unless it keeps something of a run."""


class NearestNeighbour:
    """The curve of the table's nearest configuration, each parameter scaled to [0, 1]. Another
    choice, and a parameter that applies to one of the two alone, count as the whole range."""

    def __init__(self, table: CurveTable) -> None:
        self.table = table
        self._points = np.array([indicators(table.space, c) for c in table.configurations])

    def curve(self, params: Params) -> NDArray[np.float64]:
        return self.table.curves[self.index(params)]

    def curves(self, configurations: Sequence[Params]) -> NDArray[np.float64]:
        return np.array([self.curve(params) for params in configurations])

    def seconds(self, params: Params) -> float:
        seconds = self.table.seconds
        return 1.0 if seconds is None else float(seconds[self.index(params)])

    def for_run(self) -> Lookup:
        return self

    def index(self, params: Params) -> int:
        """The row of the nearest configuration."""
        return int(self.distances(params).argmin())

    def distances(self, params: Params) -> NDArray[np.float64]:
        """Squared, to each configuration of the table, shape (n,)."""
        return ((self._points - indicators(self.table.space, params)) ** 2).sum(axis=1)


class UnusedNeighbour(NearestNeighbour):
    """The nearest configuration that no other trial of the run has had; once all are used, all are
    free again. So no two trials tie, as they do not in trainings.

    By the nearest alone, half of the trials that TPE begins on TaskSet repeat a row (8 parameters,
    1000 rows: a cell is wide), tie with it on each rung, and are not pruned."""

    def __init__(self, table: CurveTable) -> None:
        super().__init__(table)
        self._rows: dict[tuple[tuple[str, Scalar], ...], int] = {}
        self._used = np.zeros(len(table.configurations), dtype=bool)

    def for_run(self) -> "UnusedNeighbour":
        return UnusedNeighbour(self.table)

    def index(self, params: Params) -> int:
        """Equal configurations have the same row."""
        key = tuple(sorted(params.items()))
        if key not in self._rows:
            if self._used.all():
                self._used[:] = False
            distances = np.where(self._used, np.inf, self.distances(params))
            self._rows[key] = int(distances.argmin())
            self._used[self._rows[key]] = True
        return self._rows[key]


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


TREES = 60
REFERENCE_CONFIGURATIONS = 2000
_COMPONENTS = 8
_LEAST_RANK = 0.01
_AT_ONCE = 200


class Forest:
    """The mean of the curves with which a configuration shares leaves of extremely randomised trees
    (Geurts et al., 2006), which grow on the table until each leaf holds one configuration. So each
    configuration of the table has its own curve.

    Means are taken of the logarithms of ranks among all values of the table, since losses have no
    bound: 0.01 more than the rank, which is exact enough among the best and not ruled by them.

    A mean of curves is seldom as good as the best of them. Therefore a search is not compared with
    the table's configurations, but with 2000 random ones of the space, as the trees see them.
    """

    def __init__(self, table: CurveTable) -> None:
        from sklearn.ensemble import ExtraTreesRegressor  # 1 s, which other lookups do not need

        self._space = table.space
        self._values = np.sort(table.curves[np.isfinite(table.curves)])
        self._log_ranks, self._diverged = self._ranked(table.curves)
        self._seconds = np.ones(len(table.curves)) if table.seconds is None else table.seconds
        points = np.array([indicators(table.space, c) for c in table.configurations], np.float32)
        forest = ExtraTreesRegressor(TREES, random_state=0).fit(points, self._grown_on().squeeze())
        self._trees = [grown.tree_ for grown in forest.estimators_]
        # For each tree the leaf of each configuration of the table, shape (trees, n).
        self._leaves = np.array([tree.apply(points) for tree in self._trees])
        self._measured = table

    @cached_property
    def table(self) -> CurveTable:
        """Random configurations, which a search's are compared with."""
        random = np.random.default_rng(0)
        drawn = [self._space.sample(random) for _ in range(REFERENCE_CONFIGURATIONS)]
        return replace(
            self._measured, configurations=tuple(drawn), curves=self.curves(drawn), seconds=None
        )

    def curve(self, params: Params) -> NDArray[np.float64]:
        return self.curves([params])[0]

    def for_run(self) -> Lookup:
        return self

    def curves(self, configurations: Sequence[Params]) -> NDArray[np.float64]:
        # Weights of all at once would fill the memory, where a table is large.
        starts = range(0, len(configurations), _AT_ONCE)
        return np.concatenate([self._curves(configurations[i : i + _AT_ONCE]) for i in starts])

    def _curves(self, configurations: Sequence[Params]) -> NDArray[np.float64]:
        weights = self._weights(configurations)
        ranks = np.exp(weights @ self._log_ranks) - _LEAST_RANK
        places = np.clip(ranks, 0.0, 1.0) * (len(self._values) - 1)
        curves = np.interp(places, np.arange(len(self._values)), self._values)
        return np.where(weights @ self._diverged > 0.5, np.nan, curves)

    def seconds(self, params: Params) -> float:
        return float((self._weights([params]) @ self._seconds)[0])

    def _weights(self, configurations: Sequence[Params]) -> NDArray[np.float64]:
        """How much each of the table's n configurations counts, shape (configurations, n), each
        row 1 in all."""
        points = np.array([indicators(self._space, c) for c in configurations], np.float32)
        weights = np.zeros((len(points), self._leaves.shape[1]))
        for tree, leaves in zip(self._trees, self._leaves, strict=True):
            shared = tree.apply(points)[:, None] == leaves[None, :]
            weights += shared / shared.sum(axis=1, keepdims=True)
        return weights / len(self._trees)

    def _ranked(self, curves: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """The logarithms of ranks, the worst where a trial has diverged; and where it has."""
        diverged = np.isnan(curves)
        known = np.where(diverged, self._values[-1], curves)
        sides = [np.searchsorted(self._values, known, side) for side in ("left", "right")]
        ranks = (sides[0] + sides[1] - 1) / 2 / max(1, len(self._values) - 1)
        return np.log(ranks + _LEAST_RANK), diverged

    def _grown_on(self) -> NDArray[np.float64]:
        """What the trees split by, shape (n, components): the curves without most of their noise,
        since trees keep each output in each node."""
        centred = self._log_ranks - self._log_ranks.mean(axis=0)
        _, directions = np.linalg.eigh(centred.T @ centred)  # the largest variance last
        return np.asarray(centred @ directions[:, -_COMPONENTS:])


LOOKUPS: dict[str, Callable[[CurveTable], Lookup]] = {
    "nearest": NearestNeighbour,
    "unused": UnusedNeighbour,
    "forest": Forest,
}
