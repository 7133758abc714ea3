"""Image files -> bytes of one size: how a file's pixels become a row of the data.

This file imports nothing of tuner, since it is also a program: image_cache.py starts it once a core
by its path, for many files, so that it is ready in the time that Pillow and NumPy take.

What becomes of a file: its first frame, turned as its EXIF orientation says; palettes, CMYK and
other colour spaces as RGB; transparency is dropped, as Keras does; of 16 bits the upper 8. A size
is reached by Pillow's bilinear filter, which averages where it makes images smaller; the sides are
stretched. JPEG files that are much larger are decoded at a half, a quarter or an eighth.
"""

import json
import os
import signal
import sys
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".pgm", ".ppm")

Pixels = npt.NDArray[np.uint8]

_MODES = {1: "L", 3: "RGB", 4: "RGBA"}
_GREY = ("1", "L", "LA", "La", "I", "I;16", "I;16L", "I;16B", "I;16N", "F")
_DEEP = ("I", "I;16", "I;16L", "I;16B", "I;16N")
_DEEPEST = 2**16 - 1
_ORIENTATION = 0x0112
_TURNED = (5, 6, 7, 8)  # orientations whose sides are swapped
# These have an orientation only as a block that Pillow names.
_SELDOM_TURNED = ("PNG", "BMP", "GIF", "PPM")
_TURNING_BLOCKS = ("exif", "Raw profile type exif", "XML:com.adobe.xmp", "xmp")
# Pillow decodes a JPEG at this many times the wanted size at least: a filter does the rest.
_DRAFT = 2


class UnfitImageError(Exception):
    """A file whose pixels cannot be a row. The text says why, without the file's name."""


class OtherSizeError(Exception):
    """An image of another size than wanted, (height, width)."""

    def __init__(self, size: tuple[int, int]) -> None:
        super().__init__(f"{size[0]} x {size[1]}")
        self.size = size


def image_size(path: str) -> tuple[int, int]:
    """(height, width) as people see it, from the file's head alone. Raises UnfitImageError."""
    from PIL import Image

    with _one_line_errors(), Image.open(path) as image:
        height, width = image.height, image.width
        return (width, height) if _orientation(image) in _TURNED else (height, width)


def is_grey(path: str) -> bool:
    """Whether the file holds grey values alone, from its head. Raises UnfitImageError."""
    from PIL import Image

    with _one_line_errors(), Image.open(path) as image:
        return image.mode in _GREY


@dataclass(frozen=True)
class DecodedImage:
    """`pixels`: (height, width, channels). `mode`: Pillow's name of the file's channels. `resized`:
    whether the file has another size."""

    pixels: Pixels
    mode: str
    resized: bool

    @property
    def is_grey(self) -> bool:
        return self.mode in _GREY


def decode_image(path: str, height: int, width: int, channels: int, resize: bool) -> DecodedImage:
    """The image in a file, with so many pixels and channels (1, 3 or 4). `resize`: stretch one of
    another size. Raises OtherSizeError for one that may not be stretched, and UnfitImageError for a
    file that is broken or no image."""
    from PIL import Image, ImageOps

    with _one_line_errors(), Image.open(path) as file:
        is_turned = _orientation(file) in _TURNED
        size = (file.width, file.height) if is_turned else (file.height, file.width)
        resized = size != (height, width)
        if resized:
            if not resize:
                raise OtherSizeError(size)
            across, down = (height, width) if is_turned else (width, height)
            file.draft(None, (_DRAFT * across, _DRAFT * down))
        image: Any = ImageOps.exif_transpose(file) if _may_turn(file) else file
        image = _in_mode(image, _MODES[channels])
        if resized:
            image = image.resize((width, height), Image.Resampling.BILINEAR)
        pixels = np.asarray(image).reshape(height, width, channels)
        return DecodedImage(pixels, _mode_in_words(file), resized)


def _mode_in_words(file: Any) -> str:
    """The mode, where that of a palette says whether it is transparent."""
    return "PA" if file.mode == "P" and "transparency" in file.info else str(file.mode)


def _orientation(image: Any) -> int:
    return int(image.getexif().get(_ORIENTATION, 1)) if _may_turn(image) else 1


def _may_turn(image: Any) -> bool:
    """Whether it is worth to look for an orientation: that takes as long as to decode an icon.
    TIFF files are turned by Pillow itself."""
    if image.format == "TIFF":
        return False
    if image.format not in _SELDOM_TURNED:
        return True
    return any(block in image.info for block in _TURNING_BLOCKS)


def _in_mode(image: Any, mode: str) -> Any:
    """The image in one of `_MODES`. Raises UnfitImageError for values that are no 16 bits."""
    from PIL import Image

    if image.mode == mode:
        return image
    if image.mode in _DEEP:
        values = np.asarray(image)
        if values.min() < 0 or values.max() > _DEEPEST:
            raise UnfitImageError("holds values beyond 16 bits; save it with 8 bits a channel")
        image = Image.fromarray((values >> 8).astype(np.uint8))
    if image.mode == "F":
        raise UnfitImageError("holds floating-point values; save it with 8 bits a channel")
    if image.mode == "P" and mode == "L":
        image = image.convert("RGB")
    return image.convert(mode)


@contextmanager
def _one_line_errors() -> Iterator[None]:
    """Whatever Pillow raises becomes an UnfitImageError, one line without the path."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of odd metadata, and of large images
        try:
            yield
        except (UnfitImageError, OtherSizeError, MemoryError):
            raise
        except Exception as error:  # broken files make Pillow raise nearly anything
            raise UnfitImageError(_reason(error)) from error


def _reason(error: Exception) -> str:
    if type(error).__name__ == "UnidentifiedImageError":
        return "is no image that can be read"
    if type(error).__name__ == "DecompressionBombError":
        return "has far too many pixels"
    if isinstance(error, OSError) and error.strerror:
        return f"cannot be read ({error.strerror})"
    first = str(error).partition("\n")[0] or type(error).__name__
    return f"cannot be read ({first})"


@dataclass(frozen=True)
class Job:
    """`paths` of the rows `first`, `first + 1`, …, whose pixels go into the file at `output`, row
    by row from byte `offset` on. `only_grey`: stop at the first image that is not."""

    paths: list[str]
    first: int
    output: str
    offset: int
    height: int
    width: int
    channels: int
    resize: bool
    only_grey: bool


@dataclass
class Decoded:
    """Of some rows of a job: `done` of them are written, broken ones as zeros.

    `broken`: reasons by row. `modes`: how many images there are of each mode. `resized`: how many.
    `row`: the one that ends the job: it is of another `size`, (height, width), or has colours where
    only grey was expected, and `size` is empty. `problem`: why the output cannot be written.
    """

    done: int = 0
    broken: dict[int, str] = field(default_factory=dict)
    modes: dict[str, int] = field(default_factory=dict)
    resized: int = 0
    row: int | None = None
    size: tuple[int, ...] = ()
    problem: str = ""

    @property
    def ends(self) -> bool:
        return self.row is not None or bool(self.problem)

    @classmethod
    def from_json(cls, line: str) -> "Decoded":
        outcome = cls(**json.loads(line))
        outcome.broken = {int(row): reason for row, reason in outcome.broken.items()}
        outcome.size = tuple(outcome.size)
        return outcome


_ROWS_AT_ONCE = 64
_BYTES_AT_ONCE = 2**24


def run_job(job: Job) -> Iterator[Decoded]:
    """Decode the files of a job into its output, some rows at a time."""
    row_bytes = job.height * job.width * job.channels
    at_once = max(1, min(_ROWS_AT_ONCE, _BYTES_AT_ONCE // row_bytes))
    try:
        output = os.open(job.output, os.O_WRONLY)
        try:
            for start in range(0, len(job.paths), at_once):
                first = job.first + start
                outcome, rows = _decode_rows(job, job.paths[start : start + at_once], first)
                if not outcome.ends:
                    _write(output, rows, job.offset + first * row_bytes)
                yield outcome
                if outcome.ends:
                    return
        finally:
            os.close(output)
    except OSError as error:
        yield Decoded(problem=error.strerror or str(error))


def _decode_rows(job: Job, paths: list[str], first: int) -> tuple[Decoded, Pixels]:
    """The rows of some files, (n, height, width, channels)."""
    shape = (job.height, job.width, job.channels)
    rows, outcome = np.zeros((len(paths), *shape), np.uint8), Decoded()
    for number, path in enumerate(paths):
        outcome.done += 1
        try:
            image = decode_image(path, *shape, job.resize)
        except UnfitImageError as error:
            outcome.broken[first + number] = str(error)
            continue
        except OtherSizeError as other:
            outcome.row, outcome.size = first + number, other.size
            break
        if job.only_grey and not image.is_grey:
            outcome.row = first + number
            break
        rows[number] = image.pixels
        outcome.modes[image.mode] = outcome.modes.get(image.mode, 0) + 1
        outcome.resized += image.resized
    return outcome, rows


def _write(output: int, rows: Pixels, position: int) -> None:
    left = rows.reshape(-1).data
    while left:
        count = os.pwrite(output, left, position)
        left, position = left[count:], position + count


def main(lines: Iterable[str]) -> None:
    """The program: jobs on standard input, a line each; outcomes on standard output, a line each,
    until all files of a job are done or one ends it."""
    # The process that started this one decides when to end, and ends it by closing the pipe.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for line in lines:
        for outcome in run_job(Job(**json.loads(line))):
            print(json.dumps(asdict(outcome)), flush=True)


if __name__ == "__main__":
    main(sys.stdin)
