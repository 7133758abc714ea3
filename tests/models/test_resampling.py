"""Bootstrap intervals, against SciPy's."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from scipy.stats import bootstrap, norm

from tuner.models import resampling
from tuner.models.resampling import Resampling, of_repeated_rows

ROWS, COUNT = 40, 1000
VALUES = np.random.default_rng(3).lognormal(size=ROWS)


def mean(weights: Any) -> Mapping[str, Any]:
    return {"mean": weights @ VALUES / weights.sum(axis=1)}


def spread(weights: Any) -> Mapping[str, Any]:
    """Not linear, so that bias and acceleration matter."""
    return {"mean": of_repeated_rows(lambda rows: float(VALUES[rows].std()), weights)}


def share(weights: Any) -> Mapping[str, Any]:
    """Many resamples have the value of the rows themselves."""
    return {"mean": weights @ (VALUES > 1) / weights.sum(axis=1)}


def share_of(values: Any, axis: int = -1) -> Any:
    return np.mean(values > 1, axis=axis)


@pytest.mark.parametrize(
    ("figures", "function"), [(mean, np.mean), (spread, np.std), (share, share_of)]
)
def test_bca_intervals_are_scipys(figures: Any, function: Any) -> None:
    interval = Resampling(ROWS, COUNT, 7).intervals(figures, {"mean": float(function(VALUES))})
    expected = bootstrap(
        (VALUES,), function, n_resamples=COUNT, method="BCa", rng=np.random.default_rng(7)
    ).confidence_interval
    assert interval["mean"][:2] == pytest.approx((expected.low, expected.high), rel=1e-9)


def test_resamples_do_not_depend_on_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    plan, value = Resampling(ROWS, COUNT, 7), {"mean": float(VALUES.mean())}
    whole = plan.intervals(mean, value)["mean"]
    monkeypatch.setattr(resampling, "_CELLS_AT_ONCE", 3 * ROWS)
    assert plan.intervals(mean, value)["mean"] == pytest.approx(whole)
    assert Resampling(ROWS, COUNT, 8).intervals(mean, value)["mean"] != pytest.approx(whole)


def test_many_rows_take_fewer_resamples_and_a_normal_interval() -> None:
    plan = Resampling.plan(1_000_000, 2, 2000, 0)
    assert (plan.count, plan.method) == (100, "normal")
    assert Resampling.plan(10_000, 10, 2000, 0).count == 2000
    few = Resampling(ROWS, 200, 7).intervals(mean, {"mean": float(VALUES.mean())})["mean"]
    assert few.low is not None and few.high is not None
    error = VALUES.std() / np.sqrt(ROWS)
    assert few.high - few.low == pytest.approx(2 * 1.96 * error, rel=0.15)


def test_resamples_without_a_value_are_left_out_and_counted() -> None:
    def only_with_row_0(weights: Any) -> Mapping[str, Any]:
        values = weights @ VALUES / weights.sum(axis=1)
        return {"mean": np.where(weights[:, 0] > 0, values, np.nan)}

    interval = Resampling(ROWS, COUNT, 7).intervals(only_with_row_0, {"mean": VALUES.mean()})
    # A row is missing from a share of 1/e of the resamples.
    assert interval["mean"].undefined == pytest.approx(COUNT / np.e, rel=0.1)
    assert interval["mean"].low is not None

    nowhere = Resampling(ROWS, COUNT, 7).intervals(
        lambda weights: {"mean": np.full(len(weights), np.nan)}, {"mean": 1.0}
    )
    assert nowhere["mean"] == (None, None, COUNT)


def test_a_value_beyond_all_resamples_is_half_a_resample_beyond() -> None:
    resampled, equal = np.linspace(0, 0.5, COUNT), np.ones(ROWS)
    for value, side in ((1.0, 1 - 0.5 / COUNT), (-1.0, 0.5 / COUNT)):
        levels = norm.cdf(2 * norm.ppf(side) + norm.ppf([0.025, 0.975]))
        assert resampling._bca_levels(value, resampled, equal) == pytest.approx(tuple(levels))
