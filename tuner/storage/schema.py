"""Our tables beside Optuna's in the same database, and bringing both to their newest revision.

Times are seconds since 1970 by the database's clock. `study_id` and `trial_id` are Optuna's: SQLite
reuses those of deleted rows for new ones. What trials leave behind is therefore keyed by the
study's `uuid`, 32 hexadecimal digits. A study is ours while Optuna's study of that id has the uuid
as its system attribute `tuner:study`.

In Python, the SQL table `tuner_places` is `slot_rows`, and `tuner_intervals` is `reports`.

Optuna's tables and ours are both versioned by Alembic, so ours have a version table of their own.
"""

import functools
import importlib.util
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import sqlalchemy as sa

from tuner.errors import StorageUnavailable
from tuner.storage.connections import format_url
from tuner.system.names import command

metadata = sa.MetaData()

# The key of Optuna's study attribute that holds our uuid, as JSON.
STUDY_UUID = "tuner:study"
# The key of the attribute that says which process created a study or a trial: a repeated attempt
# recognizes by it what the first one has created.
MADE = "tuner:made"
# Optuna's own key of the names that its dashboard and plots give to a study's objectives.
METRIC_NAMES = "study:metric_names"


class StudyKey(Protocol):
    """What identifies a study: Optuna's id, which may be reused, and our uuid."""

    @property
    def study_id(self) -> int: ...

    @property
    def uuid(self) -> str: ...


# Where this database lives: a copy has the same ids, but lies elsewhere. At most one row.
database = sa.Table(
    "tuner_database",
    metadata,
    sa.Column("uuid", sa.String(32), nullable=False),
    sa.Column("machine", sa.String(64), nullable=False),
    sa.Column("place", sa.Text, nullable=False),
    sa.PrimaryKeyConstraint("uuid", name="tuner_database_key"),
)

# A study exists once its row here does: it is written last.
studies = sa.Table(
    "tuner_studies",
    metadata,
    sa.Column("study_id", sa.Integer, nullable=False),
    sa.Column("uuid", sa.String(32), nullable=False),
    sa.Column("name", sa.String(512), nullable=False),
    sa.Column("spec", sa.Text, nullable=False),
    sa.Column("experiment", sa.Text, nullable=True),
    sa.Column("created_at", sa.Double, nullable=False),
    # Who created it, on which machine, with which version of tuner; NULL in older studies.
    sa.Column("owner", sa.String(256), nullable=True),
    sa.Column("owner_machine", sa.String(64), nullable=True),
    sa.Column("version", sa.String(64), nullable=True),
    # Until then, loops that renew their lease are told to stop: the study is about to be deleted.
    sa.Column("stop_until", sa.Double, nullable=True),
    # "paused" or "stopped"; NULL while its trials may run.
    sa.Column("state", sa.String(16), nullable=True),
    # Daemons take studies with a higher priority first.
    sa.Column("priority", sa.Integer, nullable=False, server_default="0"),
    # What ends a daemon's search of it early, as JSON: see runner.stopping.Limits.
    sa.Column("limits", sa.Text, nullable=True),
    sa.PrimaryKeyConstraint("uuid", name="tuner_studies_key"),
    sa.UniqueConstraint("study_id", name="tuner_studies_study_id"),
    sa.UniqueConstraint("name", name="tuner_studies_name"),
)

# The trial slots: one row for each of a study's `--trials N`. Each claim makes sure in its
# transaction that the study of this id is still the loop's own (`leases.check`).
slot_rows = sa.Table(
    "tuner_places",
    metadata,
    sa.Column("study_id", sa.Integer, nullable=False),
    sa.Column("number", sa.Integer, nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("trial_id", sa.Integer, nullable=True),
    sa.Column("attempt", sa.Integer, nullable=False, server_default="0"),
    sa.Column("loop_id", sa.String(36), nullable=True),
    # The command that added it: repeated after a lost COMMIT reply, it must not add slots twice.
    sa.Column("added_by", sa.String(36), nullable=True),
    # Whether its running trial is to be ended at its next report.
    sa.Column("stop_asked", sa.Boolean, nullable=True),
    sa.PrimaryKeyConstraint("study_id", "number", name="tuner_places_key"),
    sa.UniqueConstraint("study_id", "trial_id", name="tuner_places_trial"),
    # The first open slot, with a trial or without, is read from it: see `slots.claim`.
    sa.Index("tuner_places_state", "study_id", "state", "trial_id", "number"),
)

# A loop may write its trials until its lease expires.
loops = sa.Table(
    "tuner_loops",
    metadata,
    sa.Column("study_uuid", sa.String(32), nullable=False),
    sa.Column("loop_id", sa.String(36), nullable=False),
    sa.Column("number", sa.Integer, nullable=False),
    sa.Column("host", sa.String(256), nullable=False),
    sa.Column("pid", sa.Integer, nullable=False),
    sa.Column("started_at", sa.Double, nullable=False),
    sa.Column("expires_at", sa.Double, nullable=False),
    # See identity.py: nobody waits for a loop of this machine that has died.
    sa.Column("process", sa.String(256), nullable=True),
    # The daemon that it belongs to; NULL for a search in the foreground.
    sa.Column("worker_id", sa.String(36), nullable=True),
    sa.PrimaryKeyConstraint("loop_id", name="tuner_loops_key"),
    sa.Index("tuner_loops_study", "study_uuid"),
)

# One execution of a trial, and how it ended.
attempts = sa.Table(
    "tuner_attempts",
    metadata,
    sa.Column("study_uuid", sa.String(32), nullable=False),
    sa.Column("trial_id", sa.Integer, nullable=False),
    sa.Column("attempt", sa.Integer, nullable=False),
    sa.Column("loop_id", sa.String(36), nullable=False),
    sa.Column("worker", sa.Integer, nullable=False),
    sa.Column("started_at", sa.Double, nullable=False),
    sa.Column("ended_at", sa.Double, nullable=True),
    sa.Column("end", sa.String(32), nullable=True),
    sa.Column("detail", sa.Text, nullable=True),
    sa.Column("score", sa.Double, nullable=True),
    sa.Column("best_epoch", sa.Integer, nullable=True),
    sa.Column("epochs", sa.Integer, nullable=True),
    sa.Column("parameter_count", sa.BigInteger, nullable=True),
    sa.Column("engine", sa.String(32), nullable=True),
    sa.Column("seconds", sa.JSON, nullable=True),
    # The saved network, relative to the project's folder of networks, and the file's size and hash.
    # The path of a network that is no longer kept is NULL; its size too, once the file is gone.
    sa.Column("model_path", sa.Text, nullable=True),
    sa.Column("model_bytes", sa.BigInteger, nullable=True),
    sa.Column("model_sha256", sa.String(64), nullable=True),
    # The epochs that came from an earlier attempt's checkpoint; 0 if it began with the first.
    sa.Column("resumed_epoch", sa.Integer, nullable=True),
    # Where it was trained: NULL on the machine of its loop, else a machine and a cluster's node.
    sa.Column("host", sa.String(256), nullable=True),
    sa.Column("node", sa.String(64), nullable=True),
    sa.PrimaryKeyConstraint("study_uuid", "trial_id", "attempt", name="tuner_attempts_key"),
)

# The raw metrics of every report; Optuna's own table has only what the pruner was given.
reports = sa.Table(
    "tuner_intervals",
    metadata,
    sa.Column("study_uuid", sa.String(32), nullable=False),
    sa.Column("trial_id", sa.Integer, nullable=False),
    sa.Column("attempt", sa.Integer, nullable=False),
    sa.Column("step", sa.Integer, nullable=False),
    sa.Column("epoch", sa.Integer, nullable=False),
    sa.Column("whole", sa.Boolean, nullable=False),
    sa.Column("metrics", sa.JSON, nullable=False),
    sa.Column("at", sa.Double, nullable=False),
    sa.PrimaryKeyConstraint(
        "study_uuid", "trial_id", "attempt", "step", name="tuner_intervals_key"
    ),
    # The key is most of a row: SQLite would store it twice.
    sqlite_with_rowid=False,
)

# What was delivered to MLflow. `trial_id` 0 stands for the study's parent run.
deliveries = sa.Table(
    "tuner_deliveries",
    metadata,
    sa.Column("study_uuid", sa.String(32), nullable=False),
    sa.Column("trial_id", sa.Integer, nullable=False),
    sa.Column("run_id", sa.String(64), nullable=False),
    sa.Column("attempt", sa.Integer, nullable=False, server_default="0"),
    sa.Column("step", sa.Integer, nullable=False, server_default="0"),
    sa.Column("state", sa.String(16), nullable=False),
    sa.PrimaryKeyConstraint("study_uuid", "trial_id", name="tuner_deliveries_key"),
)

# Who has read the test split of which data, and what for: "compare" or "promote". The rows stay
# when their study is deleted, since the split has been read all the same.
test_readings = sa.Table(
    "tuner_test_readings",
    metadata,
    sa.Column("reading_id", sa.String(32), nullable=False),
    sa.Column("fingerprint", sa.String(64), nullable=False),
    sa.Column("study_uuid", sa.String(32), nullable=False),
    sa.Column("study", sa.Text, nullable=False),
    sa.Column("purpose", sa.String(32), nullable=False),
    sa.Column("trial", sa.Integer, nullable=True),
    sa.Column("user", sa.String(256), nullable=True),
    sa.Column("at", sa.Double, nullable=False),
    sa.PrimaryKeyConstraint("reading_id", name="tuner_test_readings_key"),
    sa.Index("tuner_test_readings_data", "fingerprint"),
)

# The daemons (`tuner worker`), each until its row expires. `processes`: how many worker processes
# it runs at once. `patterns`: the names of studies that it takes, as JSON; NULL for all.
# `skipped`: JSON, the reason for each study that it does not take.
workers = sa.Table(
    "tuner_workers",
    metadata,
    sa.Column("worker_id", sa.String(36), nullable=False),
    sa.Column("host", sa.String(256), nullable=False),
    sa.Column("pid", sa.Integer, nullable=False),
    sa.Column("process", sa.String(256), nullable=True),
    sa.Column("version", sa.String(64), nullable=True),
    sa.Column("processes", sa.Integer, nullable=False),
    sa.Column("patterns", sa.Text, nullable=True),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("skipped", sa.Text, nullable=True),
    sa.Column("started_at", sa.Double, nullable=False),
    sa.Column("expires_at", sa.Double, nullable=False),
    sa.PrimaryKeyConstraint("worker_id", name="tuner_workers_key"),
)

# What was announced of a study, and when, so that of several loops one announces it. `subject`:
# "done/N" of N trials, "failing/HASH" of what fails, "best/N" of trial N, "best" of any of them.
notices = sa.Table(
    "tuner_notices",
    metadata,
    sa.Column("study_uuid", sa.String(32), nullable=False),
    sa.Column("subject", sa.String(64), nullable=False),
    sa.Column("at", sa.Double, nullable=False),
    sa.PrimaryKeyConstraint("study_uuid", "subject", name="tuner_notices_key"),
)

# Optuna's tables, as far as our queries read them.
optuna_studies = sa.table("studies", sa.column("study_id"), sa.column("study_name"))
optuna_trials = sa.table(
    "trials",
    sa.column("trial_id"),
    sa.column("number"),
    sa.column("study_id"),
    sa.column("state"),
    sa.column("datetime_start"),
    sa.column("datetime_complete"),
)
optuna_trial_attributes = sa.table(
    "trial_system_attributes",
    sa.column("trial_id"),
    sa.column("key"),
    sa.column("value_json"),
)
optuna_study_attributes = sa.table(
    "study_system_attributes",
    sa.column("study_id"),
    sa.column("key"),
    sa.column("value_json"),
)
optuna_user_attributes = sa.table(
    "trial_user_attributes",
    sa.column("trial_id"),
    sa.column("key"),
    sa.column("value_json"),
)
optuna_trial_values = sa.table(
    "trial_values",
    sa.column("trial_id"),
    sa.column("objective"),
    sa.column("value"),
    sa.column("value_type"),
)
trial_intermediate_values = sa.table(
    "trial_intermediate_values",
    sa.column("trial_id"),
    sa.column("step"),
    sa.column("intermediate_value"),
    sa.column("intermediate_value_type"),
)
trial_params = sa.table(
    "trial_params",
    sa.column("param_id"),
    sa.column("trial_id"),
    sa.column("param_name"),
    sa.column("param_value"),
    sa.column("distribution_json"),
)

# Revisions of the tables

VERSION_TABLE = "tuner_alembic_version"
HEAD = "0006"
_MIGRATIONS = Path(__file__).parent / "migrations"
_REVISIONS = frozenset(path.name[:4] for path in _MIGRATIONS.glob("versions/[0-9]*.py"))
_LOCK_KEY = 7310541


def is_known_revision(revision: str) -> bool:
    """Whether this version knows tables of that revision."""
    return revision in _REVISIONS


@dataclass(frozen=True)
class Schemas:
    """The revisions of our tables and of Optuna's, None where there are none, and those that this
    version works with. `foreign`: the tables belong to another program."""

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
        return self.ours is not None and self.ours != self.ours_expected and self.ours in _REVISIONS

    @property
    def is_newer(self) -> bool:
        return self.ours is not None and not is_known_revision(self.ours)

    @property
    def optuna_is_older(self) -> bool:
        return self.optuna in self.optuna_known - {self.optuna_expected}

    @property
    def optuna_is_newer(self) -> bool:
        return self.optuna is not None and self.optuna not in self.optuna_known

    def check_known(self, name: str) -> None:
        """Raises StorageUnavailable for tables that this version does not know. `name`: the
        database's."""
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
                f"the installed one knows up to {self.optuna_expected}): upgrade tuner and Optuna "
                "on this machine"
            )

    def check_optuna(self, name: str) -> None:
        """Raises StorageUnavailable if Optuna would have to upgrade its tables."""
        if self.optuna_is_older:
            raise StorageUnavailable(
                f"{name}: Optuna's tables are of {self.optuna}, the installed Optuna needs "
                f"{self.optuna_expected}; to bring them up to date: {command('db', 'upgrade')}"
            )


def read_schemas(connection: sa.Connection) -> Schemas:
    """Read which tables there are. Imports nothing heavier than SQLAlchemy."""
    tables = set(sa.inspect(connection).get_table_names())
    foreign = "alembic_version" in tables and not {"studies", "version_info"} <= tables
    optuna_expected, optuna_known = optuna_revisions()
    return Schemas(
        ours=_revision(connection, VERSION_TABLE, tables),
        optuna=None if foreign else _revision(connection, "alembic_version", tables),
        optuna_expected=optuna_expected,
        optuna_known=optuna_known,
        foreign=foreign,
    )


def _revision(connection: sa.Connection, table: str, tables: set[str]) -> str | None:
    if table not in tables:
        return None
    column = sa.column("version_num", sa.String)
    revision = connection.execute(sa.select(column).select_from(sa.table(table, column))).scalar()
    return None if revision is None else str(revision)


@functools.cache
def optuna_revisions() -> tuple[str, frozenset[str]]:
    """The newest revision of the installed Optuna's tables, and all that it knows. They are read
    from its scripts: importing Optuna takes longer than all else of a short command."""
    revisions, followed = set(), set()
    for path in (_optuna_folder() / "versions").glob("*.py"):
        text = path.read_text(encoding="utf-8")
        revisions |= set(re.findall(r"""^revision\b.*=.*["'](.+)["']""", text, re.MULTILINE))
        for line in re.findall(r"^down_revision\b.*", text, re.MULTILINE):
            followed |= set(re.findall(r"""["']([^"']+)["']""", line))
    (head,) = revisions - followed
    return head, frozenset(revisions)


def _optuna_folder() -> Path:
    spec = importlib.util.find_spec("optuna")
    assert spec is not None  # one of tuner's own requirements
    assert spec.origin is not None
    return Path(spec.origin).parent / "storages" / "_rdb" / "alembic"


def prepare_schema(
    writer: sa.Engine,
    before_upgrade: Callable[[Schemas], None] = lambda schemas: None,
) -> None:
    """Create what is missing and upgrade what is older, in one transaction. `before_upgrade` is
    called when there are older tables and no other process can be upgrading them. Raises
    StorageUnavailable for tables of a newer version."""
    with writer.begin() as connection:
        if connection.dialect.name == "postgresql":
            # Two first commands at once would both create the tables: one waits for the other, as
            # by SQLite's BEGIN IMMEDIATE.
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK_KEY)))
        schemas = read_schemas(connection)
        schemas.check_known(format_url(writer.url))
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
    """Record a revision as Alembic would, which would load all of its scripts for that."""
    version = sa.Table(
        table,
        sa.MetaData(),
        sa.Column("version_num", sa.String(32), nullable=False),
        sa.PrimaryKeyConstraint("version_num", name=f"{table}_pkc"),
    )
    version.create(connection, checkfirst=True)
    connection.execute(sa.insert(version).values(version_num=revision))


def _upgrade_optuna(connection: sa.Connection) -> None:
    """Do what Optuna's own command does, in our transaction."""
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
        # The same tables as the revisions create, as a test checks; those take 0.05 s longer.
        metadata.create_all(connection)
        _stamp(connection, VERSION_TABLE, HEAD)
    else:
        migrate_ours(connection)


def migrate_ours(connection: sa.Connection) -> None:
    """Bring our tables to the newest revision, from any older one or from none."""
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
