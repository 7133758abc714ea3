"""Databases for the tests. It lies beside the helpers, so that pytest puts this folder on the
import path for them."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from postgres_server import Postgres

from tuner.storage import Store, open_store


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    # Not in pytest's own folder, which every start of pytest closes to other users: as root, the
    # server runs as one.
    folder = Path(tempfile.mkdtemp(prefix="tuner-postgres-"))
    postgres = Postgres(folder)
    yield postgres
    postgres.stop()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def prepared_postgres(postgres: Postgres) -> str:
    name = postgres.create()
    _prepare(postgres.url(name))
    return name


@pytest.fixture(scope="session")
def prepared_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sqlite") / "tuner.db"
    _prepare(f"sqlite:///{path}")
    return path


def _prepare(url: str) -> None:
    store = open_store(url)
    _ = store.optuna
    store.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def storage_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database with all tables and nothing in them."""
    if request.param == "sqlite":
        shutil.copy(request.getfixturevalue("prepared_sqlite"), tmp_path / "tuner.db")
        return f"sqlite:///{tmp_path}/tuner.db"
    postgres: Postgres = request.getfixturevalue("postgres")
    name = request.getfixturevalue("prepared_postgres")
    postgres.empty(name)
    return postgres.url(name)


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database without any table."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/empty.db"
    postgres: Postgres = request.getfixturevalue("postgres")
    return postgres.url(postgres.create())


@pytest.fixture
def store(storage_url: str) -> Iterator[Store]:
    store = open_store(storage_url)
    yield store
    store.close()
