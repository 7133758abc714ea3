"""Reading a SQLite file without a trace: nothing is written, made or left behind, also where
nothing could be.

A database in WAL mode has up to two files beside it, and an ordinary connection makes them, even a
read-only one. What is done instead depends on what lies there:

| beside the file               | how it is read                                                |
|-------------------------------|---------------------------------------------------------------|
| nothing, or an empty `-wal`   | `immutable=1`; whether it was left alone is checked afterwards |
| a `-wal` and its `-shm`       | `mode=ro&readonly_shm=1`: what a search at work has committed |
| a `-journal`                  | `mode=ro`                                                     |
| a `-wal` without its `-shm`, or where the others fail | a temporary copy of the files         |
"""

import os
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote

import sqlalchemy as sa
from sqlalchemy.engine import URL

from tuner.storage.connections import any_text
from tuner.system.locations import real_file
from tuner.system.temporary_folders import OwnFolder

_TRIES = 5
_LOOK_ONCE_S = 5.0
_SIDE_FILES = ("-wal", "-journal")
# What SQLite says where it would have to write to be able to read, or where a file system has not
# the locks and the shared memory that it needs.
_NEEDS_WRITING = (
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_PROTOCOL,
)

# Where a file is and what it holds, as far as the file system tells.
_Stamp = tuple[int, int, int, int]


class _Connection(sqlite3.Connection):
    """`stamp`: of the file when it was opened, where nothing but that shows that it changed."""

    stamp: _Stamp | None = None


class Looker:
    """Opens connections that read the SQLite file at `path` and leave no trace. Each begins with a
    look at what lies there now: searches come and go."""

    def __init__(self, path: Path, wait_s: float) -> None:
        # As SQLite does, which looks for the other files beside what a link points to.
        self._path, self._wait_s = Path(os.path.realpath(path)), wait_s
        self._copies: OwnFolder | None = None

    def connect(self) -> sqlite3.Connection:
        """Raises sqlite3.Error."""
        if self._path.is_dir():
            raise sqlite3.OperationalError("unable to open database file: it is a folder")
        for _ in range(_TRIES):
            way = self._way()
            if way is None:
                break
            try:
                return self._open(self._path, way)
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF not in _NEEDS_WRITING:
                    raise
                if way == self._way():
                    break
        if not os.access(self._path, os.R_OK, effective_ids=True):
            return self._open(self._path, "mode=ro")  # SQLite's own words for it
        try:
            return self._open(self._copy(), "mode=rw")
        except OSError as error:
            raise sqlite3.OperationalError(f"it cannot be copied to be read: {error}") from error

    def check(self, connection: Any) -> None:
        """Raises sqlite3.OperationalError where the file has changed since the connection was
        opened and what it read may be of two states. The same work may succeed on a new one."""
        if connection.stamp is not None and connection.stamp != _stamp(self._path):
            error = sqlite3.OperationalError("the file was changed while it was read")
            error.sqlite_errorcode = sqlite3.SQLITE_BUSY
            raise error

    def has_wal(self) -> bool:
        """Whether something lies in the file's `-wal`."""
        return _size(self._path, "-wal") > 0

    def journal_mode(self) -> str:
        """What the file's head says: "wal" or "delete"."""
        head = _elsewhere("head", "-c", "20", "--", str(self._path))
        return "wal" if head[18:] == b"\x02\x02" else "delete"

    def copy_to(self, target: Path) -> None:
        """Fill the file `target`, which must be new or empty, with what the database holds at one
        moment. Raises sqlite3.Error."""
        for attempt in range(_TRIES):
            with closing(self.connect()) as source, closing(sqlite3.connect(target)) as copy:
                # A copy that is cut short is thrown away: whoever keeps it flushes it at the end.
                copy.execute("PRAGMA synchronous=OFF")
                source.backup(copy)
                copy.execute("PRAGMA journal_mode=DELETE")
                try:
                    self.check(source)
                    return
                except sqlite3.OperationalError:
                    if attempt == _TRIES - 1:
                        raise

    def turn_to_copy(self) -> Path:
        """Read a temporary copy of the database from here on, which the caller may change."""
        copies = OwnFolder("tuner-look-")
        try:
            path = Path(copies.name).resolve() / "copy.db"
            self.copy_to(path)
        except BaseException:
            copies.cleanup()
            raise
        self.close()
        self._copies, self._path = copies, path
        return path

    def close(self) -> None:
        """Remove the temporary copies."""
        if self._copies is not None:
            self._copies.cleanup()
            self._copies = None

    def _way(self) -> str | None:
        """The options to open the file with; None where it takes a copy."""
        if _size(self._path, "-wal"):
            return "mode=ro&readonly_shm=1" if _size(self._path, "-shm") else None
        return "mode=ro" if _size(self._path, "-journal") else "mode=ro&immutable=1"

    def _open(self, path: Path, options: str) -> sqlite3.Connection:
        stamp = _stamp(path) if "immutable" in options else None
        # None: the driver must not begin transactions of its own.
        connection = sqlite3.connect(
            file_uri(path, options),
            timeout=self._wait_s,
            isolation_level=None,
            check_same_thread=False,
            factory=_Connection,
            uri=True,
        )
        connection.stamp = stamp
        connection.text_factory = any_text
        try:
            connection.execute("PRAGMA temp_store=MEMORY")
            connection.execute("SELECT 1 FROM sqlite_master").fetchone()  # opens the files
        except BaseException:
            connection.close()
            raise
        return connection

    def _copy(self) -> Path:
        """A copy of the database's files as they are at one moment."""
        self.close()
        self._copies = OwnFolder("tuner-look-")
        copy = Path(self._copies.name) / "copy.db"
        for _ in range(_TRIES):
            before = _state(self._path)
            for ending in ("", *_SIDE_FILES):
                target = _beside(copy, ending)
                target.unlink(missing_ok=True)
                if ending == "" or _size(self._path, ending):
                    _elsewhere("cp", "--", str(_beside(self._path, ending)), str(target))
            if _state(self._path) == before:
                break
        return copy


def look_once(
    path: Path, query: str, values: tuple[object, ...] = (), wait_s: float = _LOOK_ONCE_S
) -> list[tuple[Any, ...]]:
    """The rows that a query finds in the SQLite file. Raises sqlite3.Error."""
    with closing(Looker(path, wait_s)) as looker:
        for attempt in range(_TRIES):
            with closing(looker.connect()) as connection:
                rows = connection.execute(query, values).fetchall()
                try:
                    looker.check(connection)
                    break
                except sqlite3.OperationalError:
                    if attempt == _TRIES - 1:
                        raise
        return rows


def _elsewhere(*command: str) -> bytes:
    """What a command prints that reads database files as plain ones, in a process of its own.
    POSIX takes all locks on a file from a process that closes it, by whichever descriptor: done
    here, SQLite's connections would lose theirs, and others could remove the `-wal` that these
    still write to. Raises OSError."""
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    if done.returncode != 0:
        words = done.stderr.decode(errors="replace").strip().splitlines()
        raise OSError((words or [f"a reading process ended with {done.returncode}"])[-1])
    return done.stdout


def real_path(url: URL) -> Path:
    """Of a SQLite file: where a link leads, since SQLite makes its other files there."""
    return real_file(Path(str(url.database)))


def file_uri(path: Path, options: str) -> str:
    """What SQLite opens with `uri=True`."""
    return f"file:{quote(os.fsencode(path.absolute()))}?{options}"


def _beside(path: Path, ending: str) -> Path:
    return path.with_name(path.name + ending)


def _size(path: Path, ending: str) -> int:
    try:
        return _beside(path, ending).stat().st_size
    except OSError:
        return 0


def _stamp(path: Path) -> _Stamp | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _state(path: Path) -> list[object]:
    """What a copy of several files must find unchanged: the database, and which `-wal` it is. Rows
    that are added to that one do no harm."""
    try:
        with _beside(path, "-wal").open("rb") as file:
            head = file.read(32)
    except OSError:
        head = b""
    return [_stamp(path), head]


def looking_engine(url: URL, looker: Looker) -> sa.Engine:
    """An engine each of whose transactions has a connection of the looker's."""
    engine = sa.create_engine(url, creator=looker.connect, poolclass=sa.NullPool)

    def check(connection: sa.Connection) -> None:
        try:
            looker.check(connection.connection.dbapi_connection)
        except sqlite3.OperationalError as error:
            raise sa.exc.OperationalError("reading", None, error) from error

    sa.event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN"))
    sa.event.listen(engine, "commit", check)
    sa.event.listen(engine, "rollback", check)
    return engine
