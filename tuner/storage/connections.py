"""SQLAlchemy engines that hold, and how long failing database work is repeated.

SQLite gets WAL, a long busy timeout, and BEGIN IMMEDIATE on the writing engine: SQLite ignores
FOR UPDATE, so two loops would claim one slot. Readers have an engine of their own, whose deferred
transactions never wait for a writer. PostgreSQL connections that were idle are checked before they
are used.

A lost connection, a server that restarts, a deadlock or a full disk pass: `RetryPolicy` repeats
the work. A missing database or a wrong password do not. A COMMIT whose reply was lost may have
happened: the work is told that it is repeated, and looks first for what it has already written.
"""

import functools
import logging
import random
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa
import tenacity
from sqlalchemy.engine import URL, make_url

from tuner.errors import LocationError, StorageError, StorageUnavailable
from tuner.system.locations import sqlite_file, sqlite_url
from tuner.system.names import install_command

T = TypeVar("T")

_FIRST_PAUSE_S = 0.05
_LONGEST_PAUSE_S = 2.0
_HURRIED_S = 2.0
# PostgreSQL's classes of errors that pass: connection, rollback (deadlock), resources (disk full),
# lock not available, operator intervention (shutdown, restart).
_PASSING_STATES = ("08", "40", "53", "55P03", "57P")
_PASSING_CODES = (
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
)
# PostgreSQL's for a user without the right to write, and for a session or server that only reads.
_NO_RIGHTS = ("42501", "25006")
# A server that refuses a connection for good says FATAL; these of its reasons pass.
_PASSING_REFUSALS = ("shutting down", "starting up", "recovery", "too many", "slots are reserved")


@dataclass
class RetryPolicy:
    """How long failing work is repeated: for `seconds` after its first failure. From the moment
    that `is_hurried` is first seen to be true (a signal asked the search to stop), all work
    together has two seconds left. `clock` (in seconds) and `sleep` are injected by tests."""

    seconds: float = 20.0
    is_hurried: Callable[[], bool] = lambda: False
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = lambda seconds: time.sleep(seconds)
    _hurried_at: float | None = None

    def set(self, seconds: float, is_hurried: Callable[[], bool]) -> None:
        self.seconds, self.is_hurried, self._hurried_at = seconds, is_hurried, None

    def run(self, work: Callable[[bool], T]) -> T:
        """The result of `work`, repeated while it fails for a reason that passes; its last error
        when the time is over. The argument of `work` says whether it was tried before."""
        failed_at: float | None = None

        def is_over(_state: tenacity.RetryCallState) -> bool:
            nonlocal failed_at
            failed_at = self.clock() if failed_at is None else failed_at
            return self.clock() >= self._deadline(failed_at)

        for attempt in tenacity.Retrying(
            retry=tenacity.retry_if_exception(passes),
            stop=is_over,
            wait=_pause,
            sleep=self.sleep,
            reraise=True,
        ):
            with attempt:
                return work(attempt.retry_state.attempt_number > 1)
        raise AssertionError("tenacity raises the last error")

    def _deadline(self, failed_at: float) -> float:
        deadline = failed_at + self.seconds
        if not self.is_hurried():
            return deadline
        if self._hurried_at is None:
            self._hurried_at = self.clock()
        return min(deadline, self._hurried_at + _HURRIED_S)


def _pause(state: tenacity.RetryCallState) -> float:
    """Doubled after each failure, up to a limit. Its random part keeps several loops apart."""
    longest: float = _FIRST_PAUSE_S * 2.0 ** min(state.attempt_number - 1, 20)
    return min(longest, _LONGEST_PAUSE_S) * random.uniform(0.5, 1.0)


def passes(error: BaseException) -> bool:
    """Whether the same work may succeed a little later."""
    if not isinstance(error, Exception):
        return False
    # Optuna raises an error of its own from SQLAlchemy's.
    cause = error if isinstance(error, sa.exc.SQLAlchemyError) else error.__cause__
    if isinstance(cause, sa.exc.PendingRollbackError):
        return True  # the connection was lost before, where Optuna takes that for something else
    if not isinstance(cause, sa.exc.DBAPIError) or isinstance(cause, sa.exc.IntegrityError):
        return False
    if isinstance(cause.orig, sqlite3.Error):
        return (getattr(cause.orig, "sqlite_errorcode", 0) & 0xFF) in _PASSING_CODES
    state = getattr(cause.orig, "sqlstate", None)
    if state is not None:
        return state.startswith(_PASSING_STATES)
    if cause.connection_invalidated:
        return True
    return isinstance(cause, sa.exc.OperationalError) and _may_connect_later(str(cause.orig))


def _may_connect_later(message: str) -> bool:
    return "FATAL" not in message or any(words in message for words in _PASSING_REFUSALS)


# How long SQLite waits for another writer before it fails: a quarter of a lease, so that a loop
# that waits longer asks again, by its RetryPolicy, and finds out whether it may still write.
_BUSY_S = 15
_SWITCHING_S = 120
# A connection that was idle for longer is checked before it is used. A loop uses its own many times
# a second: to check it each time would take a fifth of its transactions' time.
_CHECK_AFTER_S = 1.0
_POSTGRES_OPTIONS = {
    # Optuna compares naive timestamps: every session must use one time zone.
    # A loop that was suspended within a transaction must not keep its locks from the others.
    "options": "-c timezone=UTC -c idle_in_transaction_session_timeout=60000",
    "connect_timeout": 10,
    # So that pg_stat_activity says whose sessions these are; a name in the URL is kept.
    "fallback_application_name": "tuner",
    "keepalives": 1,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
}


def parse_url(url: str) -> URL:
    """A checked SQLAlchemy URL. Raises StorageUnavailable, never showing a password."""
    try:
        parsed = make_url(url)
    except (sa.exc.ArgumentError, ValueError) as error:
        raise StorageUnavailable(
            "the storage URL cannot be read; expected sqlite:///file.db "
            "or postgresql+psycopg://user:password@host/database"
        ) from error
    if parsed.drivername in ("postgresql", "postgres"):
        parsed = parsed.set(drivername="postgresql+psycopg")
    if parsed.get_backend_name() not in ("sqlite", "postgresql"):
        raise StorageUnavailable(
            f"storage {parsed.get_backend_name()!r} is not supported; use sqlite or postgresql"
        )
    if "@" in (parsed.host or ""):
        # Whatever lies before it is the rest of a password: it must not be shown as a host.
        raise StorageUnavailable("the storage URL cannot be read; write @ in a password as %40")
    try:
        file = sqlite_file(url)
    except LocationError as error:
        raise StorageUnavailable(f"the storage URL cannot be used: {error}") from error
    return parsed if file is None else parsed.set(database=str(file))


def database_file(url: URL) -> Path | None:
    """The path of a SQLite database, which need not exist; None for PostgreSQL."""
    return Path(str(url.database)) if url.get_backend_name() == "sqlite" else None


def format_url(url: URL) -> str:
    """The URL without its password: as it may be printed, and typed again."""
    if (file := database_file(url)) is not None:
        return sqlite_url(file)
    secrets = [name for name in url.query if "password" in name]
    return url.difference_update_query(secrets).render_as_string(hide_password=True)


def engine_options(url: URL) -> dict[str, Any]:
    """Arguments of `create_engine` for an engine that writes."""
    if url.get_backend_name() == "sqlite":
        return {"connect_args": {"timeout": _BUSY_S}}
    # It warns of what fails after a connection was cut, which is tried again all the same.
    logging.getLogger("psycopg").setLevel(logging.ERROR)
    return {"connect_args": dict(_POSTGRES_OPTIONS)}


def harden(engine: sa.Engine, writes: bool) -> None:
    """Set up each new SQLite connection, and how its transactions begin; have PostgreSQL's checked
    after a pause."""
    if engine.dialect.name != "sqlite":
        _check_idle(engine)
        return

    def on_connect(connection: sqlite3.Connection, _record: object) -> None:
        # None: the driver must not begin transactions of its own; SQLAlchemy's begin event does.
        connection.isolation_level = None
        _use_wal(connection)
        # NORMAL is safe against a killed process; only a power cut may cost the last commits.
        connection.execute("PRAGMA synchronous=NORMAL")
        if not writes:
            connection.text_factory = any_text

    def on_begin(connection: sa.Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    sa.event.listen(engine, "connect", on_connect)
    sa.event.listen(engine, "begin", on_begin)


def _check_idle(engine: sa.Engine) -> None:
    """Replace connections that the server has closed while they were idle."""

    def on_checkin(_connection: object, record: Any) -> None:
        record.info["used_at"] = time.monotonic()

    def on_checkout(connection: Any, record: Any, _proxy: object) -> None:
        used_at = record.info.get("used_at")
        if used_at is None or time.monotonic() - used_at < _CHECK_AFTER_S:
            return
        try:
            engine.dialect.do_ping(connection)
        except engine.dialect.loaded_dbapi.Error as error:
            # SQLAlchemy opens another one.
            raise sa.exc.InvalidatePoolError from error

    sa.event.listen(engine, "checkin", on_checkin)
    sa.event.listen(engine, "checkout", on_checkout)


# Otherwise bytes in a damaged row that are not UTF-8 fail the whole query.
any_text = functools.partial(str, encoding="utf-8", errors="backslashreplace")


def _use_wal(connection: sqlite3.Connection) -> None:
    """Switch to WAL mode. Two processes that do so at once would block each other until their busy
    timeouts end; here each fails at once instead, and tries again."""
    connection.execute("PRAGMA busy_timeout=0")
    tenacity.Retrying(
        retry=tenacity.retry_if_exception(_is_busy),
        stop=tenacity.stop_after_delay(_SWITCHING_S),
        wait=tenacity.wait_random(0.01, 0.1),
        reraise=True,
    )(connection.execute, "PRAGMA journal_mode=WAL")
    connection.execute(f"PRAGMA busy_timeout={_BUSY_S * 1000}")


def _is_busy(error: BaseException) -> bool:
    return (
        isinstance(error, sqlite3.OperationalError)
        and error.sqlite_errorcode == sqlite3.SQLITE_BUSY
    )


def reading_options(url: URL) -> dict[str, Any]:
    """Arguments of `create_engine` for an engine whose transactions only read. Each of them is a
    snapshot: PostgreSQL has to be asked for that, since with its usual READ COMMITTED each SELECT
    sees what others have committed just before it."""
    options = engine_options(url)
    if url.get_backend_name() == "postgresql":
        options["isolation_level"] = "REPEATABLE READ"
        options["execution_options"] = {"postgresql_readonly": True}
    return options


def open_engine(url: URL, writes: bool) -> sa.Engine:
    engine = sa.create_engine(url, **(engine_options(url) if writes else reading_options(url)))
    harden(engine, writes)
    return engine


def open_scratch_engine(path: Path) -> sa.Engine:
    """An engine for a temporary SQLite file, which is thrown away after any failure: nothing is
    flushed to disk."""

    def on_connect(connection: sqlite3.Connection, _record: object) -> None:
        connection.isolation_level = None
        connection.execute("PRAGMA journal_mode=MEMORY")
        connection.execute("PRAGMA synchronous=OFF")
        connection.text_factory = any_text

    engine = sa.create_engine(URL.create("sqlite", database=str(path)))
    sa.event.listen(engine, "connect", on_connect)
    sa.event.listen(
        engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE")
    )
    return engine


@contextmanager
def unavailable(url: URL) -> Iterator[None]:
    """Around opening a database: failures become StorageUnavailable, one line, no password."""
    try:
        yield
    except sa.exc.SQLAlchemyError as error:
        raise StorageUnavailable(f"{format_url(url)}: {one_line(error)}") from error
    except ImportError as error:
        raise StorageUnavailable(
            f"{format_url(url)} needs the PostgreSQL driver: {install_command('psycopg[binary]')}"
        ) from error
    except RuntimeError as error:
        raise StorageUnavailable(f"{format_url(url)}: {error}") from error


def one_line(error: Exception) -> str:
    """The first line of the database's own message."""
    cause = getattr(error, "orig", None) or error
    lines = str(cause).strip().splitlines() or [type(cause).__name__]
    may_only_read = getattr(cause, "sqlstate", None) in _NO_RIGHTS
    return lines[0].strip() + (": this database user may only read" if may_only_read else "")


@contextmanager
def storage_errors(engine: sa.Engine) -> Iterator[None]:
    """Around database work: SQLAlchemy's errors become StorageError, one line."""
    try:
        yield
    except sa.exc.SQLAlchemyError as error:
        raise StorageError(f"{format_url(engine.url)}: {one_line(error)}") from error
