"""Opening what a command works on, or only looks at.

A command that only looks calls `look_at_…`, which needs no right to write and changes no file. All
others call `open_…`. Whatever was opened is closed when the command ends: `app.ending_in_order`.
"""

import typer

from tuner.cli.app import settings_of
from tuner.cli.output import complain
from tuner.cli.residence import settle
from tuner.errors import StudyError
from tuner.storage import Store, exists, look_into, open_store
from tuner.storage.studies import StudyRow, find_study, how_to_create, list_studies, load_study


def look(context: typer.Context) -> Store | None:
    """The database, to look into; None where there is none, or no table in it."""
    return look_into(settings_of(context).storage)


def look_at_study(
    context: typer.Context, name: str | None, even_damaged: bool = False
) -> tuple[Store, StudyRow]:
    """The database and the study of that name, or the newest search, to look at. Raises
    StudyError."""
    store = look(context)
    if store is None:
        raise no_study()
    return store, (find_study if even_damaged else load_study)(store, name)


def look_at_studies(
    context: typer.Context, name: str | None, every: bool
) -> tuple[Store, list[StudyRow]]:
    """The same, for one study or for all of them, oldest first. Raises StudyError."""
    _check_one_or_all(name, every)
    store = look(context)
    if store is None:
        raise no_study()
    return store, _these(store, name, every)


def opened(context: typer.Context) -> Store:
    """The database, to work on, as it lies. Raises StudyError where there is none."""
    url = settings_of(context).storage
    if not exists(url):
        raise no_study()
    return open_store(url)


def open_for_work(context: typer.Context) -> Store:
    """The database, to work on, made where there is none; one that was used elsewhere before is
    found out about."""
    if context.obj.store is None:
        context.obj.store = open_store(settings_of(context).storage)
        settle(context.obj.store, settings_of(context))
    store: Store = context.obj.store
    return store


def open_study(
    context: typer.Context, name: str | None, even_damaged: bool = False
) -> tuple[Store, StudyRow]:
    """The database and the study of that name, or the newest search, to work on. Raises
    StudyError; makes no file where there is none."""
    store = _open(context)
    return store, (find_study if even_damaged else load_study)(store, name)


def open_studies(
    context: typer.Context, name: str | None, every: bool
) -> tuple[Store, list[StudyRow]]:
    """The same, for one study or for all of them, oldest first. Raises StudyError."""
    _check_one_or_all(name, every)
    store = _open(context)
    return store, _these(store, name, every)


def _open(context: typer.Context) -> Store:
    if not exists(settings_of(context).storage):
        raise no_study()
    return open_for_work(context)


def no_study() -> StudyError:
    """What is said where there is nothing to work on."""
    return StudyError(f"there is no study yet; {how_to_create()}")


def _check_one_or_all(name: str | None, every: bool) -> None:
    if every and name is not None:
        raise StudyError(f"either --all, or the study {name!r}")


def _these(store: Store, name: str | None, every: bool) -> list[StudyRow]:
    studies = list(reversed(list_studies(store))) if every else []
    if not studies:
        return [load_study(store, name)]
    found = []
    for study in studies:
        if study.damage is None:
            found.append(load_study(store, study.name))
        else:
            complain(f"study {study.name} is left out: it is damaged: {study.damage}")
    return found
