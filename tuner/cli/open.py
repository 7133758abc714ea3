"""Opening what a command works on."""

import typer

from tuner.cli.app import settings_of
from tuner.errors import StudyError
from tuner.storage import Store, exists, open_store
from tuner.storage.studies import StudyRow, load_study


def open_study(context: typer.Context, name: str | None) -> tuple[Store, StudyRow]:
    """The database and the study of that name, or the newest. Raises StudyError; makes no file
    where there is none."""
    url = settings_of(context).storage
    if not exists(url):
        raise StudyError("there is no study yet; create one with: tuner study create")
    store = open_store(url)
    return store, load_study(store, name)
