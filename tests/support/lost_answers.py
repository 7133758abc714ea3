"""A database that commits, and whose reply to that COMMIT is lost."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg

from tuner.storage import Store


class LostAnswers:
    """Counts commits on a store's writing engine; the reply to number `lost` never comes."""

    def __init__(self, lost: int) -> None:
        self.commits, self._lost = 0, lost

    @contextmanager
    def of(self, store: Store) -> Iterator[None]:
        dialect = store.writer.dialect
        commit = dialect.do_commit

        def do_commit(connection: Any) -> None:
            commit(connection)
            self.commits += 1
            if self.commits == self._lost:
                raise _error(dialect.name)

        dialect.do_commit = do_commit  # type: ignore[method-assign]
        try:
            yield
        finally:
            dialect.do_commit = commit  # type: ignore[method-assign]


def _error(dialect: str) -> Exception:
    if dialect == "postgresql":
        return psycopg.errors.AdminShutdown("terminating connection")
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorcode = sqlite3.SQLITE_IOERR
    return error
