"""A bench for loops: real workers, real databases, toy trials."""

from pathlib import Path

import pytest
from toy_study import Bench

from tuner.storage import Store


@pytest.fixture
def bench(tmp_path: Path, store: Store) -> Bench:
    return Bench(tmp_path, store)


@pytest.fixture(scope="module", autouse=True)
def _own_fork_server(own_fork_server: None) -> None:
    """The fork server of these tests has imported no TensorFlow; later ones want another."""
