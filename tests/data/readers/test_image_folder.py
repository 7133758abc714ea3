"""Folders of images, and tables that name images: which rows they give, and what is refused."""

import shutil
import unicodedata
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from tuner.data import Dataset, find_source
from tuner.data.readers import idx
from tuner.errors import DatasetError, SpecError
from tuner.settings import Settings
from tuner.study.data_spec import DataSpec, read_image_size

Load = Callable[..., Dataset]


def save(path: Path, value: int, size: tuple[int, int] = (3, 5), colour: bool = True) -> None:
    """An image (height, width) whose pixels all are `value`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = (*size, 3) if colour else size
    pixels = np.full(shape, value, np.uint8)
    if colour:
        pixels[..., 1] = 255 - value
    Image.fromarray(pixels).save(path)


def fill(folder: Path, classes: tuple[str, ...] = ("cat", "dog"), rows: int = 12) -> None:
    """Images of each class, whose values count up over all of them in their order."""
    for number, label in enumerate(classes):
        for row in range(rows):
            save(folder / label / f"{row:02}.png", number * rows + row)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    fill(tmp_path / "photos")
    return tmp_path / "photos"


def values(dataset: Dataset) -> dict[str, list[tuple[int, str]]]:
    """The value and the label of each image, by part."""
    return {
        part: [
            (int(x[0, 0, 0]), dataset.labels[y])
            for x, y in zip(np.asarray(split.x), split.y, strict=True)
        ]
        for part, split in dataset.splits.items()
    }


def test_class_folders_are_split(photos: Path, load: Load) -> None:
    dataset = load(photos)
    assert (dataset.task, dataset.labels, dataset.input_shape) == (
        "binary",
        ("cat", "dog"),
        (3, 5, 3),
    )
    assert dataset.train.x.dtype == np.uint8
    rows = sorted(row for part in values(dataset).values() for row in part)
    assert rows == [(n, "cat" if n < 12 else "dog") for n in range(24)]
    assert set(dataset.splits) == {"train", "validation", "test"}
    assert dataset.notes == ()
    assert load(photos).fingerprint == dataset.fingerprint


@pytest.mark.parametrize("name", ["validation", "valid", "Val"])
def test_folders_of_parts_are_kept(tmp_path: Path, load: Load, name: str) -> None:
    folder = tmp_path / "photos"
    for number, part in enumerate(("train", name, "TEST", "more")):
        for label in ("cat", "dog"):
            save(folder / part / label / "deep" / "er" / "a.png", 10 * number)
            save(folder / part / label / "b.PNG", 10 * number + 1)
    save(folder / "loose.png", 99)
    dataset = load(folder)
    for number, part in enumerate(("train", "validation", "test")):
        both = [10 * number, 10 * number + 1]
        expected = [(v, label) for label in ("cat", "dog") for v in reversed(both)]
        assert values(dataset)[part] == expected
    assert dataset.notes == (
        "ignored: 1 image in no class folder (loose.png)",
        "ignored: more, beside the folders of train, validation and test",
    )


def test_a_class_may_be_named_train(tmp_path: Path, load: Load) -> None:
    fill(tmp_path / "traffic", ("car", "train"))
    assert load(tmp_path / "traffic").labels == ("car", "train")


def test_folders_of_numbers_are_classes(tmp_path: Path, load: Load) -> None:
    fill(tmp_path / "ages", tuple(map(str, range(1, 8))), rows=3)
    dataset = load(tmp_path / "ages")
    assert (dataset.task, dataset.labels) == ("classes", tuple("1234567"))
    with pytest.raises(DatasetError, match="regression needs a target of numbers"):
        load(tmp_path / "ages", task="regression")


def test_what_is_no_image_is_counted_and_hidden_files_are_not(photos: Path, load: Load) -> None:
    before = load(photos).fingerprint
    for name in ("README.md", "cat/notes.txt", "cat/more.TXT", "LICENSE"):
        (photos / name).write_text("words")
    for name in (".DS_Store", "cat/._00.png", ".git/a.png", "cat/Thumbs.db", "__MACOSX/a.png"):
        (photos / name).parent.mkdir(exist_ok=True)
        (photos / name).write_bytes(b"no image")
    (photos / "bird").mkdir()
    dataset = load(photos)
    assert dataset.fingerprint == before
    assert dataset.notes == (
        "ignored: 4 files without an image (2 .txt, 1 .md, 1 without an ending)",
        "ignored: 1 folder without images (bird)",
    )


def test_links_are_followed_but_not_in_circles(photos: Path, load: Load, tmp_path: Path) -> None:
    plain = load(photos).fingerprint
    (photos / "cat" / "above").symlink_to(photos)
    assert load(photos).fingerprint == plain
    linked = tmp_path / "linked"
    linked.mkdir()
    for label in ("cat", "dog"):
        (linked / label).symlink_to(photos / label)
    (photos / "cat" / "above").unlink()
    assert load(linked).fingerprint == plain


def test_names_of_other_alphabets(tmp_path: Path, load: Load) -> None:
    """macOS writes ö as o with a mark: the same class, in the same place."""
    written = [unicodedata.normalize(form, "zwölf") for form in ("NFC", "NFD")]
    for folder, label in zip("ab", written, strict=True):
        fill(tmp_path / folder, (label, "猫"))
    assert load(tmp_path / "a").labels == ("zwölf", "猫")
    assert load(tmp_path / "b").fingerprint == load(tmp_path / "a").fingerprint


def test_images_of_one_channel(tmp_path: Path, load: Load, photos: Path) -> None:
    for label in ("cat", "dog"):
        for row in range(4):
            save(tmp_path / "grey" / label / f"{row}.png", 9 * row, colour=False)
    dataset = load(tmp_path / "grey")
    assert dataset.input_shape == (3, 5, 1)
    assert dataset.notes == ("no image has colours: one channel",)
    assert load(photos, grayscale=True).input_shape == (3, 5, 1)
    save(tmp_path / "grey" / "dog" / "9.png", 1)  # the last one has colours
    assert load(tmp_path / "grey").input_shape == (3, 5, 3)
    assert load(tmp_path / "grey").notes == ("converted to RGB: 8 grey",)


def test_different_sizes_need_one(photos: Path, load: Load) -> None:
    save(photos / "dog" / "99.png", 40, size=(6, 7))
    with pytest.raises(DatasetError) as error:
        load(photos)
    assert str(error.value) == (
        f"{photos}: its images differ in size: cat/00.png has 3 x 5 pixels (height x width), "
        "dog/99.png 6 x 7; give one size for all, such as --image-size 3"
    )
    dataset = load(photos, image_size="4x8")
    assert dataset.input_shape == (4, 8, 3)
    assert dataset.notes == ("25 of 25 images were resized to 4 x 8 pixels (height x width)",)


def test_broken_files_are_named_or_skipped(photos: Path, load: Load) -> None:
    whole = load(photos).fingerprint
    for name in ("cat/z.png", "dog/z.jpg"):
        (photos / name).write_bytes(b"no image")
    message = (
        f"{photos}: 2 of 26 images cannot be taken: cat/z.png is no image that can be read, "
        "dog/z.jpg is no image that can be read; mend or remove them, or leave such files out: "
        "--broken skip"
    )
    with pytest.raises(DatasetError) as error:
        load(photos)
    assert str(error.value) == message
    dataset = load(photos, broken="skip")
    assert dataset.skipped == ("cat/z.png", "dog/z.jpg")
    assert dataset.fingerprint == whole
    assert dataset.notes[0].startswith("2 images left out: cat/z.png is no image")


def test_each_mistake_of_a_folder_gets_one_line(tmp_path: Path, load: Load, photos: Path) -> None:
    save(tmp_path / "flat" / "a.png", 1)
    save(tmp_path / "one" / "cat" / "a.png", 1)
    save(tmp_path / "half" / "train" / "a.png", 1)
    save(tmp_path / "half" / "test" / "a.png", 1)
    fill(tmp_path / "late" / "test")
    fill(tmp_path / "more" / "train")
    fill(tmp_path / "more" / "test", ("cat", "bird"))
    for part in ("val", "validation", "train"):
        fill(tmp_path / "twice" / part)
    (tmp_path / "broken" / "cat").mkdir(parents=True)
    (tmp_path / "broken" / "cat" / "a.png").write_text("")
    (tmp_path / "broken" / "dog").symlink_to(tmp_path / "broken" / "cat")
    problems = {
        "flat": "needs a folder for each class, such as .*cat/1.png; its images lie in none",
        "one": "all images are of one class, 'cat'; .* --images COLUMN",
        "half": "the images in test, train lie in no class folders",
        "late": "only test has images",
        "more": "no row of train is of class 'bird', which another part holds",
        "twice": "val, validation are folders of one part",
        "broken": "none of its 2 images can be read; the first is cat/a.png",
    }
    for name, problem in problems.items():
        with pytest.raises(DatasetError, match=problem):
            load(tmp_path / name)
    with pytest.raises(DatasetError, match="nothing may follow the name of"):
        load(f"{photos}:train")


def test_a_folder_of_both_kinds_is_refused(
    photos: Path, settings: Settings, write_mnist_like: Callable[..., None], tmp_path: Path
) -> None:
    write_mnist_like(tmp_path / "idx")
    assert find_source(str(tmp_path / "idx"), settings)[0].reader is idx.READER
    write_mnist_like(photos)
    with pytest.raises(DatasetError, match="holds both images and IDX files"):
        find_source(str(photos), settings)


@pytest.fixture
def table(photos: Path) -> Path:
    """A table beside the folder of the images that it names."""
    names = [f"photos/{label}/{row:02}.png" for label in ("cat", "dog") for row in range(12)]
    rows = {"file": names, "age": np.arange(24) * 0.5, "kind": ["cat"] * 12 + ["dog"] * 12}
    path = photos.parent / "table.csv"
    pd.DataFrame(rows | {"w": np.arange(24) * 2 + 1}).to_csv(path, index=False)
    return path


def test_a_table_names_images(table: Path, load: Load) -> None:
    dataset = load(f"{table}:kind", images="file")
    assert (dataset.labels, dataset.input_shape) == (("cat", "dog"), (3, 5, 3))
    rows = sorted(row for part in values(dataset).values() for row in part)
    assert rows == [(n, "cat" if n < 12 else "dog") for n in range(24)]
    assert dataset.notes == ("columns left out, beside the images: age, w",)
    assert dataset.target_column.name == "kind"
    assert dataset.target_column.ignored == ("age", "w")


def test_targets_and_weights_of_a_table_stay_with_their_images(table: Path, load: Load) -> None:
    (table.parent / "photos" / "cat" / "03.png").write_bytes(b"no image")
    dataset = load(f"{table}:age", images="file", broken="skip", weights="w")
    assert dataset.task == "regression"
    rows = {}
    for split in (dataset.train, dataset.validation):
        assert split.weights is not None
        numbers = np.asarray(split.x)[:, 0, 0, 0]
        rows |= {int(n): (y, w) for n, y, w in zip(numbers, split.y, split.weights, strict=True)}
    assert 3 not in rows
    assert len(rows) > 12
    assert all((y, w) == (n * 0.5, 2 * n + 1) for n, (y, w) in rows.items())


def test_each_mistake_of_a_table_gets_one_line(table: Path, load: Load, photos: Path) -> None:
    frame = pd.read_csv(table)
    frame.loc[2, "file"] = "photos/none.png"
    frame.to_csv(table.with_name("missing.csv"), index=False)
    frame.loc[3, "file"] = None
    frame.to_csv(table.with_name("gap.csv"), index=False)
    problems = {
        ("table.csv:kind", "fiel"): r"'fiel' is no column \(did you mean 'file'\?\)",
        ("table.csv:kind", "kind"): "'kind' is the target",
        ("table.csv:kind", "age"): r"images are missing in .*: 0.0 \(row 1\), .* \(24 in all\)",
        (
            "missing.csv:kind",
            "file",
        ): r"images are missing in .*: photos/none.png \(row 3\)",
        ("gap.csv:kind", "file"): r"the path in 'file' is missing in 1 row \(first: row 4\)",
        ("photos", "file"): "images names a column of a table",
    }
    for (name, column), problem in problems.items():
        with pytest.raises(DatasetError, match=problem):
            load(table.with_name(name), images=column)
    for options in ({"image_size": 8}, {"grayscale": True}, {"broken": "skip"}):
        with pytest.raises(DatasetError, match=f"{next(iter(options))} is for a folder of images"):
            load(f"{table}:kind", **options)


def test_a_folder_may_move_and_changed_pixels_are_seen(photos: Path, load: Load) -> None:
    before = load(photos).fingerprint
    moved = photos.rename(photos.with_name("moved"))
    assert load(moved).fingerprint == before
    save(moved / "cat" / "00.png", 200)
    assert load(moved).fingerprint != before
    shutil.rmtree(moved / "dog")
    with pytest.raises(DatasetError, match="all images are of one class"):
        load(moved)


@pytest.mark.parametrize(
    ("written", "size"),
    [(64, (64, 64)), ("64", (64, 64)), ("64x48", (64, 48)), ("64X48", (64, 48)), ([9, 8], (9, 8))],
)
def test_sizes_as_they_are_written(written: object, size: tuple[int, int]) -> None:
    assert read_image_size(written) == size
    assert DataSpec(image_size=written).image_size == size  # type: ignore[arg-type]


@pytest.mark.parametrize("written", [0, "x", "64x", "1x2x3", -3, 6.5, [], True, "9999", None])
def test_sizes_that_are_none(written: object) -> None:
    with pytest.raises(SpecError, match="image_size must be pixels from 1 to 8192"):
        read_image_size(written)
