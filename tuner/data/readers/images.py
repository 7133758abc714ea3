"""Single images (PNG, JPEG and others that Pillow reads), as the rows of a network of images."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tuner.data.raw import dataset_errors
from tuner.data.readers.reader import Source
from tuner.data.row_blocks import LaterRows, RowBlock, RowRequest
from tuner.errors import DatasetError
from tuner.preparation.preparation import Preparation
from tuner.values import join_names

ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".pgm", ".ppm")
_MODES = {1: "L", 3: "RGB", 4: "RGBA"}
_NAMES = {"L": "grey", "RGB": "RGB", "RGBA": "RGB with transparency", "CMYK": "CMYK"}
_BYTE = 255.0

# Modes of Pillow whose values go beyond bytes: converting them would cut these off.
_DEEP_MODES = ("I", "F", "I;16", "I;16L", "I;16B", "I;16N")


def open_image(source: Source, request: RowRequest) -> LaterRows:
    """One row: the image with the channels that the network takes.

    Raises DatasetError for a file that is no image, one of another size, and a network that takes
    no images.
    """
    path = source.path
    assert path is not None
    preparation = request.preparation
    mode = _mode(path, preparation)
    with dataset_errors(str(path)):
        image, notes = _read_image(path, mode, preparation)
    rows = image.reshape(1, *preparation.input_shape)
    return LaterRows(str(path), lambda: iter([RowBlock(rows)]), tuple(notes), 1)


def _mode(path: Path, preparation: Preparation) -> str:
    """Pillow's name of the channels that the network takes."""
    shape = preparation.input_shape
    channels = 1 if len(shape) == 2 else shape[-1]
    if preparation.is_table:
        columns = join_names(preparation.names)
        raise DatasetError(f"{path}: is an image, the network takes a table with {columns}")
    if len(shape) not in (2, 3) or channels not in _MODES:
        takes = " x ".join(map(str, shape))
        raise DatasetError(f"{path}: is an image, the network takes arrays of {takes} values")
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
