"""Arrays by name, as `.npz` files and user code give them, taken apart into parts.

Where data that do not fit into memory are put meanwhile: on the project's disk, since the
temporary folder is often memory itself.
"""

import errno
import logging
import re
import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from tuner.data.raw import Pair, RawParts, listed
from tuner.data.rows import Rows, Shape, StoredRows, is_small, row_blocks
from tuner.errors import DatasetError
from tuner.settings import Settings
from tuner.system.locations import database_folder

KEYS = {
    "train": ("x_train", "y_train"),
    "validation": ("x_val", "y_val"),
    "test": ("x_test", "y_test"),
}
WHOLE = ("x", "y")
FEATURES = {WHOLE[0], *(x for x, _ in KEYS.values())}

_NAMES = {*WHOLE, *(key for pair in KEYS.values() for key in pair)}
_FORMS = "x and y, or x_train and y_train (and, as you like, x_val, y_val, x_test, y_test)"

# How people write the parts otherwise, from the second reading of data on (spec.READING).
_SPELLINGS = {"train": "train|training", "val": "val|valid|validation|dev", "test": "test|testing"}
_ROLE = "(?P<role>[xy])"
# Words that make an array look like a part of the data.
_SPLIT_WORDS = set("|".join(_SPELLINGS.values()).split("|")) | {
    "eval", "evaluation", "holdout", "heldout", "tr", "va", "te", "tst", "trn", "vld",
}  # fmt: skip
_ROLE_WORDS = {
    "x", "y", "data", "feature", "features", "image", "images", "input", "inputs", "label",
    "labels", "target", "targets",
}  # fmt: skip


# Words of arrays that go with a part, but are neither its features nor its target.
_BESIDE_WORDS = {
    "file", "files", "group", "groups", "id", "ids", "idx", "index", "indices", "mask", "mean",
    "name", "names", "path", "paths", "shape", "std", "weight", "weights",
}  # fmt: skip


def array_name(name: str, first_reading: bool = False) -> str | None:
    """Which of the names above is meant; None for none of them."""
    lower = name.lower()
    if lower in _NAMES or first_reading:
        return lower if lower in _NAMES else None
    for part, spellings in _SPELLINGS.items():
        one_of = f"(?:{spellings})"
        for pattern in (f"{_ROLE}[-_. ]?{one_of}", f"{one_of}[-_. ]?{_ROLE}"):
            if found := re.fullmatch(pattern, lower):
                return f"{found['role']}_{part}"
    return None


def parts_from_mapping(
    source: str, values: Mapping[str, Any], first_reading: bool = False
) -> RawParts:
    """Parts from arrays named as in KEYS or WHOLE, in any case, or nearly so, which is noted.
    Other names are noted, too.

    Raises DatasetError for features without a target, for several arrays of one meaning, and for a
    name that looks like a part but is none. `first_reading`: other names are not looked at.
    """
    found = _by_name(source, values, first_reading)
    pairs = {**KEYS, "train": WHOLE} if WHOLE[0] in found else KEYS
    parts = RawParts()
    for part, (x_key, y_key) in pairs.items():
        if (x_key in found) != (y_key in found):
            there, missing = (x_key, y_key) if x_key in found else (y_key, x_key)
            raise DatasetError(f"{source}: holds {there!r} without {missing!r}")
        if x_key in found:
            parts[part] = Pair(values[found[x_key]], values[found[y_key]])
    if "train" not in parts:
        names = listed(sorted(map(str, values))) or "nothing"
        raise DatasetError(f"{source}: needs {_FORMS}; it holds {names}")
    if not first_reading:
        used = {key for part in parts for key in pairs[part]}
        _refuse_parts(source, [str(name) for name in values if name not in found.values()])
        _refuse_parts(source, [found[key] for key in found if key not in used])
        parts.notes = _notes({key: found[key] for key in found if key in used}, values)
    return parts


def _by_name(source: str, values: Mapping[str, Any], first_reading: bool) -> dict[str, str]:
    """The mapping's own names by those that are meant."""
    found: dict[str, str] = {}
    for name in values:
        meant = array_name(str(name), first_reading)
        if meant is None:
            continue
        if meant in found and not first_reading:
            raise DatasetError(f"{source}: holds {found[meant]!r} and {name!r}; leave one out")
        found[meant] = name
    return found


def _refuse_parts(source: str, names: Iterable[str]) -> None:
    """A part that is passed over would be drawn from the training rows instead."""
    for name in names:
        words = set(re.split(r"[^a-z]+", name.lower()))
        if words & _SPLIT_WORDS and words & _ROLE_WORDS and not words & _BESIDE_WORDS:
            raise DatasetError(
                f"{source}: {name!r} looks like a part of the data, but is not used; name "
                "the parts x_train, y_train, x_val, y_val, x_test and y_test, or leave it out"
            )


def _notes(found: Mapping[str, str], values: Mapping[str, Any]) -> tuple[str, ...]:
    renamed = [f"{name} for {key}" for key, name in found.items() if str(name).lower() != key]
    unused = [str(name) for name in values if name not in found.values()]
    return (
        *([f"taken: {', '.join(renamed)}"] if renamed else []),
        *([f"not used: {listed(unused)} (used are {_FORMS})"] if unused else []),
    )


_log = logging.getLogger(__name__)

# Left free on the disk, for the database and the networks.
_SPARE_BYTES = 64 * 2**20
_FULL = (errno.ENOSPC, errno.EDQUOT)


def project_folder(settings: Settings) -> Path | None:
    """The folder of a SQLite database; None for a database elsewhere."""
    folder = database_folder(settings.storage)
    return None if folder is None else folder.absolute()


def scratch_wanted(settings: Settings) -> Path:
    """The folder for scratch copies: TUNER_SCRATCH, else `scratch` beside the project's folder of
    networks."""
    return (settings.scratch or settings.checkpoints.absolute().parent / "scratch").absolute()


def scratch_place(settings: Settings) -> Path:
    """The same, made now. Where it cannot be written, a warning is logged once, and it is the
    temporary folder. Raises DatasetError where its disk is full."""
    return _writable(scratch_wanted(settings))


@cache
def _writable(place: Path) -> Path:
    try:
        place.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=place):
            return place
    except OSError as error:
        if error.errno in _FULL:
            raise DatasetError(no_room(place)) from error
        temporary = Path(tempfile.gettempdir())
        _log.warning(
            "%s cannot be written (%s); large data are copied to %s, which may be memory",
            place, error.strerror or error, temporary,
        )  # fmt: skip
        return temporary


def check_room(place: Path, wanted_bytes: int) -> None:
    """Raises DatasetError where the disk has no room for so much."""
    if shutil.disk_usage(place).free < wanted_bytes + _SPARE_BYTES:
        raise DatasetError(no_room(place, wanted_bytes))


def no_room(place: Path, wanted_bytes: int | None = None) -> str:
    """What to say, and to do, where a disk is full."""
    wanted = f" need {_gib(wanted_bytes)}," if wanted_bytes is not None else " do not fit:"
    there = next(folder for folder in (place, *place.parents) if folder.exists())
    return (
        f"{place}: the prepared data{wanted} {_gib(shutil.disk_usage(there).free)} are free on "
        "that disk; make room, or set TUNER_SCRATCH to a folder on another one"
    )


def _gib(count: int) -> str:
    return f"{count / 2**30:.1f} GiB"


def stored(rows: Rows, settings: Settings, source: str) -> Rows:
    """The same rows, computed once and kept on the disk. Raises DatasetError where it is full."""
    check_room(scratch_place(settings), rows.nbytes)
    spool = Spool(lambda: scratch_place(settings))
    for block in row_blocks(rows):
        spool.write(block.tobytes())
    return spool.stored(0, rows.shape, rows.dtype, source)


def is_full(error: OSError) -> bool:
    """Whether a disk, or a user's share of it, is full."""
    return error.errno in _FULL


class Spool:
    """Bytes of unknown length: in memory while they are few, then in a file without a name, which
    is gone with the process. `place`: gives the file's folder, and is called only for one."""

    def __init__(self, place: Callable[[], Path]) -> None:
        self._place = place
        self._memory = bytearray()
        self._file: BinaryIO | None = None
        self.length = 0

    def write(self, chunk: bytes) -> None:
        """Raises DatasetError where the disk is full."""
        self.length += len(chunk)
        if self._file is None and is_small(self.length):
            self._memory += chunk
        else:
            self._write(self._opened(), chunk)

    def _opened(self) -> BinaryIO:
        if self._file is None:
            place = self._place()
            self._file = tempfile.TemporaryFile(dir=place)  # noqa: SIM115 (outlives this call)
            self._write(self._file, self._memory)
            self._memory = bytearray()
        return self._file

    def _write(self, file: BinaryIO, content: bytes | bytearray) -> None:
        try:
            file.write(content)
            file.flush()
        except OSError as error:
            place = self._place()
            raise DatasetError(no_room(place) if is_full(error) else f"{place}: {error}") from error

    @property
    def in_memory(self) -> bytearray | None:
        """All that was written, where that is little."""
        return self._memory if self._file is None else None

    def stored(
        self,
        offset: int,
        shape: Shape,
        dtype: np.dtype[Any],
        source: str,
        by_columns: bool = False,
    ) -> StoredRows:
        """The array that begins at byte `offset`, left on the disk."""
        return StoredRows(self._opened(), offset, shape, dtype, source, by_columns)
