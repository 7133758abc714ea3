"""Forecast windows: their rows and targets, the split by time, later tables."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tuner.data import Dataset, preparation_of
from tuner.data.dataset_files import open_dataset, save_dataset
from tuner.data.later_rows import open_rows
from tuner.data.preparing import network_inputs
from tuner.data.row_blocks import RowRequest
from tuner.data.window_rows import WindowRows
from tuner.errors import DatasetError, SpecError
from tuner.settings import Settings
from tuner.study.spec import DataSpec

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


@pytest.mark.parametrize("options", [{}, {"series": "shop"}, {"horizon": 4, "test": 0.3}])
def test_training_learns_nothing_from_what_comes_later(
    load: Load, tmp_path: Path, options: dict[str, object]
) -> None:
    """Each hour comes twice: once for each shop."""
    shops = [series_frame(start).assign(shop=name) for name, start in (("a", 0), ("b", 5000))]
    frame = pd.concat(shops, ignore_index=True)
    first = load(f"{write(tmp_path / 's.csv', frame)}:value", window=9, time="when", **options)
    held = [len(split.x.base) // 2 for split in first.splits.values()]  # hours of each part
    assert sum(held) == HOURS
    assert held[2] == round(HOURS * first_of(options, "test"))
    assert all(len(split.x.base) % 2 == 0 for split in first.splits.values())
    later = frame["when"] >= frame["when"].iloc[held[0]]
    frame.loc[later, ["value", "level"]] = frame[["value", "level"]] ** 2 + 7e6
    other = load(f"{write(tmp_path / 's.csv', frame)}:value", window=9, time="when", **options)
    for one, two in ((first.train.x, other.train.x), (first.train.y, other.train.y)):
        np.testing.assert_array_equal(np.asarray(one), np.asarray(two))
    assert (first.columns, first.features) == (other.columns, other.features)
    assert first.target_shift == other.target_shift
    for one, two in (
        (first.scaling, other.scaling),
        (first.target_scaling, other.target_scaling),
    ):
        np.testing.assert_array_equal(one.scale, two.scale)
        np.testing.assert_array_equal(one.offset, two.offset)


def first_of(options: dict[str, object], name: str) -> float:
    return float(options.get(name, getattr(DataSpec(source="s.csv"), name)))  # type: ignore[arg-type]


def test_later_rows_are_windows_as_those_of_training(load: Load, tmp_path: Path) -> None:
    path = write(tmp_path / "s.csv", series_frame())
    dataset = load(f"{path}:value", window=24, time="when")
    assert dataset.features == ("when.hour", "level", "value")  # no week is seen twice
    prepared = preparation_of(dataset).prepare(pd.read_csv(path)).inputs
    assert len(prepared) == HOURS - 24 + 1
    given = network_inputs(dataset, np.asarray(dataset.train.x))
    np.testing.assert_array_equal(prepared[: len(given)], given)


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
    naive = "the last value errs by 1 (MAE), the values of one window before by 10"
    assert any(naive in note for note in notes)


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


def test_forecasts_of_several_series_come_in_blocks_and_know_their_own_future(
    load: Load, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Of the names, the first of the alphabet comes last.
    shops = [series_frame(start).assign(shop=name) for name, start in (("b", 0), ("a", 5000))]
    path = write(tmp_path / "s.csv", pd.concat(shops))
    dataset = load(f"{path}:value", window=10, time="when", series="shop")
    later = pd.concat([shop.head(14) for shop in shops])
    monkeypatch.setattr(RowRequest, "rows_at_once", 3)
    source = str(write(tmp_path / "later.csv", later))
    rows = open_rows(source, preparation_of(dataset), settings, "regression", ())
    blocks = list(rows.blocks())
    assert [len(block.rows) for block in blocks] == [3, 3, 3, 1]
    index = pd.concat([block.index for block in blocks])
    assert list(index["shop"]) == ["a"] * 5 + ["b"] * 5
    expected = [*range(5010, 5014), np.nan, *range(10, 14), np.nan]
    np.testing.assert_array_equal(np.concatenate([b.target for b in blocks]), expected)


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
