"""Moved or copied: what a command does where a database was used elsewhere before."""

import sys

import typer

from tuner.cli.app import settings_of
from tuner.cli.output import complain, say
from tuner.errors import StudyError
from tuner.settings import Settings
from tuner.storage import Store
from tuner.storage.identity import DatabaseIdentity, Residence, record, residence
from tuner.system.names import command

_MOVED, _COPIED, _LATER = "moved", "copied", "later"


def settle(store: Store, settings: Settings) -> None:
    """Where a database is opened for work: remember where it lives. Of one that was used elsewhere
    find out whether it was moved or copied, by asking where somebody can be asked."""
    where = residence(store)
    if where.identity == DatabaseIdentity.HERE:
        return
    if where.identity == DatabaseIdentity.UNSURE:
        _ask(store, settings, where)
        return
    record(store, where)
    if where.identity == DatabaseIdentity.MOVED:
        complain(f"the database was moved here from {where.elsewhere}")


def _ask(store: Store, settings: Settings, where: Residence) -> None:
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        return  # nobody can be asked: what would touch the original is refused, the rest goes on
    say(
        f"{_used_elsewhere(where)}.\nmoved: it is the same one, and goes on under its ids\n"
        "copied: the other one goes on too, and this one gets ids of its own"
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


def _which_it_is() -> str:
    return f"say which it is: {command('db', 'moved')}, or {command('db', 'copied')}"


def _used_elsewhere(where: Residence) -> str:
    return f"this database was used at {where.elsewhere} before, not at {where.place}"


def may_track(store: Store) -> bool:
    """Whether the ids in the database are its own, so that MLflow's runs of them may be written;
    where that is not known, a line says so."""
    where = residence(store)
    if where.identity != DatabaseIdentity.UNSURE:
        return True
    complain(
        f"{_used_elsewhere(where)}: moved or copied? Until that is known, MLflow is left alone; "
        f"{_which_it_is()}"
    )
    return False


def check_settled(store: Store, refused: str) -> None:
    """Raises StudyError where the ids may be those of an original that goes on elsewhere."""
    where = residence(store)
    if where.identity == DatabaseIdentity.UNSURE:
        raise StudyError(
            f"{refused} is refused: {where.place} may be a copy of the database at "
            f"{where.elsewhere}, and would change what belongs to that one; {_which_it_is()}"
        )


def moved(context: typer.Context) -> None:
    """Say that this database was moved here: it goes on under its ids.

    Example: tuner db moved

    For a database that was used on another machine, or in a folder where it still lies.
    """
    from tuner.cli.database_access import opened
    from tuner.manage.project import declare_moved
    from tuner.tracking import move_store

    store = opened(context)
    move_store(settings_of(context).tracking_uri, store)
    say(f"the database lives at {declare_moved(store).place} from now on")


def copied(context: typer.Context) -> None:
    """Say that this database is a copy: it and its studies get ids of their own.

    Example: tuner db copied

    The original goes on as before, with its MLflow runs and its files. The copy's runs are made
    anew by its next search, or by tuner sync.
    """
    from tuner.cli.database_access import opened
    from tuner.manage.project import declare_copied

    place = declare_copied(opened(context), settings_of(context)).place
    say(f"the database at {place} and its studies have ids of their own now")
