"""Old and new versions of tuner on one database: what keeps them apart."""

from collections.abc import Iterator

import sqlalchemy as sa

from tuner.errors import StorageUnavailable
from tuner.storage.identity import is_process_dead
from tuner.storage.schema import HEAD, VERSION_TABLE, is_known_revision
from tuner.storage.store import now

# Of all revisions: tables whose rows say which processes are at work, until `expires_at`.
_AT_WORK = ("tuner_workers", "tuner_loops")
_MOST_NAMED = 4
_VERSION = sa.column("version_num", sa.String)
_REVISION = sa.select(_VERSION).select_from(sa.table(VERSION_TABLE, _VERSION))


def check_not_upgraded(connection: sa.Connection, name: str) -> None:
    """Raises StorageUnavailable once a newer tuner has upgraded the tables: this process must write
    nothing more, since it does not know what belongs into the new columns. `name`: the
    database's."""
    revision = connection.execute(_REVISION).scalar()
    if revision is not None and not is_known_revision(revision):
        raise StorageUnavailable(
            f"{name} was upgraded by a newer version of tuner meanwhile (its tables are of "
            f"{revision}, this version knows up to {HEAD}); nothing is lost: upgrade tuner on this "
            "machine, then begin again"
        )


def check_nobody_works(connection: sa.Connection, name: str, force_command: str) -> None:
    """Raises StorageUnavailable where searches or workers are alive, on any machine: they are of
    the version before an upgrade. Reads tables of every revision."""
    at_work = sorted(set(_processes_at_work(connection)))
    if not at_work:
        return
    named = ", ".join(at_work[:_MOST_NAMED]) + (", …" if len(at_work) > _MOST_NAMED else "")
    raise StorageUnavailable(
        f"{name} is in use by {named}; end the workers and searches first (nothing is lost), or "
        f"upgrade under them, which ends them: {force_command}"
    )


def _processes_at_work(connection: sa.Connection) -> Iterator[str]:
    present = sa.inspect(connection)
    clock = now(connection.dialect.name)
    for table in _AT_WORK:
        if not present.has_table(table):
            continue
        columns = {column["name"] for column in present.get_columns(table)}
        own = sa.column("process", sa.String)
        process = own if "process" in columns else sa.literal(None, sa.String).label("process")
        wanted = sa.select(sa.column("host", sa.String), sa.column("pid", sa.Integer), process)
        query = wanted.select_from(sa.table(table))
        for row in connection.execute(query.where(sa.column("expires_at") > clock)).all():
            if not is_process_dead(row.process):
                yield f"{row.host} (pid {row.pid})"
