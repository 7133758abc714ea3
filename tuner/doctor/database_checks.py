"""The database: reachable, sound, writable, and with the tables of this version."""

import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tuner.doctor.environment_checks import network_file_system, refusal
from tuner.doctor.findings import Finding, Look, broken, failure, fine, several, warning
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
_OF_ITS_OWN = "give tuner a database of its own by TUNER_STORAGE"


class OpenedDatabase(NamedTuple):
    """What the database's own line says. `store`: None where there is none to look into;
    `schemas`: None where they could not be read."""

    finding: Finding
    store: ReadOnlyStore | None = None
    schemas: Schemas | None = None


def open_database(url: str) -> OpenedDatabase:
    try:
        if not exists(url):
            return OpenedDatabase(_to_be_made(url))
        store = diagnostics.open_read_only(url)
    except TunerError as error:
        advice = _UNREACHED if url.startswith("postgres") else _UNREAD
        advice = _DAMAGED if "malformed" in str(error) else advice
        return OpenedDatabase(broken("database", error, advice))
    try:
        return OpenedDatabase(fine("database", store.shown), store, diagnostics.schemas(store))
    except TunerError as error:
        return OpenedDatabase(broken("database", error), store)


def database_folder(url: str) -> Path | None:
    """Where a SQLite file lies, or will."""
    path = _path(url)
    return None if path is None else path.parent


def _path(url: str) -> Path | None:
    """Of a SQLite URL that is well formed."""
    try:
        parsed = parse_url(url)
    except TunerError:
        return None
    return database_file(parsed)


def _to_be_made(url: str) -> Finding:
    path = _path(url)
    assert path is not None  # only a file can be missing
    none = f"no database yet: the first study makes {path}"
    if not path.parent.is_dir():
        found = f"{none}, but the folder {path.parent} does not exist"
        return failure("database", found, f"mkdir -p {shlex.quote(str(path.parent))}")
    if (complaint := refusal(path.parent)) is not None:
        found = f"{none}, but {complaint}"
        return failure("database", found, "set the folder's rights, or use another: TUNER_STORAGE")
    return fine("database", none)


def database_checks(opened: OpenedDatabase) -> dict[str, Look]:
    """What is to be looked at in a database that could be opened."""
    store, schemas = opened.store, opened.schemas
    if store is None:
        return {}
    is_file = store.url.get_backend_name() == "sqlite"
    itself: dict[str, Look] = (
        {"file": lambda: _file(store)} if is_file else {"server": lambda: _server(store)}
    )
    if schemas is None:
        return itself
    if schemas.foreign:
        found = "the tables belong to another program (MLflow?)"
        return {"schema": lambda: [failure("schema", found, _OF_ITS_OWN)]}
    return itself | {
        "writing": lambda: _writing(store, schemas),
        "schema": lambda: _schema(store, schemas),
    }


def _schema(store: ReadOnlyStore, schemas: Schemas) -> Iterator[Finding]:
    yield from _our_schema(schemas, store.url.get_backend_name() == "sqlite")
    if schemas.optuna in (None, schemas.optuna_expected):
        return
    if schemas.optuna in schemas.optuna_known:
        found = f"Optuna's tables are of {schemas.optuna}, Optuna needs {schemas.optuna_expected}"
        yield failure("schema", found, command("db", "upgrade"))
    else:
        found = f"Optuna's tables are newer ({schemas.optuna}) than Optuna here"
        yield failure("schema", found, "pip install --upgrade optuna tuner")


def _our_schema(schemas: Schemas, is_file: bool) -> Iterator[Finding]:
    ours, expected = schemas.ours, schemas.ours_expected
    if ours is None:
        yield fine("schema", "no tables yet; the first study makes them")
    elif ours == expected:
        yield fine("schema", f"tuner {ours}, Optuna {schemas.optuna}")
    elif schemas.is_older:
        found = f"tuner's tables are of {ours}, this version needs {expected}"
        yield warning("schema", found, f"{_BEFORE_UPGRADE[is_file]}{command('db', 'upgrade')}")
    else:
        found = f"tuner's tables are of {ours}, newer than this version's {expected}"
        yield failure("schema", found, "upgrade tuner on this machine")


def _file(store: ReadOnlyStore) -> Iterator[Finding]:
    try:
        file = diagnostics.sqlite_file(store)
    except TunerError as error:
        yield broken("file", error, _DAMAGED)
        return
    if file.problems:
        yield failure("file", f"damaged: {several(file.problems)}", _DAMAGED)
        return
    kind = network_file_system(Path(str(store.url.database)))
    if kind is not None:
        advice = "put it on a local disk; several machines share a PostgreSQL server"
        yield warning("file", f"lies on a network file system ({kind})", advice)
    elif file.journal_mode != "wal":
        advice = "the next search switches it; where that does not help, use another file system"
        yield warning("file", f"sound; journal mode {file.journal_mode}, not WAL", advice)
    else:
        yield fine("file", "sound, journal mode WAL")


def _server(store: ReadOnlyStore) -> Iterator[Finding]:
    server = diagnostics.server(store)
    found = f"PostgreSQL {server.version}, time zone {server.time_zone}"
    if server.time_zone != "UTC":
        advice = "something between (a pooler?) drops connection options; let it keep timezone=UTC"
        yield failure("server", found, advice)
        return
    ahead = "ahead of" if server.clock_s > 0 else "behind"
    yield fine(
        "server",
        f"{found}; its clock, which leases go by, is {abs(server.clock_s):.1f} s {ahead} this one",
    )


def _writing(store: ReadOnlyStore, schemas: Schemas) -> Iterator[Finding]:
    path = store.url.database if store.url.get_backend_name() == "sqlite" else None
    try:
        diagnostics.try_write(store, schemas.ready)
    except TunerError as error:
        quoted = shlex.quote(str(path))
        remedy = f"who may write it, and is there room? ls -l {quoted}; df -h {quoted}"
        remedy = remedy if path else "GRANT the user the right to write, or make room there"
        yield broken("writing", error, remedy)
        return
    folder = None if path is None else Path(path).parent
    if folder is not None and (complaint := refusal(folder)) is not None:
        found = f"SQLite needs to make files beside it, but {complaint}"
        yield failure("writing", found, "set the folder's rights, or make room there")
    else:
        yield fine("writing", "a row was written, and taken back")
