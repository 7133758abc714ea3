"""Arrays that are easily misread: which axes they have, what they are called, what is wrong."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tuner.data import Dataset
from tuner.errors import DatasetError

Load = Callable[..., Dataset]

N = 120
Y = np.arange(N) % 3
DRAW = np.random.default_rng(0)


def written(folder: Path, x: Any, y: Any = Y, **others: Any) -> Path:
    np.savez(folder / "a.npz", x=x, y=y, **others)
    return folder / "a.npz"


def one_dark_side(values: np.ndarray) -> np.ndarray:
    """As of digits that were cut out: of one column only few pixels are not black."""
    shaded = values.copy()
    shaded[:, :, 0] = np.where(values[:, :, 0] > 0.99, 0.1, 0.0)
    return shaded


def dark_border(values: np.ndarray) -> np.ndarray:
    framed = np.zeros((N, 12, 14))
    framed[:, 1:11, 1:13] = values[:, :10, :12] * 0.02
    framed[:, 3:9, 3:11] = values[:, 2:8, 2:10]
    return framed


WALK = DRAW.normal(size=(N, 20, 3))
WEATHER = WALK * [5, 300, 0.1] + [15, 101_325, 0.5]
PLACES = WALK[:, :, :2] * 0.01 + [48.85, 2.35]


@pytest.mark.parametrize(
    "x",
    [
        WEATHER,
        WEATHER.astype(np.float32),
        np.round(WEATHER * [1, 1, 100]).astype(np.int64),
        np.clip(np.round(WALK * [60, 0.5, 1] + [120, 2, 3]), 0, 255).astype(np.int64),
        PLACES,
        WALK[:, :1, :] * [5, 300, 0.1],
        np.repeat(WEATHER[:, :, :1], 8, axis=2) * [1, 1, 1, 1, 1, 1, 1, 1e4],
        np.repeat(WALK[:, :, np.newaxis, :], 9, axis=2) * [1, 1, 1000],
    ],
    ids=["weather", "float32", "ints", "small ints", "places", "a step", "one loud", "bands"],
)
def test_channels_that_differ_are_scaled_on_their_own(
    load: Load, tmp_path: Path, x: np.ndarray
) -> None:
    dataset = load(written(tmp_path, x))
    assert dataset.scaling.scale.shape == (x.shape[-1],)
    scaled = dataset.scaling.apply(dataset.train.x).reshape(-1, x.shape[-1])
    np.testing.assert_allclose(scaled.mean(axis=0), 0, atol=1e-3)
    np.testing.assert_allclose(scaled.std(axis=0), 1, atol=1e-3)
    assert noted(dataset, "each scaled on its own")
    one_scale = load(written(tmp_path, x), reading=1)
    assert one_scale.scaling.scale.shape == () and one_scale.notes == ()
    assert one_scale.fingerprint != dataset.fingerprint


@pytest.mark.parametrize(
    "x",
    [
        DRAW.random((N, 8, 8)),
        dark_border(DRAW.random((N, 12, 14))),
        dark_border(DRAW.random((N, 12, 14))).astype(np.float16),
        (dark_border(DRAW.random((N, 12, 14))) * 60_000).astype(np.int64),
        one_dark_side(DRAW.random((N, 8, 8))),
        (WEATHER % 256).astype(np.uint8),
        DRAW.random((N, 8, 8, 3)),
        WALK,
        WEATHER[..., np.newaxis],
    ],
    ids=[
        "floats",
        "dark",
        "halves",
        "16 bits",
        "one side",
        "bytes",
        "colours",
        "alike",
        "one more axis",
    ],
)
def test_images_keep_one_scale(load: Load, tmp_path: Path, x: np.ndarray) -> None:
    dataset = load(written(tmp_path, x))
    assert dataset.scaling.scale.shape == ()
    if dataset.shift is None:
        assert dataset.fingerprint == load(written(tmp_path, x), reading=1).fingerprint


def noted(dataset: Dataset, *words: str) -> bool:
    return any(all(word in note for word in words) for note in dataset.notes)


BYTES = DRAW.integers(0, 256, (N, 3, 16, 16), np.uint8)


@pytest.mark.parametrize(
    ("shape", "is_noted"),
    [
        ((3, 16, 16), True),
        ((1, 16, 12), True),
        ((4, 9, 9), True),
        ((3, 4, 5), True),
        ((16, 16, 3), False),
        ((16, 16, 16), False),
        ((3, 4, 3), False),
        ((1, 16, 3), False),
        ((16, 16, 1), False),
    ],
)
def test_channels_that_come_first_are_noted(
    load: Load, tmp_path: Path, shape: tuple[int, ...], is_noted: bool
) -> None:
    x = DRAW.integers(0, 256, (N, *shape), np.uint8)
    dataset = load(written(tmp_path, x))
    assert noted(dataset, "channel first", "np.moveaxis(x, 1, -1)") is is_noted
    if is_noted:
        assert not load(written(tmp_path, np.moveaxis(x, 1, -1))).notes


@pytest.mark.parametrize("channels", [2, 3])
def test_series_with_the_channel_first_are_noted(load: Load, tmp_path: Path, channels: int) -> None:
    x = np.moveaxis(WEATHER, -1, 1)[:, :channels]
    assert noted(load(written(tmp_path, x)), "channel first", "np.moveaxis(x, 1, -1)")
    assert not noted(load(written(tmp_path, np.moveaxis(x, 1, -1))), "channel first")
    assert not load(written(tmp_path, np.moveaxis(WALK, -1, 1))).notes
    spectrogram = np.abs(DRAW.normal(size=(N, 40, 101))) * np.logspace(0, -4, 40)[:, np.newaxis]
    assert noted(load(written(tmp_path, spectrogram)), "channel first")


def test_bytes_that_may_be_series_are_noted(load: Load, tmp_path: Path) -> None:
    x = DRAW.integers(0, 256, (N, 20, 3)) // [1, 128, 2]
    assert noted(load(written(tmp_path, x.astype(np.uint8))), "column 2", "x.astype(np.int16)")
    assert load(written(tmp_path, x.astype(np.int16))).scaling.scale.shape == (3,)
    assert not load(written(tmp_path, DRAW.integers(0, 256, (N, 20, 3), np.uint8))).notes
    assert not load(written(tmp_path, DRAW.random((N, 20, 3)) > 0.5)).notes


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_a_constant_fourth_channel_is_noted(load: Load, tmp_path: Path, dtype: Any) -> None:
    x = DRAW.integers(0, 256, (N, 6, 6, 4), np.uint8).astype(dtype)
    assert not load(written(tmp_path, x)).notes
    x[..., 3] = 255
    assert noted(load(written(tmp_path, x)), "fourth channel", "x[..., :3]")


def test_a_table_with_one_axis_too_many_is_noted(load: Load, tmp_path: Path) -> None:
    table = DRAW.normal(size=(N, 6)) * [1, 1, 1000, 1, 1, 1]
    assert noted(load(written(tmp_path, table[..., np.newaxis])), "6 columns", "x[..., 0]")
    assert not load(written(tmp_path, table)).notes


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (np.ones((4, N)), Y, r"differ in length, 4 and 120; x has shape \(4, 120\).*give x\.T"),
        (np.ones((1, N)), Y, r"give x\.T"),
        (np.ones((8, 6, N)), Y, r"axis 2 counts the rows, give np\.moveaxis\(x, 2, 0\)"),
        (np.ones((8, 6, 3, N)), Y, r"np\.moveaxis\(x, 3, 0\)"),
        (np.ones((8, N, 6)), Y, r"np\.moveaxis\(x, 1, 0\)"),
        (np.ones((7, 4)), Y, "differ in length, 7 and 120$"),
        (np.ones(N) * 1j, Y, "complex128; give real and imaginary parts"),
        (np.arange(N).astype("M8[s]"), Y, "astype.'datetime64"),
        (np.arange(N).astype("m8[s]"), Y, "timedelta64"),
        (np.array(["a"] * N), Y, "pandas DataFrame"),
        (np.zeros(N, [("a", "f4"), ("b", "i4")]), Y, r"pd\.DataFrame\(x\)"),
        (np.ones((N, 2)), Y[np.newaxis], r"\(1, 120\); give y\.ravel\(\)"),
        (np.ones((N, 2)), Y.reshape(N, 1, 1), r"give y\.ravel\(\)"),
        (np.ones((N, 2)), np.eye(3)[Y], r"one-hot rows give y\.argmax\(axis=1\)"),
        (np.ones((N, 2)), np.eye(3)[Y] == 1, r"y\.argmax\(axis=1\)"),
        (np.ones((N, 2)), np.full((N, 2), "a"), "several targets as a DataFrame, or as a dict"),
        (np.ones((N, 2)), np.ones((N, 2)), "all rows of train have the same labels"),
        (np.ones((N, 2)), np.ones((N, 2)) * [0.5, 2], "'1' of train is constant"),
        (np.full((N, 2), 1e39), Y, "holds 1e.39, which is beyond float32, in column 1"),
        (np.full((N, 2), np.inf), Y, "holds an infinite value in column 1"),
    ],
)
def test_shapes_and_types_that_are_wrong(
    load: Load, tmp_path: Path, x: np.ndarray, y: np.ndarray, message: str
) -> None:
    with pytest.raises(DatasetError, match=message):
        load(written(tmp_path, x, y))


def test_one_value_a_row_in_two_axes(load: Load, tmp_path: Path) -> None:
    assert load(written(tmp_path, DRAW.random((N, 2)), Y[:, np.newaxis])).labels == ("0", "1", "2")


PART = (DRAW.random((30, 2)), np.arange(30) % 3)


@pytest.mark.parametrize(
    ("x_name", "y_name"),
    [
        ("x_valid", "y_valid"),
        ("X_validation", "Y_validation"),
        ("x_dev", "y_dev"),
        ("Xval", "yval"),
        ("val_x", "val_y"),
        ("x-val", "y.val"),
        ("valid_X", "dev-y"),
    ],
)
def test_other_spellings_of_the_parts(load: Load, tmp_path: Path, x_name: str, y_name: str) -> None:
    arrays: dict[str, Any] = {"X_train": DRAW.random((N, 2)), "y_train": Y}
    arrays |= {x_name: PART[0], y_name: PART[1]}
    np.savez(tmp_path / "a.npz", **arrays)
    dataset = load(tmp_path / "a.npz")
    np.testing.assert_array_equal(dataset.validation.x, PART[0].astype(np.float32))
    assert noted(dataset, f"{x_name} for x_val")
    before = load(tmp_path / "a.npz", reading=1)
    assert len(before.validation) != 30 and not before.notes
    code = tmp_path / "data.py"
    code.write_text(
        "import numpy\ndef load(): return dict(numpy.load('a.npz'))\n".replace(
            "'a.npz'", repr(str(tmp_path / "a.npz"))
        )
    )
    assert load(f"{code}:load").fingerprint == dataset.fingerprint


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["x_eval", "y_eval"], "'x_eval' looks like a part of the data"),
        (["x_holdout", "y_holdout"], "looks like a part"),
        (["test_images", "test_labels"], "'test_images' looks like a part"),
        (["x_test2", "y_test2"], "looks like a part"),
        (["validation_data"], "looks like a part"),
        (["x_val", "y_val", "x_valid", "y_valid"], "holds 'x_val' and 'x_valid'; leave one out"),
        (["X", "Y"], "holds 'x' and 'X'"),
        (["x_train", "y_train"], "'x_train' looks like a part"),
        (["x_valid"], "holds 'x_val' without 'y_val'"),
    ],
)
def test_parts_that_would_be_passed_over_are_refused(
    load: Load, tmp_path: Path, names: list[str], message: str
) -> None:
    others = {name: PART["xX".count(name[0]) == 0] for name in names}
    source = written(tmp_path, DRAW.random((N, 2)), **others)
    with pytest.raises(DatasetError, match=message):
        load(source)
    if names != ["x_valid"] and "X" not in names and "x_val" not in names:
        assert load(source, reading=1).notes == ()


def test_arrays_that_are_not_used_are_noted(load: Load, tmp_path: Path) -> None:
    x = DRAW.random((N, 2))
    dataset = load(written(tmp_path, x, sample_weight=np.ones(N), x_test_ids=Y, classes=Y[:3]))
    assert noted(dataset, "not used: sample_weight, x_test_ids, classes")
    assert dataset.fingerprint == load(written(tmp_path, x)).fingerprint
    assert not load(written(tmp_path, x)).notes


@pytest.mark.parametrize(
    ("column", "y"),
    [
        (Y * 2 + 5, Y),
        (np.where(Y == 2, -7, Y), Y),
        (Y == 1, Y == 1),
        (PLACES[:, 0, 0] * 3 + 2, PLACES[:, 0, 0]),
        (-DRAW.permutation(N) / 7, None),
    ],
)
def test_the_target_among_the_columns_is_noted(
    load: Load, tmp_path: Path, column: np.ndarray, y: np.ndarray | None
) -> None:
    y = column * -3e5 if y is None else y
    x = np.column_stack([DRAW.random(N), column, Y // 2, DRAW.permutation(y)])
    dataset = load(written(tmp_path, x, y))
    assert [note for note in dataset.notes if note.startswith("column 2 ")], dataset.notes
    assert not any(
        note.startswith(("column 1 ", "column 3 ", "column 4 ")) for note in dataset.notes
    )


def test_a_category_that_is_the_target_is_noted(load: Load, tmp_path: Path) -> None:
    import pandas as pd

    words = pd.Series(["red", "green", "blue"])[Y].to_numpy()
    frame = pd.DataFrame({"n": DRAW.random(N), "code": words, "y": Y})
    frame.to_csv(tmp_path / "t.csv", index=False)
    assert noted(load(f"{tmp_path / 't.csv'}:y"), "column code ", "one value for each class")
