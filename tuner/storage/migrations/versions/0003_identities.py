"""Identities: what trials leave behind is keyed by a study's uuid, networks have checksums.

Optuna's ids cannot be the keys, since SQLite reuses those of deleted rows. A table that has its new
form already stays as it is.
"""

import json
import uuid
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

_STUDY_UUID = sa.Column("study_uuid", sa.String(32), nullable=False)
_STATE_INDEX = "tuner_places_state"
_LOOPS_INDEX = "tuner_loops_study"


def upgrade() -> None:
    if not _has("tuner_database", "uuid"):
        op.create_table(
            "tuner_database",
            sa.Column("uuid", sa.String(32), nullable=False),
            sa.Column("machine", sa.String(64), nullable=False),
            sa.Column("place", sa.Text, nullable=False),
            sa.PrimaryKeyConstraint("uuid", name="tuner_database_key"),
        )
    if not _has("tuner_studies", "uuid"):
        _rebuild_studies()
    _key_by_uuid("tuner_loops", _loops(), ("loop_id",))
    if _LOOPS_INDEX not in _indices("tuner_loops"):
        op.create_index(_LOOPS_INDEX, "tuner_loops", ["study_uuid"])
    _key_by_uuid("tuner_attempts", _attempts(), ("study_uuid", "trial_id", "attempt"))
    _key_by_uuid("tuner_deliveries", _deliveries(), ("study_uuid", "trial_id"))
    if not _has("tuner_intervals", "study_uuid"):
        _rebuild_intervals()
    _rebuild_places()
    _make_model_paths_relative()


def _has(table: str, column: str) -> bool:
    inspector = sa.inspect(op.get_bind())
    if table not in inspector.get_table_names():
        return False
    return column in {present["name"] for present in inspector.get_columns(table)}


def _indices(table: str) -> set[str | None]:
    return {index["name"] for index in sa.inspect(op.get_bind()).get_indexes(table)}


def _rebuild_studies() -> None:
    bind = op.get_bind()
    op.create_table(
        "tuner_studies_new",
        sa.Column("study_id", sa.Integer, nullable=False),
        sa.Column("uuid", sa.String(32), nullable=False),
        sa.Column("name", sa.String(512), nullable=False),
        sa.Column("spec", sa.Text, nullable=False),
        sa.Column("experiment", sa.Text, nullable=True),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("owner", sa.String(256), nullable=True),
        sa.Column("owner_machine", sa.String(64), nullable=True),
        sa.Column("version", sa.String(64), nullable=True),
        sa.Column("stop_until", sa.Double, nullable=True),
        sa.PrimaryKeyConstraint("uuid", name="tuner_studies_key"),
        sa.UniqueConstraint("study_id", name="tuner_studies_study_id"),
        sa.UniqueConstraint("name", name="tuner_studies_name"),
    )
    # Text, not SQLAlchemy's types: what lies in the rows may be damaged, and is kept as it is.
    ids = bind.execute(
        sa.text(
            "SELECT study_id FROM tuner_studies WHERE study_id IN (SELECT study_id FROM studies)"
        )
    ).scalars()
    for study_id in ids.all():
        new = {"uuid": uuid.uuid4().hex, "study_id": study_id}
        bind.execute(
            sa.text(
                "INSERT INTO tuner_studies_new (study_id, uuid, name, spec, experiment, created_at)"
                " SELECT study_id, :uuid, name, spec, experiment, created_at FROM tuner_studies"
                " WHERE study_id = :study_id"
            ),
            new,
        )
        _mark_optunas_study(bind, study_id, new["uuid"])
    op.drop_table("tuner_studies")
    op.rename_table("tuner_studies_new", "tuner_studies")


def _mark_optunas_study(bind: sa.Connection, study_id: int, study_uuid: str) -> None:
    attributes = sa.table(
        "study_system_attributes", *map(sa.column, ("study_id", "key", "value_json"))
    )
    values = {"study_id": study_id, "key": "tuner:study", "value_json": json.dumps(study_uuid)}
    bind.execute(sa.insert(attributes).values(**values))


def _key_by_uuid(table: str, columns: Sequence[sa.Column[Any]], key: tuple[str, ...]) -> None:
    """Give a table with a study_id the study's uuid in its place. Rows of no study are dropped."""
    if _has(table, "study_uuid"):
        return
    new = [column.name for column in columns]
    present = [name for name in new if _has(table, name)]
    op.create_table(
        f"{table}_new",
        _STUDY_UUID.copy(),
        *columns,
        sa.PrimaryKeyConstraint(*key, name=f"{table}_key"),
    )
    listed = ", ".join(f'"{name}"' for name in present)
    chosen = ", ".join(f'o."{name}"' for name in present)
    op.execute(
        f"INSERT INTO {table}_new (study_uuid, {listed}) SELECT s.uuid, {chosen} "
        f"FROM {table} o JOIN tuner_studies s ON s.study_id = o.study_id"
    )
    op.drop_table(table)
    op.rename_table(f"{table}_new", table)


def _loops() -> list[sa.Column[Any]]:
    return [
        sa.Column("loop_id", sa.String(36), nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("host", sa.String(256), nullable=False),
        sa.Column("pid", sa.Integer, nullable=False),
        sa.Column("started_at", sa.Double, nullable=False),
        sa.Column("expires_at", sa.Double, nullable=False),
        sa.Column("process", sa.String(256), nullable=True),
    ]


def _attempts() -> list[sa.Column[Any]]:
    return [
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
        sa.Column("model_path", sa.Text, nullable=True),
        sa.Column("model_bytes", sa.BigInteger, nullable=True),
        sa.Column("model_sha256", sa.String(64), nullable=True),
        sa.Column("resumed_epoch", sa.Integer, nullable=True),
    ]


def _deliveries() -> list[sa.Column[Any]]:
    return [
        sa.Column("trial_id", sa.Integer, nullable=False),
        sa.Column("run_id", sa.String(64), nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False, server_default="0"),
        sa.Column("step", sa.Integer, nullable=False, server_default="0"),
        sa.Column("state", sa.String(16), nullable=False),
    ]


def _rebuild_intervals() -> None:
    op.create_table(
        "tuner_intervals_new",
        _STUDY_UUID.copy(),
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
        sqlite_with_rowid=False,
    )
    op.execute(
        "INSERT INTO tuner_intervals_new"
        " (study_uuid, trial_id, attempt, step, epoch, whole, metrics, at)"
        " SELECT a.study_uuid, i.trial_id, i.attempt, i.step, i.epoch, i.whole, i.metrics, i.at"
        " FROM tuner_intervals i"
        " JOIN tuner_attempts a ON a.trial_id = i.trial_id AND a.attempt = i.attempt"
    )
    op.drop_table("tuner_intervals")
    op.rename_table("tuner_intervals_new", "tuner_intervals")


def _rebuild_places() -> None:
    constraints = sa.inspect(op.get_bind()).get_unique_constraints("tuner_places")
    if "tuner_places_trial" in {constraint["name"] for constraint in constraints}:
        return
    op.create_table(
        "tuner_places_new",
        sa.Column("study_id", sa.Integer, nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("trial_id", sa.Integer, nullable=True),
        sa.Column("attempt", sa.Integer, nullable=False, server_default="0"),
        sa.Column("loop_id", sa.String(36), nullable=True),
        sa.Column("added_by", sa.String(36), nullable=True),
        sa.PrimaryKeyConstraint("study_id", "number", name="tuner_places_key"),
        sa.UniqueConstraint("study_id", "trial_id", name="tuner_places_trial"),
    )
    names = "study_id, number, state, trial_id, attempt, loop_id, added_by"
    op.execute(
        f"INSERT INTO tuner_places_new ({names}) SELECT {names} FROM tuner_places"
        " WHERE study_id IN (SELECT study_id FROM tuner_studies)"
    )
    op.drop_table("tuner_places")
    op.rename_table("tuner_places_new", "tuner_places")
    op.create_index(_STATE_INDEX, "tuner_places", ["study_id", "state"])


def _make_model_paths_relative() -> None:
    """Older networks lie under their study's name, and were stored by their absolute path."""
    bind = op.get_bind()
    rows = bind.execute(
        sa.text(
            "SELECT a.study_uuid, a.trial_id, a.attempt, a.model_path, s.name"
            " FROM tuner_attempts a JOIN tuner_studies s ON s.uuid = a.study_uuid"
            " WHERE a.model_path IS NOT NULL"
        )
    ).all()
    for row in rows:
        parts = PurePosixPath(str(row.model_path)).parts
        if len(parts) > 3 and parts[-3] == row.name:
            bind.execute(
                sa.text(
                    "UPDATE tuner_attempts SET model_path = :path WHERE study_uuid = :study"
                    " AND trial_id = :trial AND attempt = :attempt"
                ),
                {
                    "path": "/".join(parts[-3:]),
                    "study": row.study_uuid,
                    "trial": row.trial_id,
                    "attempt": row.attempt,
                },
            )


def downgrade() -> None:
    raise NotImplementedError("restore the copy that was made before the upgrade")
