"""Studies of functions that train by themselves."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from objective_studies import ObjectiveStudies

from tuner.storage import open_store
from tuner.workers.base import BACK_ENDS


@pytest.fixture
def studies(
    made_tables: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[ObjectiveStudies]:
    """On SQLite, in an empty folder, with threads as workers."""
    shutil.copy(made_tables, tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(BACK_ENDS, "threads", "thread_workers")
    store = open_store(f"sqlite:///{tmp_path}/{made_tables.name}")
    yield ObjectiveStudies(tmp_path, store)
    store.close()
