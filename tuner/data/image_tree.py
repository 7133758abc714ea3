"""Folders of images: which files there are, and of which part and class each is.

Class folders lie in the folder itself (`photos/cat/1.png`), or in folders of the parts
(`photos/train/cat/1.png`, beside validation/ and test/). What lies deeper belongs to its class.
Hidden files and folders are skipped; what else is no image is counted.
"""

import os
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from tuner.data.image_cache import ImageFile
from tuner.data.image_decoding import ENDINGS
from tuner.data.raw import dataset_errors
from tuner.errors import DatasetError
from tuner.values import join_names

PARTS_BY_FOLDER = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "test": "test",
    "testing": "test",
}
# Of other systems, beside the files that people see.
_SKIPPED = ("__MACOSX", "@eaDir", "Thumbs.db", "thumbs.db", "desktop.ini", "Desktop.ini")
# So many entries are looked at to see whether a folder holds images.
_MOST_LOOKED_AT = 20_000
_SHOWN = 3


@dataclass(frozen=True)
class ImageTree:
    """`files`: of each part, sorted by name, by the label of their class, which is "" outside of
    class folders; the part is "" where there are no folders of parts. `empty`: class folders
    without images. `others`: how many files are no images, by ending. `left_out`: folders beside
    those of the parts."""

    files: Mapping[str, Mapping[str, Sequence[ImageFile]]]
    empty: tuple[str, ...] = ()
    others: Mapping[str, int] | None = None
    left_out: tuple[str, ...] = ()

    def notes(self) -> list[str]:
        """A line on each kind of what is not taken."""
        lines = []
        if self.others:
            kinds = ", ".join(f"{n} {ending}" for ending, n in Counter(self.others).most_common(5))
            count = sum(self.others.values())
            lines.append(f"ignored: {counted(count, 'file')} without an image ({kinds})")
        if self.empty:
            names = join_names(self.empty[:_SHOWN]) + (", …" if len(self.empty) > _SHOWN else "")
            lines.append(f"ignored: {counted(len(self.empty), 'folder')} without images ({names})")
        if self.left_out:
            names = join_names(self.left_out)
            lines.append(f"ignored: {names}, beside the folders of train, validation and test")
        return lines


def counted(count: int, what: str) -> str:
    """ "1 image", "2 images"."""
    return f"{count} {what}{'s' * (count != 1)}"


def holds_images(folder: Path) -> bool:
    """Whether there is an image among the first files of the folder and its folders."""
    try:
        entries = islice(_walk(str(folder), ()), _MOST_LOOKED_AT)
        return any(_is_image(entry.name) for entry, _ in entries)
    except OSError:
        return False


def read_tree(folder: Path) -> ImageTree:
    """All images below the folder. Raises DatasetError for a folder that cannot be read, and for
    two folders of one part."""
    by_place: dict[tuple[str, ...], list[ImageFile]] = {}
    others: Counter[str] = Counter()
    with dataset_errors(str(folder)):
        for entry, place in _walk(str(folder), ()):
            if _is_image(entry.name):
                by_place.setdefault(place, []).append(_image_file(entry, place))
            else:
                others[_ending(entry.name) or "without an ending"] += 1
        folders = sorted(e.name for e in os.scandir(folder) if e.is_dir() and not _is_skipped(e))
    parts = _folders_of_parts(folder, folders, by_place)
    if parts is None:
        names = {"": ""}
        classes: list[tuple[str, ...]] = [(name,) for name in folders]
    else:
        names = parts
        with dataset_errors(str(folder)):
            classes = [
                (name, e.name)
                for name in parts
                for e in os.scandir(folder / name)
                if e.is_dir() and not _is_skipped(e)
            ]
    files = _by_part_and_label(by_place, names, is_split=parts is not None)
    held = {place[:2] if parts is not None else place[:1] for place in by_place}
    empty = tuple(sorted("/".join(place) for place in classes if place not in held))
    left_out = () if parts is None else tuple(name for name in folders if name not in parts)
    return ImageTree(files, empty, others, left_out)


def _by_part_and_label(
    by_place: Mapping[tuple[str, ...], list[ImageFile]], names: Mapping[str, str], is_split: bool
) -> dict[str, dict[str, list[ImageFile]]]:
    """`names`: the part of each folder that is taken."""
    files: dict[str, dict[str, list[ImageFile]]] = {}
    for place, held in by_place.items():
        if is_split and place and place[0] not in names:
            continue
        part = names[place[0]] if is_split and place else ""
        below = place[1:] if is_split else place
        # macOS writes accents as characters of their own: the same name is the same class.
        label = unicodedata.normalize("NFC", below[0]) if below else ""
        files.setdefault(part, {}).setdefault(label, []).extend(held)
    order = ["", *dict.fromkeys(PARTS_BY_FOLDER.values())]
    return {
        part: {label: sorted(files[part][label], key=_by_name) for label in sorted(files[part])}
        for part in order
        if part in files
    }


def _by_name(file: ImageFile) -> str:
    return unicodedata.normalize("NFC", file.name)


def _folders_of_parts(
    folder: Path, folders: Sequence[str], by_place: Mapping[tuple[str, ...], object]
) -> dict[str, str] | None:
    """The part of each folder of parts; None where the folders are classes: "train" may be one,
    beside car and ship."""
    parts = {name: part for name in folders if (part := PARTS_BY_FOLDER.get(name.lower()))}
    with_classes = {place[0] for place in by_place if len(place) > 1}
    if not set(parts) & with_classes:
        return None
    twice = [name for name in parts if list(parts.values()).count(parts[name]) > 1]
    if twice:
        raise DatasetError(
            f"{folder}: {join_names(twice)} are folders of one part; rename or move one of them"
        )
    return parts


def _walk(
    folder: str, place: tuple[str, ...], above: frozenset[tuple[int, int]] = frozenset()
) -> Iterator[tuple[os.DirEntry[str], tuple[str, ...]]]:
    """Every file below the folder, and the names of the folders that lead to it. Links are
    followed, but not into a folder that they lie in."""
    state = Path(folder).stat()
    own = (state.st_dev, state.st_ino)
    if own in above:
        return
    with os.scandir(folder) as entries:
        for entry in entries:
            if _is_skipped(entry):
                continue
            if entry.is_dir():
                yield from _walk(entry.path, (*place, entry.name), above | {own})
            else:
                yield entry, place


def _is_skipped(entry: os.DirEntry[str]) -> bool:
    return entry.name.startswith(".") or entry.name in _SKIPPED


def _ending(name: str) -> str:
    """With its dot, in small letters; as quick as 100 000 names need it."""
    stem, dot, ending = name.rpartition(".")
    return f".{ending.lower()}" if stem and dot else ""


def _is_image(name: str) -> bool:
    return _ending(name) in ENDINGS


def _image_file(entry: os.DirEntry[str], place: tuple[str, ...]) -> ImageFile:
    name = "/".join((*place, entry.name))
    try:
        return ImageFile(entry.path, name, file_state(entry.stat()))
    except FileNotFoundError:  # a link that leads nowhere: decoding says so
        return ImageFile(entry.path, name, (0, 0, 0))


def file_state(state: os.stat_result) -> tuple[int, int, int]:
    """As `ImageFile.state`."""
    return state.st_size, state.st_mtime_ns, state.st_ctime_ns
