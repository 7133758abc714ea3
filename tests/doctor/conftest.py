import shutil
from pathlib import Path

import pytest
import sqlalchemy as sa
from toy_study import toy_spec

from tuner.storage import Store, leases, open_store
from tuner.storage.leases import Lease
from tuner.storage.schema import slot_rows
from tuner.storage.studies import StudyRow, create_study


@pytest.fixture
def study(store: Store) -> StudyRow:
    return create_study(store, "toy", toy_spec())


@pytest.fixture
def lease(store: Store, study: StudyRow) -> Lease:
    """Of a loop that has a place to claim."""
    with store.writing() as connection:
        row = {"study_id": study.study_id, "number": 1, "state": "open"}
        connection.execute(sa.insert(slot_rows).values(row))
    return leases.open_lease(store, study)


@pytest.fixture
def database(tmp_path: Path, made_tables: Path) -> Path:
    """A SQLite file with all tables and no one at it."""
    path = shutil.copy(made_tables, tmp_path / "tuner.db")
    store = open_store(f"sqlite:///{path}")
    create_study(store, "toy", toy_spec())
    store.close()
    return path
