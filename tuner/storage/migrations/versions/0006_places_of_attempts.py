"""Where each attempt was trained, when that is not the machine of its loop."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

_ATTEMPTS = "tuner_attempts"
_COLUMNS = [
    sa.Column("host", sa.String(256), nullable=True),
    sa.Column("node", sa.String(64), nullable=True),
]


def upgrade() -> None:
    """Each step is left out where it is done: the recorded revision may be older than the tables
    are."""
    present = {column["name"] for column in sa.inspect(op.get_bind()).get_columns(_ATTEMPTS)}
    for column in _COLUMNS:
        if column.name not in present:
            op.add_column(_ATTEMPTS, column)


def downgrade() -> None:
    for column in reversed(_COLUMNS):
        op.drop_column(_ATTEMPTS, column.name)
