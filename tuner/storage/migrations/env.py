"""Alembic's environment for our own tables; the connection comes from migrate.py."""

from alembic import context

from tuner.storage.schema import VERSION_TABLE, include_ours, metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table=VERSION_TABLE,
    include_name=lambda name, kind, _parents: include_ours(name, kind),
)
context.run_migrations()
