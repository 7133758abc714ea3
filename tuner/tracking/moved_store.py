"""MLflow's local store in a project that was moved. The store holds absolute paths of files."""

import contextlib
import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from tuner.storage.store import Store
from tuner.system.locations import local_path, sqlite_file
from tuner.tracking.client import artifact_location, tracking_errors
from tuner.tracking.content import UUID_TAG
from tuner.tracking.experiments import FOLDER_TAG, folder_of, is_below

# The columns with locations of files, and their rows. Versions of MLflow lack some of them.
_COLUMNS = (
    ("experiments", "artifact_location", "TRUE"),
    ("runs", "artifact_uri", "TRUE"),
    ("logged_models", "artifact_location", "TRUE"),
    ("model_versions", "source", "TRUE"),
    ("model_versions", "storage_location", "TRUE"),
    ("trace_tags", "value", "key = 'mlflow.artifactLocation'"),
)


def relocate_store(tracking_uri: str, even_if_there: bool = False) -> int:
    """Make a local store use the folders beside it, if those in its rows do not exist. Returns the
    number of experiments changed. `even_if_there`: also if the old folders exist, because the user
    says that the project was moved. Raises TrackingError."""
    file = sqlite_file(tracking_uri)
    if file is None or not file.exists():
        return 0
    database = file.absolute()
    with tracking_errors(), contextlib.closing(sqlite3.connect(database, timeout=60)) as connection:
        connection.isolation_level = None
        moves = dict(_moves(connection, database.parent.resolve(), even_if_there))
        if moves:
            with _transaction(connection):
                for old, new in moves.items():
                    _rewrite(connection, old, new)
        return len(moves)


def move_store(tracking_uri: str, store: Store) -> None:
    """The user says that the project was moved: a local store in its folder uses the files beside
    it from now on, even if the old ones exist. Raises TrackingError."""
    database, file = sqlite_file(str(store.url)), sqlite_file(tracking_uri)
    if database is not None and file is not None and is_below(file, database.parent):
        relocate_store(tracking_uri, even_if_there=True)


@contextlib.contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def _moves(
    connection: sqlite3.Connection, folder: Path, even_if_there: bool
) -> Iterator[tuple[Path, Path]]:
    """The old and the new folder of each experiment that was moved with the store."""
    if not _has_column(connection, "experiments", "artifact_location"):
        return
    roots = set()
    rest = []
    for experiment_id, name, location in connection.execute(
        "SELECT experiment_id, name, artifact_location FROM experiments"
    ).fetchall():
        old = local_path(location or "")
        if old is None or not old.is_absolute() or old.parent.resolve() == folder:
            continue
        if not even_if_there and old.exists():
            continue
        is_ours = old.name == folder_of(name) or _is_marked(connection, experiment_id)
        new = _new_folder(connection, old, folder, is_ours)
        if new is None:
            rest.append(old)
        elif new.is_dir() or even_if_there or not old.parent.exists():
            roots.add(old.parent)
            yield old, new
    # MLflow's default experiment, and empty ones, move with their neighbours.
    for old in rest:
        if old.parent in roots:
            yield old, folder / old.name


def _new_folder(
    connection: sqlite3.Connection, old: Path, folder: Path, is_ours: bool
) -> Path | None:
    """The experiment's present folder; None if nothing tells which it is."""
    for parent in old.parents:
        new = folder / old.relative_to(parent)
        if new.is_dir() and any((new / part).exists() for part in _parts(connection, old)):
            return new
    return folder / old.name if is_ours else None


def _parts(connection: sqlite3.Connection, old: Path) -> Iterator[Path]:
    """The folders of runs and models below it, relative to it. Their names are unique."""
    for table, column in (("logged_models", "artifact_location"), ("runs", "artifact_uri")):
        if _has_column(connection, table, column):
            for (location,) in connection.execute(f"SELECT {column} FROM {table}"):
                path = local_path(location or "")
                if path is not None and path.is_relative_to(old):
                    yield path.relative_to(old)


def _is_marked(connection: sqlite3.Connection, experiment_id: int) -> bool:
    """Whether tuner created it, and so beside its store."""
    query = "SELECT 1 FROM experiment_tags WHERE experiment_id = ? AND key IN (?, ?)"
    return connection.execute(query, (experiment_id, UUID_TAG, FOLDER_TAG)).fetchone() is not None


def _rewrite(connection: sqlite3.Connection, old: Path, new: Path) -> None:
    for table, column, rows in _COLUMNS:
        if not _has_column(connection, table, column):
            continue
        query = f"SELECT DISTINCT {column} FROM {table} WHERE {rows} AND instr({column}, ?)"
        for (location,) in connection.execute(query, (_unquoted_part(old),)).fetchall():
            path = local_path(location)
            if path is not None and path.is_absolute() and path.is_relative_to(old):
                moved = artifact_location(new / path.relative_to(old))
                connection.execute(
                    f"UPDATE {table} SET {column} = ? WHERE {rows} AND {column} = ?",
                    (moved, location),
                )


def _unquoted_part(folder: Path) -> str:
    """The longest part of the folder's path that looks the same in a quoted URL."""
    return max(re.findall(r"[A-Za-z0-9._~-]+", str(folder)), key=len, default="/")


def _has_column(connection: sqlite3.Connection, table: str, column: str) -> bool:
    columns = connection.execute(f"SELECT name FROM pragma_table_info('{table}')")
    return column in {name for (name,) in columns}
