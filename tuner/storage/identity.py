"""Identities of processes, machines and databases.

A loop on this machine that has died is recognized at once, without waiting for its lease to expire.
A moved database is told from a copied one: a copy has the ids of its original, so both would write
the same runs in one MLflow and delete each other's files. A database therefore records the machine
and the place where it was used last.
"""

import contextlib
import json
import os
import platform
import pwd
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from pathlib import Path

import psutil
import sqlalchemy as sa
from sqlalchemy.engine import URL

from tuner.errors import StorageError
from tuner.storage.connections import RetryPolicy
from tuner.storage.damage import MISREAD, is_identity, json_object
from tuner.storage.schema import (
    STUDY_UUID,
    attempts,
    database,
    deliveries,
    loops,
    optuna_study_attributes,
    reports,
    studies,
    test_readings,
)
from tuner.storage.store import ReadOnlyStore, Store

# Processes and machines


@cache
def machine_run() -> str:
    """This start of this machine, and this container of it: within it, a process number means one
    process."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}/{Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return f"{os.uname().nodename}/{psutil.boot_time():.0f}"


@cache
def machine_id() -> str:
    """This machine, the same after each start: the id that its system gives it, or else its name
    and network address. In a container it is the container's, if that has an id of its own."""
    for path in ("/etc/machine-id", "/var/lib/dbus/machine-id"):
        with contextlib.suppress(OSError, UnicodeDecodeError):
            if stored_id := Path(path).read_text().strip():
                return stored_id[:64]
    return f"{platform.node()[:48]}-{uuid.getnode():012x}"


def user_name() -> str:
    """The user who runs this process; the number of a user without a name."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # as in containers
        return str(os.getuid())


def process_identity() -> str:
    """This process as JSON text, different from any other that has had or will have its number."""
    return json.dumps(
        {"machine": machine_run(), "pid": os.getpid(), "started": _started_at(os.getpid())}
    )


def is_process_dead(process: str | None) -> bool:
    """Whether the process of that identity is certainly gone. False for one on another machine, and
    for a damaged identity: nothing is known of them."""
    if process is None:
        return False
    try:
        content = json_object(process)
        is_local = content["machine"] == machine_run()
        return bool(is_local and _started_at(content["pid"]) != content["started"])
    except MISREAD:
        return False


def runs_here(process: str) -> bool:
    """Whether the process of that identity runs on this machine. False for a damaged identity."""
    try:
        content = json_object(process)
        started = content["started"]
        is_local = content["machine"] == machine_run()
        return bool(is_local and started is not None and _started_at(content["pid"]) == started)
    except MISREAD:
        return False


def _started_at(pid: int) -> str | None:
    """When a process began, in the kernel's own ticks; None for one that is gone."""
    try:
        # After the command's name, which may hold spaces: the state comes first, the start 20th.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return None if fields[0] == "Z" else fields[19]
    except OSError:
        pass
    try:
        process = psutil.Process(pid)
        is_zombie = process.status() == psutil.STATUS_ZOMBIE
        return None if is_zombie else f"{process.create_time():.2f}"
    except psutil.Error:
        return None


# Databases


class DatabaseIdentity(StrEnum):
    """What the recorded place of a database shows. `UNKNOWN`: it has recorded none so far;
    `UNSURE`: it was moved or copied, and only its owner knows which."""

    HERE = "here"
    UNKNOWN = "unknown"
    MOVED = "moved"
    UNSURE = "unsure"


@dataclass(frozen=True)
class Residence:
    """Where a database was used last, and where it is now. `place`: of SQLite the file's path; of
    PostgreSQL the numbers of the server and of the database."""

    identity: DatabaseIdentity
    recorded_machine: str | None
    recorded: str | None
    machine: str
    place: str

    @property
    def elsewhere(self) -> str:
        """The recorded place, for people."""
        suffix = "" if self.recorded_machine == self.machine else " on another machine"
        return f"{self.recorded}{suffix}"


def residence(store: Store) -> Residence:
    """Compare where the database is with where it was used last. Nothing is written."""
    recorded = store.read(lambda connection: connection.execute(sa.select(database)).first())
    machine, place = _present_place(store)
    if recorded is None:
        return _unrecorded(machine, place)
    if (recorded.machine, recorded.place) == (machine, place):
        identity = DatabaseIdentity.HERE
    elif store.url.get_backend_name() != "sqlite" or recorded.machine != machine:
        identity = DatabaseIdentity.UNSURE
    else:
        identity = _compare_files(Path(place), Path(recorded.place), recorded.uuid)
    return Residence(identity, recorded.machine, recorded.place, machine, place)


def _unrecorded(machine: str, place: str) -> Residence:
    """A backup made before an upgrade has recorded nothing, but its name says of which file."""
    original = re.sub(r"\.\d{4}-backup(-\d+)?$", "", place)
    if original != place and Path(original).exists():
        return Residence(DatabaseIdentity.UNSURE, machine, original, machine, place)
    return Residence(DatabaseIdentity.UNKNOWN, None, None, machine, place)


def _present_place(store: Store) -> tuple[str, str]:
    if store.url.get_backend_name() == "sqlite":
        return machine_id(), str(Path(str(store.url.database)).resolve())
    return "postgresql", store.read(_postgres_place)


def _postgres_place(connection: sa.Connection) -> str:
    """A restored dump has other numbers, and so has a copy made by CREATE DATABASE."""
    query = "SELECT system_identifier FROM pg_control_system()"
    oid = "SELECT oid FROM pg_database WHERE datname = current_database()"
    server = connection.execute(sa.text(query)).scalar_one()
    return f"server {server}, database {connection.execute(sa.text(oid)).scalar_one()}"


def _compare_files(place: Path, recorded: Path, database_uuid: str) -> DatabaseIdentity:
    """For a SQLite file that was last used at another path on this machine."""
    try:
        if recorded.samefile(place):
            return DatabaseIdentity.HERE  # by another path: a mount, a link
    except (FileNotFoundError, NotADirectoryError):
        return DatabaseIdentity.MOVED
    except OSError:
        return DatabaseIdentity.UNSURE
    # Another database may have been put there since.
    if _read_uuid(recorded) in (None, database_uuid):
        return DatabaseIdentity.UNSURE
    return DatabaseIdentity.MOVED


def _read_uuid(path: Path) -> str | None:
    """The id that a SQLite file has recorded, "" if it is no database of ours; None if it cannot
    be read."""
    other = ReadOnlyStore(URL.create("sqlite", database=str(path)), RetryPolicy(0.0))
    try:
        with other.reading() as connection:
            if not sa.inspect(connection).has_table(database.name):
                return ""
            return connection.execute(sa.select(database.c.uuid)).scalar() or ""
    except StorageError as error:
        return "" if "not a database" in str(error) else None
    finally:
        other.close()


def neighbours_definitions(store: Store) -> str | None:
    """The definitions of the studies in other SQLite databases of the same folder, in one text;
    None where one of them cannot be read, and for a database on a server."""
    if store.url.get_backend_name() != "sqlite":
        return None
    own = Path(str(store.url.database)).resolve()
    texts: list[str] = []
    for file in sorted(own.parent.iterdir()):
        if file.resolve() != own and _is_sqlite(file):
            if (definitions := _read_definitions(file)) is None:
                return None
            texts += definitions
    return "\n".join(texts)


def _is_sqlite(file: Path) -> bool:
    try:
        with file.open("rb") as content:
            return file.is_file() and content.read(16) == b"SQLite format 3\0"
    except OSError:
        return False


def _read_definitions(path: Path) -> list[str] | None:
    other = ReadOnlyStore(URL.create("sqlite", database=str(path)), RetryPolicy(0.0))
    try:
        with other.reading() as connection:
            if not sa.inspect(connection).has_table(studies.name):
                return []
            return [str(text) for text in connection.execute(sa.select(studies.c.spec)).scalars()]
    except (StorageError, sa.exc.SQLAlchemyError):
        return None
    finally:
        other.close()


def record(store: Store, residence: Residence) -> None:
    """The database lives here from now on; its ids stay."""

    def write(connection: sa.Connection) -> None:
        values = {"machine": residence.machine, "place": residence.place}
        if connection.execute(sa.update(database).values(**values)).rowcount == 0:
            connection.execute(sa.insert(database).values(uuid=uuid.uuid4().hex, **values))

    store.write(write)


# A copy of a database gets ids of its own


@dataclass(frozen=True)
class SavedNetwork:
    """An attempt's file in the project's folder of networks."""

    study_uuid: str
    trial_id: int
    attempt: int
    path: str


def database_uuid(store: Store) -> str | None:
    """The id that the database has recorded, if any."""
    return store.read(lambda connection: connection.execute(sa.select(database.c.uuid)).scalar())


def has_damaged_uuids(store: Store) -> bool:
    """Whether some study's uuid cannot be read."""
    stored = store.read(lambda connection: connection.execute(sa.select(studies.c.uuid)).all())
    return any(not is_identity(row.uuid) for row in stored)


def study_uuids(store: Store) -> list[str]:
    """The uuids of all studies except those whose uuid is damaged."""
    return store.read(_study_uuids)


def _study_uuids(connection: sa.Connection) -> list[str]:
    stored_uuids = connection.execute(sa.select(studies.c.uuid)).scalars()
    return [value for value in stored_uuids if is_identity(value)]


def all_networks(store: Store) -> list[SavedNetwork]:
    """All networks that trials of any study have saved."""
    key = (attempts.c.study_uuid, attempts.c.trial_id, attempts.c.attempt)
    query = sa.select(*key, attempts.c.model_path).where(attempts.c.model_path.is_not(None))
    rows = store.read(lambda connection: connection.execute(query).all())
    return [SavedNetwork(*row) for row in rows if isinstance(row.model_path, str)]


def become_a_copy(
    store: Store,
    residence: Residence,
    new_uuid: str,
    new_uuids: Mapping[str, str],
    new_paths: Mapping[SavedNetwork, str],
) -> None:
    """Give the database and its studies ids of their own: `new_uuid` and `new_uuids`. What MLflow
    was sent belongs to the original, and so do the loops that run. Raises StorageError if studies
    were created or deleted meanwhile."""
    store.write(_become_a_copy, residence, new_uuid, new_uuids, new_paths)


def _become_a_copy(
    connection: sa.Connection,
    residence: Residence,
    new_uuid: str,
    new_uuids: Mapping[str, str],
    new_paths: Mapping[SavedNetwork, str],
) -> None:
    if connection.execute(sa.select(database.c.uuid)).scalar() == new_uuid:
        return  # done by an attempt whose COMMIT reply was lost
    if set(_study_uuids(connection)) != set(new_uuids):
        raise StorageError("studies were created or deleted meanwhile; repeat the command")
    for network, path in new_paths.items():
        connection.execute(
            sa.update(attempts)
            .where(attempts.c.study_uuid == network.study_uuid)
            .where(attempts.c.trial_id == network.trial_id)
            .where(attempts.c.attempt == network.attempt)
            .values(model_path=path)
        )
    connection.execute(sa.delete(deliveries))
    connection.execute(sa.delete(loops))
    for old, new in new_uuids.items():
        _change_uuid(connection, old, new)
    connection.execute(sa.delete(database))
    values = {"machine": residence.machine, "place": residence.place}
    connection.execute(sa.insert(database).values(uuid=new_uuid, **values))


def _change_uuid(connection: sa.Connection, old: str, new: str) -> None:
    for table in (attempts, reports, test_readings):
        connection.execute(sa.update(table).where(table.c.study_uuid == old).values(study_uuid=new))
    connection.execute(sa.update(studies).where(studies.c.uuid == old).values(uuid=new))
    marks = optuna_study_attributes
    connection.execute(
        sa.update(marks)
        .where(marks.c.key == STUDY_UUID, marks.c.value_json == f'"{old}"')
        .values(value_json=f'"{new}"')
    )
