"""Control of studies from anywhere: their state and priority, daemons, and what was announced."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

_WORKERS, _NOTICES = "tuner_workers", "tuner_notices"
_SLOTS, _STATE_INDEX = "tuner_places", "tuner_places_state"
_STATE_COLUMNS = ["study_id", "state", "trial_id", "number"]
_COLUMNS: list[tuple[str, sa.Column[Any]]] = [
    ("tuner_studies", sa.Column("state", sa.String(16), nullable=True)),
    ("tuner_studies", sa.Column("priority", sa.Integer, nullable=False, server_default="0")),
    ("tuner_studies", sa.Column("limits", sa.Text, nullable=True)),
    ("tuner_places", sa.Column("stop_asked", sa.Boolean, nullable=True)),
    ("tuner_loops", sa.Column("worker_id", sa.String(36), nullable=True)),
]


def upgrade() -> None:
    """Each step is left out where it is done: the recorded revision may be older than the tables
    are."""
    present = sa.inspect(op.get_bind())
    for table, column in _COLUMNS:
        if column.name not in {column["name"] for column in present.get_columns(table)}:
            op.add_column(table, column)
    indices = {index["name"]: index["column_names"] for index in present.get_indexes(_SLOTS)}
    if indices.get(_STATE_INDEX) != _STATE_COLUMNS:
        _index_states(_STATE_COLUMNS, is_there=_STATE_INDEX in indices)
    if _WORKERS not in present.get_table_names():
        op.create_table(
            _WORKERS,
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
    if _NOTICES not in present.get_table_names():
        op.create_table(
            _NOTICES,
            sa.Column("study_uuid", sa.String(32), nullable=False),
            sa.Column("subject", sa.String(64), nullable=False),
            sa.Column("at", sa.Double, nullable=False),
            sa.PrimaryKeyConstraint("study_uuid", "subject", name="tuner_notices_key"),
        )


def _index_states(columns: list[str], is_there: bool) -> None:
    if is_there:
        op.drop_index(_STATE_INDEX, _SLOTS)
    op.create_index(_STATE_INDEX, _SLOTS, columns)


def downgrade() -> None:
    _index_states(["study_id", "state"], is_there=True)
    op.drop_table(_NOTICES)
    op.drop_table(_WORKERS)
    for table, column in reversed(_COLUMNS):
        op.drop_column(table, column.name)
