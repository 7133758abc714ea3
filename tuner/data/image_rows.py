"""Decoded images as the rows of data: what was done to them in words, and which are left out."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tuner.data.image_cache import DecodedImages, ImageFile, ImageForm, decoded_images
from tuner.data.image_tree import counted
from tuner.data.rows import Indices, StoredRows
from tuner.errors import DatasetError
from tuner.settings import Settings

if TYPE_CHECKING:  # training reads data without pydantic
    from tuner.study.spec import DataSpec

_SHOWN = 3
_CONVERTED = {
    "P": "with a palette",
    "PA": "with a palette and transparency, which is dropped",
    "RGBA": "with transparency, which is dropped",
    "RGBa": "with transparency, which is dropped",
    "LA": "grey with transparency, which is dropped",
    "La": "grey with transparency, which is dropped",
    "CMYK": "in CMYK",
    "YCbCr": "in YCbCr",
    "LAB": "in L*a*b*",
    "HSV": "in HSV",
}
_DEEP = "of 16 bits, of which the upper 8 are taken"
_GREY_MODES = ("1", "L", "I", "I;16", "I;16L", "I;16B", "I;16N")


@dataclass(frozen=True, eq=False)
class ImageRows:
    """`rows`: the pixels (n, height, width, channels) of all files, of which `taken` are numbers of
    those that could be read. `skipped`: the names of the others. `notes`: what was done."""

    rows: StoredRows
    taken: Indices
    skipped: tuple[str, ...]
    notes: tuple[str, ...]


def image_form(spec: "DataSpec") -> ImageForm:
    """What the images of a study are to become."""
    return ImageForm(spec.image_size, spec.grayscale)


def read_images(
    files: Sequence[ImageFile], spec: "DataSpec", settings: Settings, source: str
) -> ImageRows:
    """The pixels of the files. Raises DatasetError as `decoded_images`, and for a file that is
    broken, unless the spec says to skip those."""
    decoded = decoded_images(files, image_form(spec), settings, source)
    broken = decoded.broken
    if broken and spec.broken != "skip":
        which = _names_of(files, broken)
        raise DatasetError(
            f"{source}: {len(broken)} of {len(files)} images cannot be taken: {which}; mend or "
            "remove them, or leave such files out: --broken skip"
        )
    taken = np.setdiff1d(np.arange(len(files)), np.fromiter(broken, np.intp, len(broken)))
    skipped = tuple(files[row].name for row in sorted(broken))
    notes = _notes(decoded, len(taken))
    if broken:
        notes.insert(0, f"{counted(len(broken), 'image')} left out: {_names_of(files, broken)}")
    return ImageRows(decoded.rows, taken, skipped, tuple(notes))


def _names_of(files: Sequence[ImageFile], broken: Mapping[int, str]) -> str:
    """The first broken files, and what is wrong with each."""
    first = sorted(broken)[:_SHOWN]
    shown = ", ".join(f"{files[row].name} {broken[row]}" for row in first)
    return shown + (", …" if len(broken) > _SHOWN else "")


def _notes(decoded: DecodedImages, count: int) -> list[str]:
    notes = []
    height, width, channels = decoded.rows.shape[1:]
    if decoded.resized:
        notes.append(
            f"{decoded.resized} of {count} images were resized to {height} x {width} pixels "
            "(height x width)"
        )
    kinds: Counter[str] = Counter()
    for mode, number in decoded.modes.items():
        if mode in ("I", *_GREY_MODES[3:]):
            kinds[_DEEP] += number
        elif mode in _CONVERTED:
            kinds[_CONVERTED[mode]] += number
        elif mode == "L" and channels > 1:
            kinds["grey"] += number
    if kinds:
        form = "grey" if channels == 1 else "RGB"
        which = ", ".join(f"{number} {kind}" for kind, number in kinds.most_common())
        notes.append(f"converted to {form}: {which}")
    if channels == 1 and set(decoded.modes) <= {*_GREY_MODES, "LA", "La"}:
        notes.append("no image has colours: one channel")
    return notes
