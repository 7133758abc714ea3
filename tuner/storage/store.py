"""One open database: Optuna's storage made robust, and engines for our own tables."""

import atexit
import contextlib
import functools
import sqlite3
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

import sqlalchemy as sa
from sqlalchemy.engine import URL

from tuner.errors import LeaseLost, StorageError
from tuner.storage import connections
from tuner.storage.connections import RetryPolicy
from tuner.storage.read_only import Looker, file_uri, looking_engine

_LOOKING_S = 10.0
_FOLDING_S = 1.0
# All that have connections in this process, by their identity.
_open: dict[int, "Store"] = {}

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True)
class Store:
    """Where studies live. Engines open on first use, so that `study list` pays for little.
    `retry_policy`: how long failing work is repeated."""

    url: URL
    retry_policy: RetryPolicy = field(default_factory=RetryPolicy, compare=False)

    @cached_property
    def reader(self) -> sa.Engine:
        self.close_at_the_end()
        return connections.open_engine(self.url, writes=False)

    @cached_property
    def optuna(self) -> Any:
        """Optuna's storage on the writing engine. Creates or migrates the tables it needs."""
        from tuner.storage.optuna_storage import open_optuna_storage

        self.close_at_the_end()
        return open_optuna_storage(self.url, self.retry_policy)

    @cached_property
    def writer(self) -> sa.Engine:
        engine: sa.Engine = self.optuna.engine
        return engine

    @property
    def shown(self) -> str:
        return connections.shown(self.url)

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
        where Optuna does not find its study or a trial any more."""
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

    def read(self, work: Callable[[sa.Connection], T]) -> T:
        """What `work` finds in a read transaction, tried again while the database fails in a way
        that passes. Raises StorageError."""
        return self._run(self.reader, work)

    def write(self, work: Callable[[sa.Connection], T]) -> T:
        """The same in a write transaction. `work` may be repeated after a commit whose answer was
        lost: it must find what it has done already."""
        return self._run(self.writer, work)

    def _run(self, engine: sa.Engine, work: Callable[[sa.Connection], T]) -> T:
        def once(_repeated: bool) -> T:
            with engine.begin() as connection:
                return work(connection)

        with connections.storage_errors(engine):
            return self.retry_policy.run(once)

    def close_at_the_end(self) -> None:
        """Have `close_all` close it, also where this process opened no connection: others that it
        started, and killed, may have."""
        _open[id(self)] = self

    def close(self) -> None:
        """End all connections. A SQLite file is whole by itself then: what its `-wal` held is in
        it. A closed store opens again when it is used."""
        reader, optuna = self.__dict__.pop("reader", None), self.__dict__.pop("optuna", None)
        self.__dict__.pop("writer", None)
        if reader is not None:
            reader.dispose()
        if optuna is not None:
            optuna.remove_session()
            optuna.engine.dispose()
        fold_wal(self.url)
        _open.pop(id(self), None)  # last: what is interrupted is done at the process's end


@dataclass(frozen=True)
class ReadOnlyStore(Store):
    """A database that is looked into: nothing of it is written, made, upgraded or repaired. SQLite
    waits ten seconds for a lock. `statement_s`: how long a server's answer may take."""

    statement_s: float | None = None

    @cached_property
    def looker(self) -> Looker:
        """Of a SQLite file."""
        return Looker(Path(str(self.url.database)), _LOOKING_S)

    @cached_property
    def reader(self) -> sa.Engine:
        self.close_at_the_end()
        if self.url.get_backend_name() == "sqlite":
            return looking_engine(self.url, self.looker)
        options = connections.reading_options(self.url)
        options["connect_args"]["options"] += " -c default_transaction_read_only=on"
        if self.statement_s is not None:
            limit = f" -c statement_timeout={int(self.statement_s * 1000)}"
            options["connect_args"]["options"] += limit
        return sa.create_engine(self.url, **options)

    @cached_property
    def optuna(self) -> Any:
        raise StorageError(f"{self.shown} was opened for looking, not for work")

    def close(self) -> None:
        if (reader := self.__dict__.pop("reader", None)) is not None:
            reader.dispose()
        if (looker := self.__dict__.pop("looker", None)) is not None:
            looker.close()
        _open.pop(id(self), None)


def fold_wal(url: URL) -> None:
    """Bring what a SQLite file's `-wal` holds into the file itself. SQLite does so when the last
    connection closes; this is for where others stay open: those of other commands, of other threads
    of this one, and of readers. Without success where a transaction is at work for longer than a
    second: who closes next does it."""
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
    """Close every store of this process that is open still. A process that ends in order does so by
    itself."""
    for store in list(_open.values()):
        # What the command has to say of a failing database it has said.
        with contextlib.suppress(sa.exc.SQLAlchemyError, sqlite3.Error, OSError):
            store.close()


def fold_all(within_s: float = 2.0) -> None:
    """For a process that is about to end at once, whatever its threads are doing: what it has
    committed is brought into the files, without waiting for long."""
    urls = {store.url for store in list(_open.values())}
    threads = [threading.Thread(target=fold_wal, args=(url,), daemon=True) for url in urls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(within_s)


def reads(
    function: Callable[Concatenate[sa.Connection, P], T],
) -> Callable[Concatenate[Store, P], T]:
    """Makes a function of a connection one of a store: see `Store.read`."""

    @functools.wraps(function)
    def run(store: Store, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return store.read(lambda connection: function(connection, *args, **kwargs))

    return run


def writes(
    function: Callable[Concatenate[sa.Connection, P], T],
) -> Callable[Concatenate[Store, P], T]:
    """Makes a function of a connection one of a store: see `Store.write`."""

    @functools.wraps(function)
    def run(store: Store, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return store.write(lambda connection: function(connection, *args, **kwargs))

    return run


def now(dialect: str) -> sa.ColumnElement[float]:
    """The database's clock, in seconds since 1970."""
    if dialect == "sqlite":
        return sa.literal_column("((julianday('now') - 2440587.5) * 86400.0)", sa.Double)
    return sa.literal_column("extract(epoch from clock_timestamp())::double precision", sa.Double)
