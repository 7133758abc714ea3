"""Folders of images, a folder a class: decoded to uint8 of one size, and kept in the cache."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tuner.data.image_cache import ImageFile
from tuner.data.image_rows import ImageRows, read_images
from tuner.data.image_tree import PARTS_BY_FOLDER, ImageTree, counted, holds_images, read_tree
from tuner.data.raw import Pair, Raw
from tuner.data.readers.reader import Reader, Source
from tuner.data.rows import ChosenRows
from tuner.errors import DatasetError
from tuner.preparation.preparation import ImageFiles
from tuner.settings import Settings
from tuner.values import join_names

if TYPE_CHECKING:
    import pandas as pd

    from tuner.study.spec import DataSpec

_SHOWN = 3


def _read(source: Source, settings: Settings, spec: "DataSpec") -> Raw:
    """Every part that the folder holds: images, and the class of each.

    Raises DatasetError for a folder without class folders, one class only, images without a class,
    and as `read_images`.
    """
    folder = source.path
    assert folder is not None
    tree = read_tree(folder)
    parts, notes = _parts_with_classes(tree, folder)
    files = [file for classes in parts.values() for held in classes.values() for file in held]
    images = read_images(files, spec, settings, str(folder))
    return Raw(
        source.text,
        source.name,
        _pairs(parts, images),
        notes=(*notes, *tree.notes(), *images.notes),
        image_files=ImageFiles(),
        skipped=images.skipped,
    )


_Parts = dict[str, dict[str, Sequence[ImageFile]]]


def _parts_with_classes(tree: ImageTree, folder: Path) -> tuple[_Parts, list[str]]:
    """The images that have a class, by part and label, and notes on the others."""
    parts: _Parts = {}
    notes = []
    for part, classes in tree.files.items():
        labelled = {label: files for label, files in classes.items() if label}
        loose = classes.get("", [])
        if loose:
            shown = join_names([file.name for file in loose[:_SHOWN]])
            more = ", …" if len(loose) > _SHOWN else ""
            notes.append(
                f"ignored: {counted(len(loose), 'image')} in no class folder ({shown}{more})"
            )
        if labelled:
            parts[part or "train"] = labelled
    _check_classes(parts, folder)
    return parts, notes


def _check_classes(parts: _Parts, folder: Path) -> None:
    if "train" not in parts:
        held = f"only {join_names(list(parts))} has images" if parts else "its images lie in none"
        raise DatasetError(
            f"{folder}: needs a folder for each class, such as {folder / 'cat' / '1.png'} or "
            f"{folder / 'train' / 'cat' / '1.png'}; {held}"
        )
    labels = list(dict.fromkeys(label for classes in parts.values() for label in classes))
    if all(label.lower() in PARTS_BY_FOLDER for label in labels):
        raise DatasetError(
            f"{folder}: the images in {join_names(labels)} lie in no class folders; put them into "
            f"folders such as {folder / labels[0] / 'cat'}"
        )
    if len(labels) < 2:
        raise DatasetError(
            f"{folder}: all images are of one class, {labels[0]!r}; give a folder of images for "
            "each class, or a table of paths and targets: --data table.csv:target --images COLUMN"
        )
    for label in labels:
        try:
            label.encode()
        except UnicodeEncodeError as error:
            raise DatasetError(
                f"{folder}: the name of the class folder {label!r} is not UTF-8 text; rename it"
            ) from error


def _pairs(parts: _Parts, images: ImageRows) -> dict[str, Pair]:
    pairs, start = {}, 0
    for part, classes in parts.items():
        labels = [label for label, files in classes.items() for _ in files]
        numbers = images.taken[(images.taken >= start) & (images.taken < start + len(labels))]
        pairs[part] = Pair(
            ChosenRows(images.rows, numbers), class_column(np.array(labels)[numbers - start])
        )
        start += len(labels)
    return pairs


def class_column(labels: "np.ndarray") -> "pd.Series[str]":
    """Names of folders as a target. They are classes, even where all of them are numbers."""
    import pandas as pd

    return pd.Series(pd.Categorical(labels))


READER = Reader("a folder of images", _read, is_folder=True, holds=holds_images, takes_images=True)
