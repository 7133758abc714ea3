"""The prepared data set: fingerprint, and its form on disk."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tuner.data import Dataset, describe_dataset, open_dataset, save_dataset
from tuner.errors import DatasetError

Load = Callable[..., Dataset]


def same(first: Dataset, second: Dataset) -> None:
    for part, split in first.splits.items():
        other = second.splits[part]
        assert (split.x.dtype, split.y.dtype) == (other.x.dtype, other.y.dtype)
        np.testing.assert_array_equal(split.x, other.x)
        np.testing.assert_array_equal(split.y, other.y)
    for name in ("scaling", "target_scaling"):
        one, two = getattr(first, name), getattr(second, name)
        assert one.method == two.method
        np.testing.assert_array_equal(one.scale, two.scale, strict=True)
        np.testing.assert_array_equal(one.offset, two.offset, strict=True)
    for name in (
        "name",
        "task",
        "labels",
        "fingerprint",
        "features",
        "columns",
        "notes",
        "reports",
    ):
        assert getattr(first, name) == getattr(second, name)


@pytest.mark.parametrize("name", ["digits", "iris", "diabetes"])
def test_saved_and_opened_again(load: Load, tmp_path: Path, name: str) -> None:
    dataset = load(name)
    save_dataset(dataset, tmp_path / "kept")
    opened = open_dataset(tmp_path / "kept")
    same(dataset, opened)
    assert isinstance(opened.train.x, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        opened.train.x[0] = 0


def test_a_table_keeps_how_it_was_encoded(load: Load, tmp_path: Path) -> None:
    table = pd.DataFrame({"a": ["p", "q", None] * 9, "b": [0.1, None, 3] * 9, "y": [0, 1, 1] * 9})
    table.to_csv(tmp_path / "t.csv", index=False)
    dataset = load(f"{tmp_path / 't.csv'}:y")
    assert dataset.notes
    save_dataset(dataset, tmp_path / "kept")
    same(dataset, open_dataset(tmp_path / "kept"))


def test_a_folder_that_holds_no_data_set(load: Load, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no such file"):
        open_dataset(tmp_path)
    save_dataset(load("iris"), tmp_path)
    (tmp_path / "test_y.npy").write_bytes(b"")
    with pytest.raises(DatasetError, match="cannot be read"):
        open_dataset(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(DatasetError, match="cannot be written"):
        save_dataset(load("iris"), tmp_path / "file")


def test_the_fingerprint_changes_with_data_seed_scaling_and_labels(
    load: Load, tmp_path: Path
) -> None:
    def saved(name: str, x: np.ndarray, y: np.ndarray) -> Path:
        np.savez(tmp_path / name, x=x, y=y)
        return tmp_path / name

    x, y = np.arange(60.0), np.arange(60) % 3
    path = saved("a.npz", x, y)
    changed = x.copy()
    changed[17] += 0.5
    prints = [
        load(path).fingerprint,
        load(path, seed=1).fingerprint,
        load(path, scaling="center").fingerprint,
        load(path, validation=0.3).fingerprint,
        load(path, task="regression").fingerprint,
        load(saved("b.npz", changed, y)).fingerprint,
        load(saved("c.npz", x, y + 1)).fingerprint,
        load(saved("d.npz", x[:, np.newaxis, np.newaxis], y)).fingerprint,
    ]
    assert len(set(prints)) == len(prints)
    assert load(path).fingerprint == prints[0]
    assert load(path, scaling="standardize").fingerprint == prints[0]  # what auto picks
    assert load(saved("moved.npz", x, y)).fingerprint == prints[0]


def test_description_is_plain_json(load: Load) -> None:
    iris = describe_dataset(load("iris"))
    assert json.loads(json.dumps(iris)) == iris
    assert iris["rows"] == {"train": 107, "validation": 21, "test": 22}
    assert sum(iris["classes"]["setosa"].values()) == 50
    target = describe_dataset(load("diabetes"))["target"]
    assert (target["low"], target["high"]) == (25.0, 346.0)


def test_size_in_memory(load: Load) -> None:
    digits = load("digits")
    assert digits.nbytes == 1797 * (64 + 4)
