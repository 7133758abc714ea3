"""`.npz` archives of NumPy arrays."""

import math
import os
import struct
import zipfile
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

import numpy as np

from tuner.data.memory_maps import (
    FEATURES,
    Spool,
    array_name,
    check_room,
    parts_from_mapping,
    scratch_place,
)
from tuner.data.raw import RawParts, reading
from tuner.data.rows import AnyRows, StoredRows, is_small
from tuner.errors import DatasetError
from tuner.settings import Settings

_CHUNK_BYTES = 2**20
# What comes before a member's name in the archive, and where in it the lengths of name and extras.
_LOCAL_HEADER, _LENGTHS_AT = 30, 26


def read_npz(path: Path, settings: Settings, first_reading: bool = False) -> RawParts:
    """The parts of an archive of x and y, or x_train, y_train, x_val, y_val, x_test and y_test.
    Large features stay in the file or, where they are compressed, in a scratch copy.
    `first_reading`: as `parts_from_mapping` takes it.

    Raises DatasetError when the archive is corrupt, lacks arrays or holds Python objects, which
    are never unpickled: an archive is data, not code.
    """
    source = str(path)
    with reading(source):
        if path.is_file() and not zipfile.is_zipfile(path):
            raise DatasetError(f"{source}: is no .npz archive, or a corrupt one")
        with np.load(path, allow_pickle=False) as archive:
            arrays = {
                name: _member(path, archive, name, settings, meant) if meant else None
                for name in archive.files
                for meant in [array_name(name, first_reading)]
            }
    return parts_from_mapping(source, arrays, first_reading)


def _member(
    path: Path, archive: "np.lib.npyio.NpzFile", name: str, settings: Settings, meant: str
) -> AnyRows:
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
    """A member's rows where they lie. The whole of it is read once, for its checksum."""
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
        check_room(scratch_place(settings), info.file_size)
        spool = Spool(lambda: scratch_place(settings))
        while chunk := member.read(_CHUNK_BYTES):
            spool.write(chunk)
    return spool.stored(0, shape, dtype, str(path), by_columns)


def _header(member: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = np.lib.format.read_magic(member)
    if version == (1, 0):
        return np.lib.format.read_array_header_1_0(member)
    return np.lib.format.read_array_header_2_0(member)


def _data_start(file: BinaryIO, info: zipfile.ZipInfo) -> int:
    """Where in the archive a member's bytes begin: its own header may be longer than the index
    says."""
    lengths = os.pread(file.fileno(), 4, info.header_offset + _LENGTHS_AT)
    return info.header_offset + _LOCAL_HEADER + sum(struct.unpack("<HH", lengths))
