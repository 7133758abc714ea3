from collections.abc import Iterator
from multiprocessing import forkserver

import pytest
from toy_study import toy_spec

from tuner.storage import Store
from tuner.storage.studies import StudyRow, create_study


@pytest.fixture
def study(store: Store) -> StudyRow:
    return create_study(store, "toy", toy_spec())


@pytest.fixture(scope="module", autouse=True)
def _own_fork_server() -> Iterator[None]:
    """Processes of these tests start with the imports done; later tests want a server of theirs."""
    forkserver._forkserver._stop()  # type: ignore[attr-defined]
    yield
    forkserver._forkserver._stop()  # type: ignore[attr-defined]
