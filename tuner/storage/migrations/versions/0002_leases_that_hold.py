"""Leases that hold: who a loop is, which command added a place, where an attempt went on."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.add_column("tuner_places", sa.Column("added_by", sa.String(36), nullable=True))
    op.add_column("tuner_loops", sa.Column("process", sa.String(256), nullable=True))
    op.add_column("tuner_attempts", sa.Column("resumed_epoch", sa.Integer, nullable=True))


def downgrade() -> None:
    op.drop_column("tuner_attempts", "resumed_epoch")
    op.drop_column("tuner_loops", "process")
    op.drop_column("tuner_places", "added_by")
