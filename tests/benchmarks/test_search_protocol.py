"""The figures of the bench, against plain computations."""

import math

import numpy as np
import pytest
from curve_tables import mixed_table
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import trim_mean

from benchmarks.search import protocol
from benchmarks.search.protocol import Interval, Measured, measure
from benchmarks.search.simulator import Course

KEYS = tuple((table, seed) for table in ("a", "b") for seed in range(4))


def measured(times):
    epochs = np.tile(np.array(times, float)[:, None], (1, len(protocol.SHARES)))
    regrets = np.zeros((len(times), len(protocol.BUDGETS)))
    return Measured(KEYS, epochs, regrets, np.zeros(len(times)))


@given(st.lists(st.floats(-100, 100), min_size=1, max_size=10))
def test_interquartile_mean_of_a_multiple_of_four_is_the_trimmed_mean(values):
    four_times = np.repeat(np.array(values), 4)
    mean = float(protocol.interquartile_mean(np.array(values)))
    # Each value four times over has the same middle half, with whole values at its borders.
    assert mean == pytest.approx(trim_mean(four_times, 0.25), abs=1e-9)


def test_a_median_of_censored_times_is_one_of_them():
    times = np.array([[3.0, math.inf], [math.inf, math.inf], [5.0, 7.0]])
    assert protocol.median(times).tolist() == [5.0, math.inf]
    assert float(protocol.median(np.array([4.0, math.inf]))) == 4.0


def test_epochs_to_a_target_and_regret_stop_at_the_budget():
    table = mixed_table()
    best = float(table.ordered_scores[0])
    course = Course(epochs=[3, 40], scores=[table.target(0.05), best], asks=2, method_s=0.5)
    found = measure({(table.name, 0): course}, {table.name: table}, budget=4)
    assert found.epochs[0].tolist() == [3.0, math.inf, math.inf]
    assert found.regrets.shape == (1, 4) and np.isnan(found.regrets).all()
    found = measure({(table.name, 0): course}, {table.name: table}, budget=10)
    assert found.epochs[0].tolist() == [3.0, 40.0, 40.0]
    assert found.regrets[0, 0] == 0.0 and np.isnan(found.regrets[0, 1:]).all()
    assert found.ask_ms.tolist() == [250.0]


def test_times_fewer_is_the_ratio_of_medians_within_the_budget():
    limits = np.full(8, 100.0)
    ours, theirs = measured([10.0] * 8), measured([20.0] * 6 + [math.inf] * 2)
    assert protocol.times_fewer(ours, theirs, 1, limits) == Interval(2.0, 2.0, 2.0)
    # Pairs count each: six of ratio 2, two of at least 10.
    mean = protocol.mean_paired_ratio(ours, theirs, 1, limits)
    assert mean.value == pytest.approx((2.0**6 * 10.0**2) ** (1 / 8))
    assert mean.low < mean.value < mean.high


def test_a_method_is_as_fast_as_itself():
    same = measured([3, 8, 2, 9, math.inf, 30, 12, 50])
    for ratio in (protocol.times_fewer, protocol.mean_paired_ratio):
        assert ratio(same, same, 0, np.full(8, 60.0)) == Interval(1.0, 1.0, 1.0)


def test_samples_keep_the_number_of_runs_of_each_table():
    rows = protocol.resample_rows((*KEYS, ("c", 0)), times=50)
    assert rows.shape == (50, 9)
    assert ((rows[:, :4] < 4) & (rows[:, 4:8] >= 4) & (rows[:, 4:8] < 8)).all()
    assert (rows[:, 8] == 8).all() and len(np.unique(rows[:, 0])) == 4


def test_an_interval_narrows_with_the_runs():
    random = np.random.default_rng(0)

    def width(count):
        values = random.normal(10, 1, count)
        keys = tuple(("a", seed) for seed in range(count))
        found = protocol.interval(keys, lambda rows: values[rows].mean(axis=1))
        assert found.low < values.mean() < found.high
        return found.high - found.low

    # 95 % of a mean of n: 3.92 / sqrt(n) wide.
    assert width(400) == pytest.approx(3.92 / 20, rel=0.3)
    assert width(25) > 2 * width(400)
