"""Studies of toy trials, as users of the Python API have them: SQLite, no MLflow."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from toy_study import Bench
from toy_training import TOY

from tuner.manage import searching
from tuner.storage import open_store


@pytest.fixture(scope="module", autouse=True)
def _own_fork_server(own_fork_server: None) -> None:
    """Searches of toys want no TensorFlow in their fork server."""


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    """A folder, the current one, with a database. `Study.optimize` trains toys."""
    monkeypatch.chdir(tmp_path)
    for variable in ("TUNER_STORAGE", "MLFLOW_TRACKING_URI", "TUNER_CHECKPOINTS"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(searching, "optimize", partial(searching.optimize, entry=TOY))
    store = open_store(f"sqlite:///{tmp_path}/tuner.db")
    yield Bench(tmp_path, store)
    store.close()
