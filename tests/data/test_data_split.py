"""Splits: disjoint, complete, stratified, and drawn by the seed alone."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuner.data import Dataset
from tuner.data.dataset import _parts_by_key, draw_splits
from tuner.errors import DatasetError

Load = Callable[..., Dataset]

shares = st.floats(0.02, 0.5)


@given(st.lists(st.integers(3, 60), min_size=1, max_size=6), shares, shares, st.integers(0, 2**32))
def test_stratified_splits(members: list[int], test: float, validation: float, seed: int) -> None:
    classes = np.repeat(np.arange(len(members)), members)
    np.random.default_rng(seed).shuffle(classes)
    labels = [str(i) for i in range(len(members))]
    drawn = draw_splits(classes, {"test": test, "validation": validation}, seed, labels, "data")
    together = np.concatenate(list(drawn.values()))
    np.testing.assert_array_equal(np.sort(together), np.arange(len(classes)))
    counts = {
        part: np.bincount(classes[rows], minlength=len(members)) for part, rows in drawn.items()
    }
    assert all(count.min() >= 1 for count in counts.values())
    assert np.all(np.abs(counts["test"] - np.array(members) * test) <= 1)
    left = np.array(members) - counts["test"]
    assert np.all(np.abs(counts["validation"] - left * validation) <= 1)


@given(st.integers(3, 500), shares, shares, st.integers(0, 100))
def test_splits_without_classes(n: int, test: float, validation: float, seed: int) -> None:
    none = np.zeros(n, np.int32)
    drawn = draw_splits(none, {"test": test, "validation": validation}, seed, (), "data")
    assert (
        sum(map(len, drawn.values())) == len(np.unique(np.concatenate(list(drawn.values())))) == n
    )
    assert abs(len(drawn["test"]) - n * test) <= 1


def test_the_seed_decides(load: Load) -> None:
    first, again, other = load("iris"), load("iris"), load("iris", seed=1)
    np.testing.assert_array_equal(first.test.x, again.test.x)
    assert not np.array_equal(first.test.x, other.test.x)


def test_the_split_of_a_seed_never_changes() -> None:
    # Studies find their data again by it: a new way of drawing would refuse them all.
    drawn = draw_splits(np.arange(12) % 2, {"test": 0.3}, 7, ("a", "b"), "data")
    assert drawn["test"].tolist() == [3, 4, 6, 11]


def test_the_test_split_does_not_depend_on_the_validation_share(load: Load) -> None:
    small, large = load("iris", validation=0.1), load("iris", validation=0.5)
    np.testing.assert_array_equal(small.test.x, large.test.x)


@pytest.mark.parametrize(("given", "needed"), [({}, 3), ({"test"}, 2), ({"test", "val"}, 1)])
def test_each_class_needs_a_row_for_every_part_drawn(
    load: Load, tmp_path: Path, given: set[str], needed: int
) -> None:
    def save(rare: int) -> Path:
        y = np.array([0, 1] * 10 + [2] * rare)
        x = np.arange(len(y)) * 1.0
        parts: dict[str, Any] = {"x_train": x, "y_train": y}
        for part in given:
            parts |= {f"x_{part}": x[:20], f"y_{part}": y[:20]}
        np.savez(tmp_path / "a.npz", **parts)
        return tmp_path / "a.npz"

    assert load(save(needed), task="classes").labels == ("0", "1", "2")
    if needed > 1:
        with pytest.raises(DatasetError, match=f"class '2' has {needed - 1} row"):
            load(save(needed - 1), task="classes")


@given(
    st.lists(st.integers(2, 30), min_size=1, max_size=4),
    st.integers(1, 200),
    st.integers(0, 2**32),
)
def test_selection_finds_the_rows_that_sorting_finds(
    members: list[int], keys: int, seed: int
) -> None:
    """Also where keys are equal, for which the order of the rows decides."""
    draw = np.random.default_rng(seed)
    classes = draw.permutation(np.repeat(np.arange(len(members)), members))
    drawn = draw.integers(0, keys, len(classes)).astype(np.uint64)
    first = np.array([draw.integers(1, count) for count in members])
    ends = [first, np.array([draw.integers(a, b) for a, b in zip(first, members, strict=True)])]
    rank = np.empty(len(classes), int)
    for each in range(len(members)):
        rows = np.flatnonzero(classes == each)
        rank[rows[np.argsort(drawn[rows], kind="stable")]] = np.arange(len(rows))
    expected = np.where(rank < ends[0][classes], 1, np.where(rank < ends[1][classes], 2, 0))
    np.testing.assert_array_equal(_parts_by_key(classes, drawn, ends), expected)
