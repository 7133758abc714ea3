"""Forecast windows: their rows and targets, the split by time, later tables."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tuner.data import Dataset, preparation_of
from tuner.data.dataset_files import open_dataset, save_dataset
from tuner.data.later_rows import open_rows
from tuner.data.window_rows import WindowRows
from tuner.errors import DatasetError, SpecError
from tuner.settings import Settings

Load = Callable[..., Dataset]
HOURS = 400


def series_frame(start: float = 0.0) -> pd.DataFrame:
    when = pd.date_range("2025-01-01", periods=HOURS, freq="h")
    value = np.arange(HOURS) + start
    return pd.DataFrame({"when": when, "value": value, "level": value * 2})


def write(path: Path, frame: pd.DataFrame) -> Path:
    frame.sample(frac=1, random_state=0).to_csv(path, index=False)
    return path


def test_windows_are_what_came_before_and_targets_what_follows(load: Load, tmp_path: Path) -> None:
    path = write(tmp_path / "s.csv", series_frame())
    dataset = load(f"{path}:value", window=24, horizon=3, time="when")
    assert (dataset.input_kind, dataset.outputs) == ("sequence", 3)
    names = list(dataset.features or ())
    last_seen, steps = -1.0, 0
    for split in (dataset.train, dataset.validation, dataset.test):
        assert isinstance(split.x, WindowRows)
        values = np.asarray(split.x)[..., names.index("value")]
        np.testing.assert_allclose(np.diff(values, axis=1), 1)
        y = split.y + np.asarray(dataset.target_shift)
        np.testing.assert_allclose(y, values[:, -1:] + [1, 2, 3])
        assert values.min() > last_seen  # nothing of the part before
        last_seen, steps = float(y.max()), steps + len(y)
    assert steps == HOURS - 3 * (24 + 3 - 1)


def test_each_row_is_kept_once(load: Load, tmp_path: Path) -> None:
    path = write(tmp_path / "s.csv", series_frame())
    dataset = load(f"{path}:value", window=24, time="when")
    save_dataset(dataset, tmp_path / "kept")
    kept = open_dataset(tmp_path / "kept")
    assert isinstance(kept.train.x, WindowRows)
    assert kept.window == dataset.window
    np.testing.assert_array_equal(np.asarray(kept.train.x), np.asarray(dataset.train.x))
    stored = np.load(tmp_path / "kept" / "train_x.npy")
    assert len(stored) == len(kept.train) + 24  # the rows, and those before the last target


def test_series_do_not_mix(load: Load, tmp_path: Path) -> None:
    frames = [series_frame(start).assign(shop=name) for name, start in (("a", 0), ("b", 5000))]
    path = write(tmp_path / "s.csv", pd.concat(frames))
    dataset = load(f"{path}:value", window=10, time="when", series="shop")
    names = list(dataset.features or ())
    assert not any(name.startswith("shop") for name in names)
    for split in dataset.splits.values():
        values = np.asarray(split.x)[..., names.index("value")]
        np.testing.assert_allclose(np.diff(values, axis=1), 1)
        assert {bool(v > 4000) for v in values[:, 0]} == {False, True}
    mixed = load(f"{path}:value", window=10, time="when")
    assert any("--series COLUMN" in note for note in mixed.notes)


def test_gaps_in_time_are_said(load: Load, tmp_path: Path) -> None:
    path = write(tmp_path / "s.csv", series_frame().drop(index=range(50, 60)))
    notes = load(f"{path}:value", window=10, time="when").notes
    assert any("1 steps are longer than the usual one (the longest 11 times)" in n for n in notes)
    assert any("the last value errs by 1 (MAE)" in note for note in notes)


def test_a_later_table_gives_a_forecast_for_each_row_with_a_window(
    load: Load, settings: Settings, tmp_path: Path
) -> None:
    path = write(tmp_path / "s.csv", series_frame())
    dataset = load(f"{path}:value", window=24, horizon=2, time="when")
    preparation = preparation_of(dataset)
    later = write(tmp_path / "later.csv", series_frame(1000.0).head(30))
    rows = open_rows(str(later), preparation, settings, "regression", ())
    (block,) = list(rows.blocks())
    inputs = preparation.prepare(block.rows).inputs
    channel = list(dataset.features or ()).index("value")
    assert inputs.shape == (7, *dataset.input_shape)
    np.testing.assert_array_equal(inputs[:, -1, channel], np.arange(1023, 1030))
    assert block.index is not None
    assert str(block.index["when"].iloc[0]) == "2025-01-01 23:00:00"
    expected = [[1024 + k, 1025 + k] for k in range(5)]
    np.testing.assert_array_equal(block.target[:5], expected)
    assert np.isnan(block.target[5:]).any(axis=1).all()  # their future is not there
    with pytest.raises(DatasetError, match="has 10 rows, and the network forecasts from 24"):
        preparation.prepare(series_frame().head(10))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"window": 300}, "a window of 300 with a horizon of 1 needs 301"),
        ({"window": 5, "time": "wehn"}, "--time wehn: no such column.*when"),
        ({"window": 5, "time": "word"}, "'word' holds texts such as .* no order"),
        ({"window": 5, "task": "classes"}, "forecasts numbers, not classes"),
    ],
)
def test_what_cannot_be_windows_is_refused(
    load: Load, tmp_path: Path, options: dict[str, object], message: str
) -> None:
    path = write(tmp_path / "s.csv", series_frame().assign(word=["up", "down"] * (HOURS // 2)))
    with pytest.raises(DatasetError, match=message):
        load(f"{path}:value", **options)


def test_options_of_windows_need_a_window(load: Load) -> None:
    with pytest.raises(SpecError, match="give --window N too"):
        load("digits", horizon=3)
