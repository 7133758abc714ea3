"""The forest's curves, and the errors of lookups on configurations that a table does not hold."""

from dataclasses import replace

import numpy as np
import pytest
from curve_tables import MIXED_SPACE, mixed_table

from benchmarks.search.lookup import LOOKUPS, REFERENCE_CONFIGURATIONS, Forest
from benchmarks.search.lookup_errors import errors_table, held_out_error


def test_the_forest_knows_the_table_s_own_curves():
    table = mixed_table(size=60)
    forest = Forest(table)
    known = forest.curves(table.configurations)
    assert np.isnan(table.curves).any()
    np.testing.assert_allclose(known, table.curves, rtol=1e-6)
    for row in (0, 7):
        np.testing.assert_allclose(forest.curve(table.configurations[row]), known[row])


def test_the_forest_keeps_between_the_table_s_values_and_does_not_recover_from_divergence():
    table = mixed_table(size=60)
    curves = Forest(table).curves([MIXED_SPACE.sample(np.random.default_rng(1)) for _ in range(50)])
    finite = curves[np.isfinite(curves)]
    assert np.nanmin(table.curves) <= finite.min() and finite.max() <= np.nanmax(table.curves)
    diverged = np.isnan(curves)
    assert (diverged[:, 1:] >= diverged[:, :-1]).all()


def test_searches_are_compared_with_configurations_as_the_forest_sees_them():
    table = mixed_table(size=60)
    first, second = Forest(table), Forest(table)
    assert len(first.table.scores) == REFERENCE_CONFIGURATIONS
    assert first.table.fingerprint == second.table.fingerprint != table.fingerprint
    row = int(first.table.scores.argmin())
    np.testing.assert_array_equal(
        first.curve(first.table.configurations[row]), first.table.curves[row]
    )
    assert LOOKUPS["nearest"](table).table is table


def test_seconds_are_between_those_of_the_table():
    table = replace(mixed_table(), seconds=np.linspace(1, 9, 60))
    forest = Forest(table)
    assert forest.seconds(table.configurations[59]) == pytest.approx(9)
    assert 1 <= forest.seconds(MIXED_SPACE.sample(np.random.default_rng(2))) <= 9


@pytest.mark.parametrize("lookup", ["nearest", "forest"])
def test_a_lookup_s_error_tells_structure_from_noise(lookup, monkeypatch):
    monkeypatch.setattr("benchmarks.search.lookup.TREES", 15)  # ten forests grow here
    smooth = mixed_table(size=200)
    shuffled = np.random.default_rng(0).permutation(200)
    noise = replace(smooth, curves=smooth.curves[shuffled])
    known, guessed = held_out_error(smooth, lookup), held_out_error(noise, lookup)
    assert known.correlation > 0.7 and known.rank_error < 0.15
    assert abs(guessed.correlation) < 0.3 and guessed.rank_error > 0.25


def test_every_table_has_a_line_of_errors():
    text = errors_table([mixed_table("first"), mixed_table("second", seed=1)], ["nearest"])
    lines = text.splitlines()
    assert len(lines) == 4 and lines[2].startswith("| `first` | 60 |")
    assert all(line.count("|") == lines[0].count("|") for line in lines)
