"""What is taken for classes, binary or regression."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tuner.data import Dataset
from tuner.errors import DatasetError

Load = Callable[..., Dataset]

N = 400


def load_target(load: Load, folder: Path, y: Any, **options: Any) -> Any:
    np.savez(folder / "y.npz", x=np.arange(len(y)) * 1.0, y=y)
    return load(folder / "y.npz", **options)


@pytest.mark.parametrize(
    ("y", "task", "labels"),
    [
        (np.arange(N) % 3, "classes", ("0", "1", "2")),
        (np.arange(N) % 3 * 10 - 5, "classes", ("-5", "5", "15")),
        (np.array(["b", "c", "a", "b"] * 100), "classes", ("a", "b", "c")),
        (np.array([b"no", b"yes"] * 200), "binary", ("no", "yes")),
        (np.arange(N) % 2 == 0, "binary", ("False", "True")),
        (np.arange(N) % 2 * 2.0 - 1, "binary", ("-1", "1")),
        ((np.arange(N) % 20).astype(np.float32), "classes", tuple(map(str, range(20)))),
        (np.arange(N) % 100, "classes", tuple(map(str, range(100)))),
        ((np.arange(N) % 3).reshape(-1, 1), "classes", ("0", "1", "2")),
        ((np.arange(N) % 21).astype(np.float32), "regression", ()),
        (np.arange(N) % 101, "regression", ()),
        (np.arange(N), "regression", ()),
        (np.arange(N) % 3 + 0.5, "regression", ()),
    ],
)
def test_inferred_task(
    load: Load, tmp_path: Path, y: np.ndarray, task: str, labels: tuple[str, ...]
) -> None:
    dataset = load_target(load, tmp_path, y)
    assert (dataset.task, dataset.labels) == (task, labels)
    kind = np.float32 if task == "regression" else np.int32
    assert all(split.y.dtype == kind for split in dataset.splits.values())
    assert dataset.outputs == (len(labels) if task == "classes" else 1)


def test_labels_are_mapped_row_by_row(load: Load, tmp_path: Path) -> None:
    words = np.array(["cat", "dog", "ant"] * 20)
    dataset = load_target(load, tmp_path, words)
    for split in dataset.splits.values():
        rows = split.x[:, 0].astype(int)
        assert [dataset.labels[i] for i in split.y] == words[rows].tolist()


def test_a_task_that_is_set_goes_before_the_inferred_one(load: Load, tmp_path: Path) -> None:
    y = np.arange(N) % 2
    assert load_target(load, tmp_path, y, task="regression").task == "regression"
    as_classes = load_target(load, tmp_path, y, task="classes")
    assert (as_classes.task, as_classes.outputs) == ("classes", 2)
    assert load_target(load, tmp_path, y + 0.5, task="binary").labels == ("0.5", "1.5")


@pytest.mark.parametrize(
    ("y", "options", "message"),
    [
        (np.arange(N) % 3, {"task": "binary"}, "binary needs two classes, the target has 3"),
        (np.array(["a", "b"] * 9), {"task": "regression"}, "needs a target of numbers"),
        (np.where(np.arange(9) == 3, np.nan, 1), {}, r"is missing in 1 row \(first: row 4\)"),
        (np.where(np.arange(9) == 3, np.inf, 1), {}, r"is infinite in 1 row \(first: row 4\)"),
        (np.linspace(1, 2, 18) * 1e39, {}, "beyond float32"),
        (np.zeros(9), {"task": "regression"}, "one value only"),
        (np.array(["2024-01-01"] * 9, "M8[D]"), {}, "must be text or numbers"),
        (np.arange(2) * 0.5, {}, "the training part has 2 rows, and train"),
    ],
)
def test_targets_that_are_refused(
    load: Load, tmp_path: Path, y: np.ndarray, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(DatasetError, match=message):
        load_target(load, tmp_path, y, **options)


def test_a_target_that_is_constant_in_train_is_refused(load: Load, tmp_path: Path) -> None:
    x, y = np.arange(90.0), np.full(90, 0.5)
    np.savez(tmp_path / "c.npz", x_train=x, y_train=y, x_test=x, y_test=x)
    with pytest.raises(DatasetError, match="the target of train is constant"):
        load(tmp_path / "c.npz")


def test_regression_targets_are_standardised_on_train(load: Load, tmp_path: Path) -> None:
    dataset = load_target(load, tmp_path, np.random.default_rng(0).normal(50, 7, N))
    scaled = dataset.target_scaling.apply(dataset.train.y)
    assert (dataset.target_scaling.scale.shape, dataset.target_scaling.offset.shape) == ((), ())
    assert abs(scaled.mean()) < 1e-4
    assert abs(scaled.std() - 1) < 1e-4
    back = dataset.target_scaling.invert(scaled)
    np.testing.assert_allclose(back, dataset.train.y, rtol=1e-5)


def test_class_targets_are_not_scaled(load: Load, tmp_path: Path) -> None:
    scaling = load_target(load, tmp_path, np.arange(N) % 3).target_scaling
    assert (scaling.scale, scaling.offset) == (1, 0)
