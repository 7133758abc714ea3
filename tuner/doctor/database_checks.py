"""Checks of the database: can it be reached, is it sound and writable, do its tables fit?"""

import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tuner.doctor.environment_checks import folder_problem, network_file_system
from tuner.doctor.findings import (
    Check,
    Finding,
    failed_check,
    failure,
    fine,
    join_first,
    warning,
)
from tuner.errors import TunerError
from tuner.storage import diagnostics, exists
from tuner.storage.connections import database_file, parse_url
from tuner.storage.schema import Schemas
from tuner.storage.store import ReadOnlyStore
from tuner.system.names import command

_UNREACHED = "is the address right, and does the server run? tuner --storage URL, or TUNER_STORAGE"
_UNREAD = "is the path right? give another one by tuner --storage URL, or TUNER_STORAGE"
_DAMAGED = "stop all searches and copy the file; then: sqlite3 COPY .recover | sqlite3 NEW"
_BEFORE_UPGRADE = {True: "", False: "save the database by pg_dump; then: "}
_OWN_DATABASE = "give tuner a database of its own by TUNER_STORAGE"


class OpenedDatabase(NamedTuple):
    """The database and its finding. `store`: None if it could not be opened; `schemas`: None if
    its tables could not be read."""

    finding: Finding
    store: ReadOnlyStore | None = None
    schemas: Schemas | None = None


def open_database(url: str) -> OpenedDatabase:
    try:
        if not exists(url):
            return OpenedDatabase(_missing_database(url))
        store = diagnostics.open_read_only(url)
    except TunerError as error:
        advice = _UNREACHED if url.startswith("postgres") else _UNREAD
        advice = _DAMAGED if "malformed" in str(error) else advice
        return OpenedDatabase(failed_check("database", error, advice))
    try:
        return OpenedDatabase(fine("database", store.shown), store, diagnostics.schemas(store))
    except TunerError as error:
        return OpenedDatabase(failed_check("database", error), store)


def database_folder(url: str) -> Path | None:
    """The folder of a SQLite file, whether the file exists or not; None for a server."""
    path = _sqlite_path(url)
    return None if path is None else path.parent


def _sqlite_path(url: str) -> Path | None:
    """The file of a valid SQLite URL, else None."""
    try:
        parsed = parse_url(url)
    except TunerError:
        return None
    return database_file(parsed)


def _missing_database(url: str) -> Finding:
    path = _sqlite_path(url)
    assert path is not None  # Only a file can be missing.
    none = f"no database yet: the first study creates {path}"
    if not path.parent.is_dir():
        message = f"{none}, but the folder {path.parent} does not exist"
        return failure("database", message, f"mkdir -p {shlex.quote(str(path.parent))}")
    if (reason := folder_problem(path.parent)) is not None:
        message = f"{none}, but {reason}"
        return failure(
            "database", message, "set the folder's rights, or use another: TUNER_STORAGE"
        )
    return fine("database", none)


def checks_of_database(opened: OpenedDatabase) -> dict[str, Check]:
    """The checks of a database that could be opened."""
    store, schemas = opened.store, opened.schemas
    if store is None:
        return {}
    is_file = store.url.get_backend_name() == "sqlite"
    itself: dict[str, Check] = (
        {"file": lambda: _check_file(store)}
        if is_file
        else {"server": lambda: _check_server(store)}
    )
    if schemas is None:
        return itself
    if schemas.foreign:
        message = "the tables belong to another program (MLflow?)"
        return {"schema": lambda: [failure("schema", message, _OWN_DATABASE)]}
    return itself | {
        "writing": lambda: _check_writing(store, schemas),
        "schema": lambda: _check_schema(store, schemas),
    }


def _check_schema(store: ReadOnlyStore, schemas: Schemas) -> Iterator[Finding]:
    yield from _check_own_schema(schemas, store.url.get_backend_name() == "sqlite")
    if schemas.optuna in (None, schemas.optuna_expected):
        return
    if schemas.optuna in schemas.optuna_known:
        message = (
            f"Optuna's tables have version {schemas.optuna}, Optuna needs {schemas.optuna_expected}"
        )
        yield failure("schema", message, command("db", "upgrade"))
    else:
        message = f"Optuna's tables are newer ({schemas.optuna}) than Optuna here"
        yield failure("schema", message, "upgrade tuner and Optuna on this machine")


def _check_own_schema(schemas: Schemas, is_file: bool) -> Iterator[Finding]:
    ours, expected = schemas.ours, schemas.ours_expected
    if ours is None:
        yield fine("schema", "no tables yet; the first study creates them")
    elif ours == expected:
        yield fine("schema", f"tuner {ours}, Optuna {schemas.optuna}")
    elif schemas.is_older:
        message = f"tuner's tables have version {ours}, this tuner needs {expected}"
        yield warning("schema", message, f"{_BEFORE_UPGRADE[is_file]}{command('db', 'upgrade')}")
    else:
        message = f"tuner's tables have version {ours}, newer than {expected} of this tuner"
        yield failure("schema", message, "upgrade tuner on this machine")


def _check_file(store: ReadOnlyStore) -> Iterator[Finding]:
    try:
        file = diagnostics.sqlite_file(store)
    except TunerError as error:
        yield failed_check("file", error, _DAMAGED)
        return
    if file.problems:
        yield failure("file", f"damaged: {join_first(file.problems)}", _DAMAGED)
        return
    kind = network_file_system(Path(str(store.url.database)))
    if kind is not None:
        advice = "put it on a local disk; several machines share a PostgreSQL server"
        yield warning("file", f"lies on a network file system ({kind})", advice)
    elif file.journal_mode != "wal":
        advice = "the next search switches it; if that does not help, use another file system"
        yield warning("file", f"sound; journal mode {file.journal_mode}, not WAL", advice)
    else:
        yield fine("file", "sound, journal mode WAL")


def _check_server(store: ReadOnlyStore) -> Iterator[Finding]:
    server = diagnostics.server(store)
    message = f"PostgreSQL {server.version}, time zone {server.time_zone}"
    if server.time_zone != "UTC":
        advice = "a proxy or pooler drops connection options; let it pass timezone=UTC"
        yield failure("server", message, advice)
        return
    ahead = "ahead of" if server.clock_s > 0 else "behind"
    yield fine(
        "server",
        f"{message}; its clock, which leases use, is {abs(server.clock_s):.1f} s {ahead} this one",
    )


def _check_writing(store: ReadOnlyStore, schemas: Schemas) -> Iterator[Finding]:
    path = store.url.database if store.url.get_backend_name() == "sqlite" else None
    try:
        diagnostics.try_write(store, schemas.ready)
    except TunerError as error:
        quoted = shlex.quote(str(path))
        remedy = f"check its rights and the free space: ls -l {quoted}; df -h {quoted}"
        remedy = remedy if path else "GRANT the user the right to write, or free some space there"
        yield failed_check("writing", error, remedy)
        return
    folder = None if path is None else Path(path).parent
    if folder is not None and (reason := folder_problem(folder)) is not None:
        message = f"SQLite needs to create files beside it, but {reason}"
        yield failure("writing", message, "set the folder's rights, or free some space there")
    else:
        yield fine("writing", "a row was written and rolled back")
