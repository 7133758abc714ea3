"""What is made of the runs: epochs to a target, regret at a budget, intervals, paired ratios.

Arrays of a method have one row a run: equal rows of two methods are the same table and seed.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.search.simulator import Course
from benchmarks.search.tables import CurveTable

SHARES = (0.05, 0.01, 0.005)
BUDGETS = (10, 25, 50, 100)
RESAMPLES = 2000
Floats = NDArray[np.float64]
Key = tuple[str, int]  # the table's name and the seed


@dataclass(frozen=True)
class Interval:
    """An estimate with its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Measured:
    """The runs of one method. `keys`: the table and seed of each row. `epochs`: the epochs to the
    best 5 %, 1 % and 0.5 %, shape (runs, len(SHARES)), inf where the budget ended first. `regrets`:
    shape (runs, len(BUDGETS)), NaN where the budget is smaller. `ask_ms`: shape (runs,), the
    method's CPU milliseconds for each trial that it started or continued."""

    keys: tuple[Key, ...]
    epochs: Floats
    regrets: Floats
    ask_ms: Floats


def measure(
    courses: Mapping[Key, Course], tables: Mapping[str, CurveTable], budget: int
) -> Measured:
    """`budget`: in whole trials."""
    keys = tuple(sorted(courses))
    epochs, regrets, ask_ms = [], [], []
    for key in keys:
        table, course = tables[key[0]], courses[key]
        limit = budget * table.max_epochs
        reached = [course.epochs_to(table.target(share)) for share in SHARES]
        epochs.append([math.inf if n is None or n > limit else n for n in reached])
        regrets.append(
            [
                table.regret(course.best_at(whole * table.max_epochs))
                if whole <= budget
                else math.nan
                for whole in BUDGETS
            ]
        )
        ask_ms.append(1000 * course.method_s / max(1, course.asks))
    return Measured(keys, np.array(epochs), np.array(regrets), np.array(ask_ms))


def interquartile_mean(values: Floats, axis: int = 0) -> Floats:
    """The mean of the middle half (Agarwal et al., 2021); a value at the border counts in part."""
    ordered = np.moveaxis(np.sort(values, axis=axis), axis, -1)
    count = ordered.shape[-1]
    ends = np.arange(count + 1)
    inside = np.minimum(ends[1:], 0.75 * count) - np.maximum(ends[:-1], 0.25 * count)
    weights = np.maximum(inside, 0.0)
    return np.asarray((ordered * weights).sum(axis=-1) / weights.sum())


def median(values: Floats, axis: int = 0) -> Floats:
    """Of censored times: inf counts as more than all others. The lower one of an even number, as
    the mean of a time and inf says nothing."""
    ordered = np.sort(values, axis=axis)
    return np.asarray(np.take(ordered, (values.shape[axis] - 1) // 2, axis=axis))


def resample_rows(keys: tuple[Key, ...], seed: int = 0, times: int = RESAMPLES) -> NDArray[np.intp]:
    """Rows to draw with replacement, shape (times, runs): within each table as many as it has, so
    that no table counts more in one sample than in another."""
    random = np.random.default_rng(seed)
    names = np.array([name for name, _ in keys])
    parts = []
    for name in dict.fromkeys(names):
        rows = np.flatnonzero(names == name)
        parts.append(rows[random.integers(0, len(rows), (times, len(rows)))])
    return np.concatenate(parts, axis=1)


def interval(
    keys: tuple[Key, ...], statistic: Callable[[NDArray[np.intp]], Floats], level: float = 0.95
) -> Interval:
    """The percentile bootstrap. `statistic`: of rows, shape (times, runs), one number a time."""
    everything = np.arange(len(keys))[None, :]
    samples = np.sort(statistic(resample_rows(keys)))
    # Not interpolated: between a time and inf there is nothing.
    low = samples[int((1 - level) / 2 * (len(samples) - 1))]
    high = samples[math.ceil((1 + level) / 2 * (len(samples) - 1))]
    return Interval(float(statistic(everything)[0]), float(low), float(high))


def median_epochs(measured: Measured, share: int) -> Interval:
    """`share`: its index in SHARES."""
    column = measured.epochs[:, share]
    return interval(measured.keys, lambda rows: median(column[rows], axis=1))


def mean_regret(measured: Measured, budget: int) -> Interval:
    """The interquartile mean over the runs. `budget`: its index in BUDGETS."""
    column = measured.regrets[:, budget]
    return interval(measured.keys, lambda rows: interquartile_mean(column[rows], axis=1))


def times_fewer(measured: Measured, baseline: Measured, share: int, limits: Floats) -> Interval:
    """How many times fewer epochs than the baseline, by the medians over the same tables and seeds.
    `limits`: the budget in epochs, by row. A time beyond it counts as the budget: the ratio is then
    a bound, too small where only the baseline's is, too large where only the method's is."""
    ours = np.minimum(measured.epochs[:, share], limits)
    theirs = np.minimum(baseline.epochs[:, share], limits)

    def ratio(rows: NDArray[np.intp]) -> Floats:
        return median(theirs[rows], axis=1) / median(ours[rows], axis=1)

    return interval(measured.keys, ratio)


def mean_paired_ratio(
    measured: Measured, baseline: Measured, share: int, limits: Floats
) -> Interval:
    """The geometric mean of the ratios of pairs: the same table and the same seed, censored as in
    `times_fewer`. Unlike medians over all tables it hides no table on which a method is slow."""
    ours = np.minimum(measured.epochs[:, share], limits)
    theirs = np.minimum(baseline.epochs[:, share], limits)
    logs = np.log(theirs / ours)
    return interval(measured.keys, lambda rows: np.exp(logs[rows].mean(axis=1)))
