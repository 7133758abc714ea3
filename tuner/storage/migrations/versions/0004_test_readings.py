"""Readings of test splits: which study has read the test split of which data, and when."""

import json
import uuid

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

_TABLE = "tuner_test_readings"
_INDEX = "tuner_test_readings_data"


def upgrade() -> None:
    if _TABLE in sa.inspect(op.get_bind()).get_table_names():
        return  # the recorded revision may be older than the tables are
    readings = op.create_table(
        _TABLE,
        sa.Column("reading_id", sa.String(32), nullable=False),
        sa.Column("fingerprint", sa.String(64), nullable=False),
        sa.Column("study_uuid", sa.String(32), nullable=False),
        sa.Column("study", sa.Text, nullable=False),
        sa.Column("purpose", sa.String(32), nullable=False),
        sa.Column("trial", sa.Integer, nullable=True),
        sa.Column("user", sa.String(256), nullable=True),
        sa.Column("at", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("reading_id", name="tuner_test_readings_key"),
    )
    op.create_index(_INDEX, _TABLE, ["fingerprint"])
    _record_comparisons(readings)


def _record_comparisons(readings: sa.Table) -> None:
    """Earlier comparisons have read the test split too, once a trial of theirs had begun."""
    rows = op.get_bind().execute(
        sa.text(
            "SELECT uuid, name, spec, owner, created_at FROM tuner_studies"
            " WHERE uuid IN (SELECT study_uuid FROM tuner_attempts)"
        )
    )
    for row in rows.all():
        try:
            spec = json.loads(row.spec)
            if spec["held_out"] != "test":
                continue
            values = {"fingerprint": str(spec["fingerprint"])[:64], "at": float(row.created_at)}
        except (ValueError, TypeError, LookupError, RecursionError):
            continue  # a damaged row stays as it is
        op.get_bind().execute(
            sa.insert(readings).values(
                reading_id=uuid.uuid4().hex,
                study_uuid=row.uuid,
                study=row.name,
                purpose="compare",
                user=row.owner,
                **values,
            )
        )


def downgrade() -> None:
    op.drop_table(_TABLE)
