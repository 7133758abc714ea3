"""The schema: Optuna's tables at its head revision, ours at ours, made in one locked transaction.

Both use alembic in one database, so ours keeps a version table of its own.

Copies of a SQLite database, consistent also while searches write to it.
"""

import errno
import functools
import importlib.util
import os
import re
import shlex
import sqlite3
import tempfile
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import URL

from tuner.errors import StorageError, StorageUnavailable
from tuner.storage.connections import parse_url, shown
from tuner.storage.read_only import Looker, real_path
from tuner.storage.schema import metadata
from tuner.system.names import command

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


VERSION_TABLE = "tuner_alembic_version"
HEAD = "0003"
_MIGRATIONS = Path(__file__).parent / "migrations"
_KNOWN = frozenset(path.name[:4] for path in _MIGRATIONS.glob("versions/[0-9]*.py"))
_LOCK_KEY = 7310541


@dataclass(frozen=True)
class Schemas:
    """Revisions of our tables and of Optuna's, None where there are none, beside those that this
    version works with. `foreign`: the tables are another program's."""

    ours: str | None
    optuna: str | None
    optuna_expected: str
    optuna_known: frozenset[str]
    foreign: bool
    ours_expected: str = HEAD

    @property
    def ready(self) -> bool:
        return self.ours == self.ours_expected

    @property
    def is_older(self) -> bool:
        return self.ours is not None and self.ours != self.ours_expected and self.ours in _KNOWN

    @property
    def is_newer(self) -> bool:
        return self.ours is not None and self.ours not in _KNOWN

    @property
    def optuna_is_older(self) -> bool:
        return self.optuna in self.optuna_known - {self.optuna_expected}

    @property
    def optuna_is_newer(self) -> bool:
        return self.optuna is not None and self.optuna not in self.optuna_known

    def check_known(self, name: str) -> None:
        """Raises StorageUnavailable for tables that this version knows nothing of. `name`: of the
        database."""
        if self.foreign:
            raise StorageUnavailable(
                f"{name} belongs to another program (MLflow?); give tuner a database of its own"
            )
        if self.is_newer:
            raise StorageUnavailable(
                f"{name} was made by a newer version of tuner (its tables are of {self.ours}, this "
                f"version knows up to {self.ours_expected}): upgrade tuner on this machine"
            )
        if self.optuna_is_newer:
            raise StorageUnavailable(
                f"{name} was made by a newer version of Optuna (its tables are of {self.optuna}, "
                f"the installed one knows up to {self.optuna_expected}): pip install --upgrade "
                "optuna tuner"
            )

    def check_optunas(self, name: str) -> None:
        """Raises StorageUnavailable where Optuna would have to upgrade its tables."""
        if self.optuna_is_older:
            raise StorageUnavailable(
                f"{name}: Optuna's tables are of {self.optuna}, the installed Optuna needs "
                f"{self.optuna_expected}; to bring them up to date: {command('db', 'upgrade')}"
            )


def read_schemas(connection: sa.Connection) -> Schemas:
    """Nothing heavier than SQLAlchemy is imported."""
    tables = set(sa.inspect(connection).get_table_names())
    foreign = "alembic_version" in tables and not {"studies", "version_info"} <= tables
    expected, known = optuna_revisions()
    return Schemas(
        ours=_revision(connection, VERSION_TABLE, tables),
        optuna=None if foreign else _revision(connection, "alembic_version", tables),
        optuna_expected=expected,
        optuna_known=known,
        foreign=foreign,
    )


def _revision(connection: sa.Connection, table: str, tables: set[str]) -> str | None:
    if table not in tables:
        return None
    column = sa.column("version_num", sa.String)
    found = connection.execute(sa.select(column).select_from(sa.table(table, column))).scalar()
    return None if found is None else str(found)


@functools.cache
def optuna_revisions() -> tuple[str, frozenset[str]]:
    """The revision of the installed Optuna's tables, and all that it knows. Read from its scripts:
    importing Optuna takes longer than all else of a short command."""
    known, followed = set(), set()
    for path in (_optuna_folder() / "versions").glob("*.py"):
        text = path.read_text(encoding="utf-8")
        known |= set(re.findall(r"""^revision\b.*=.*["'](.+)["']""", text, re.MULTILINE))
        for line in re.findall(r"^down_revision\b.*", text, re.MULTILINE):
            followed |= set(re.findall(r"""["']([^"']+)["']""", line))
    (head,) = known - followed
    return head, frozenset(known)


def _optuna_folder() -> Path:
    spec = importlib.util.find_spec("optuna")
    assert spec is not None  # one of tuner's own requirements
    assert spec.origin is not None
    return Path(spec.origin).parent / "storages" / "_rdb" / "alembic"


def prepare_schema(
    writer: sa.Engine,
    before_upgrade: Callable[[Schemas], None] = lambda schemas: None,
) -> None:
    """Create what is missing, upgrade what is older, in one transaction. `before_upgrade` is called
    once it is certain that older tables are there and that nobody else upgrades them. Raises
    StorageUnavailable for tables of a newer version."""
    with writer.begin() as connection:
        if connection.dialect.name == "postgresql":
            # Two first commands at once would both create: one waits for the other. SQLite's
            # BEGIN IMMEDIATE does the same.
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK_KEY)))
        schemas = read_schemas(connection)
        schemas.check_known(shown(writer.url))
        if schemas.is_older or schemas.optuna_is_older:
            before_upgrade(schemas)
        if schemas.optuna_is_older:
            _upgrade_optuna(connection)
        _prepare_optuna(connection)
        _prepare_ours(connection)


def _prepare_optuna(connection: sa.Connection) -> None:
    import optuna
    from optuna.storages._rdb import models

    if sa.inspect(connection).has_table("alembic_version"):
        return
    models.BaseModel.metadata.create_all(connection)
    version = models.VersionInfoModel.__table__
    if connection.execute(sa.select(sa.func.count()).select_from(version)).scalar() == 0:
        row = {"schema_version": models.SCHEMA_VERSION, "library_version": optuna.__version__}
        connection.execute(sa.insert(version).values(version_info_id=1, **row))
    _stamp(connection, "alembic_version", optuna_revisions()[0])


def _stamp(connection: sa.Connection, table: str, revision: str) -> None:
    """Note a revision as Alembic would, which loads all of its scripts for that."""
    version = sa.Table(
        table,
        sa.MetaData(),
        sa.Column("version_num", sa.String(32), nullable=False),
        sa.PrimaryKeyConstraint("version_num", name=f"{table}_pkc"),
    )
    version.create(connection, checkfirst=True)
    connection.execute(sa.insert(version).values(version_num=revision))


def _upgrade_optuna(connection: sa.Connection) -> None:
    """What Optuna's own command does, in our transaction."""
    import optuna
    from alembic.runtime.environment import EnvironmentContext
    from alembic.script import ScriptDirectory
    from optuna.storages._rdb import models

    config = _alembic_config(_optuna_folder())
    script = ScriptDirectory.from_config(config)

    def steps(revision: Any, _context: object) -> Any:
        return script._upgrade_revs("head", revision)

    with EnvironmentContext(config, script, fn=steps) as environment:
        environment.configure(
            connection=connection,
            target_metadata=models.BaseModel.metadata,
            render_as_batch=True,
        )
        environment.run_migrations()
    version = {"schema_version": models.SCHEMA_VERSION, "library_version": optuna.__version__}
    connection.execute(sa.update(models.VersionInfoModel.__table__).values(**version))


def _prepare_ours(connection: sa.Connection) -> None:
    tables = set(sa.inspect(connection).get_table_names())
    if tables.isdisjoint({VERSION_TABLE, *metadata.tables}):
        # As the revisions would make them, which a test holds; those take 0.05 s longer.
        metadata.create_all(connection)
        _stamp(connection, VERSION_TABLE, HEAD)
    else:
        migrate_ours(connection)


def migrate_ours(connection: sa.Connection) -> None:
    """Bring our tables to the newest revision, from whichever they are of; also from none."""
    from alembic import command

    config = _alembic_config(_MIGRATIONS)
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _alembic_config(scripts: Path) -> Any:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(scripts).replace("%", "%%"))
    return config


def include_ours(name: str | None, kind: str) -> bool:
    """For alembic's autogenerate: Optuna's tables are not ours to drop."""
    return kind != "table" or name in metadata.tables
