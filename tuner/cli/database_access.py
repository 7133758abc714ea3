"""Opening the database and the studies that a command works on: `manage.databases`, with the
command's settings and questions.

Whatever was opened is closed when the command ends (`app.closing_databases`).
"""

import sys

import typer

from tuner.cli.app import settings_of
from tuner.cli.output import complain, say
from tuner.errors import StudyError
from tuner.manage import databases
from tuner.manage.databases import no_study, used_elsewhere
from tuner.settings import Settings
from tuner.storage import Store, exists, open_store
from tuner.storage.identity import Residence, record
from tuner.storage.studies import StudyRow, find_study, list_studies, load_study

_MOVED, _COPIED, _LATER = "moved", "copied", "later"


def read_database(context: typer.Context) -> Store | None:
    """See `databases.read_database`."""
    return databases.read_database(settings_of(context))


def read_study(
    context: typer.Context, name: str | None, even_damaged: bool = False
) -> tuple[Store, StudyRow]:
    """See `databases.read_study`."""
    return databases.read_study(settings_of(context), name, even_damaged)


def read_studies(
    context: typer.Context, name: str | None, every: bool
) -> tuple[Store, list[StudyRow]]:
    """The same for one study, or for all of them, oldest first. Raises StudyError."""
    _check_one_or_all(name, every)
    store = databases.require(read_database(context))
    return store, _load_studies(store, name, every)


def open_database(context: typer.Context) -> Store:
    """The database, for writing, created where there is none. Where it lies elsewhere than before,
    find out why."""
    if context.obj.store is None:
        context.obj.store = databases.open_database(
            settings_of(context), complain, lambda store, where: _ask(context, store, where)
        )
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


def _ask(context: typer.Context, store: Store, where: Residence) -> None:
    """Ask whether the database was moved or copied, where somebody can be asked."""
    if sys.stdin.isatty() and sys.stdout.isatty():
        _ask_moved_or_copied(store, settings_of(context), where)
    # Else commands that would change the original are refused later; others go on.


def _ask_moved_or_copied(store: Store, settings: Settings, where: Residence) -> None:
    say(
        f"{used_elsewhere(where)}.\nmoved: this is the same database, and keeps its ids\n"
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
