"""`.npz` archives of NumPy arrays, and the names of arrays that make up data."""

import math
import os
import re
import struct
import zipfile
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, BinaryIO, cast

import numpy as np

from tuner.data.raw import FIRST_READING, Pair, Raw, dataset_errors
from tuner.data.readers.reader import Reader, Source
from tuner.data.rows import (
    AnyRows,
    Spool,
    StoredRows,
    check_free_space,
    is_small,
    make_scratch_folder,
)
from tuner.errors import DatasetError
from tuner.preparation.padding import cut_to_lengths
from tuner.settings import Settings
from tuner.values import join_names, suggest_names

if TYPE_CHECKING:
    from tuner.study.spec import DataSpec

_CHUNK_BYTES = 2**20

# The length of the header before a member's name, and where it has the lengths of name and extras.
_LOCAL_HEADER, _LENGTHS_AT = 30, 26


Parts = tuple[dict[str, Pair], tuple[str, ...]]  # pairs by part, and notes on how they were found


def read_npz(
    path: Path, settings: Settings, first_reading: bool = False, weights: str | None = None
) -> Parts:
    """The parts of an archive of x and y, or x_train, y_train, x_val, y_val, x_test and y_test.
    Large features stay in the file or, where they are compressed, in a scratch copy.
    `first_reading`, `weights`: see `parts_from_mapping`.

    Raises DatasetError when the archive is corrupt, lacks arrays or holds Python objects, which
    are never unpickled: an archive is data, not code.
    """
    source, weight_names = str(path), {key for keys in _weight_keys(weights) for key in keys}
    with dataset_errors(source), open_archive(path) as archive:
        arrays = {
            name: read_member(path, archive, name, settings, meant or "")
            if meant or name in weight_names or name in LENGTHS
            else None
            for name in archive.files
            for meant in [_meaning(name, first_reading)]
        }
    return parts_from_mapping(source, arrays, first_reading, weights)


def _meaning(name: str, first_reading: bool) -> str | None:
    """What an array is meant as: the name in KEYS or WHOLE, also of one of several."""
    named = None if first_reading else named_array(name)
    return named[0] if named else array_name(name, first_reading)


def open_archive(path: Path) -> "np.lib.npyio.NpzFile":
    """Raises DatasetError for a file that is no archive."""
    if path.is_file() and not zipfile.is_zipfile(path):
        raise DatasetError(f"{path}: is no .npz archive, or a corrupt one")
    return cast("np.lib.npyio.NpzFile", np.load(path, allow_pickle=False))


def read_member(
    path: Path, archive: "np.lib.npyio.NpzFile", name: str, settings: Settings, meant: str
) -> AnyRows:
    """An array of an archive. Large ones that are meant as features stay on the disk."""
    zipped = cast(zipfile.ZipFile, archive.zip)
    file_name = f"{name}.npy"
    if meant in FEATURES and file_name in zipped.namelist():
        info = zipped.getinfo(file_name)
        if not is_small(info.file_size):
            return _large(path, zipped, info, settings)
    return _array(str(path), archive, name)


def _array(source: str, archive: "np.lib.npyio.NpzFile", name: str) -> np.ndarray:
    try:
        array = archive[name]
    except ValueError as error:
        if "allow_pickle" in str(error):
            raise _objects(source, name) from error
        raise
    if not isinstance(array, np.ndarray):
        raise DatasetError(f"{source}: {name!r} is no NumPy array")
    return array


def _objects(source: str, name: str) -> DatasetError:
    return DatasetError(
        f"{source}: {name!r} holds Python objects, which are not loaded; "
        "save it as numbers or as fixed-width text"
    )


def _large(
    path: Path, zipped: zipfile.ZipFile, info: zipfile.ZipInfo, settings: Settings
) -> StoredRows:
    """The rows of a member, left in the file. The member is read once, for its checksum."""
    name = info.filename.removesuffix(".npy")
    with zipped.open(info) as member:
        shape, by_columns, dtype = _header(member)
        if dtype.hasobject:
            raise _objects(str(path), name)
        start = member.tell()
        if math.prod(shape) * dtype.itemsize > info.file_size - start:
            raise DatasetError(f"{path}: {name!r} is cut short")
        if info.compress_type == zipfile.ZIP_STORED:
            file = cast(BinaryIO, zipped.fp)
            begin = _data_start(file, info) + start
            rows = StoredRows(file, begin, shape, dtype, str(path), by_columns)
            while member.read(_CHUNK_BYTES):
                continue
            return rows
        check_free_space(make_scratch_folder(settings), info.file_size)
        spool = Spool(lambda: make_scratch_folder(settings))
        while chunk := member.read(_CHUNK_BYTES):
            spool.write(chunk)
    return spool.stored(0, shape, dtype, str(path), by_columns)


def _header(member: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = np.lib.format.read_magic(member)
    if version == (1, 0):
        return np.lib.format.read_array_header_1_0(member)
    return np.lib.format.read_array_header_2_0(member)


def _data_start(file: BinaryIO, info: zipfile.ZipInfo) -> int:
    """The position of a member's bytes in the archive: its header may be longer than the index
    says."""
    lengths = os.pread(file.fileno(), 4, info.header_offset + _LENGTHS_AT)
    return info.header_offset + _LOCAL_HEADER + sum(struct.unpack("<HH", lengths))


KEYS = {
    "train": ("x_train", "y_train"),
    "validation": ("x_val", "y_val"),
    "test": ("x_test", "y_test"),
}

WHOLE = ("x", "y")
FEATURES = {WHOLE[0], *(x for x, _ in KEYS.values())}
# Of sequences that are padded: how many steps of each row are none. "lengths" beside "x",
# "lengths_train" beside "x_train".
LENGTHS = {f"lengths{name.removeprefix('x')}" for name in FEATURES}
_NAMES = {*WHOLE, *(key for pair in KEYS.values() for key in pair)}
_FORMS = (
    "x and y, or x_train and y_train (and, as you like, x_val, y_val, x_test, y_test); of several "
    "inputs x_NAME or x_train_NAME each"
)

# One of several inputs or targets: x_NAME, y_NAME, x_train_NAME, y_test_NAME, …
_NAMED = re.compile(
    r"(?P<key>[xy](?:_(?:train|val|test))?)_(?P<name>.+)", re.IGNORECASE | re.DOTALL
)

# Other names of the parts, since the second reading of data (READING in spec.py).
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

# Words of arrays that belong to a part, but are neither its features nor its target.
_BESIDE_WORDS = {
    "file", "files", "group", "groups", "id", "ids", "idx", "index", "indices", "mask", "mean",
    "name", "names", "path", "paths", "shape", "std", "weight", "weights",
}  # fmt: skip


def array_name(name: str, first_reading: bool = False) -> str | None:
    """The name in KEYS or WHOLE that is meant; None if it is none of them."""
    lower = name.lower()
    if lower in _NAMES or first_reading:
        return lower if lower in _NAMES else None
    for part, spellings in _SPELLINGS.items():
        one_of = f"(?:{spellings})"
        for pattern in (f"{_ROLE}[-_. ]?{one_of}", f"{one_of}[-_. ]?{_ROLE}"):
            if match := re.fullmatch(pattern, lower):
                return f"{match['role']}_{part}"
    return None


def named_array(name: str) -> tuple[str, str] | None:
    """("x_train", "basket") of x_train_basket, ("y", "price") of y_price: the name in KEYS or WHOLE
    that is meant, and the name of the input or target. None for other names."""
    match = None if array_name(name) else _NAMED.fullmatch(name)
    return (match["key"].lower(), match["name"]) if match else None


def gather_named(values: Mapping[str, Any]) -> dict[str, Any]:
    """The arrays, those of several inputs (x_NAME, x_train_NAME) or targets (y_NAME) as one dict
    each, by the name that it stands for. Where there is a plain x or y, names like these mean
    nothing, as in earlier versions."""
    roles = {meant[0] for name in values if (meant := array_name(str(name)))}
    gathered: dict[str, Any] = {}
    for name, value in values.items():
        named = named_array(str(name))
        if named is None or named[0][0] in roles:
            gathered[name] = value
            continue
        key, own_name = named
        gathered.setdefault(key, {})[own_name] = value
    return gathered


def parts_from_mapping(
    source: str,
    values: Mapping[str, Any],
    first_reading: bool = False,
    weights: str | None = None,
) -> Parts:
    """Parts from arrays with names of KEYS or WHOLE, in any case. Similar names are accepted with a
    note; other names are noted.

    Raises DatasetError for features without a target, for several arrays of one meaning, and for a
    name that looks like a part but is none. `first_reading`: other names are ignored. `weights`:
    the name of the array of sample weights; beside x_train it may be NAME_train, and beside x_val
    it is NAME_val. Where x is a table they may be a column of it instead. Several inputs are dicts,
    or arrays named as `gather_named` says; so are several targets.
    """
    if not first_reading:
        values = _without(values, weights, gather_named)
    names = names_by_meaning(source, values, first_reading)
    pairs = {**KEYS, "train": WHOLE} if WHOLE[0] in names else KEYS
    parts: dict[str, Pair] = {}
    used_weights: list[str] = []
    for part, (x_key, y_key) in pairs.items():
        if (x_key in names) != (y_key in names):
            there, missing = (x_key, y_key) if x_key in names else (y_key, x_key)
            raise DatasetError(f"{source}: holds {there!r} without {missing!r}")
        if x_key in names:
            weights_key = _weights_of(part, weights, values, names.values())
            used_weights += [weights_key] if weights_key else []
            row_weights = values[weights_key] if weights_key else None
            x = with_lengths(values[names[x_key]], x_key, values, source)
            parts[part] = Pair(x, values[names[y_key]], row_weights)
    if "train" not in parts:
        all_names = join_names(sorted(map(str, values))) or "nothing"
        raise DatasetError(f"{source}: needs {_FORMS}; it holds {all_names}")
    if weights is not None:
        _check_weights(source, weights, parts, values, names.values())
    if first_reading:
        return parts, ()
    used = {key for part in parts for key in pairs[part]}
    used_weights += [name for name in values if str(name) in LENGTHS]
    others = [name for name in values if name not in (*names.values(), *used_weights)]
    _refuse_parts(source, map(str, others))
    _refuse_parts(source, [names[key] for key in names if key not in used])
    return parts, _notes({key: names[key] for key in names if key in used}, values, used_weights)


def with_lengths(x: Any, key: str, values: Mapping[str, Any], source: str) -> Any:
    """x, cut to the lengths of its sequences where the archive has them. `key`: the meaning of x,
    "x" or "x_train"."""
    lengths = values.get(f"lengths{key.removeprefix('x')}")
    if lengths is None or isinstance(x, Mapping):
        return x
    return cut_to_lengths(x, lengths, source)


def _without(
    values: Mapping[str, Any],
    weights: str | None,
    gather: Callable[[Mapping[str, Any]], dict[str, Any]],
) -> dict[str, Any]:
    """Gathered values but for the weights, which stay as they are."""
    weight_keys = {key for keys in _weight_keys(weights) for key in keys}
    weighing = {name: value for name, value in values.items() if name in weight_keys}
    return gather({n: v for n, v in values.items() if n not in weight_keys}) | weighing


def _weight_keys(weights: str | None) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The names that the weights of train and of validation may have."""
    if weights is None:
        return (), ()
    stem = weights.removesuffix("_train")
    return (weights, f"{stem}_train"), (f"{stem}_val",)


def _weights_of(
    part: str, weights: str | None, values: Mapping[str, Any], data: Collection[str]
) -> str | None:
    """The name of a part's weights, if there are any; arrays of the `data` are none. The test rows
    need none."""
    of_train, of_validation = _weight_keys(weights)
    candidates = {"train": of_train, "validation": of_validation}.get(part, ())
    return next((name for name in candidates if name in values and name not in data), None)


def _check_weights(
    source: str,
    weights: str,
    parts: Mapping[str, Pair],
    values: Mapping[str, Any],
    data: Collection[str],
) -> None:
    """Raises DatasetError for a part of arrays that can be trained on and has no weights. `data`:
    the arrays that are no weights."""
    for part, keys in zip(("train", "validation"), _weight_keys(weights), strict=True):
        if part not in parts or parts[part].weights is not None or hasattr(parts[part].x, "iloc"):
            continue
        if weights in data:
            raise DatasetError(
                f"{source}: weights {weights!r} is an array of inputs or targets; name another"
            )
        names = [str(name) for name in values]
        if part == "train":
            raise DatasetError(
                f"{source}: weights {weights!r}: no such array{suggest_names(weights, names)}; it "
                f"holds {join_names(names)}"
            )
        raise DatasetError(
            f"{source}: holds x_val without {keys[0]!r}; a comparison trains on these rows too: "
            "add their weights, 1 for rows that count like any other"
        )


def names_by_meaning(
    source: str, values: Iterable[str], first_reading: bool = False
) -> dict[str, str]:
    """The mapping's own names by the names that they stand for."""
    names: dict[str, str] = {}
    for name in values:
        meant = array_name(str(name), first_reading)
        if meant is None:
            continue
        if meant in names and not first_reading:
            raise DatasetError(f"{source}: holds {names[meant]!r} and {name!r}; leave one out")
        names[meant] = name
    return names


def _refuse_parts(source: str, names: Iterable[str]) -> None:
    """Raises DatasetError for names that look like a part: an unused part would be split off from
    the training rows instead."""
    for name in names:
        words = set(re.split(r"[^a-z]+", name.lower()))
        if words & _SPLIT_WORDS and words & _ROLE_WORDS and not words & _BESIDE_WORDS:
            raise DatasetError(
                f"{source}: {name!r} looks like a part of the data, but is not used; name "
                "the parts x_train, y_train, x_val, y_val, x_test and y_test, or leave it out"
            )


def _notes(
    used: Mapping[str, str], values: Mapping[str, Any], weights: Collection[str]
) -> tuple[str, ...]:
    renamed = [f"{name} for {key}" for key, name in used.items() if str(name).lower() != key]
    unused = [str(name) for name in values if name not in (*used.values(), *weights)]
    return (
        *([f"taken: {', '.join(renamed)}"] if renamed else []),
        *([f"not used: {join_names(unused)} (used are {_FORMS})"] if unused else []),
    )


def _read(source: Source, settings: Settings, spec: "DataSpec") -> Raw:
    assert source.path is not None
    first_reading = spec.reading == FIRST_READING
    parts, notes = read_npz(source.path, settings, first_reading, spec.weights)
    return Raw(source.text, source.name, parts, notes=notes)


READER = Reader("file.npz", _read, (".npz",))
