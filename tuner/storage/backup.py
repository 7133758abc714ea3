"""Copies of a SQLite database, consistent also while searches write to it."""

import errno
import os
import shlex
import sqlite3
import tempfile
from contextlib import closing, suppress
from pathlib import Path

from sqlalchemy.engine import URL

from tuner.errors import StorageError, StorageUnavailable
from tuner.storage.engines import parse_url, shown
from tuner.storage.looking import Looker, real_path

_WAIT_S = 10.0
_SIDE_FILES = ("-wal", "-shm", "-journal", "-tracker")


def back_up_to(url: str, target: Path, force: bool = False) -> int:
    """Copy the database of that URL to a file, also while searches write to it; its size in bytes.
    Raises StorageUnavailable where that is refused or impossible, StorageError where it fails."""
    parsed = parse_url(url)
    if parsed.get_backend_name() != "sqlite":
        raise StorageUnavailable(
            f"{shown(parsed)} is on a server, whose own command copies it: "
            f"{pg_dump_command(parsed, target)}"
        )
    back_up(parsed, target, force)
    return target.stat().st_size


def back_up(url: URL, target: Path, force: bool = False) -> None:
    """Copy a SQLite database to the file `target`, which appears there whole or not at all. Raises
    StorageUnavailable where it exists and `force` does not say to replace it, and where it cannot
    be written; StorageError where the database cannot be read."""
    _check_target(Path(str(url.database)), target, force)
    unfinished = None
    try:
        handle, name = tempfile.mkstemp(prefix=".tuner-backup-", dir=target.parent)
        os.close(handle)
        unfinished = Path(name)
        with closing(Looker(Path(str(url.database)), _WAIT_S)) as looker:
            looker.copy_to(unfinished)
        _put_in_place(unfinished, target, force)
    except OSError as error:
        reason = error.strerror or error
        raise StorageUnavailable(f"{target}: cannot be written: {reason}") from error
    except sqlite3.Error as error:
        raise StorageError(f"{shown(url)}: cannot be copied to {target}: {error}") from error
    finally:
        if unfinished is not None:
            unfinished.unlink(missing_ok=True)


def _check_target(database: Path, target: Path, force: bool) -> None:
    own = {_identity(database)} | {_identity(Path(f"{database}{end}")) for end in _SIDE_FILES}
    if _identity(target) in own:
        raise StorageUnavailable(f"{target} belongs to the database itself; choose another name")
    if target.is_dir():
        raise StorageUnavailable(f"{target} is a folder; give the name of a file")
    if os.path.lexists(target) and not force:
        raise StorageUnavailable(f"{target} exists already; choose another name, or use --force")


def _identity(path: Path) -> object:
    """The same for all names of one file, also where it does not exist."""
    try:
        found = path.stat()
        return found.st_dev, found.st_ino
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
    """Give the file its name, unless another command has just given it to another file."""
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
    """Copy the database to the first free name beside it that says its revision. Raises
    StorageUnavailable."""
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
            f"{shown(url)} is older than this version of tuner, and was not upgraded, since it "
            f"cannot be backed up first: {error}"
        ) from error
    return target


def pg_dump_command(url: URL, file: Path) -> str:
    """What copies a PostgreSQL database, without its password."""
    words = ["pg_dump", "--format=custom", f"--file={file}"]
    said = {"host": url.host, "port": url.port, "username": url.username, "user": None}
    values = {name: url.query.get(name) or value for name, value in said.items()}
    values["username"] = values["user"] or values["username"]
    words += [f"--{name}={values[name]}" for name in ("host", "port", "username") if values[name]]
    database = str(url.database or values["username"] or "postgres")
    words.append(f"--dbname={database}" if database.startswith("-") else database)
    return shlex.join(words)
