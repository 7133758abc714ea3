"""The first tables: studies, trial slots, loops, attempts, reports, deliveries."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "tuner_studies",
        sa.Column("study_id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("name", sa.String(512), nullable=False, unique=True),
        sa.Column("spec", sa.Text, nullable=False),
        sa.Column("experiment", sa.String(256), nullable=True),
        sa.Column("created_at", sa.Double, nullable=False),
    )
    op.create_table(
        "tuner_places",
        sa.Column("study_id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("trial_id", sa.Integer, nullable=True, unique=True),
        sa.Column("attempt", sa.Integer, nullable=False, server_default="0"),
        sa.Column("loop_id", sa.String(36), nullable=True),
        sa.Index("tuner_places_state", "study_id", "state"),
    )
    op.create_table(
        "tuner_loops",
        sa.Column("loop_id", sa.String(36), primary_key=True),
        sa.Column("study_id", sa.Integer, nullable=False, index=True),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("host", sa.String(256), nullable=False),
        sa.Column("pid", sa.Integer, nullable=False),
        sa.Column("started_at", sa.Double, nullable=False),
        sa.Column("expires_at", sa.Double, nullable=False),
    )
    _create_trial_tables()


def _create_trial_tables() -> None:
    op.create_table(
        "tuner_attempts",
        sa.Column("trial_id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("attempt", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("study_id", sa.Integer, nullable=False, index=True),
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
    )
    op.create_table(
        "tuner_intervals",
        sa.Column("trial_id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("attempt", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("step", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("epoch", sa.Integer, nullable=False),
        sa.Column("whole", sa.Boolean, nullable=False),
        sa.Column("metrics", sa.JSON, nullable=False),
        sa.Column("at", sa.Double, nullable=False),
    )
    op.create_table(
        "tuner_deliveries",
        sa.Column("study_id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("trial_id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("run_id", sa.String(64), nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False, server_default="0"),
        sa.Column("step", sa.Integer, nullable=False, server_default="0"),
        sa.Column("state", sa.String(16), nullable=False),
    )


def downgrade() -> None:
    for table in ("deliveries", "intervals", "attempts", "loops", "places", "studies"):
        op.drop_table(f"tuner_{table}")
