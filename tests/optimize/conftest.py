"""A bench for loops: real workers, real databases, toy trials."""

from collections.abc import Iterator
from multiprocessing import forkserver
from pathlib import Path

import pytest
from toy_study import Bench

from tuner.storage import Store


@pytest.fixture
def bench(tmp_path: Path, store: Store) -> Bench:
    return Bench(tmp_path, store)


@pytest.fixture(scope="module", autouse=True)
def _own_fork_server() -> Iterator[None]:
    """The fork server of these tests has imported no TensorFlow; later ones want another."""
    forkserver._forkserver._stop()  # type: ignore[attr-defined]
    yield
    forkserver._forkserver._stop()  # type: ignore[attr-defined]
