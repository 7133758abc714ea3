"""Everything that a search needs, looked at: what is found, whether it is fine, what to do."""

import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from tuner.data import scratch_folder
from tuner.doctor.database_checks import (
    OpenedDatabase,
    database_checks,
    database_folder,
    open_database,
)
from tuner.doctor.environment_checks import (
    disks,
    installed_libraries,
    memory,
    processors,
    python,
    tensorflow,
    writable,
)
from tuner.doctor.findings import Finding, Look, Stage, broken, look_at
from tuner.doctor.search_checks import mlflow, search_checks, store_file
from tuner.settings import Settings

__all__ = ["Finding", "examine"]


def examine(
    settings: Settings, quick: bool = False, stage: Stage = lambda text: None
) -> Iterator[Finding]:
    """What each check finds, as soon as it is known. Nothing is changed, and nothing raised.
    `quick`: TensorFlow, which takes seconds to start, is left out. `stage` is told what is being
    looked at."""
    yield from look_at({"python": python, "libraries": installed_libraries}, stage)
    yield from look_at(_machine(settings, quick), stage)
    yield from _database(settings, stage)
    yield from look_at({"mlflow": partial(mlflow, settings)}, stage)
    if not quick:
        yield from look_at({"tensorflow": tensorflow}, stage)


def _machine(settings: Settings, quick: bool) -> dict[str, Look]:
    return {
        "cores": partial(processors, quick),
        "memory": partial(memory, quick),
        "folders": lambda: writable(_folders(settings)),
        "disk space": lambda: disks(_folders(settings)),
    }


def _folders(settings: Settings) -> dict[str, Path]:
    """The folders that a search writes to, by what they hold."""
    store = store_file(settings.tracking_uri)
    folders = {
        "database": database_folder(settings.storage),
        "checkpoints": settings.checkpoints,
        "copies of data": scratch_folder(settings),
        "mlruns": None if store is None else store.parent,
        "temporary files": Path(tempfile.gettempdir()),
    }
    return {holds: folder for holds, folder in folders.items() if folder is not None}


def _database(settings: Settings, stage: Stage) -> Iterator[Finding]:
    stage("database")
    try:
        opened = open_database(settings.storage)
    except Exception as error:  # as in look_at
        opened = OpenedDatabase(broken("database", error))
    yield opened.finding
    yield from look_at(database_checks(opened), stage)
    if opened.store is not None:
        if opened.schemas is not None and opened.schemas.ready:
            yield from look_at(search_checks(opened.store, settings), stage)
        opened.store.close()
