"""Who is at work: the daemons (`tuner worker`) and all loops, on any machine."""

import json
import os
import socket
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

import sqlalchemy as sa

from tuner.settings import tuner_version
from tuner.storage.damage import Damage, json_object, moment, text, whole
from tuner.storage.identity import is_process_dead, process_identity
from tuner.storage.schema import StudyKey, loops, studies, workers
from tuner.storage.store import Store, now
from tuner.storage.upgrade_guard import check_not_upgraded

# A daemon that has not renewed its row for so long is not shown any more. It holds nothing: what it
# runs is held by the leases of its loops.
DAEMON_S = 20.0


@dataclass(frozen=True)
class DaemonRow:
    """A daemon. `processes`: how many worker processes it runs at once. `patterns`: the names of
    studies that it takes; None for all. `state`: a word of its own. `skipped`: the reason for each
    study that it does not take, by the study's name. `started_at`: seconds since 1970."""

    daemon_id: str
    host: str
    pid: int
    processes: int
    patterns: tuple[str, ...] | None
    state: str
    skipped: Mapping[str, str] = field(default_factory=dict)
    started_at: float = 0.0
    version: str | None = None

    def __str__(self) -> str:
        return f"{self.host} (pid {self.pid})"

    def takes(self, study: str) -> bool:
        """Whether it takes studies of that name, unless it has a reason to skip one."""
        return self.patterns is None or any(fnmatchcase(study, each) for each in self.patterns)


@dataclass(frozen=True)
class LoopRow:
    """A loop whose lease has not expired: a search in the foreground, or a daemon's."""

    loop_id: str
    study: str
    study_uuid: str
    host: str
    pid: int
    started_at: float
    daemon_id: str | None

    def __str__(self) -> str:
        return f"{self.host} (pid {self.pid})"


def register(
    store: Store,
    processes: int,
    patterns: Sequence[str] | None = None,
    state: str = "starting",
    daemon_id: str | None = None,
) -> DaemonRow:
    """This process is a daemon, until it says otherwise or its row expires. `daemon_id`: of a row
    that has expired."""
    own_id = daemon_id or str(uuid.uuid4())
    return store.write(_register, own_id, processes, patterns, state)


def _register(
    connection: sa.Connection,
    daemon_id: str,
    processes: int,
    patterns: Sequence[str] | None,
    state: str,
) -> DaemonRow:
    clock = now(connection.dialect.name)
    connection.execute(sa.delete(workers).where(workers.c.expires_at < clock))
    registered_before = sa.select(workers.c.worker_id).where(workers.c.worker_id == daemon_id)
    if connection.execute(registered_before).first() is None:
        connection.execute(
            sa.insert(workers).values(
                worker_id=daemon_id,
                host=socket.gethostname(),
                pid=os.getpid(),
                process=process_identity(),
                version=tuner_version(),
                processes=processes,
                patterns=None if patterns is None else json.dumps(list(patterns)),
                state=state,
                started_at=clock,
                expires_at=clock + DAEMON_S,
            )
        )
    query = sa.select(workers).where(workers.c.worker_id == daemon_id)
    return _daemon(connection.execute(query).one())


def renew(store: Store, daemon: DaemonRow, state: str, skipped: Mapping[str, str]) -> bool:
    """Keep the daemon's row for another DAEMON_S seconds; False where it is gone: it had expired,
    and the daemon has to register again. Raises StorageUnavailable once a newer tuner has upgraded
    the tables."""

    def write(connection: sa.Connection) -> bool:
        check_not_upgraded(connection, store.shown)
        expires_at = now(connection.dialect.name) + DAEMON_S
        row = sa.update(workers).where(workers.c.worker_id == daemon.daemon_id)
        text = json.dumps(dict(skipped)) if skipped else None
        changed = connection.execute(row.values(state=state, skipped=text, expires_at=expires_at))
        return bool(changed.rowcount)

    return store.write(write)


def remove(store: Store, daemon: DaemonRow) -> None:
    """The daemon has ended."""
    row = sa.delete(workers).where(workers.c.worker_id == daemon.daemon_id)
    store.write(lambda connection: connection.execute(row))


def list_daemons(store: Store) -> list[DaemonRow]:
    """The daemons that are alive, oldest first: their row has not expired, and they are not known
    to be dead."""
    return store.read(read_daemons)


def read_daemons(connection: sa.Connection) -> list[DaemonRow]:
    """The same within a transaction."""
    query = sa.select(workers).where(workers.c.expires_at > now(connection.dialect.name))
    rows = connection.execute(query.order_by(workers.c.started_at, workers.c.worker_id)).all()
    return [_daemon(row) for row in rows if not is_process_dead(row.process)]


def _daemon(row: Any) -> DaemonRow:
    damage = Damage()
    return DaemonRow(
        daemon_id=row.worker_id,
        host=damage.read("host", text, row.host) or "",
        pid=damage.read("pid", whole, row.pid) or 0,
        processes=damage.read("processes", whole, row.processes) or 0,
        patterns=damage.optional("patterns", _names, row.patterns),
        state=damage.read("state", text, row.state) or "",
        skipped=damage.optional("skipped", json_object, row.skipped) or {},
        started_at=damage.read("started_at", moment, row.started_at) or 0.0,
        version=damage.optional("version", text, row.version),
    )


def _names(value: Any) -> tuple[str, ...]:
    return tuple(text(name) for name in json.loads(text(value)))


def list_loops(store: Store) -> list[LoopRow]:
    """All loops that may write, of all studies, oldest first: their lease holds, and they are not
    known to be dead."""
    return store.read(read_loops)


def read_loops(connection: sa.Connection, study: StudyKey | None = None) -> list[LoopRow]:
    """The same within a transaction; of one study, if given."""
    query = (
        sa.select(loops, studies.c.name)
        .join(studies, studies.c.uuid == loops.c.study_uuid)
        .where(loops.c.expires_at > now(connection.dialect.name))
        .order_by(loops.c.started_at, loops.c.loop_id)
    )
    if study is not None:
        query = query.where(loops.c.study_uuid == study.uuid)
    return [_loop(row) for row in connection.execute(query) if not is_process_dead(row.process)]


def _loop(row: Any) -> LoopRow:
    damage = Damage()
    return LoopRow(
        loop_id=row.loop_id,
        study=row.name,
        study_uuid=row.study_uuid,
        host=damage.read("host", text, row.host) or "",
        pid=damage.read("pid", whole, row.pid) or 0,
        started_at=damage.read("started_at", moment, row.started_at) or 0.0,
        daemon_id=row.worker_id,
    )
