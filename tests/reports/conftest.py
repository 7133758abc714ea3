"""A bench on SQLite in the folder of the test, which is the working folder."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from toy_study import Bench
from toy_training import CODE

from tuner.storage import open_store


@pytest.fixture
def bench(tmp_path: Path, made_tables: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    shutil.copy(made_tables, tmp_path)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "toy.py").write_text(CODE)
    store = open_store(f"sqlite:///{tmp_path}/tuner.db")
    yield Bench(tmp_path, store)
    store.close()


@pytest.fixture(scope="module", autouse=True)
def _own_fork_server(own_fork_server: None) -> None:
    """The fork server of these tests has imported no TensorFlow; later ones want another."""
