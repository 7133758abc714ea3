"""The data of a comparison: all rows but the test's for training, and nothing else changed."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tuner.data import Dataset, load_dataset, open_dataset, save_dataset
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
        np.testing.assert_array_equal(getattr(held_out.evaluation, axis), tested)
        np.testing.assert_array_equal(getattr(held_out.test, axis), tested)
    assert list(held_out.splits) == ["train", "test"]
    assert len(held_out.validation) == 0
    assert held_out.nbytes == whole.nbytes


def test_the_split_of_evaluation_has_its_own_name(load: Load, tmp_path: Path) -> None:
    whole = load("digits")
    assert whole.evaluation_name == "val"
    assert whole.evaluation is whole.validation
    held_out = whole.for_test()
    save_dataset(held_out, tmp_path)
    assert not (tmp_path / "validation_x.npy").exists()
    for dataset in (held_out, open_dataset(tmp_path)):
        assert dataset.evaluation_name == "test"
        assert dataset.evaluation is dataset.test
        assert dataset.validation.x.shape == (0, *whole.input_shape)
        assert dataset.validation.x.dtype == whole.train.x.dtype
        assert dataset.validation.y.dtype == whole.train.y.dtype


@pytest.mark.parametrize("name", ["digits", "diabetes"])
def test_scaling_and_fingerprint_stay(load: Load, name: str) -> None:
    whole = load(name, scaling="standardize")
    held_out = whole.for_test()
    assert held_out.fingerprint == whole.fingerprint
    assert held_out.scaling is whole.scaling
    assert held_out.target_scaling is whole.target_scaling
    assert len(whole.train) < len(held_out.train)
