"""Data sets known by name: scikit-learn's, which ship in its wheel, and the MNIST family."""

import contextlib
import socket
import sys
from pathlib import Path
from typing import Any

import numpy as np

from tuner.data.raw import Pair, Raw
from tuner.data.readers.idx import holds_idx, read_idx_folder
from tuner.data.readers.npz import read_npz
from tuner.data.readers.reader import Reader
from tuner.errors import DatasetError, first_line
from tuner.settings import SYSTEM_DATA, Settings
from tuner.system.redirecting import stderr_muted

SKLEARN = ("breast_cancer", "diabetes", "digits", "iris", "wine")
_DIGITS = tuple("0123456789")
_CLOTHES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
    "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip
_MNIST_LABELS = {"fashion_mnist": _CLOTHES, "mnist": _DIGITS}
NAMES = tuple(sorted((*SKLEARN, *_MNIST_LABELS)))
_DOWNLOAD_TIMEOUT_S = 30.0


def read_named(name: str, settings: Settings) -> Raw:
    """The data set of that name, one of NAMES. Raises DatasetError when it cannot be found."""
    if name in SKLEARN:
        return _read_sklearn(name)
    return Raw(name, name, _read_mnist(name, settings), label_names=_MNIST_LABELS[name])


def _read_sklearn(name: str) -> Raw:
    from sklearn import datasets  # slow, and needed for these sets alone

    loaded: Any = getattr(datasets, f"load_{name}")()
    if name == "digits":
        images = loaded.images.astype(np.uint8)  # (1797, 8, 8), whole numbers 0..16
        return Raw(name, name, {"train": Pair(images, loaded.target)}, label_names=_DIGITS)
    labels = tuple(map(str, loaded.target_names)) if "target_names" in loaded else None
    features = tuple(map(str, loaded.feature_names))
    return Raw(name, name, {"train": Pair(loaded.data, loaded.target)}, labels, features)


def _read_mnist(name: str, settings: Settings) -> dict[str, Pair]:
    folders = _folders(name, settings)
    for folder in folders:
        if holds_idx(folder):
            return read_idx_folder(folder, settings)
        archive = folder.with_name(f"{folder.name}.npz")
        if archive.is_file():
            return read_npz(archive, settings)[0]
    try:
        return _download(name)
    except Exception as error:
        # Keras raises a bare Exception, and its import may fail as well: all mean "no download".
        looked = ", ".join(map(str, folders))
        package = " (Debian: apt-get install dataset-fashion-mnist)"
        raise DatasetError(
            f"{name}: not found as IDX files or .npz at {looked}"
            f"{package if name == 'fashion_mnist' else ''}, and its download by Keras failed "
            f"({first_line(error)}); put its four IDX files into {folders[0]}, or set "
            "TUNER_DATA_HOME to the folder that has them"
        ) from error


def _folders(name: str, settings: Settings) -> list[Path]:
    """Where folders of IDX files may be. Each may also be an archive: FOLDER.npz."""
    dashed = name.replace("_", "-")  # as Debian and Keras write it
    folders = [settings.data_home / name]
    if name == "fashion_mnist":
        folders.append(SYSTEM_DATA / dashed)
    return [*folders, settings.keras_home / "datasets" / dashed]


def _download(name: str) -> dict[str, Pair]:
    """Let Keras fetch the set into its cache: the one place outside training that loads Keras."""
    with stderr_muted():
        from keras import datasets

    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_DOWNLOAD_TIMEOUT_S)  # Keras would wait for ever on a silent network
    try:
        with contextlib.redirect_stdout(sys.stderr):  # its progress must not mix with --json
            train, test = getattr(datasets, name).load_data()
    finally:
        socket.setdefaulttimeout(before)
    return {"train": Pair(*train), "test": Pair(*test)}


READER = Reader("", lambda source, settings, spec: read_named(source.name, settings))
