"""Opening what a command works on."""

import typer

from tuner.cli.app import settings_of
from tuner.errors import StudyError
from tuner.storage import Store, exists, open_store
from tuner.storage.studies import StudyRow, find_study, list_studies, load_study


def open_study(
    context: typer.Context, name: str | None, even_damaged: bool = False
) -> tuple[Store, StudyRow]:
    """The database and the study of that name, or the newest. Raises StudyError; makes no file
    where there is none."""
    url = settings_of(context).storage
    if not exists(url):
        raise StudyError("there is no study yet; create one with: tuner study create")
    store = open_store(url)
    return store, (find_study if even_damaged else load_study)(store, name)


def open_studies(
    context: typer.Context, name: str | None, every: bool
) -> tuple[Store, list[StudyRow]]:
    """The same, for one study or for all of them, oldest first. Raises StudyError."""
    if every and name is not None:
        raise StudyError(f"either --all, or the study {name!r}")
    store, row = open_study(context, name)
    if not every:
        return store, [row]
    names = [study.name for study in reversed(list_studies(store))]
    return store, [load_study(store, each) for each in names]
