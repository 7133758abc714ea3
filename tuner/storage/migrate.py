"""The schema: Optuna's tables at its head revision, ours at ours, made in one locked transaction.

Both use alembic in one database, so ours keeps a version table of its own.
"""

from pathlib import Path

import sqlalchemy as sa

from tuner.errors import StorageUnavailable
from tuner.storage.engines import shown
from tuner.storage.tables import metadata

VERSION_TABLE = "tuner_alembic_version"
HEAD = "0003"
_MIGRATIONS = Path(__file__).parent / "migrations"
_LOCK_KEY = 7310541


def current_revision(reader: sa.Engine) -> str | None:
    """Our schema's revision; None in a database that is not prepared."""
    with reader.begin() as connection:
        if not sa.inspect(connection).has_table(VERSION_TABLE):
            return None
        row = connection.execute(sa.text(f"SELECT version_num FROM {VERSION_TABLE}")).first()
    return str(row[0]) if row else None


def prepare_schema(writer: sa.Engine) -> None:
    """Create or migrate what is missing. Raises StorageUnavailable for a newer schema than ours."""
    with writer.begin() as connection:
        if connection.dialect.name == "postgresql":
            # Two first commands at once would both create: one waits for the other. SQLite's
            # BEGIN IMMEDIATE does the same.
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK_KEY)))
        _prepare_optuna(connection)
        _migrate_ours(connection)


def _prepare_optuna(connection: sa.Connection) -> None:
    import optuna
    from alembic.config import Config
    from alembic.migration import MigrationContext
    from alembic.script import ScriptDirectory
    from optuna.storages._rdb import models

    tables = set(sa.inspect(connection).get_table_names())
    if "alembic_version" in tables:
        if not {"studies", "version_info"} <= tables:
            raise StorageUnavailable(
                f"{shown(connection.engine.url)} belongs to another program (MLflow?); give tuner "
                "a database of its own"
            )
        return
    models.BaseModel.metadata.create_all(connection)
    version = models.VersionInfoModel.__table__
    if connection.execute(sa.select(sa.func.count()).select_from(version)).scalar() == 0:
        row = {"schema_version": models.SCHEMA_VERSION, "library_version": optuna.__version__}
        connection.execute(sa.insert(version).values(version_info_id=1, **row))
    config = Config()
    config.set_main_option("script_location", _in_config(Path(models.__file__).parent / "alembic"))
    script = ScriptDirectory.from_config(config)
    MigrationContext.configure(connection).stamp(script, "heads")


def _migrate_ours(connection: sa.Connection) -> None:
    from alembic import command
    from alembic.config import Config
    from alembic.util import CommandError

    config = Config()
    config.set_main_option("script_location", _in_config(_MIGRATIONS))
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, "head")
    except CommandError as error:
        raise StorageUnavailable(
            f"the database's schema is not known to this version of tuner ({error}); upgrade tuner"
        ) from error


def _in_config(folder: Path) -> str:
    # A configuration file's % begins the name of another option.
    return str(folder).replace("%", "%%")


def include_ours(name: str | None, kind: str) -> bool:
    """For alembic's autogenerate: Optuna's tables are not ours to drop."""
    return kind != "table" or name in metadata.tables
