"""Decoded images, kept as uint8 in `.tuner/images` beside the studies' database.

A study, its search and each later command read the same files, and decoding takes far longer than
reading pixels. An entry is a folder: `pixels.npy` (n, height, width, channels), and what was found
in `index.json`. It is found again by the files' names in their folder, sizes and times of change,
so a folder that is moved keeps its entry, and a changed file gets a new one. An entry appears whole
or not at all. `tuner gc` removes entries; they are made again when they are needed.
"""

import hashlib
import json
import logging
import os
import shutil
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tuner.data.image_decoding import Decoded, Job, UnfitImageError, image_size, is_grey
from tuner.data.image_processes import run_jobs
from tuner.data.rows import (
    StoredRows,
    check_free_space,
    disk_full_message,
    is_disk_full,
    make_scratch_folder,
    scratch_folder,
)
from tuner.errors import DatasetError
from tuner.settings import Settings
from tuner.system.file_locks import exclusive_lock

_log = logging.getLogger(__name__)

# Another way to decode needs another number: entries of the former one are not read.
_FORM = 1
_INDEX, _PIXELS = "index.json", "pixels.npy"
_FILES_A_JOB = 256
_SMALL_SIDE = 128  # pixels: what messages suggest at most


class ImageFile(NamedTuple):
    """A file that may hold an image. `name`: its path in the folder or table that names it.
    `state`: size, and times of the last changes of its content and of its attributes, in ns."""

    path: str
    name: str
    state: tuple[int, int, int]


@dataclass(frozen=True)
class ImageForm:
    """What images are to become. `size`: (height, width); None for their own, which must be the
    same of all. `grayscale`: one channel; else three, or one where no image has colours."""

    size: tuple[int, int] | None = None
    grayscale: bool = False


@dataclass(frozen=True, eq=False)
class DecodedImages:
    """`rows`: (n, height, width, channels), one for each file; zeros for the `broken` ones, of
    which it gives the reasons by row. `modes`: how many images there are of each mode of Pillow.
    `resized`: how many had another size."""

    rows: StoredRows
    broken: dict[int, str]
    modes: dict[str, int]
    resized: int


@dataclass
class _Findings:
    """What the files have shown so far, as `DecodedImages`. `ending`: what ended a job."""

    broken: dict[int, str] = field(default_factory=dict)
    modes: dict[str, int] = field(default_factory=dict)
    resized: int = 0
    ending: Decoded | None = None

    def add(self, outcome: Decoded) -> None:
        self.broken |= outcome.broken
        for mode, count in outcome.modes.items():
            self.modes[mode] = self.modes.get(mode, 0) + count
        self.resized += outcome.resized
        if outcome.ends and (self.ending is None or (outcome.row or 0) < (self.ending.row or 0)):
            self.ending = outcome


def decoded_images(
    files: Sequence[ImageFile], form: ImageForm, settings: Settings, source: str
) -> DecodedImages:
    """The pixels of all files, from the cache or decoded now, on all cores.

    Raises DatasetError, which begins with `source`, for images of different sizes where the form
    gives none, for files of which none can be read, and for a full disk.
    """
    key = _key(files, form)
    with _cache_folder(settings) as (folder, is_kept):
        cached = _open(folder / key, source) if is_kept else None
        if cached is not None:
            return cached
        with exclusive_lock(folder / "lock", lambda: _log.info("waiting for another process")):
            cached = _open(folder / key, source)  # by another process, meanwhile
            if cached is not None:
                return cached
            _sweep(folder)
            _make(folder / key, files, form, source)
            made = _open(folder / key, source)
    if made is None:
        raise DatasetError(f"{source}: {folder / key} was removed while it was read; try again")
    return made


def image_cache_folder(settings: Settings) -> Path:
    """Where decoded images are kept: beside the folder for scratch copies."""
    return scratch_folder(settings).parent / "images"


def unused_images(settings: Settings, seconds: float) -> list[Path]:
    """The entries of the cache that nobody has read for so long, and what killed processes left."""
    folders = image_cache_folder(settings).glob("*/")
    return sorted(folder for folder in folders if _is_unused(folder, seconds))


def _is_unused(folder: Path, seconds: float) -> bool:
    files = [folder, folder / _INDEX, folder / _PIXELS]
    with suppress(OSError):
        last = max(file.stat().st_mtime for file in files if file.exists())
        return time.time() - last > seconds
    return False


@contextmanager
def _cache_folder(settings: Settings) -> Iterator[tuple[Path, bool]]:
    """The cache, and True; where it cannot be written, a folder that is removed, and False: its
    files are still read while they are open. Raises DatasetError where the disk is full."""
    folder = image_cache_folder(settings)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        if is_disk_full(error):
            raise DatasetError(disk_full_message(folder)) from error
        with tempfile.TemporaryDirectory(dir=make_scratch_folder(settings)) as temporary:
            yield Path(temporary), False
        return
    yield folder, True


def _key(files: Sequence[ImageFile], form: ImageForm) -> str:
    size = None if form.size is None else list(form.size)
    digest = hashlib.sha256(json.dumps([_FORM, size, form.grayscale]).encode())
    for file in files:
        digest.update(json.dumps([file.name, *file.state]).encode())
    return digest.hexdigest()[:32]


def _open(entry: Path, source: str) -> DecodedImages | None:
    """A complete entry; None where there is none, and for one that cannot be read."""
    try:
        index = json.loads((entry / _INDEX).read_text(encoding="utf-8"))
        with (entry / _PIXELS).open("rb") as file:
            np.lib.format.read_magic(file)
            shape, _, dtype = np.lib.format.read_array_header_1_0(file)
            rows = StoredRows(file, file.tell(), shape, dtype, source)
        with suppress(OSError):  # of another user
            os.utime(entry / _INDEX)  # when it was last used, for `tuner gc`
        broken = {int(row): reason for row, reason in index["broken"].items()}
        return DecodedImages(rows, broken, index["modes"], index["resized"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _sweep(folder: Path) -> None:
    """Remove what killed processes were writing. The lock is held, so nobody else writes."""
    for unfinished in folder.glob("*.part"):
        shutil.rmtree(unfinished, ignore_errors=True)


def _make(entry: Path, files: Sequence[ImageFile], form: ImageForm, source: str) -> None:
    unfinished = entry.with_name(f"{entry.name}.{uuid.uuid4().hex[:8]}.part")
    try:
        unfinished.mkdir()
        findings = _decode_all(unfinished / _PIXELS, files, form, source)
        index = {
            "broken": findings.broken,
            "modes": findings.modes,
            "resized": findings.resized,
        }
        (unfinished / _INDEX).write_text(json.dumps(index), encoding="utf-8")
        if entry.exists():  # one that cannot be read
            shutil.rmtree(entry, ignore_errors=True)
        unfinished.rename(entry)
    except OSError as error:
        if is_disk_full(error):
            raise DatasetError(disk_full_message(entry.parent)) from error
        raise DatasetError(f"{entry}: cannot be written ({error.strerror or error})") from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _decode_all(
    pixels: Path, files: Sequence[ImageFile], form: ImageForm, source: str
) -> _Findings:
    """Decode the files into a new .npy file. As no image has shown colours yet, one channel is
    enough: three are made only once one shows some."""
    first = next((file for file in files if _is_readable(file)), None)
    if first is None:
        raise _none_readable(files, source)
    size = form.size or image_size(first.path)
    only_grey = not form.grayscale and is_grey(first.path)
    findings = _decode(pixels, files, size, form, only_grey, source)
    if only_grey and findings.ending is not None and not findings.ending.size:
        findings = _decode(pixels, files, size, form, False, source)
    ending = findings.ending
    if ending is not None and ending.problem:
        raise DatasetError(f"{source}: its decoded images cannot be written ({ending.problem})")
    if ending is not None and ending.row is not None:
        raise _sizes_differ(source, first, size, files[ending.row], ending.size)
    if len(findings.broken) == len(files):
        raise _none_readable(files, source)
    return findings


def _decode(
    pixels: Path,
    files: Sequence[ImageFile],
    size: tuple[int, int],
    form: ImageForm,
    only_grey: bool,
    source: str,
) -> _Findings:
    """Decode the files, until one ends it."""
    channels = 1 if form.grayscale or only_grey else 3
    offset = _begin(pixels, (len(files), *size, channels), source)
    jobs = [
        Job(
            paths=[file.path for file in files[start : start + _FILES_A_JOB]],
            first=start,
            output=str(pixels),
            offset=offset,
            height=size[0],
            width=size[1],
            channels=channels,
            resize=form.size is not None,
            only_grey=only_grey,
        )
        for start in range(0, len(files), _FILES_A_JOB)
    ]
    findings = _Findings()
    file_bytes = sum(file.state[0] for file in files)
    for outcome in run_jobs(jobs, file_bytes, source):
        findings.add(outcome)
    return findings


def _begin(pixels: Path, shape: tuple[int, ...], source: str) -> int:
    """Make the .npy file, with all of its space, and return where its values begin. Raises
    DatasetError where the disk has not enough."""
    wanted = int(np.prod(shape, dtype=np.int64))
    try:
        check_free_space(pixels.parent, wanted)
    except DatasetError as error:
        raise DatasetError(
            f"{error}; or make the images of {source}, of {shape[1]} x {shape[2]} pixels, smaller: "
            f"--image-size {min(*shape[1:3], _SMALL_SIDE)}"
        ) from error
    with pixels.open("wb") as file:
        header: dict[str, Any] = {"descr": "|u1", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        start = file.tell()
        file.truncate(start + wanted)
        file.flush()
        try:
            os.posix_fallocate(file.fileno(), 0, start + wanted)
        except OSError as error:  # some disks cannot
            if is_disk_full(error):
                raise
    return start


def _is_readable(file: ImageFile) -> bool:
    try:
        image_size(file.path)
        return True
    except UnfitImageError:
        return False


def _none_readable(files: Sequence[ImageFile], source: str) -> DatasetError:
    count = len(files)
    which = f"none of its {count} images" if count > 1 else "its image"
    return DatasetError(f"{source}: {which} can be read; the first is {files[0].name}")


def _sizes_differ(
    source: str,
    first: ImageFile,
    size: tuple[int, int],
    other: ImageFile,
    other_size: tuple[int, ...],
) -> DatasetError:
    side = min(*size, *other_size, _SMALL_SIDE)
    return DatasetError(
        f"{source}: its images differ in size: {first.name} has {size[0]} x {size[1]} pixels "
        f"(height x width), {other.name} {other_size[0]} x {other_size[1]}; give one size for all, "
        f"such as --image-size {side}"
    )
