"""IDX files, the format of MNIST (Yann LeCun, 1998): plain or gzipped, one or in a folder."""

import gzip
import math
import os
import re
import struct
import zlib
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from tuner.data.raw import Pair, Raw, dataset_errors
from tuner.data.readers.reader import Reader, Source
from tuner.data.rows import (
    AnyRows,
    Rows,
    Spool,
    StoredRows,
    convert_rows,
    is_small,
    make_scratch_folder,
)
from tuner.errors import DatasetError
from tuner.settings import Settings

if TYPE_CHECKING:
    from tuner.study.spec import DataSpec

_TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_GZIP_MAGIC = b"\x1f\x8b"
_CHUNK_BYTES = 2**20
# The number of dimensions is one byte.
_MOST_HEADER = 4 + 4 * 255
_PARTS = {
    "train": "train",
    "val": "validation",
    "validation": "validation",
    "t10k": "test",
    "test": "test",
}
# train-images-idx3-ubyte, train-images.idx3-ubyte, train-images.idx, emnist-letters-test-labels-…
_FILE = re.compile(
    r"(?:.*[-_.])?(?P<part>train|t10k|test|val|validation)[-_.](?P<role>images|labels)"
    r"[-_.]idx\d?(?:[-_.]ubyte)?(?:\.idx)?(?:\.gz)?",
    re.IGNORECASE,
)


def read_idx(path: Path, settings: Settings) -> AnyRows:
    """The array of one IDX file, plain or gzipped, in its own shape and native byte order. A large
    one stays in the file or, if that is gzipped, in a scratch copy.

    Raises DatasetError when the file is corrupt, cut short, or longer than its header says.
    """
    with dataset_errors(str(path)), path.open("rb") as file:
        zipped = file.read(2) == _GZIP_MAGIC
        file.seek(0)
        array = _zipped(path, file, settings) if zipped else _plain(path, file)
        native = array.dtype.newbyteorder("=")
        if isinstance(array, Rows):
            return array if native == array.dtype else convert_rows(array, native)
        return array.astype(native, copy=False)


def _plain(path: Path, file: BinaryIO) -> AnyRows:
    shape, dtype, start = _header(path, file.read(_MOST_HEADER))
    _check_length(path, shape, dtype, os.fstat(file.fileno()).st_size - start)
    rows = StoredRows(file, start, shape, dtype, str(path))
    return np.asarray(rows) if is_small(rows.nbytes) else rows


def _zipped(path: Path, file: BinaryIO, settings: Settings) -> AnyRows:
    spool = Spool(lambda: make_scratch_folder(settings))
    try:
        with gzip.open(file) as content:
            head = content.read(_MOST_HEADER)
            shape, dtype, start = _header(path, head)
            spool.write(head)
            # Only as much as the header asks for, however long a corrupt file becomes.
            left = start + math.prod(shape) * dtype.itemsize - len(head)
            while left > 0 and (chunk := content.read(min(left, _CHUNK_BYTES))):
                spool.write(chunk)
                left -= len(chunk)
            beyond = sum(map(len, iter(lambda: content.read(_CHUNK_BYTES), b"")))
    except DatasetError:
        raise
    except (OSError, EOFError, zlib.error, struct.error) as error:
        raise DatasetError(f"{path}: corrupt gzip file ({error}); fetch it again") from error
    _check_length(path, shape, dtype, spool.length + beyond - start)
    if spool.in_memory is not None:
        values = np.frombuffer(spool.in_memory, dtype, math.prod(shape), start)
        return values.reshape(shape)
    return spool.stored(start, shape, dtype, str(path))


def _check_length(
    path: Path, shape: tuple[int, ...], dtype: np.dtype[np.generic], value_bytes: int
) -> None:
    expected = math.prod(shape) * dtype.itemsize
    if value_bytes != expected:
        raise DatasetError(
            f"{path}: corrupt IDX file, its header {shape} asks for {expected} bytes and "
            f"{value_bytes} follow"
        )


def _header(path: Path, content: bytes) -> tuple[tuple[int, ...], np.dtype[np.generic], int]:
    """Shape, dtype and the position of the first value."""
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] not in _TYPES:
        raise DatasetError(f"{path}: is no IDX file (wrong magic number)")
    dimensions = content[3]
    start = 4 + 4 * dimensions
    if not dimensions or len(content) < start:
        raise DatasetError(f"{path}: corrupt IDX file, cut short in its header")
    shape = struct.unpack_from(f">{dimensions}I", content, 4)
    return shape, np.dtype(_TYPES[content[2]]), start


def holds_idx(folder: Path) -> bool:
    """Whether the folder has a file named as a training part of IDX files."""
    return folder.is_dir() and any(part == "train" for part, _ in find_idx_files(folder))


def read_idx_folder(folder: Path, settings: Settings) -> dict[str, Pair]:
    """Every part that the folder holds as a pair of images and labels, by file name.

    Raises DatasetError when there is no training pair, when one file of a pair is missing, when
    two files claim one role, or when a file is corrupt.
    """
    with dataset_errors(str(folder)):
        files = find_idx_files(folder)
    parts = {}
    for part in dict.fromkeys(part for part, _ in files):
        for role in ("images", "labels"):
            if (part, role) not in files:
                raise DatasetError(f"{folder}: the {part} part has no IDX file of {role}")
        parts[part] = Pair(
            read_idx(files[part, "images"], settings),
            np.asarray(read_idx(files[part, "labels"], settings)),
        )
    if "train" not in parts:
        raise DatasetError(
            f"{folder}: no images and no IDX files; expected train-images-idx3-ubyte and "
            "train-labels-idx1-ubyte (and t10k-… for the test), each plain or .gz, or a folder of "
            "images for each class"
        )
    return parts


def find_idx_files(folder: Path) -> dict[tuple[str, str], Path]:
    """(part, role) -> file, by part. If a file exists plain and gzipped, the plain one."""
    files: dict[tuple[str, str], Path] = {}
    for path in sorted(folder.iterdir()):  # a plain file sorts before its .gz
        match = _FILE.fullmatch(path.name)
        if not match:
            continue
        key = _PARTS[match["part"].lower()], match["role"].lower()
        other = files.setdefault(key, path)
        if other.name.removesuffix(".gz") != path.name.removesuffix(".gz"):
            raise DatasetError(
                f"{folder}: both {other.name} and {path.name} are {key[0]} {key[1]}; "
                "keep one of them in the folder"
            )
    order = [*dict.fromkeys(_PARTS.values())]
    return dict(sorted(files.items(), key=lambda item: order.index(item[0][0])))


def _read(source: Source, settings: Settings, spec: "DataSpec") -> Raw:
    assert source.path is not None
    return Raw(source.text, source.name, read_idx_folder(source.path, settings))


def _holds_files(folder: Path) -> bool:
    """Whether the folder has files named as any part of IDX files."""
    with suppress(OSError, DatasetError):
        return bool(find_idx_files(folder))
    return True  # its reader will say what is wrong


READER = Reader("a folder of IDX files", _read, is_folder=True, holds=_holds_files)
