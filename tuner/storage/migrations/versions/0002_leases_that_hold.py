"""Leases that hold: who a loop is, which command added a place, where an attempt went on."""

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
    """Unless the table has it: where an older revision was written down than the tables are of."""
    found = sa.inspect(op.get_bind()).get_columns(table)
    if column.name not in {each["name"] for each in found}:
        op.add_column(table, column)


def downgrade() -> None:
    op.drop_column("tuner_attempts", "resumed_epoch")
    op.drop_column("tuner_loops", "process")
    op.drop_column("tuner_places", "added_by")
