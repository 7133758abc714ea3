"""A bench whose studies a daemon searches."""

from pathlib import Path

import pytest
from daemon_bench import ServiceBench

from tuner.storage import Store


@pytest.fixture
def bench(tmp_path: Path, store: Store) -> ServiceBench:
    return ServiceBench(tmp_path, store)


@pytest.fixture(scope="module", autouse=True)
def _own_fork_server(own_fork_server: None) -> None:
    """The fork server of these tests has imported no TensorFlow; later ones want another."""
