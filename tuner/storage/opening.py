"""Opening a database: for reading only, which changes nothing, or for work.

`look_into` also works where nothing may be written. `open_store` creates and upgrades tables where
needed. Both refuse the tables of a newer tuner or Optuna before anything is written.
"""

import contextlib
import logging
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from tuner.errors import StorageUnavailable
from tuner.storage import connections
from tuner.storage.connections import RetryPolicy, any_text, one_line
from tuner.storage.read_only import back_up_before_upgrade, pg_dump_command, real_path
from tuner.storage.schema import Schemas, prepare_schema, read_schemas
from tuner.storage.store import ReadOnlyStore, Store
from tuner.storage.upgrade_guard import check_nobody_works
from tuner.system.names import command

_OPENING_S = 1.0
_LARGE_BYTES = 2**26

log = logging.getLogger(__name__)


def exists(url: str) -> bool:
    """Whether there is a database to read; only a SQLite file can be missing altogether."""
    file = connections.database_file(connections.parse_url(url))
    return file is None or file.exists()


def look_into(url: str) -> ReadOnlyStore | None:
    """Open a database for reading only; None if tuner has no tables in it. Of an older SQLite
    database, an upgraded temporary copy is read. Raises StorageUnavailable."""
    if not exists(url):
        return None
    store = ReadOnlyStore(connections.parse_url(url))
    with _closed_on_error(store):
        schemas = _known_schemas(store)
        if schemas.ours is None:
            store.close()
            return None
        if not schemas.is_older:
            return store
        if store.url.get_backend_name() != "sqlite":
            raise StorageUnavailable(_needs_upgrade(store, schemas))
        _read_upgraded_copy(store, schemas)
        return store


def open_store(url: str, may_only_read: bool = False) -> Store:
    """Open a database for work; it is created if there is none. An older SQLite file is backed up
    and upgraded. `may_only_read`: on a server also as a user without the right to write, whose
    writes fail. Raises StorageUnavailable."""
    store = Store(connections.parse_url(url))
    is_file = store.url.get_backend_name() == "sqlite"
    if is_file:
        _check_writable(store)
    with _closed_on_error(store):
        schemas = _check_schemas(store, needs_rights=not may_only_read) if exists(url) else None
        if schemas is not None and schemas.is_older and not is_file:
            raise StorageUnavailable(_needs_upgrade(store, schemas))
        if schemas is None or not schemas.ready:
            backup = _make_ready(store)
            if backup is not None:
                log.warning("%s was upgraded; as it was before: %s", store.shown, backup)
    store.close_at_exit()
    return store


@dataclass(frozen=True)
class Upgraded:
    """`before`: the revisions before the upgrade. `backup`: the former file, if it was changed."""

    before: Schemas
    backup: Path | None


def upgrade_database(url: str, force: bool = False) -> Upgraded | None:
    """Bring our tables and Optuna's up to date; None if there are none of ours. A SQLite file is
    backed up first. On a server, refused while searches or workers are alive, unless `force`.
    Raises StorageUnavailable."""
    if not exists(url):
        return None
    store = Store(connections.parse_url(url))
    if store.url.get_backend_name() == "sqlite":
        _check_writable(store)
    with _closed_on_error(store):
        before = _check_schemas(store, optuna_may_be_older=True)
        if before.ours is None:
            return None
        is_current = before.ready and not before.optuna_is_older
        if not is_current and not force and store.url.get_backend_name() != "sqlite":
            by_force = command("db", "upgrade", "--force")
            store.read(check_nobody_works, store.shown, by_force)
        backup = None if is_current else _make_ready(store)
    store.close()
    return Upgraded(before, backup)


@contextlib.contextmanager
def _closed_on_error(store: Store) -> Iterator[None]:
    """Around opening a database: a failure leaves nothing open."""
    try:
        with connections.unavailable(store.url):
            yield
    except BaseException:
        store.close()
        raise


def _check_schemas(
    store: Store, optuna_may_be_older: bool = False, needs_rights: bool = True
) -> Schemas:
    with contextlib.closing(ReadOnlyStore(store.url)) as read_only:
        schemas = _known_schemas(read_only, optuna_may_be_older)
        is_server = store.url.get_backend_name() != "sqlite"
        if needs_rights and is_server and schemas.ours is not None:
            read_only.read(_check_rights, store.shown)
        return schemas


def _known_schemas(store: ReadOnlyStore, optuna_may_be_older: bool = False) -> Schemas:
    """Raises StorageUnavailable for tables that this version or its Optuna does not know."""

    def read(_repeated: bool) -> Schemas:
        with store.reader.begin() as connection:
            return read_schemas(connection)

    # Not for long: a database that is down is reported at once.
    schemas = RetryPolicy(_OPENING_S).run(read)
    schemas.check_known(store.shown)
    if not optuna_may_be_older:
        schemas.check_optuna(store.shown)
    return schemas


def _check_writable(store: Store) -> None:
    """Raises StorageUnavailable for a SQLite file that may only be read."""
    path = real_path(store.url)
    folder = path.parent
    if not folder.is_dir():
        raise StorageUnavailable(f"{store.shown}: the folder {folder} does not exist")
    files = [path, *(path.with_name(f"{path.name}{end}") for end in ("-wal", "-shm", "-journal"))]
    for entry, modes in [(folder, os.W_OK | os.X_OK), *((file, os.W_OK) for file in files)]:
        if entry.exists() and not os.access(entry, modes, effective_ids=True):
            raise StorageUnavailable(
                f"{store.shown} is read-only here: {entry.absolute()} cannot be written; commands "
                "that only read (list, show, export) work"
            )


# NULL for a table that is missing: it is created, or the upgrade fails.
_RIGHTS = sa.text(
    "SELECT current_user AS name, pg_is_in_recovery() AS is_standby, "
    "has_table_privilege(to_regclass('tuner_studies'), 'INSERT') AS ours, "
    "has_table_privilege(to_regclass('studies'), 'INSERT') AS optunas"
)


def _check_rights(connection: sa.Connection, name: str) -> None:
    """The same of a PostgreSQL database."""
    row = connection.execute(_RIGHTS).one()
    if row.is_standby:
        cause = "the server is a standby"
    elif row.ours is False or row.optunas is False:
        cause = f"the user {row.name} may not write its tables"
    else:
        return
    raise StorageUnavailable(
        f"{name} is read-only here: {cause}; commands that only read (list, show, export) work"
    )


def _needs_upgrade(store: Store, schemas: Schemas) -> str:
    dump = pg_dump_command(store.url, Path("before-upgrade.dump"))
    return (
        f"{store.shown}: its tables are of {schemas.ours}, this version of tuner needs "
        f"{schemas.ours_expected}; back the database up first: {dump}; then upgrade it, for "
        f"everybody who uses it: {command('db', 'upgrade')}"
    )


def _make_ready(store: Store) -> Path | None:
    """Create or upgrade the tables. A SQLite file is backed up before it is upgraded; returns the
    backup."""
    backups: list[Path] = []

    def before_upgrade(schemas: Schemas) -> None:
        if backups:
            backups.pop().unlink()  # of an earlier attempt
        if store.url.get_backend_name() == "sqlite":
            revision = schemas.ours if schemas.is_older else f"optuna-{schemas.optuna}"
            backups.append(back_up_before_upgrade(store.url, str(revision)))

    try:
        RetryPolicy(_OPENING_S).run(lambda _repeated: _prepare(store, before_upgrade))
    except Exception as error:
        if not backups:
            raise
        raise StorageUnavailable(
            f"{store.shown} could not be upgraded ({one_line(error)}); it is unchanged, and "
            f"{backups[0]} is a copy of it"
        ) from error
    return backups[0] if backups else None


def _prepare(store: Store, before_upgrade: Callable[[Schemas], None]) -> None:
    writer = connections.open_engine(store.url, writes=True)
    if store.url.get_backend_name() == "sqlite":
        # Damaged rows are upgraded like all others.
        sa.event.listen(writer, "connect", lambda it, _: setattr(it, "text_factory", any_text))
    try:
        prepare_schema(writer, before_upgrade)
    finally:
        writer.dispose()


def _read_upgraded_copy(store: ReadOnlyStore, schemas: Schemas) -> None:
    if real_path(store.url).stat().st_size > _LARGE_BYTES:
        log.warning(
            "%s has tables of an older version and is large; a copy of it is made each time "
            "it is read; to upgrade it: %s",
            store.shown,
            command("db", "upgrade"),
        )
    try:
        engine = connections.open_scratch_engine(store.file.turn_to_copy())
        try:
            prepare_schema(engine)
        finally:
            engine.dispose()
    except Exception as error:
        raise StorageUnavailable(
            f"{store.shown}: its tables are of {schemas.ours}, this version of tuner needs "
            f"{schemas.ours_expected}, and no upgraded copy could be made to read "
            f"({one_line(error)}); set TMPDIR to a folder with room, or: {command('db', 'upgrade')}"
        ) from error
