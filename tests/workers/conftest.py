"""Data for workers that train toys."""

from collections.abc import Iterator
from multiprocessing import forkserver

import pytest
from conformance import toy_setup

from tuner.study.messages import WorkerSetup


@pytest.fixture(scope="module")
def setup(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WorkerSetup]:
    forkserver._forkserver._stop()  # type: ignore[attr-defined]
    yield toy_setup(tmp_path_factory.mktemp("workers"))
    forkserver._forkserver._stop()  # type: ignore[attr-defined]
