"""Where a database lives, so that a moved one is told from a copied one.

A copied database has the ids of its original. Both would write the same runs of one MLflow, and
delete each other's files. So a database records the machine and the place where it was used last.
"""

import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.engine import URL

from tuner.errors import StorageError
from tuner.storage.connections import RetryPolicy
from tuner.storage.damage import is_identity
from tuner.storage.process_identity import machine_id
from tuner.storage.schema import (
    STUDY_UUID,
    attempts,
    database,
    deliveries,
    intervals,
    loops,
    optuna_study_attributes,
    studies,
)
from tuner.storage.store import ReadOnlyStore, Store, reads, writes


class DatabaseIdentity(StrEnum):
    """What a look at a database's place shows. `UNKNOWN`: it recorded none so far; `UNSURE`: it was
    moved or copied, and only its owner can tell."""

    HERE = "here"
    UNKNOWN = "unknown"
    MOVED = "moved"
    UNSURE = "unsure"


@dataclass(frozen=True)
class Residence:
    """Where a database was used last, and where it is now. `place`: of SQLite the file's path; of
    PostgreSQL the server's and the database's own numbers."""

    found: DatabaseIdentity
    recorded_machine: str | None
    recorded: str | None
    machine: str
    place: str

    @property
    def elsewhere(self) -> str:
        """The recorded place, for people."""
        away = "" if self.recorded_machine == self.machine else " on another machine"
        return f"{self.recorded}{away}"


def residence(store: Store) -> Residence:
    """Compare where the database is with where it was used last. Nothing is written."""
    recorded = store.read(lambda c: c.execute(sa.select(database)).first())
    machine, place = _here(store)
    if recorded is None:
        return _unrecorded(machine, place)
    if (recorded.machine, recorded.place) == (machine, place):
        found = DatabaseIdentity.HERE
    elif store.url.get_backend_name() != "sqlite" or recorded.machine != machine:
        found = DatabaseIdentity.UNSURE
    else:
        found = _compared(Path(place), Path(recorded.place), recorded.uuid)
    return Residence(found, recorded.machine, recorded.place, machine, place)


def _unrecorded(machine: str, place: str) -> Residence:
    """A backup that was made before an upgrade has recorded nothing, but its name tells of what."""
    original = re.sub(r"\.\d{4}-backup(-\d+)?$", "", place)
    if original != place and Path(original).exists():
        return Residence(DatabaseIdentity.UNSURE, machine, original, machine, place)
    return Residence(DatabaseIdentity.UNKNOWN, None, None, machine, place)


def _here(store: Store) -> tuple[str, str]:
    if store.url.get_backend_name() == "sqlite":
        return machine_id(), str(Path(str(store.url.database)).resolve())
    return "postgresql", _postgres_place(store)


@reads
def _postgres_place(connection: sa.Connection) -> str:
    """A restored dump has other numbers, and so has a copy made by CREATE DATABASE."""
    query = "SELECT system_identifier FROM pg_control_system()"
    oid = "SELECT oid FROM pg_database WHERE datname = current_database()"
    server = connection.execute(sa.text(query)).scalar_one()
    return f"server {server}, database {connection.execute(sa.text(oid)).scalar_one()}"


def _compared(place: Path, recorded: Path, database_uuid: str) -> DatabaseIdentity:
    """Of a SQLite file found elsewhere on the machine where it was used last."""
    try:
        if recorded.samefile(place):
            return DatabaseIdentity.HERE  # by another way: a mount, a link
    except FileNotFoundError:
        return DatabaseIdentity.MOVED
    except NotADirectoryError:
        return DatabaseIdentity.MOVED
    except OSError:
        return DatabaseIdentity.UNSURE
    there = _uuid_in(recorded)
    # Another database may have taken the place since.
    return DatabaseIdentity.UNSURE if there in (None, database_uuid) else DatabaseIdentity.MOVED


def _uuid_in(path: Path) -> str | None:
    """The id that a SQLite file has recorded, "" where it is no database of ours; None where it
    cannot be read."""
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


@writes
def record(connection: sa.Connection, residence: Residence) -> None:
    """The database lives here from now on; its ids stay."""
    values = {"machine": residence.machine, "place": residence.place}
    if connection.execute(sa.update(database).values(**values)).rowcount == 0:
        connection.execute(sa.insert(database).values(uuid=uuid.uuid4().hex, **values))


@dataclass(frozen=True)
class SavedNetwork:
    """An attempt's file in the project's folder of networks."""

    study_uuid: str
    trial_id: int
    attempt: int
    path: str


@reads
def uuids(connection: sa.Connection) -> list[str]:
    """Of all studies but those whose rows are damaged there."""
    return list(filter(_is, connection.execute(sa.select(studies.c.uuid)).scalars()))


def _is(value: object) -> bool:
    return isinstance(value, str) and is_identity(value)


@reads
def networks(connection: sa.Connection) -> list[SavedNetwork]:
    """All networks that trials of any study have saved."""
    key = (attempts.c.study_uuid, attempts.c.trial_id, attempts.c.attempt)
    query = sa.select(*key, attempts.c.model_path).where(attempts.c.model_path.is_not(None))
    found = [SavedNetwork(*row) for row in connection.execute(query)]
    return [network for network in found if isinstance(network.path, str)]


@writes
def become_a_copy(
    connection: sa.Connection,
    residence: Residence,
    new_uuid: str,
    new_uuids: Mapping[str, str],
    new_paths: Mapping[SavedNetwork, str],
) -> None:
    """Give the database and its studies ids of their own: `new_uuid` and `new_uuids`. What MLflow
    was sent belongs to the original, and so do the loops that run. Raises StorageError where
    studies have come meanwhile."""
    if connection.execute(sa.select(database.c.uuid)).scalar() == new_uuid:
        return  # done by a try whose answer was lost
    present = connection.execute(sa.select(studies.c.uuid)).scalars().all()
    if {found for found in present if _is(found)} != set(new_uuids):
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
        for table in (attempts, intervals):
            connection.execute(
                sa.update(table).where(table.c.study_uuid == old).values(study_uuid=new)
            )
        connection.execute(sa.update(studies).where(studies.c.uuid == old).values(uuid=new))
        marks = optuna_study_attributes
        connection.execute(
            sa.update(marks)
            .where(marks.c.key == STUDY_UUID, marks.c.value_json == f'"{old}"')
            .values(value_json=f'"{new}"')
        )
    connection.execute(sa.delete(database))
    values = {"machine": residence.machine, "place": residence.place}
    connection.execute(sa.insert(database).values(uuid=new_uuid, **values))
