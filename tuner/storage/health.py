"""A database as `tuner doctor` looks at it: nothing is made, migrated, repaired or waited for long.

The queries of `loops_at_work`, `leftovers` and `all_owed` need our tables (`Schemas.ready`).
"""

import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import URL

from tuner.storage import engines
from tuner.storage.migrate import HEAD, VERSION_TABLE
from tuner.storage.patience import Patience
from tuner.storage.places import is_place_of, strays
from tuner.storage.process import is_dead
from tuner.storage.store import Store, now
from tuner.storage.tables import attempts, deliveries, loops, optuna_trials, places, studies
from tuner.storage.tracked import count_delivered

_WAIT_S = 10
_NO_STUDY = "doctor"


class Glance(Store):
    """A store whose tables and journal mode are left as they lie there. No lock and no server is
    waited for longer than ten seconds."""

    @cached_property
    def reader(self) -> sa.Engine:
        return _engine(self.url, "BEGIN")

    @cached_property
    def writer(self) -> sa.Engine:
        return _engine(self.url, "BEGIN IMMEDIATE")

    def close(self) -> None:
        for name in ("reader", "writer"):
            if name in self.__dict__:
                self.__dict__[name].dispose()


def _engine(url: URL, begin: str) -> sa.Engine:
    options = engines.engine_options(url)
    arguments = options["connect_args"]
    if url.get_backend_name() == "postgresql":
        arguments["options"] += f" -c statement_timeout={_WAIT_S * 1000}"
        return sa.create_engine(url, **options)
    # None: the driver must not begin transactions of its own.
    arguments |= {"timeout": _WAIT_S, "isolation_level": None}
    engine = sa.create_engine(url, **options)
    sa.event.listen(engine, "begin", lambda connection: connection.exec_driver_sql(begin))
    return engine


def glance(url: str) -> Glance:
    """The database of that URL, reached. Raises StorageUnavailable."""
    parsed = engines.parse_url(url)
    store = Glance(parsed, Patience(seconds=0.0))
    with engines.unavailable(parsed), store.reader.begin() as connection:
        # SQLite looks into the file no sooner than it must.
        sa.inspect(connection).get_table_names()
    return store


@dataclass(frozen=True)
class Schemas:
    """Revisions of our tables and of Optuna's, None where there are none, beside those that this
    version works with. `foreign`: the tables are another program's."""

    ours: str | None
    optuna: str | None
    optuna_expected: str
    optuna_known: frozenset[str]
    foreign: bool
    ours_expected: str = HEAD

    @property
    def ready(self) -> bool:
        return self.ours == self.ours_expected


def schemas(store: Store) -> Schemas:
    script = _optuna_script()
    with store.reading() as connection:
        tables = set(sa.inspect(connection).get_table_names())
        foreign = "alembic_version" in tables and not {"studies", "version_info"} <= tables
        return Schemas(
            ours=_revision(connection, VERSION_TABLE, tables),
            optuna=None if foreign else _revision(connection, "alembic_version", tables),
            optuna_expected=script.get_current_head(),
            optuna_known=frozenset(each.revision for each in script.walk_revisions()),
            foreign=foreign,
        )


def _revision(connection: sa.Connection, table: str, tables: set[str]) -> str | None:
    if table not in tables:
        return None
    column = sa.column("version_num", sa.String)
    found = connection.execute(sa.select(column).select_from(sa.table(table, column))).scalar()
    return None if found is None else str(found)


def _optuna_script() -> Any:
    from alembic.config import Config
    from alembic.script import ScriptDirectory
    from optuna.storages._rdb import models

    config = Config()
    config.set_main_option(
        "script_location", str(Path(models.__file__).parent / "alembic").replace("%", "%%")
    )
    return ScriptDirectory.from_config(config)


@dataclass(frozen=True)
class SqliteFile:
    """`problems`: what SQLite finds wrong with the file, at most a few lines."""

    journal_mode: str
    problems: list[str]


def sqlite_file(store: Store) -> SqliteFile:
    with store.reading() as connection:
        mode = connection.exec_driver_sql("PRAGMA journal_mode").scalar_one()
        rows = connection.exec_driver_sql("PRAGMA quick_check(3)").scalars()
        return SqliteFile(str(mode), [str(row) for row in rows if row != "ok"])


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
        asked = time.time()
        told = connection.execute(sa.select(now("postgresql"))).scalar_one()
        return Server(version, zone, told - (asked + time.time()) / 2)


def try_write(store: Store, ready: bool) -> None:
    """Write a row and take it back; without our tables, make one for it. Raises StorageError."""
    table = deliveries if ready else sa.Table("tuner_doctor", sa.MetaData(), *_copies(deliveries))
    row = {"study_uuid": _NO_STUDY, "trial_id": 0, "run_id": "doctor", "state": "doctor"}
    with engines.storage_errors(store.writer), store.writer.connect() as connection:
        transaction = connection.begin()
        if not ready:
            table.create(connection)
        connection.execute(sa.insert(table).values(row))
        transaction.rollback()


def _copies(table: sa.Table) -> list[Any]:
    return [sa.Column(column.name, column.type) for column in table.columns]


@dataclass(frozen=True)
class LoopRow:
    """A loop of a study. `seconds_left` of its lease, negative when it has expired; `places`: how
    many it holds; `is_dead`: its process is known to be gone."""

    study: str
    host: str
    pid: int
    seconds_left: float
    places: int
    is_dead: bool

    @property
    def is_at_work(self) -> bool:
        return self.seconds_left >= 0 and not self.is_dead


def loops_at_work(store: Store) -> list[LoopRow]:
    """The loops whose lease holds, and those that hold places without one."""
    left = (loops.c.expires_at - now(store.url.get_backend_name())).label("seconds_left")
    held = (
        sa.select(sa.func.count())
        .select_from(places)
        .where(places.c.loop_id == loops.c.loop_id, places.c.state == "claimed")
        .scalar_subquery()
        .label("places")
    )
    query = (
        sa.select(studies.c.name, loops.c.host, loops.c.pid, loops.c.process, left, held)
        .join(studies, studies.c.uuid == loops.c.study_uuid)
        .order_by(studies.c.name, loops.c.number)
    )
    with store.reading() as connection:
        rows = connection.execute(query).all()
    found = [
        LoopRow(row.name, row.host, row.pid, row.seconds_left, row.places, is_dead(row.process))
        for row in rows
        if row.seconds_left >= 0 or row.places
    ]
    return [loop for loop in found if loop.is_at_work or loop.places]


@dataclass(frozen=True)
class Leftovers:
    """What killed loops have left of a study: RUNNING trials without a place, and attempts without
    an end that no claimed place is at."""

    study: str
    trials: int
    attempts: int


def leftovers(store: Store) -> list[Leftovers]:
    """Of the studies that have any."""
    placed = sa.exists().where(is_place_of(optuna_trials))
    running = sa.cast(optuna_trials.c.state, sa.String(16)) == "RUNNING"
    of_trials = optuna_trials.c.study_id == studies.c.study_id
    trials = _count(optuna_trials, of_trials, running, ~placed)
    open_ends = _count(attempts, attempts.c.study_uuid == studies.c.uuid, *strays())
    query = sa.select(studies.c.name, trials, open_ends).order_by(studies.c.name)
    with store.reading() as connection:
        rows = [Leftovers(*row) for row in connection.execute(query)]
    return [row for row in rows if row.trials or row.attempts]


def _count(table: Any, *conditions: sa.ColumnElement[bool]) -> sa.ScalarSelect[int]:
    """For each study, how many rows meet the conditions."""
    query = sa.select(sa.func.count()).select_from(table).where(*conditions)
    return query.correlate(studies).scalar_subquery()


def all_owed(store: Store) -> tuple[int, dict[str, int]]:
    """How many ended trials MLflow has, and how many it lacks of each study that it lacks some
    of."""
    with store.reading() as connection:
        rows = connection.execute(
            sa.select(studies.c.study_id, studies.c.uuid, studies.c.name)
        ).all()
    counts = {row.name: count_delivered(store, row) for row in rows}
    owed = {name: owed for name, (_, owed) in counts.items() if owed > 0}
    return sum(sent for sent, _ in counts.values()), owed
