"""Leases that hold: a loop's process, the command that added a slot, where an attempt resumed."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    _add("tuner_places", sa.Column("added_by", sa.String(36), nullable=True))
    _add("tuner_loops", sa.Column("process", sa.String(256), nullable=True))
    _add("tuner_attempts", sa.Column("resumed_epoch", sa.Integer, nullable=True))


def _add(table: str, column: sa.Column[Any]) -> None:
    """Add a column unless the table has it, since the recorded revision may be older than the
    tables are."""
    columns = sa.inspect(op.get_bind()).get_columns(table)
    if column.name not in {present["name"] for present in columns}:
        op.add_column(table, column)


def downgrade() -> None:
    op.drop_column("tuner_attempts", "resumed_epoch")
    op.drop_column("tuner_loops", "process")
    op.drop_column("tuner_places", "added_by")
