"""95 % intervals by the bootstrap (Efron, 1979): how much a figure would vary with other rows.

Rows are drawn with replacement, as many as there are, without regard to their class: also how
common a class is varies from one set of rows to another.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

Method = Literal["BCa", "normal"]
_Floats = npt.NDArray[np.float64]
# From weights (b, n) to figures by name, (b,) each: how often row i counts is weights[:, i].
Figures = Callable[[_Floats], Mapping[str, _Floats]]

LEVEL = 0.95
# Seconds: a curve over 10 000 rows and 10 classes is resampled 2000 times within this.
_CELLS = 200_000_000
# A standard error needs no more (Efron and Tibshirani, 1993), the ends of an interval do.
_FEWEST = 100
_ENOUGH_FOR_BCA = 1_000
_CELLS_AT_ONCE = 2**17
_GROUPS = 200
_NORMAL = NormalDist()


class Interval(NamedTuple):
    """`low`, `high`: None where the figure has no interval. `undefined`: in how many of the
    resamples it had no value; they are left out."""

    low: float | None
    high: float | None
    undefined: int = 0


@dataclass(frozen=True)
class Resampling:
    """How intervals are made: from `count` resamples of `rows` rows, by `method`.

    "BCa": bias-corrected and accelerated (Efron, 1987), the acceleration from a jackknife that
    leaves out each row, or each of 200 groups of rows. "normal": the value and 1.96 standard errors
    to both sides, from fewer resamples, for many rows: there figures are close to normal.
    """

    rows: int
    count: int
    seed: int

    @classmethod
    def plan(cls, rows: int, columns: int, count: int, seed: int) -> "Resampling":
        """At most `count` resamples; fewer for many rows and columns of outputs."""
        affordable = _CELLS // max(1, rows * columns)
        return cls(rows, min(count, max(_FEWEST, affordable)), seed)

    @property
    def method(self) -> Method:
        return "BCa" if self.count >= _ENOUGH_FOR_BCA else "normal"

    def intervals(self, figures: Figures, values: Mapping[str, float]) -> dict[str, Interval]:
        """Of each figure. `values`: those of the rows themselves, all finite. Equal seeds give
        equal intervals."""
        if self.rows < 2:
            return dict.fromkeys(values, Interval(None, None))
        resampled = _evaluate(figures, self._draws())
        left_out = _evaluate(figures, self._without_groups()) if self.method == "BCa" else {}
        return {
            name: _interval(value, resampled[name], left_out.get(name))
            for name, value in values.items()
        }

    def _draws(self) -> Iterator[_Floats]:
        """Weights (b, rows) of resamples, in blocks."""
        generator = np.random.default_rng(self.seed)
        for size in self._blocks(self.count):
            drawn = generator.integers(0, self.rows, (size, self.rows))
            drawn += np.arange(size)[:, np.newaxis] * self.rows
            weights = np.bincount(drawn.ravel(), minlength=size * self.rows)
            yield weights.reshape(size, self.rows).astype(np.float64)

    def _without_groups(self) -> Iterator[_Floats]:
        """Weights (b, rows) of all rows but one group, in blocks."""
        groups = min(self.rows, _GROUPS)
        shuffled = np.random.default_rng(self.seed).permutation(self.rows)
        group_of = np.empty(self.rows, np.intp)
        group_of[shuffled] = np.arange(self.rows) % groups
        first = 0
        for size in self._blocks(groups):
            numbers = np.arange(first, first + size)
            yield (group_of != numbers[:, np.newaxis]).astype(np.float64)
            first += size

    def _blocks(self, count: int) -> Iterator[int]:
        size = max(1, _CELLS_AT_ONCE // self.rows)
        for start in range(0, count, size):
            yield min(size, count - start)


def _evaluate(figures: Figures, blocks: Iterator[_Floats]) -> dict[str, _Floats]:
    parts = [figures(weights) for weights in blocks]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _interval(value: float, resampled: _Floats, left_out: _Floats | None) -> Interval:
    defined = resampled[np.isfinite(resampled)]
    undefined = len(resampled) - len(defined)
    if 2 * len(defined) < len(resampled):
        return Interval(None, None, undefined)
    if left_out is None:
        margin = _NORMAL.inv_cdf(0.5 + LEVEL / 2) * float(defined.std(ddof=1))
        return Interval(value - margin, value + margin, undefined)
    low, high = np.quantile(defined, _bca_levels(value, defined, left_out))
    return Interval(float(low), float(high), undefined)


def _bca_levels(value: float, resampled: _Floats, left_out: _Floats) -> tuple[float, float]:
    """Which quantiles of the resampled values are the interval's ends (Efron, 1987)."""
    below = float((resampled < value).sum() + (resampled <= value).sum()) / (2 * len(resampled))
    # All on one side: half a resample is the least that can be told from none.
    edge = 0.5 / len(resampled)
    bias = _NORMAL.inv_cdf(min(max(below, edge), 1.0 - edge))
    acceleration = _acceleration(left_out)
    levels = []
    for level in (0.5 - LEVEL / 2, 0.5 + LEVEL / 2):
        shifted = bias + _NORMAL.inv_cdf(level)
        levels.append(_NORMAL.cdf(bias + shifted / (1.0 - acceleration * shifted)))
    return levels[0], levels[1]


def _acceleration(left_out: _Floats) -> float:
    """0 where leaving out rows changes nothing, or leaves a figure without a value."""
    if not np.isfinite(left_out).all():
        return 0.0
    influence = left_out.mean() - left_out
    squares = float((influence**2).sum())
    return float((influence**3).sum()) / (6.0 * squares**1.5) if squares > 0 else 0.0


def of_repeated_rows(
    function: Callable[[npt.NDArray[np.intp]], float], weights: _Floats
) -> _Floats:
    """A function of row numbers, called once for each weighting (b, n): slow, but any will do."""
    rows = np.arange(weights.shape[1])
    values = [function(np.repeat(rows, each.astype(np.intp))) for each in weights]
    return np.array(values, np.float64)
