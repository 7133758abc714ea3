"""Settings that see nothing of this machine's caches, and files in the formats that are read."""

import gzip
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tuner.data import Dataset, load_dataset
from tuner.settings import Settings
from tuner.study.spec import DataSpec

_IDX_CODES = {"u1": 0x08, "i1": 0x09, "i2": 0x0B, "i4": 0x0C, "f4": 0x0D, "f8": 0x0E}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(
        storage="sqlite://",
        tracking_uri="sqlite://",
        data_home=tmp_path / "home",
        checkpoints=tmp_path / "checkpoints",
        keras_home=tmp_path / "keras",
    )


@pytest.fixture
def load(settings: Settings) -> Callable[..., Dataset]:
    """load(source, **options of DataSpec)."""

    def load_source(source: object, **options: Any) -> Dataset:
        return load_dataset(DataSpec(source=str(source), **options), settings)

    return load_source


@pytest.fixture
def write_idx() -> Callable[[Path, np.ndarray], None]:
    """write_idx(path, array): one IDX file, gzipped when the name ends in .gz."""
    return _write_idx


@pytest.fixture
def write_mnist_like() -> Callable[..., None]:
    """write_mnist_like(folder, rows=60, suffix=".gz"): the four files of MNIST, with `rows` random
    images of 5x4 pixels for train and 20 for test."""
    return _write_mnist_like


def _write_idx(path: Path, array: np.ndarray) -> None:
    code = _IDX_CODES[array.dtype.str[1:]]
    content = struct.pack(f">HBB{array.ndim}I", 0, code, array.ndim, *array.shape)
    content += array.astype(array.dtype.newbyteorder(">")).tobytes()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


def _write_mnist_like(folder: Path, rows: int = 60, suffix: str = ".gz") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    draw = np.random.default_rng(0)
    for part, n in (("t10k", 20), ("train", rows)):
        images = draw.integers(0, 256, (n, 5, 4), np.uint8)
        _write_idx(folder / f"{part}-images-idx3-ubyte{suffix}", images)
        _write_idx(folder / f"{part}-labels-idx1-ubyte{suffix}", np.arange(n, dtype="u1") % 10)
