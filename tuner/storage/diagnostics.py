"""What `tuner doctor` reads of a database. It creates, migrates and repairs nothing, and
never waits long.

`loops_at_work`, `leftovers` and `all_delivered` need our tables (`Schemas.ready`).
"""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from tuner.storage import connections
from tuner.storage.connections import RetryPolicy
from tuner.storage.deliveries import count_delivered
from tuner.storage.identity import is_process_dead
from tuner.storage.read_only import file_uri
from tuner.storage.schema import (
    Schemas,
    attempts,
    deliveries,
    loops,
    optuna_trials,
    read_schemas,
    slot_rows,
    studies,
)
from tuner.storage.slots import is_slot_of, is_stray
from tuner.storage.store import ReadOnlyStore, Store, now

_WAIT_S = 10
_NO_STUDY = "doctor"


def open_read_only(url: str) -> ReadOnlyStore:
    """The database of that URL, connected, whatever its tables are. Raises StorageUnavailable."""
    parsed = connections.parse_url(url)
    store = ReadOnlyStore(parsed, RetryPolicy(seconds=0.0), statement_s=_WAIT_S)
    with connections.unavailable(parsed), store.reader.begin() as connection:
        # SQLite reads the file only when it must.
        sa.inspect(connection).get_table_names()
    return store


def schemas(store: Store) -> Schemas:
    with store.reading() as connection:
        return read_schemas(connection)


@dataclass(frozen=True)
class SqliteFile:
    """`problems`: what SQLite reports as wrong with the file, at most a few lines."""

    journal_mode: str
    problems: list[str]


def sqlite_file(store: ReadOnlyStore) -> SqliteFile:
    # Before the connection: closing the file ends the locks of this process on it.
    mode = store.file.journal_mode()
    with store.reading() as connection:
        rows = connection.exec_driver_sql("PRAGMA quick_check(3)").scalars()
        return SqliteFile(mode, [str(row) for row in rows if row != "ok"])


@dataclass(frozen=True)
class Server:
    """A PostgreSQL server. `clock_s`: how far its clock is ahead of this machine's."""

    version: str
    time_zone: str
    clock_s: float


def server(store: Store) -> Server:
    with store.reading() as connection:
        version, zone = (
            str(connection.execute(sa.select(sa.func.current_setting(name))).scalar_one())
            for name in ("server_version", "TimeZone")
        )
        asked_at = time.time()
        server_time = connection.execute(sa.select(now("postgresql"))).scalar_one()
        return Server(version, zone, server_time - (asked_at + time.time()) / 2)


def try_write(store: ReadOnlyStore, ready: bool) -> None:
    """Write a row and roll it back; without our tables, into a new one. Raises StorageError."""
    table = deliveries if ready else sa.Table("tuner_doctor", sa.MetaData(), *_copies(deliveries))
    row = {"study_uuid": _NO_STUDY, "trial_id": 0, "run_id": "doctor", "state": "doctor"}
    engine = _writer(store)
    with connections.storage_errors(engine), _wal_kept(store), engine.connect() as connection:
        transaction = connection.begin()
        if not ready:
            table.create(connection)
        connection.execute(sa.insert(table).values(row))
        transaction.rollback()


def _writer(store: ReadOnlyStore) -> sa.Engine:
    """An engine of one connection, which leaves the journal mode as it is."""
    options = connections.engine_options(store.url) | {"poolclass": sa.NullPool}
    arguments = options["connect_args"]
    if store.url.get_backend_name() == "postgresql":
        arguments["options"] += f" -c statement_timeout={_WAIT_S * 1000}"
        return sa.create_engine(store.url, **options)
    # None: the driver must not begin transactions of its own.
    arguments |= {"timeout": _WAIT_S, "isolation_level": None}
    engine = sa.create_engine(store.url, **options)
    sa.event.listen(engine, "begin", lambda it: it.exec_driver_sql("BEGIN IMMEDIATE"))
    return engine


@contextmanager
def _wal_kept(store: ReadOnlyStore) -> Iterator[None]:
    """Leave in the `-wal` what a killed search left there. SQLite moves it into the file when the
    last connection closes: a reader beside it keeps the writer from being the last."""
    if store.url.get_backend_name() != "sqlite" or not store.file.has_wal():
        yield
        return
    # Not a connection of the store's: all connections of a process share one memory, and if it is
    # opened read-only, the writer cannot write it either.
    path = Path(str(store.url.database))
    with closing(sqlite3.connect(file_uri(path, "mode=ro"), uri=True)) as reader:
        with suppress(sqlite3.OperationalError):  # then it cannot be written
            reader.execute("SELECT 1 FROM sqlite_master").fetchone()
        yield


def _copies(table: sa.Table) -> list[Any]:
    return [sa.Column(column.name, column.type) for column in table.columns]


@dataclass(frozen=True)
class SlotHolder:
    """A loop that may hold slots. `seconds_left` of its lease, negative after it has expired;
    `slots`: how many it holds; `is_dead`: its process is known to be gone."""

    study: str
    host: str
    pid: int
    seconds_left: float
    slots: int
    is_dead: bool

    @property
    def is_at_work(self) -> bool:
        return self.seconds_left >= 0 and not self.is_dead


def loops_at_work(store: Store) -> list[SlotHolder]:
    """The loops whose lease holds, and those that hold slots without one."""
    left = (loops.c.expires_at - now(store.url.get_backend_name())).label("seconds_left")
    held_slots = (
        sa.select(sa.func.count())
        .select_from(slot_rows)
        .where(slot_rows.c.loop_id == loops.c.loop_id, slot_rows.c.state == "claimed")
        .scalar_subquery()
        .label("slots")
    )
    query = (
        sa.select(studies.c.name, loops.c.host, loops.c.pid, loops.c.process, left, held_slots)
        .join(studies, studies.c.uuid == loops.c.study_uuid)
        .order_by(studies.c.name, loops.c.number)
    )
    with store.reading() as connection:
        rows = connection.execute(query).all()
    loop_rows = [
        SlotHolder(
            row.name, row.host, row.pid, row.seconds_left, row.slots, is_process_dead(row.process)
        )
        for row in rows
        if row.seconds_left >= 0 or row.slots
    ]
    return [loop for loop in loop_rows if loop.is_at_work or loop.slots]


@dataclass(frozen=True)
class Leftovers:
    """What killed loops have left of a study: how many RUNNING trials without a slot, and how many
    attempts without an end that no claimed slot is at."""

    study: str
    trials: int
    attempts: int


def leftovers(store: Store) -> list[Leftovers]:
    """Those of all studies that have any."""
    has_slot = sa.exists().where(is_slot_of(optuna_trials))
    running = sa.cast(optuna_trials.c.state, sa.String(16)) == "RUNNING"
    of_trials = optuna_trials.c.study_id == studies.c.study_id
    trials = _count(optuna_trials, of_trials, running, ~has_slot)
    open_ends = _count(attempts, attempts.c.study_uuid == studies.c.uuid, is_stray())
    query = sa.select(studies.c.name, trials, open_ends).order_by(studies.c.name)
    with store.reading() as connection:
        rows = [Leftovers(*row) for row in connection.execute(query)]
    return [row for row in rows if row.trials or row.attempts]


def _count(table: Any, *conditions: sa.ColumnElement[bool]) -> sa.ScalarSelect[int]:
    """For each study, how many rows meet the conditions."""
    query = sa.select(sa.func.count()).select_from(table).where(*conditions)
    return query.correlate(studies).scalar_subquery()


def all_delivered(store: Store) -> dict[str, tuple[int, int]]:
    """For each study, how many ended trials were delivered to MLflow, and how many were not."""
    with store.reading() as connection:
        rows = connection.execute(
            sa.select(studies.c.study_id, studies.c.uuid, studies.c.name)
        ).all()
    return {row.name: count_delivered(store, row) for row in rows}
