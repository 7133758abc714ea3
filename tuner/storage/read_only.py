"""Reading a SQLite file without leaving a trace, and copying it.

Nothing is written, created or left behind, also where nothing could be. A database in WAL mode has
up to two files beside it, and every ordinary connection creates them, even a read-only one. What
is done instead depends on the files there:

| beside the file               | how it is read                                                |
|-------------------------------|---------------------------------------------------------------|
| nothing, or an empty `-wal`   | `immutable=1`; afterwards it is checked for changes           |
| a `-wal` and its `-shm`       | `mode=ro&readonly_shm=1`: what a running search has committed |
| a `-journal`                  | `mode=ro`                                                     |
| a `-wal` without its `-shm`, or where the others fail | a temporary copy of the files         |
"""

import errno
import os
import shlex
import sqlite3
import subprocess
import tempfile
from contextlib import closing, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import sqlalchemy as sa
from sqlalchemy.engine import URL

from tuner.errors import StorageError, StorageUnavailable
from tuner.storage.connections import any_text, format_url, parse_url
from tuner.system.locations import real_file
from tuner.system.temporary_folders import OwnFolder

_TRIES = 5
_LOOK_ONCE_S = 5.0
_SIDE_FILES = ("-wal", "-journal")
# All that may lie beside a database; the last is the tracker's lock file.
_OWN_FILES = ("-wal", "-shm", "-journal", "-tracker")
_COPY_WAIT_S = 10.0
# SQLite's errors where it would have to write in order to read, or where a file system lacks the
# locks and the shared memory that it needs.
_NEEDS_WRITING = (
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_PROTOCOL,
)

# Which file it is and whether it has changed, as far as the file system shows.
_Stamp = tuple[int, int, int, int]


class _Connection(sqlite3.Connection):
    """`stamp`: of the file when it was opened, if nothing else would show that it has changed."""

    stamp: _Stamp | None = None


class ReadOnlyFile:
    """Opens connections that read the SQLite file at `path` and leave no trace. Each of them first
    checks which files are there: searches begin and end."""

    def __init__(self, path: Path, wait_s: float) -> None:
        # SQLite too looks for the other files beside the file that a link points to.
        self._path, self._wait_s = Path(os.path.realpath(path)), wait_s
        self._copies: OwnFolder | None = None

    def connect(self) -> sqlite3.Connection:
        """Raises sqlite3.Error."""
        if self._path.is_dir():
            raise sqlite3.OperationalError("unable to open database file: it is a folder")
        for _ in range(_TRIES):
            options = self._options()
            if options is None:
                break
            try:
                return self._open(self._path, options)
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF not in _NEEDS_WRITING:
                    raise
                if options == self._options():
                    break
        if not os.access(self._path, os.R_OK, effective_ids=True):
            return self._open(self._path, "mode=ro")  # raises SQLite's own message
        try:
            return self._open(self._copy(), "mode=rw")
        except OSError as error:
            raise sqlite3.OperationalError(f"it cannot be copied to be read: {error}") from error

    def check(self, connection: Any) -> None:
        """Raises sqlite3.OperationalError if the file has changed since the connection was opened,
        so that what it read may mix two states. The same work may succeed on a new connection."""
        if connection.stamp is not None and connection.stamp != _stamp(self._path):
            error = sqlite3.OperationalError("the file was changed while it was read")
            error.sqlite_errorcode = sqlite3.SQLITE_BUSY
            raise error

    def has_wal(self) -> bool:
        """Whether the file has a `-wal` with content."""
        return _size(self._path, "-wal") > 0

    def journal_mode(self) -> str:
        """The journal mode in the file's header: "wal" or "delete"."""
        head = _run_command("head", "-c", "20", "--", str(self._path))
        return "wal" if head[18:] == b"\x02\x02" else "delete"

    def copy_to(self, target: Path) -> None:
        """Copy the database, as it is at one moment, into the file `target`, which must be new or
        empty. Raises sqlite3.Error."""
        for attempt in range(_TRIES):
            with closing(self.connect()) as source, closing(sqlite3.connect(target)) as copy:
                # An unfinished copy is thrown away; the caller flushes a finished one.
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
        """Read a temporary copy of the database from now on, which the caller may change."""
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

    def _options(self) -> str | None:
        """The options to open the file with; None if it must be copied."""
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
                    _run_command("cp", "--", str(_beside(self._path, ending)), str(target))
            if _state(self._path) == before:
                break
        return copy


def look_once(
    path: Path, query: str, values: tuple[object, ...] = (), wait_s: float = _LOOK_ONCE_S
) -> list[tuple[Any, ...]]:
    """The rows that a query selects in the SQLite file. Raises sqlite3.Error."""
    with closing(ReadOnlyFile(path, wait_s)) as file:
        for attempt in range(_TRIES):
            with closing(file.connect()) as connection:
                rows = connection.execute(query, values).fetchall()
                try:
                    file.check(connection)
                    break
                except sqlite3.OperationalError:
                    if attempt == _TRIES - 1:
                        raise
        return rows


def _run_command(*command: str) -> bytes:
    """The output of a command that reads database files as plain files, in a process of its own.
    When a process closes any descriptor of a file, POSIX drops all its locks on that file: done
    here, SQLite's connections would lose theirs, and other processes could remove the `-wal` that
    these still write to. Raises OSError."""
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    if done.returncode != 0:
        lines = done.stderr.decode(errors="replace").strip().splitlines()
        raise OSError((lines or [f"a reading process ended with {done.returncode}"])[-1])
    return done.stdout


def real_path(url: URL) -> Path:
    """The path of a SQLite file with links followed: SQLite creates its other files there."""
    return real_file(Path(str(url.database)))


def file_uri(path: Path, options: str) -> str:
    """The URI that `sqlite3.connect` opens with `uri=True`."""
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
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _state(path: Path) -> list[object]:
    """What must not change while several files are copied: the database, and which `-wal` it is.
    Rows added to the `-wal` do no harm."""
    try:
        with _beside(path, "-wal").open("rb") as file:
            head = file.read(32)
    except OSError:
        head = b""
    return [_stamp(path), head]


def read_only_engine(url: URL, file: ReadOnlyFile) -> sa.Engine:
    """An engine that opens a connection of the file's for each transaction."""
    engine = sa.create_engine(url, creator=file.connect, poolclass=sa.NullPool)

    def check(connection: sa.Connection) -> None:
        try:
            file.check(connection.connection.dbapi_connection)
        except sqlite3.OperationalError as error:
            raise sa.exc.OperationalError("reading", None, error) from error

    sa.event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN"))
    sa.event.listen(engine, "commit", check)
    sa.event.listen(engine, "rollback", check)
    return engine


# Backups


def back_up_to(url: str, target: Path, force: bool = False) -> int:
    """Copy the database of that URL to a file, also while searches write to it; the file's size in
    bytes. Raises StorageUnavailable if that is refused or impossible, StorageError if it fails."""
    parsed = parse_url(url)
    if parsed.get_backend_name() != "sqlite":
        raise StorageUnavailable(
            f"{format_url(parsed)} is on a server; copy it with the server's own command: "
            f"{pg_dump_command(parsed, target)}"
        )
    back_up(parsed, target, force)
    return target.stat().st_size


def back_up(url: URL, target: Path, force: bool = False) -> None:
    """Copy a SQLite database to the file `target`, which appears complete or not at all. Raises
    StorageUnavailable if the file exists, unless `force`, or cannot be written; StorageError if
    the database cannot be read."""
    _check_target(Path(str(url.database)), target, force)
    unfinished = None
    try:
        handle, name = tempfile.mkstemp(prefix=".tuner-backup-", dir=target.parent)
        os.close(handle)
        unfinished = Path(name)
        with closing(ReadOnlyFile(Path(str(url.database)), _COPY_WAIT_S)) as file:
            file.copy_to(unfinished)
        _put_in_place(unfinished, target, force)
    except OSError as error:
        reason = error.strerror or error
        raise StorageUnavailable(f"{target}: cannot be written: {reason}") from error
    except sqlite3.Error as error:
        raise StorageError(f"{format_url(url)}: cannot be copied to {target}: {error}") from error
    finally:
        if unfinished is not None:
            unfinished.unlink(missing_ok=True)


def _check_target(database: Path, target: Path, force: bool) -> None:
    own = {_identity(database)} | {_identity(Path(f"{database}{end}")) for end in _OWN_FILES}
    if _identity(target) in own:
        raise StorageUnavailable(f"{target} belongs to the database itself; choose another name")
    if target.is_dir():
        raise StorageUnavailable(f"{target} is a folder; give the name of a file")
    if os.path.lexists(target) and not force:
        raise StorageUnavailable(f"{target} exists already; choose another name, or use --force")


def _identity(path: Path) -> object:
    """Equal for all names of one file, also if it does not exist."""
    try:
        status = path.stat()
        return status.st_dev, status.st_ino
    except OSError:
        return path.resolve()


def _put_in_place(unfinished: Path, target: Path, force: bool) -> None:
    unfinished.chmod(0o666 & ~_umask())
    with unfinished.open("rb") as file:
        os.fsync(file.fileno())
    if force:
        unfinished.replace(target)
    else:
        _link(unfinished, target)
    with suppress(OSError):  # some file systems do not flush folders
        folder = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _link(unfinished: Path, target: Path) -> None:
    """Give the file its name, unless another command has just created a file of that name."""
    try:
        os.link(unfinished, target)
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links
        if target.exists():
            raise FileExistsError(errno.EEXIST, "the file exists already") from None
        unfinished.rename(target)


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def back_up_before_upgrade(url: URL, revision: str) -> Path:
    """Copy the database to a file beside it, named after the revision, with a number if the name is
    taken. Raises StorageUnavailable."""
    path = real_path(url)
    number = 1
    while True:
        ending = "" if number == 1 else f"-{number}"
        target = path.with_name(f"{path.name}.{revision}-backup{ending}")
        if not os.path.lexists(target):
            break
        number += 1
    try:
        back_up(url, target)
    except (StorageUnavailable, StorageError) as error:
        raise StorageUnavailable(
            f"{format_url(url)} is older than this version of tuner; it was not upgraded, because "
            f"it could not be backed up first: {error}"
        ) from error
    return target


def pg_dump_command(url: URL, file: Path) -> str:
    """The command that copies a PostgreSQL database, without the password."""
    words = ["pg_dump", "--format=custom", f"--file={file}"]
    parts = {"host": url.host, "port": url.port, "username": url.username, "user": None}
    values = {name: url.query.get(name) or value for name, value in parts.items()}
    values["username"] = values["user"] or values["username"]
    words += [f"--{name}={values[name]}" for name in ("host", "port", "username") if values[name]]
    database = str(url.database or values["username"] or "postgres")
    words.append(f"--dbname={database}" if database.startswith("-") else database)
    return shlex.join(words)
