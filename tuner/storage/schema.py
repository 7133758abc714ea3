"""Our own tables, beside Optuna's in the same database.

Times are seconds since 1970 by the database's clock. `study_id` and `trial_id` are Optuna's: SQLite
reuses those of deleted rows for new ones. What trials leave behind is therefore keyed by the
study's `uuid`, 32 hexadecimal digits. A study is ours while Optuna's study of that id has the uuid as its
system attribute `tuner:study`.

SQL names stay as they are. In Python, `tuner_places` is `slot_rows` and `tuner_intervals` is
`reports`.
"""

from typing import Protocol

import sqlalchemy as sa

metadata = sa.MetaData()

# The key of Optuna's study attribute that holds our uuid, as JSON.
STUDY_UUID = "tuner:study"
# The key of the attribute that says which process created a study or a trial: a repeated attempt
# recognizes by it what the first one has created.
MADE = "tuner:made"


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
    sa.PrimaryKeyConstraint("study_id", "number", name="tuner_places_key"),
    sa.UniqueConstraint("study_id", "trial_id", name="tuner_places_trial"),
    sa.Index("tuner_places_state", "study_id", "state"),
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
    sa.Column("model_path", sa.Text, nullable=True),
    sa.Column("model_bytes", sa.BigInteger, nullable=True),
    sa.Column("model_sha256", sa.String(64), nullable=True),
    # The epochs that came from an earlier attempt's checkpoint; 0 if it began with the first.
    sa.Column("resumed_epoch", sa.Integer, nullable=True),
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
trial_params = sa.table(
    "trial_params",
    sa.column("param_id"),
    sa.column("trial_id"),
    sa.column("param_name"),
    sa.column("param_value"),
    sa.column("distribution_json"),
)
