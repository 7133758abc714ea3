"""Image files for a saved network: as its training images were, whatever their size and colours."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from tuner.data import Dataset, preparation_of
from tuner.data.dataset_files import open_dataset, save_dataset
from tuner.data.later_rows import LaterRows, open_rows
from tuner.data.row_blocks import RowRequest
from tuner.errors import DatasetError
from tuner.preparation.preparation import Preparation
from tuner.settings import Settings

Load = Callable[..., Dataset]
Open = Callable[[Dataset, object], LaterRows]
PIXELS = np.random.default_rng(0).integers(0, 256, (16, 4, 6, 3), np.uint8)
LABELS = ["cat", "dog"] * 8


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    for number, (pixels, label) in enumerate(zip(PIXELS, LABELS, strict=True)):
        (folder / label).mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(folder / label / f"{number:02}.png")
    return folder


@pytest.fixture
def network(load: Load, photos: Path, tmp_path: Path) -> Dataset:
    """The data of a network that was trained on the folder, as workers open them."""
    save_dataset(load(photos), tmp_path / "saved")
    return open_dataset(tmp_path / "saved")


@pytest.fixture
def open_for(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Open:
    monkeypatch.setattr(RowRequest, "rows_at_once", 5)

    def open_rows_for(dataset: Dataset, text: object) -> LaterRows:
        preparation = Preparation.from_json(preparation_of(dataset).to_json())
        return open_rows(str(text), preparation, settings, dataset.task, dataset.labels)

    return open_rows_for


def inputs(dataset: Dataset, rows: LaterRows) -> np.ndarray:
    preparation = preparation_of(dataset)
    return np.concatenate([preparation.prepare(block.rows).inputs for block in rows.blocks()])


def paths(rows: LaterRows, column: str = "path") -> list[str]:
    return [path for block in rows.blocks() for path in block.index[column]]


def test_a_class_tree_has_paths_and_targets(network: Dataset, open_for: Open, photos: Path) -> None:
    rows = open_for(network, photos)
    order = np.argsort(LABELS, kind="stable")
    np.testing.assert_array_equal(inputs(network, rows), PIXELS[order])
    assert paths(rows) == [f"{LABELS[n]}/{n:02}.png" for n in order]
    assert (rows.count, rows.target) == (16, "class")
    targets = [label for block in rows.blocks() for label in block.target]
    assert targets == [0] * 8 + [1] * 8
    assert [block.first_row for block in rows.blocks()] == [0, 5, 10, 15]


def test_a_flat_folder_has_no_targets(network: Dataset, open_for: Open, tmp_path: Path) -> None:
    folder = tmp_path / "new"
    folder.mkdir()
    kinds = {"ä.png": ((6, 4), "RGB"), "b.GIF": ((3, 2), "L"), "c.webp": ((12, 9), "RGBA")}
    for name, (size, mode) in kinds.items():
        colour = 200 if mode == "L" else (200,) * len(mode)
        Image.new(mode, size, colour).save(folder / name, lossless=True)
    rows = open_for(network, folder)
    np.testing.assert_array_equal(inputs(network, rows), np.full((3, 4, 6, 3), 200))
    assert sorted(paths(rows)) == ["b.GIF", "c.webp", "ä.png"]
    assert rows.target is None
    assert next(rows.blocks()).target is None


def test_one_image_is_resized(network: Dataset, open_for: Open, tmp_path: Path) -> None:
    Image.new("L", (60, 10), 9).save(tmp_path / "a.png")
    rows = open_for(network, tmp_path / "a.png")
    np.testing.assert_array_equal(inputs(network, rows), np.full((1, 4, 6, 3), 9))
    assert rows.notes == ("resized to 4 x 6 pixels (height x width)",)
    assert paths(rows) == [str(tmp_path / "a.png")]


def test_large_files_are_read_in_their_order(
    network: Dataset, open_for: Open, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tuner.data.readers.later_images._LARGE_FILE", 1)
    order = np.argsort(LABELS, kind="stable")
    np.testing.assert_array_equal(inputs(network, open_for(network, photos)), PIXELS[order])


def test_parts_are_named_behind_a_colon(
    network: Dataset, open_for: Open, photos: Path, tmp_path: Path
) -> None:
    for part in ("train", "test"):
        (tmp_path / "split" / part).mkdir(parents=True)
    (photos / "cat").rename(tmp_path / "split" / "train" / "cat")
    (photos / "dog").rename(tmp_path / "split" / "test" / "dog")
    rows = open_for(network, f"{tmp_path / 'split'}:test")
    assert paths(rows) == [f"test/dog/{n:02}.png" for n in range(1, 16, 2)]
    whole = open_for(network, tmp_path / "split")
    assert (whole.count, whole.notes) == (16, ("rows of train, then test",))
    with pytest.raises(DatasetError, match="no part 'dev'; its parts are train, test"):
        open_for(network, f"{tmp_path / 'split'}:dev")


def test_a_table_of_paths(load: Load, open_for: Open, photos: Path) -> None:
    names = [f"photos/{label}/{number:02}.png" for number, label in enumerate(LABELS)]
    table = photos.parent / "table.csv"
    frame = pd.DataFrame({"file": names, "age": np.arange(16.0) * 0.5, "id": range(7, 23)})
    frame.to_csv(table, index=False)
    network = load(f"{table}:age", images="file")
    rows = open_for(network, table)
    np.testing.assert_array_equal(inputs(network, rows), PIXELS)
    assert paths(rows, "file") == names
    targets = np.concatenate([block.target for block in rows.blocks()])
    np.testing.assert_array_equal(targets, frame["age"])
    frame[["id", "file"]].to_parquet(table.with_suffix(".parquet"), index=False)
    without = open_for(network, table.with_suffix(".parquet"))
    np.testing.assert_array_equal(inputs(network, without), PIXELS)
    assert paths(without, "id") == list(range(7, 23))
    assert without.target is None
    frame.loc[9, "file"] = "none.png"
    frame.to_csv(table, index=False)
    with pytest.raises(DatasetError, match=r"images are missing in .*: none.png \(row 10\)"):
        inputs(network, open_for(network, table))
    frame.loc[9, "file"] = None
    frame.to_csv(table, index=False)
    with pytest.raises(DatasetError, match="the path in 'file' is missing in row 10"):
        inputs(network, open_for(network, table))


def test_a_network_of_arrays_takes_folders_of_its_own_size(
    load: Load, open_for: Open, photos: Path, tmp_path: Path
) -> None:
    np.savez(tmp_path / "a.npz", x=PIXELS, y=LABELS)
    network = load(tmp_path / "a.npz")
    order = np.argsort(LABELS, kind="stable")
    np.testing.assert_array_equal(inputs(network, open_for(network, photos)), PIXELS[order])
    Image.new("RGB", (5, 4)).save(photos / "cat" / "99.png")
    with pytest.raises(DatasetError, match=r"99.png: is an image of 4 x 5 pixels .*, the network"):
        inputs(network, open_for(network, photos))


def test_each_mistake_gets_one_line(
    network: Dataset, open_for: Open, photos: Path, load: Load
) -> None:
    with pytest.raises(DatasetError, match="holds images, the network takes a table with"):
        open_for(load(_people(photos.parent)), photos)
    (photos / "cat" / "99.png").write_bytes(b"no image")
    with pytest.raises(DatasetError, match=r"99.png: is no image that can be read"):
        inputs(network, open_for(network, photos))
    (photos / "cat" / "99.png").unlink()
    (photos / "dog").rename(photos / "fox")
    rows = open_for(network, photos)
    assert len(inputs(network, rows)) == 16  # predictions do not care
    with pytest.raises(
        DatasetError, match=r"holds 'fox' \(first in row 9\), which the network does"
    ):
        [block.target for block in rows.blocks()]


def _people(folder: Path) -> str:
    pd.DataFrame({"age": range(20), "who": ["a", "b"] * 10}).to_csv(folder / "p.csv", index=False)
    return f"{folder / 'p.csv'}:who"
