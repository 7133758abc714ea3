"""One open database: Optuna's storage made robust, and engines for our own tables."""

import contextlib
import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Concatenate, ParamSpec, TypeVar

import sqlalchemy as sa
from sqlalchemy.engine import URL

from tuner.errors import StorageUnavailable
from tuner.storage import engines
from tuner.storage.migrate import HEAD, current_revision, prepare_schema
from tuner.storage.patience import Patience

_OPENING_S = 1.0

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True)
class Store:
    """Where studies live. Engines open on first use, so that `study list` pays for little.
    `patience`: how long a failing database is tried again."""

    url: URL
    patience: Patience = field(default_factory=Patience, compare=False)

    @cached_property
    def reader(self) -> sa.Engine:
        return engines.open_engine(self.url, writes=False)

    @cached_property
    def optuna(self) -> Any:
        """Optuna's storage on the writing engine. Creates or migrates the tables it needs."""
        from tuner.storage.robust import open_optuna_storage

        return open_optuna_storage(self.url, self.patience)

    @cached_property
    def writer(self) -> sa.Engine:
        engine: sa.Engine = self.optuna.engine
        return engine

    @property
    def shown(self) -> str:
        return engines.shown(self.url)

    @contextlib.contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """A read transaction. Raises StorageError."""
        with engines.storage_errors(self.reader), self.reader.begin() as connection:
            yield connection

    @contextlib.contextmanager
    def writing(self) -> Iterator[sa.Connection]:
        """A write transaction: the only one on SQLite while it lasts. Raises StorageError."""
        with engines.storage_errors(self.writer), self.writer.begin() as connection:
            yield connection

    @contextlib.contextmanager
    def asking_optuna(self) -> Iterator[None]:
        """Around work in which Optuna calls its storage itself. Raises StorageError."""
        from optuna.exceptions import StorageInternalError

        with engines.storage_errors(self.writer):
            try:
                yield
            except StorageInternalError as error:
                raise error.__cause__ or error from error

    def read(self, work: Callable[[sa.Connection], T]) -> T:
        """What `work` finds in a read transaction, tried again while the database fails in a way
        that passes. Raises StorageError."""
        return self._insist(self.reader, work)

    def write(self, work: Callable[[sa.Connection], T]) -> T:
        """The same in a write transaction. `work` may be repeated after a commit whose answer was
        lost: it must find what it has done already."""
        return self._insist(self.writer, work)

    def _insist(self, engine: sa.Engine, work: Callable[[sa.Connection], T]) -> T:
        def once(_again: bool) -> T:
            with engine.begin() as connection:
                return work(connection)

        with engines.storage_errors(engine):
            return self.patience.insist(once)

    def close(self) -> None:
        if "reader" in self.__dict__:
            self.reader.dispose()
        if "optuna" in self.__dict__:
            self.optuna.remove_session()
            self.optuna.engine.dispose()


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


def open_store(url: str) -> Store:
    """Open, and where needed create, the database. Raises StorageUnavailable."""
    store = Store(engines.parse_url(url))
    file = engines.database_file(store.url)
    if file is not None and not file.parent.is_dir():
        raise StorageUnavailable(f"{store.shown}: the folder {file.parent} does not exist")
    with engines.unavailable(store.url):
        # Not for long: a database that is down is said at once.
        Patience(_OPENING_S).insist(lambda _again: _make_ready(store))
    return store


def _make_ready(store: Store) -> None:
    if current_revision(store.reader) != HEAD:
        writer = engines.open_engine(store.url, writes=True)
        try:
            prepare_schema(writer)
        finally:
            writer.dispose()


def exists(url: str) -> bool:
    """Whether there is a database to look into; only a SQLite file can be missing altogether."""
    file = engines.database_file(engines.parse_url(url))
    return file is None or file.exists()


def now(dialect: str) -> sa.ColumnElement[float]:
    """The database's clock, in seconds since 1970."""
    if dialect == "sqlite":
        return sa.literal_column("((julianday('now') - 2440587.5) * 86400.0)", sa.Double)
    return sa.literal_column("extract(epoch from clock_timestamp())::double precision", sa.Double)
