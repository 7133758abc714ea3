"""One open database: Optuna's storage, made robust, and engines for our own tables."""

import atexit
import contextlib
import sqlite3
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import URL

from tuner.errors import LeaseLost, StorageError
from tuner.storage import connections
from tuner.storage.connections import RetryPolicy
from tuner.storage.read_only import ReadOnlyFile, file_uri, read_only_engine

_READ_WAIT_S = 10.0
_FOLDING_S = 1.0
# The stores of this process that have connections, by their id().
_open: dict[int, "Store"] = {}

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True)
class Store:
    """The database of some studies. Engines open on first use, which keeps short commands fast.
    `retry_policy`: how long failing work is repeated."""

    url: URL
    retry_policy: RetryPolicy = field(default_factory=RetryPolicy, compare=False)

    @cached_property
    def reader(self) -> sa.Engine:
        self.close_at_exit()
        return connections.open_engine(self.url, writes=False)

    @cached_property
    def optuna(self) -> Any:
        """Optuna's storage (a RobustStorage) on the writing engine."""
        from tuner.storage.optuna_storage import open_optuna_storage

        self.close_at_exit()
        return open_optuna_storage(self.url, self.retry_policy)

    @cached_property
    def writer(self) -> sa.Engine:
        engine: sa.Engine = self.optuna.engine
        return engine

    def another(self) -> "Store":
        """A store of the same database with connections of its own, for another thread."""
        return Store(self.url)

    @property
    def shown(self) -> str:
        return connections.format_url(self.url)

    @contextlib.contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """A read transaction. Raises StorageError."""
        with connections.storage_errors(self.reader), self.reader.begin() as connection:
            yield connection

    @contextlib.contextmanager
    def writing(self) -> Iterator[sa.Connection]:
        """A write transaction: the only one on SQLite while it lasts. Raises StorageError."""
        with connections.storage_errors(self.writer), self.writer.begin() as connection:
            yield connection

    @contextlib.contextmanager
    def asking_optuna(self) -> Iterator[None]:
        """Around work in which Optuna calls its storage itself. Raises StorageError, and LeaseLost
        where Optuna no longer finds its study or a trial."""
        from optuna.exceptions import StorageInternalError

        from tuner.storage.optuna_storage import is_missing

        with connections.storage_errors(self.writer):
            try:
                yield
            except KeyError as error:
                if is_missing(error):
                    raise LeaseLost from error
                raise
            except StorageInternalError as error:
                raise error.__cause__ or error from error

    def read(
        self,
        work: Callable[Concatenate[sa.Connection, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """The result of `work` in a read transaction, repeated while the database fails for a
        reason that passes. It gets the connection, then the arguments. Raises StorageError."""
        return self._run(self.reader, lambda connection: work(connection, *args, **kwargs))

    def write(
        self,
        work: Callable[Concatenate[sa.Connection, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """The same in a write transaction. `work` may be repeated after a COMMIT whose reply was
        lost: it must find what it has already written."""
        return self._run(self.writer, lambda connection: work(connection, *args, **kwargs))

    def _run(self, engine: sa.Engine, work: Callable[[sa.Connection], T]) -> T:
        def attempt(_repeated: bool) -> T:
            with engine.begin() as connection:
                return work(connection)

        with connections.storage_errors(engine):
            return self.retry_policy.run(attempt)

    def close_at_exit(self) -> None:
        """Have `close_all` close this store, also if this process opened no connection: processes
        that it started, and killed, may have opened some."""
        _open[id(self)] = self

    def close(self) -> None:
        """End all connections. A SQLite file is complete by itself then: the content of its `-wal`
        is in it. A closed store opens again when it is used."""
        reader, optuna = self.__dict__.pop("reader", None), self.__dict__.pop("optuna", None)
        self.__dict__.pop("writer", None)
        if reader is not None:
            reader.dispose()
        if optuna is not None:
            optuna.remove_session()
            optuna.engine.dispose()
        fold_wal(self.url)
        _open.pop(id(self), None)  # last: if interrupted, `close_all` does it


@dataclass(frozen=True)
class ReadOnlyStore(Store):
    """A database that is only read: nothing in it is written, created, upgraded or repaired. SQLite
    waits ten seconds for a lock. `statement_s`: how many seconds a server may take for a
    statement."""

    statement_s: float | None = None

    @cached_property
    def file(self) -> ReadOnlyFile:
        """Opens connections to a SQLite file."""
        return ReadOnlyFile(Path(str(self.url.database)), _READ_WAIT_S)

    @cached_property
    def reader(self) -> sa.Engine:
        self.close_at_exit()
        if self.url.get_backend_name() == "sqlite":
            return read_only_engine(self.url, self.file)
        options = connections.reading_options(self.url)
        options["connect_args"]["options"] += " -c default_transaction_read_only=on"
        if self.statement_s is not None:
            limit = f" -c statement_timeout={int(self.statement_s * 1000)}"
            options["connect_args"]["options"] += limit
        engine = sa.create_engine(self.url, **options)
        connections.harden(engine, writes=False)
        return engine

    @cached_property
    def optuna(self) -> Any:
        raise StorageError(f"{self.shown} was opened for reading only")

    def close(self) -> None:
        if (reader := self.__dict__.pop("reader", None)) is not None:
            reader.dispose()
        if (file := self.__dict__.pop("file", None)) is not None:
            file.close()
        _open.pop(id(self), None)


def is_reachable(store: Store) -> bool:
    """Whether the database answers now; it is asked once."""
    try:
        with store.reading() as connection:
            return connection.scalar(sa.select(sa.literal(1))) == 1
    except StorageError:
        return False


def fold_wal(url: URL) -> None:
    """Move the content of a SQLite file's `-wal` into the file itself. SQLite does so when the last
    connection closes; this is for when others stay open: those of other commands, of other threads
    of this one, and of readers. It gives up where a transaction runs for longer than a second; the
    next command that closes the database does it."""
    path = Path(str(url.database))
    if url.get_backend_name() != "sqlite" or not _has_wal(path):
        return
    with contextlib.suppress(sqlite3.Error):
        connection = sqlite3.connect(
            file_uri(path, "mode=rw"), timeout=_FOLDING_S, isolation_level=None, uri=True
        )
        with contextlib.closing(connection):
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _has_wal(path: Path) -> bool:
    wal = Path(f"{path.resolve()}-wal")
    try:
        return wal.stat().st_size > 0
    except OSError:
        return False


@atexit.register
def close_all() -> None:
    """Close every store of this process that is still open. A process that exits normally does this
    by itself."""
    for store in list(_open.values()):
        # The command has already reported a failing database.
        with contextlib.suppress(sa.exc.SQLAlchemyError, sqlite3.Error, OSError):
            store.close()


def fold_all(within_s: float = 2.0) -> None:
    """For a process that is about to exit at once, whatever its threads are doing: move what it has
    committed into the SQLite files, without waiting long."""
    urls = {store.url for store in list(_open.values())}
    threads = [threading.Thread(target=fold_wal, args=(url,), daemon=True) for url in urls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(within_s)


def insert_or(dialect: str, table: Any) -> Any:
    """An INSERT that can say what becomes of a row whose key is there already."""
    return {"sqlite": sqlite.insert, "postgresql": postgresql.insert}[dialect](table)


def now(dialect: str) -> sa.ColumnElement[float]:
    """The database's clock, in seconds since 1970: an SQL expression."""
    if dialect == "sqlite":
        return sa.literal_column("((julianday('now') - 2440587.5) * 86400.0)", sa.Double)
    return sa.literal_column("extract(epoch from clock_timestamp())::double precision", sa.Double)
