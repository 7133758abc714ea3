"""Scaling, against NumPy by hand."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tuner.data import Dataset
from tuner.data.scaling import fit_scaling

Load = Callable[..., Dataset]

DRAW = np.random.default_rng(3)
TABLE = (DRAW.normal(size=(200, 4)) * [1, 10, 0.01, 5] + [0, 100, -3, 7]).astype(np.float32)
PICTURES = DRAW.integers(0, 256, (50, 6, 5), np.uint8)


def test_standardised_table() -> None:
    scaled = fit_scaling(TABLE, "standardize").apply(TABLE)
    np.testing.assert_allclose(scaled, (TABLE - TABLE.mean(0)) / TABLE.std(0), atol=1e-3)


@pytest.mark.parametrize(("method", "low", "high"), [("minmax", 0, 1), ("center", -0.5, 0.5)])
def test_ranges_of_a_table(method: str, low: float, high: float) -> None:
    scaled = fit_scaling(TABLE, method).apply(TABLE)
    np.testing.assert_allclose(scaled.min(axis=0), low, atol=1e-3)
    np.testing.assert_allclose(scaled.max(axis=0), high, atol=1e-3)


def test_pictures_share_one_scale_and_use_the_range_of_their_dtype() -> None:
    few = PICTURES[:, :, :2] // 2 + 5  # 5..132
    scaling = fit_scaling(few)
    assert (scaling.method, scaling.scale.shape) == ("minmax", ())
    np.testing.assert_allclose(scaling.apply(few), few / 255, rtol=1e-6)
    assert fit_scaling(few, "center").offset == -0.5


def test_pictures_of_a_narrow_range_are_scaled_by_it() -> None:
    binary = PICTURES > 127
    assert fit_scaling(binary.astype(np.uint8)).scale == 1
    assert fit_scaling(PICTURES // 16).scale == np.float32(1 / 15)


def test_standardised_pictures_have_one_mean() -> None:
    scaled = fit_scaling(PICTURES, "standardize").apply(PICTURES)
    wide = PICTURES.astype(np.float64)
    np.testing.assert_allclose(scaled, (wide - wide.mean()) / wide.std(), atol=1e-4)


def test_auto() -> None:
    assert fit_scaling(TABLE).method == "standardize"
    assert fit_scaling(PICTURES.reshape(50, 30)).method == "minmax"
    assert fit_scaling(PICTURES / np.float32(255)).method == "minmax"
    assert fit_scaling(PICTURES / np.float32(255) - 0.5).method == "standardize"


def test_none_changes_nothing() -> None:
    np.testing.assert_array_equal(fit_scaling(TABLE, "none").apply(TABLE), TABLE)


@pytest.mark.parametrize("method", ["minmax", "center", "standardize"])
def test_constant_features_are_moved_not_stretched(method: str) -> None:
    table = TABLE.copy()
    table[:, 1] = 0.1
    scaling = fit_scaling(table, method)
    assert scaling.scale[1] == 1
    np.testing.assert_array_equal(scaling.apply(table)[:, 1], 0)
    assert fit_scaling(np.full((5, 3, 3), 7, np.uint8), method).scale == 1


@given(
    hnp.arrays(
        np.float32,
        hnp.array_shapes(min_dims=2, max_dims=3, max_side=8),
        elements=st.floats(-(2.0**100), 2.0**100, width=32),
    ),
    st.sampled_from(["auto", "minmax", "center", "standardize"]),
)
def test_scaling_is_always_finite(x: np.ndarray, method: str) -> None:
    scaling = fit_scaling(x, method)
    assert np.isfinite(scaling.scale).all()
    assert np.isfinite(scaling.offset).all()
    assert np.isfinite(scaling.apply(x)).all()


def test_fitted_on_train_alone(load: Load) -> None:
    wine = load("wine", scaling="minmax")
    train = wine.train.x
    np.testing.assert_allclose(wine.scaling.scale, 1 / np.ptp(train, axis=0), rtol=1e-5)


@pytest.mark.parametrize("shape", [(5, 1), (100, 3), (40_000, 7), (3, 2000)])
def test_sums_over_columns_are_those_over_rows(shape: tuple[int, int]) -> None:
    x = np.random.default_rng(3).normal(1e4, 1, shape).astype(np.float32)
    x[:, 0] = 7
    by_rows, by_columns = fit_scaling(x), fit_scaling(x, by_columns=True)
    np.testing.assert_allclose(by_columns.scale, by_rows.scale, rtol=1e-6)
    np.testing.assert_allclose(by_columns.offset, by_rows.offset, rtol=1e-6)
    wide = x.astype(np.longdouble)
    deviation = np.where(np.arange(shape[1]) == 0, 1, wide.std(axis=0))
    np.testing.assert_allclose(by_columns.scale, (1 / deviation).astype(np.float32), rtol=3e-7)
