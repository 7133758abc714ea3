"""`.npz` archives of NumPy arrays."""

import zipfile
from pathlib import Path

import numpy as np

from tuner.data.raw import KEYS, WHOLE, Pair, parts_from_mapping, reading
from tuner.errors import DatasetError

_WANTED = {*WHOLE, *(key for pair in KEYS.values() for key in pair)}


def read_npz(path: Path) -> dict[str, Pair]:
    """The parts of an archive of x and y, or x_train, y_train, x_val, y_val, x_test and y_test.

    Raises DatasetError when the archive is corrupt, lacks arrays or holds Python objects, which
    are never unpickled: an archive is data, not code.
    """
    source = str(path)
    with reading(source):
        if path.is_file() and not zipfile.is_zipfile(path):
            raise DatasetError(f"{source}: is no .npz archive, or a corrupt one")
        with np.load(path, allow_pickle=False) as archive:
            arrays = {
                name: _array(source, archive, name) if name.lower() in _WANTED else None
                for name in archive.files
            }
    return parts_from_mapping(source, arrays)


def _array(source: str, archive: "np.lib.npyio.NpzFile", name: str) -> np.ndarray:
    try:
        array = archive[name]
    except ValueError as error:
        if "allow_pickle" in str(error):
            raise DatasetError(
                f"{source}: {name!r} holds Python objects, which are not loaded; "
                "save it as numbers or as fixed-width text"
            ) from error
        raise
    if not isinstance(array, np.ndarray):
        raise DatasetError(f"{source}: {name!r} is no NumPy array")
    return array
