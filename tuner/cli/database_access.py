"""Opening the database and the studies that a command works on.

Commands that only read call `read_…`: no right to write is needed, and no file changes. All others
call `open_…`. Whatever was opened is closed when the command ends (`app.closing_databases`).

A database that lies elsewhere than before was moved or copied. A copy has the ids of its original,
so until it is known which of the two it is, nothing may be written that belongs to the original.
"""

import sys

import typer

from tuner.cli.app import settings_of
from tuner.cli.output import complain, say
from tuner.errors import StudyError
from tuner.settings import Settings
from tuner.storage import Store, exists, look_into, open_store
from tuner.storage.identity import DatabaseIdentity, Residence, record, residence
from tuner.storage.studies import StudyRow, find_study, how_to_create, list_studies, load_study
from tuner.system.names import command

_MOVED, _COPIED, _LATER = "moved", "copied", "later"


def read_database(context: typer.Context) -> Store | None:
    """The database, for reading; None where there is none, or no table in it."""
    return look_into(settings_of(context).storage)


def read_study(
    context: typer.Context, name: str | None, even_damaged: bool = False
) -> tuple[Store, StudyRow]:
    """The database and the study of that name, or the newest search, for reading. Raises
    StudyError."""
    store = _require(read_database(context))
    return store, (find_study if even_damaged else load_study)(store, name)


def read_studies(
    context: typer.Context, name: str | None, every: bool
) -> tuple[Store, list[StudyRow]]:
    """The same for one study, or for all of them, oldest first. Raises StudyError."""
    _check_one_or_all(name, every)
    store = _require(read_database(context))
    return store, _load_studies(store, name, every)


def open_database(context: typer.Context) -> Store:
    """The database, for writing, created where there is none. Where it lies elsewhere than before,
    find out why."""
    if context.obj.store is None:
        context.obj.store = open_store(settings_of(context).storage)
        settle_residence(context.obj.store, settings_of(context))
    store: Store = context.obj.store
    return store


def open_unsettled(context: typer.Context) -> Store:
    """The database, for writing, without asking where it lay before. Raises StudyError where
    there is none."""
    url = settings_of(context).storage
    if not exists(url):
        raise no_study()
    return open_store(url)


def open_study(
    context: typer.Context, name: str | None, even_damaged: bool = False
) -> tuple[Store, StudyRow]:
    """The database and the study of that name, or the newest search, for writing. Raises
    StudyError; creates no file."""
    store = _open_existing(context)
    return store, (find_study if even_damaged else load_study)(store, name)


def open_studies(
    context: typer.Context, name: str | None, every: bool
) -> tuple[Store, list[StudyRow]]:
    """The same for one study, or for all of them, oldest first. Raises StudyError."""
    _check_one_or_all(name, every)
    store = _open_existing(context)
    return store, _load_studies(store, name, every)


def _open_existing(context: typer.Context) -> Store:
    if not exists(settings_of(context).storage):
        raise no_study()
    return open_database(context)


def _require(store: Store | None) -> Store:
    if store is None:
        raise no_study()
    return store


def no_study() -> StudyError:
    """The error where there is no database."""
    return StudyError(f"there is no study yet; {how_to_create()}")


def _check_one_or_all(name: str | None, every: bool) -> None:
    if every and name is not None:
        raise StudyError(f"give either --all or the study {name!r}, not both")


def _load_studies(store: Store, name: str | None, every: bool) -> list[StudyRow]:
    summaries = list(reversed(list_studies(store))) if every else []
    if not summaries:
        return [load_study(store, name)]
    studies = []
    for summary in summaries:
        if summary.damage is None:
            studies.append(load_study(store, summary.name))
        else:
            complain(f"study {summary.name} is left out, because it is damaged: {summary.damage}")
    return studies


def settle_residence(store: Store, settings: Settings) -> None:
    """Record where the database lies. If it may be a copy, ask, where somebody can be asked."""
    where = residence(store)
    if where.identity == DatabaseIdentity.HERE:
        return
    if where.identity == DatabaseIdentity.UNSURE:
        _ask_moved_or_copied(store, settings, where)
        return
    record(store, where)
    if where.identity == DatabaseIdentity.MOVED:
        complain(f"the database was moved here from {where.elsewhere}")


def _ask_moved_or_copied(store: Store, settings: Settings, where: Residence) -> None:
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        return  # Commands that would change the original are refused later; others go on.
    say(
        f"{_used_elsewhere(where)}.\nmoved: this is the same database, and keeps its ids\n"
        "copied: the original stays in use, and this database gets ids of its own"
    )
    answer = ""
    while answer not in (_MOVED, _COPIED, _LATER):
        answer = typer.prompt("moved, copied or later?", default=_LATER).strip().lower()
    if answer == _MOVED:
        from tuner.tracking import move_store

        move_store(settings.tracking_uri, store)
        record(store, where)
    elif answer == _COPIED:
        from tuner.manage.project import declare_copied

        declare_copied(store, settings)


def _used_elsewhere(where: Residence) -> str:
    return f"this database was used at {where.elsewhere} before, not at {where.place}"


def _how_to_declare() -> str:
    return f"say which: {command('db', 'moved')}, or {command('db', 'copied')}"


def may_track(store: Store) -> bool:
    """Whether the ids in the database are its own, so that their MLflow runs may be written. If
    that is not known, print why tracking is off."""
    where = residence(store)
    if where.identity != DatabaseIdentity.UNSURE:
        return True
    complain(
        f"{_used_elsewhere(where)}: was it moved or copied? Until that is known, nothing is sent "
        f"to MLflow; {_how_to_declare()}"
    )
    return False


def check_settled(store: Store, command_name: str) -> None:
    """Raises StudyError if the ids may belong to an original that is used elsewhere."""
    where = residence(store)
    if where.identity == DatabaseIdentity.UNSURE:
        raise StudyError(
            f"{command_name} is refused: {where.place} may be a copy of the database at "
            f"{where.elsewhere}, and would change what belongs to that one; {_how_to_declare()}"
        )
