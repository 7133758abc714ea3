"""Image files as the rows of a network of images: one file, a folder, or a table of paths.

A network that was trained on image files takes those of any size and colours: they become what the
training images became. One that was trained on arrays takes images of its own size alone, since
tuner does not know how those arrays were made.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tuner.data.image_cache import ImageFile
from tuner.data.image_decoding import UnfitImageError, decode_image
from tuner.data.image_tree import ImageTree, read_tree
from tuner.data.later_target import encode_later_target
from tuner.data.raw import dataset_errors
from tuner.data.readers.image_table import find_files, paths_folder
from tuner.data.readers.reader import Source
from tuner.data.row_blocks import LaterRows, RowBlock, RowRequest
from tuner.errors import DatasetError
from tuner.preparation.encoding import Column
from tuner.preparation.preparation import Preparation
from tuner.system.machine import cores
from tuner.values import join_names, suggest_names

_MODES = {1: "L", 3: "RGB", 4: "RGBA"}
_NAMES = {"L": "grey", "RGB": "RGB", "RGBA": "RGB with transparency", "CMYK": "CMYK"}
_BYTE = 255.0
_PATH, _CLASS = "path", "class"  # names of columns: of the predictions, and of messages

# Modes of Pillow whose values go beyond bytes: converting them would cut these off.
_DEEP_MODES = ("I", "F", "I;16", "I;16L", "I;16B", "I;16N")
# Of larger files most of the time is not Python's, so that threads decode side by side.
_LARGE_FILE = 2**16


def open_image(source: Source, request: RowRequest) -> LaterRows:
    """One row: the image with the channels that the network takes; its path is the index.

    Raises DatasetError for a file that is no image, a network that takes no images, and for another
    size where it was not trained on image files.
    """
    path = source.path
    assert path is not None
    read = _reader(str(path), request.preparation)
    pixels, notes = read(str(path))
    block = RowBlock(pixels[np.newaxis], _paths_as_index([str(path)], 0))
    return LaterRows(str(path), lambda: iter([block]), tuple(notes), 1)


def open_image_folder(source: Source, request: RowRequest) -> LaterRows:
    """The images of a folder by their names, those of its parts one after the other. Where each
    lies in a class folder, that is its target; their paths are the index."""
    folder = source.path
    assert folder is not None
    tree = read_tree(folder)
    chosen = _chosen_parts(tree, source)
    read = _reader(str(folder), request.preparation)
    rows: list[tuple[ImageFile, str]] = [
        (file, label)
        for part in chosen
        for label, files in tree.files[part].items()
        for file in files
    ]
    with_classes = bool(rows) and all(label for _, label in rows)
    if not with_classes:
        rows.sort(key=lambda row: row[0].name)
    notes = tree.notes()
    if len(chosen) > 1:
        notes.append(f"rows of {', then '.join(part for part in chosen if part)}")

    def blocks() -> Iterator[RowBlock]:
        for start in range(0, len(rows), request.rows_at_once):
            some = rows[start : start + request.rows_at_once]
            files, labels = [file for file, _ in some], [label for _, label in some]
            target = partial(_encode, labels, start, request, str(folder))
            yield RowBlock(
                _read_all(files, read),
                _paths_as_index([file.name for file in files], start),
                target if with_classes else None,
                start,
            )

    target_name = _CLASS if with_classes else None
    return LaterRows(str(folder), blocks, tuple(notes), len(rows), target_name)


def open_image_table(
    source: Source, request: RowRequest, open_table: Callable[[Source, RowRequest], LaterRows]
) -> LaterRows:
    """The images that a table names in the column of the training table. `open_table`: opens the
    table itself. Raises DatasetError as that does, and for files that are missing."""
    preparation = request.preparation
    assert preparation.image_files is not None and source.path is not None
    column = preparation.image_files.column
    assert column is not None
    folder = paths_folder(source.path)
    read = _reader(source.text, preparation)
    table = open_table(source, replace(request, preparation=_of_paths(preparation, column)))

    def blocks() -> Iterator[RowBlock]:
        for block in table.blocks():
            paths = block.rows[column]
            if paths.isna().any():
                row = block.first_row + int(np.argmax(paths.isna().to_numpy())) + 1
                raise DatasetError(
                    f"{table.source}: the path in {column!r} is missing in row {row}"
                )
            files = find_files(paths, folder, table.source, block.first_row)
            index = block.rows[[column]] if block.index is None else block.index
            for start in range(0, len(files), request.rows_at_once):
                some = slice(start, start + request.rows_at_once)
                yield RowBlock(
                    _read_all(files[some], read),
                    index.iloc[some],
                    None if table.target is None else partial(_targets, block, some),
                    block.first_row + start,
                )

    return replace(table, read_blocks=blocks)


def _targets(block: RowBlock, rows: slice) -> Any:
    assert block.target is not None
    return block.target[rows]


def _of_paths(preparation: Preparation, column: str) -> Preparation:
    """For the table of the paths, instead of the images."""
    return replace(
        preparation,
        input_shape=(1,),
        columns=(Column(column, kind="text"),),
        is_table=True,
        image_files=None,
    )


def _chosen_parts(tree: ImageTree, source: Source) -> list[str]:
    """Those that the word after the colon names; all of them if none follows."""
    part, parts = source.selector, list(tree.files)
    if not part:
        return parts
    chosen = [each for each in parts if each and each.startswith(part)]
    if len(part) < 3 or len(chosen) != 1:
        names = join_names(each for each in parts if each) or "none"
        raise DatasetError(
            f"{source.text}: no part {part!r}{suggest_names(part, parts)}; its parts are {names}"
        )
    return chosen


def _encode(labels: Sequence[str], first_row: int, request: RowRequest, source: str) -> Any:
    import pandas as pd

    index = pd.RangeIndex(first_row, first_row + len(labels))
    return encode_later_target(pd.Series(labels, index, name=_CLASS), request, source)


def _paths_as_index(paths: Sequence[str], first_row: int) -> Any:
    import pandas as pd

    # A path that is no UTF-8 text can be printed and written so.
    texts = [path.encode("utf-8", "backslashreplace").decode() for path in paths]
    return pd.DataFrame({_PATH: texts}, pd.RangeIndex(first_row, first_row + len(texts)))


class _Read(NamedTuple):
    """A row (*input_shape), and a line on each decision."""

    pixels: npt.NDArray[Any]
    notes: list[str]


def _read_all(files: Sequence[ImageFile], read: Callable[[str], _Read]) -> npt.NDArray[Any]:
    """Rows (n, *input_shape)."""
    paths = [file.path for file in files]
    if sum(file.state[0] for file in files) < _LARGE_FILE * len(files):
        return np.stack([read(path).pixels for path in paths])
    with ThreadPoolExecutor(cores()) as pool:
        return np.stack([row.pixels for row in pool.map(read, paths)])


def _reader(source: str, preparation: Preparation) -> Callable[[str], _Read]:
    """What reads a file as a row of the network. Raises DatasetError for a network of no images."""
    mode = _mode(source, preparation)
    if preparation.image_files is None:
        return partial(_read_as_given, mode=mode, preparation=preparation)
    return partial(_read_as_trained, preparation=preparation)


def _read_as_trained(path: str, preparation: Preparation) -> _Read:
    """Resized and converted as the training images were."""
    shape = preparation.input_shape
    height, width, channels = shape
    try:
        image = decode_image(path, height, width, channels, resize=True)
    except UnfitImageError as error:
        raise DatasetError(f"{path}: {error}") from error
    notes = [f"resized to {height} x {width} pixels (height x width)"] if image.resized else []
    return _Read(image.pixels, notes)


def _read_as_given(path: str, mode: str, preparation: Preparation) -> _Read:
    with dataset_errors(path):
        image, notes = _read_image(Path(path), mode, preparation)
    return _Read(image.reshape(preparation.input_shape), notes)


def _mode(path: str, preparation: Preparation) -> str:
    """Pillow's name of the channels that the network takes."""
    shape = preparation.input_shape
    channels = 1 if len(shape) == 2 else shape[-1]
    what = "holds images" if Path(path).is_dir() else "is an image"
    if preparation.is_table:
        columns = join_names(preparation.names)
        raise DatasetError(f"{path}: {what}, the network takes a table with {columns}")
    if len(shape) not in (2, 3) or channels not in _MODES:
        takes = " x ".join(map(str, shape))
        raise DatasetError(f"{path}: {what}, the network takes arrays of {takes} values")
    return _MODES[channels]


def _read_image(
    path: Path, mode: str, preparation: Preparation
) -> tuple[npt.NDArray[Any], list[str]]:
    from PIL import Image, ImageOps

    height, width = preparation.input_shape[:2]
    notes = []
    with Image.open(path) as file:
        image = ImageOps.exif_transpose(file)  # as people see it
        if image.size != (width, height):
            raise DatasetError(
                f"{path}: is an image of {image.height} x {image.width} pixels (height x width), "
                f"the network takes {height} x {width}; resize it as the training data were"
            )
        if getattr(file, "n_frames", 1) > 1:
            notes.append("holds several images; the first is taken")
        deep = image.mode in _DEEP_MODES and mode == "L"
        if image.mode != mode and image.mode in _NAMES:
            notes.append(f"is {_NAMES[image.mode]}; taken as {_NAMES[mode]}, as the network's data")
        values = np.asarray(image if deep else image.convert(mode))
    learnt = preparation.value_range
    if learnt is not None and learnt[0] >= 0 and learnt[1] <= 1 and values.dtype == np.uint8:
        notes.append("its values are divided by 255: those of the training images go up to 1")
        return values / np.float32(_BYTE), notes
    return values, notes
