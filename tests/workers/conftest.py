"""Data for workers that train toys."""

from collections.abc import Iterator
from multiprocessing import forkserver

import pytest
from toy_study import Bench

from tuner.data import load_dataset, save_dataset
from tuner.settings import load_settings
from tuner.study.messages import WorkerSetup
from tuner.study.spec import DataSpec


@pytest.fixture(scope="module")
def setup(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WorkerSetup]:
    folder = tmp_path_factory.mktemp("workers")
    Bench.write_data(folder / "points.npz")
    dataset = load_dataset(DataSpec(source=str(folder / "points.npz")), load_settings())
    save_dataset(dataset, folder / "data")
    forkserver._forkserver._stop()  # type: ignore[attr-defined]
    yield WorkerSetup(folder / "data", 1e9)
    forkserver._forkserver._stop()  # type: ignore[attr-defined]
