"""Folders of IDX files and `.npz` archives, whole and broken."""

import gzip
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tuner.data import Dataset
from tuner.errors import DatasetError

Load = Callable[..., Dataset]

Y = np.arange(60) % 3
IMAGES = np.random.default_rng(1).integers(0, 256, (60, 5, 4), np.uint8)


def save(path: Path, **arrays: Any) -> Path:
    np.savez(path, **arrays)
    return path


@pytest.mark.parametrize("suffix", [".gz", "", ".idx", ".idx.gz"])
def test_idx_folder_by_any_of_its_names(
    load: Load, write_mnist_like: Callable[..., None], tmp_path: Path, suffix: str
) -> None:
    folder = tmp_path / "Shapes"
    write_mnist_like(folder, suffix=suffix)
    dataset = load(folder)
    assert dataset.name == "Shapes"
    assert dataset.test.x.shape == (20, 5, 4)
    assert [len(split) for split in dataset.splits.values()] == [50, 10, 20]


def test_idx_folder_without_a_test_part_and_with_dotted_names(
    load: Load, write_idx: Callable[..., None], tmp_path: Path
) -> None:
    write_idx(tmp_path / "train-images.idx3-ubyte", IMAGES)
    write_idx(tmp_path / "train-labels.idx1-ubyte", Y.astype("u1"))
    dataset = load(tmp_path, test=0.2, validation=0.25)
    assert [len(split) for split in dataset.splits.values()] == [36, 12, 12]


def test_a_given_test_part_is_kept_as_it_is(load: Load, tmp_path: Path) -> None:
    test_x, test_y = IMAGES[::-1], Y[::-1]
    path = save(tmp_path / "a.npz", x_train=IMAGES, y_train=Y, x_test=test_x, y_test=test_y)
    for seed in (0, 1):
        dataset = load(path, seed=seed)
        np.testing.assert_array_equal(dataset.test.x, test_x)
        np.testing.assert_array_equal(dataset.test.y, test_y)


def test_a_given_validation_part_is_kept_as_it_is(load: Load, tmp_path: Path) -> None:
    path = save(tmp_path / "a.npz", x_train=IMAGES, y_train=Y, x_val=IMAGES[:9], y_val=Y[:9])
    dataset = load(path, test=0.1)
    np.testing.assert_array_equal(dataset.validation.x, IMAGES[:9])
    assert (len(dataset.train), len(dataset.test)) == (54, 6)


def test_all_parts_given_leave_nothing_to_draw(load: Load, tmp_path: Path) -> None:
    parts = {f"{k}_{p}": v for p in ("train", "val", "test") for k, v in (("x", IMAGES), ("y", Y))}
    dataset = load(save(tmp_path / "a.npz", **parts))
    np.testing.assert_array_equal(dataset.train.x, IMAGES)


@pytest.mark.parametrize(
    ("x", "kept"),
    [
        (IMAGES.astype(np.int64), np.uint8),
        (IMAGES.astype(np.int32) * 200, np.uint16),
        (IMAGES.astype(np.int64) * 10_000_000, np.float32),
        (IMAGES > 127, np.uint8),
        (IMAGES / 255, np.float32),
        ((IMAGES / 255).astype(np.float16), np.float16),
        (IMAGES.reshape(60, 20), np.uint8),
        (IMAGES.reshape(60, 20).astype(np.int64), np.float32),
        (np.arange(60.0), np.float32),
    ],
)
def test_dtypes_stay_small(load: Load, tmp_path: Path, x: np.ndarray, kept: type) -> None:
    dataset = load(save(tmp_path / "a.npz", x=x, y=Y))
    assert dataset.train.x.dtype == kept
    everything = np.concatenate([split.x for split in dataset.splits.values()])
    assert np.isclose(everything.astype(float).sum(), x.astype(float).sum())


def test_missing_numbers_of_a_matrix_take_the_training_median(load: Load, tmp_path: Path) -> None:
    x = np.tile(np.array([1.0, 2.0, 9.0]), 20)[:, np.newaxis]
    x[0] = np.nan
    dataset = load(save(tmp_path / "a.npz", x=x, y=np.tile([0, 1, 1], 20)))
    assert not any(np.isnan(split.x).any() for split in dataset.splits.values())
    assert len(dataset.notes) == 1
    assert "1: 1 missing, set to median 2" in dataset.notes[0]


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": IMAGES, "y": Y[:-1]}, "x and y of train differ in length, 60 and 59"),
        ({"x": IMAGES}, "holds 'x' without 'y'"),
        ({"x_train": IMAGES, "y_train": Y, "y_test": Y}, "holds 'y_test' without 'x_test'"),
        ({"images": IMAGES}, "needs x and y.* it holds images"),
        ({"x": IMAGES[:0], "y": Y[:0]}, r"x \(train\) is empty"),
        ({"x": IMAGES, "y": np.array([None] * 60)}, "'y' holds Python objects"),
        ({"x": np.full(60, "a"), "y": Y}, r"x \(train\) must hold numbers, it is <U1"),
        ({"x": IMAGES * 1j, "y": Y}, "must hold numbers, it is complex128"),
        ({"x": np.float64(3), "y": Y}, "is a single number"),
        ({"x": IMAGES[:, :0], "y": Y}, r"is empty, its shape is \(60, 0, 4\)"),
        ({"x": np.where(IMAGES == 7, np.nan, 1.0), "y": Y}, "holds NaN; only tables may"),
        ({"x": np.where(np.arange(60) == 4, np.inf, 0.0), "y": Y}, r"in column 1 \(row 5\)"),
        ({"x": np.where(np.arange(60) == 4, 1e39, 0.0), "y": Y}, r"in column 1 \(row 5\)"),
        ({"x": IMAGES, "y": np.eye(3)[Y]}, r"shape is \(60, 3\).*argmax"),
        (
            {"x_train": IMAGES, "y_train": Y, "x_test": IMAGES[:, :2], "y_test": Y},
            r"rows of test have shape \(2, 4\), those of train \(5, 4\)",
        ),
        (
            {"x_train": IMAGES, "y_train": Y, "x_test": IMAGES, "y_test": Y + 1},
            "no row of train is of class '3'",
        ),
    ],
)
def test_arrays_that_cannot_be_learnt_from(
    load: Load, tmp_path: Path, arrays: dict[str, Any], message: str
) -> None:
    path = save(tmp_path / "bad.npz", **arrays)
    with pytest.raises(DatasetError, match=message) as caught:
        load(path)
    assert str(caught.value).startswith(str(path))


def test_a_missing_file_and_a_folder_without_data(load: Load, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no such file"):
        load(tmp_path / "none.npz")
    with pytest.raises(DatasetError, match="no IDX files; expected train-images-idx3-ubyte"):
        load(tmp_path)
    with pytest.raises(DatasetError, match="nothing may follow"):
        load(f"{tmp_path}:y")


def test_idx_folder_with_half_a_pair_or_two_of_a_kind(
    load: Load,
    write_idx: Callable[..., None],
    write_mnist_like: Callable[..., None],
    tmp_path: Path,
) -> None:
    write_mnist_like(tmp_path)
    (tmp_path / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(DatasetError, match="the test part has no IDX file of labels"):
        load(tmp_path)
    write_idx(tmp_path / "letters-train-images-idx3-ubyte", IMAGES)
    with pytest.raises(DatasetError, match="keep one of them"):
        load(tmp_path)


def break_content(content: bytes, how: str) -> bytes:
    plain = gzip.decompress(content)
    return {
        "cut gzip": content[:-9],
        "bad gzip": content[:30] + b"\xff" * 30 + content[60:],
        "cut": gzip.compress(plain[:-1]),
        "longer": gzip.compress(plain + b"!"),
        "header": gzip.compress(plain[:6]),
        "magic": gzip.compress(b"\1" + plain[1:]),
        "type": gzip.compress(plain[:2] + b"\x07" + plain[3:]),
        "huge": gzip.compress(plain[:4] + b"\xff" * 12 + plain[16:]),
        "no dimensions": gzip.compress(plain[:3] + b"\0" + plain[4:]),
        "empty": b"",
    }[how]


@pytest.mark.parametrize(
    "how",
    [
        "cut gzip",
        "bad gzip",
        "cut",
        "longer",
        "header",
        "magic",
        "type",
        "huge",
        "no dimensions",
        "empty",
    ],
)
def test_corrupt_idx_files(
    load: Load, write_mnist_like: Callable[..., None], tmp_path: Path, how: str
) -> None:
    write_mnist_like(tmp_path)
    path = tmp_path / "train-images-idx3-ubyte.gz"
    path.write_bytes(break_content(path.read_bytes(), how))
    with pytest.raises(DatasetError, match=r"corrupt|is no IDX file") as caught:
        load(tmp_path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@hypothesis_settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.data())
def test_damaged_archives_never_end_in_a_traceback(
    load: Load, tmp_path: Path, data: st.DataObject
) -> None:
    path = tmp_path / "damaged.npz"
    np.savez_compressed(path, x=np.arange(60.0), y=Y)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 5))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    with suppress(DatasetError):
        load(path)
