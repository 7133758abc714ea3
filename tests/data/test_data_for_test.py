"""The data of a comparison: all rows but the test's for training, and nothing else changed."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tuner.data import Dataset, load_dataset
from tuner.settings import load_settings
from tuner.study.spec import DataSpec

Load = Callable[..., Dataset]
shares = st.floats(0.05, 0.4)


@settings(deadline=None, max_examples=15)
@given(st.sampled_from(["digits", "diabetes"]), shares, shares, st.integers(0, 99))
def test_training_rows_are_exactly_the_union(
    name: str, validation: float, test: float, seed: int
) -> None:
    spec = DataSpec(source=name, validation=validation, test=test, seed=seed)
    whole = load_dataset(spec, load_settings())
    held_out = whole.for_test()
    for axis in ("x", "y"):
        train, validated, tested = (getattr(split, axis) for split in whole.splits.values())
        trained = getattr(held_out.train, axis)
        np.testing.assert_array_equal(trained, np.concatenate([train, validated]))
        assert trained.dtype == train.dtype
        np.testing.assert_array_equal(getattr(held_out.validation, axis), tested)
        np.testing.assert_array_equal(getattr(held_out.test, axis), tested)


@pytest.mark.parametrize("name", ["digits", "diabetes"])
def test_scaling_and_fingerprint_stay(load: Load, name: str) -> None:
    whole = load(name, scaling="standardize")
    held_out = whole.for_test()
    assert held_out.fingerprint == whole.fingerprint
    assert held_out.scaling is whole.scaling
    assert held_out.target_scaling is whole.target_scaling
    assert len(whole.train) < len(held_out.train)
