"""`tuner doctor`: checks of everything that a search needs."""

import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from tuner.data import scratch_folder
from tuner.doctor.cluster_checks import check_ray
from tuner.doctor.database_checks import (
    OpenedDatabase,
    checks_of_database,
    database_folder,
    open_database,
)
from tuner.doctor.environment_checks import (
    check_cores,
    check_disks,
    check_folders,
    check_libraries,
    check_memory,
    check_networks,
    check_python,
    check_tensorflow,
)
from tuner.doctor.findings import Check, Finding, Stage, failed_check, run_checks
from tuner.doctor.search_checks import check_mlflow, checks_of_searches, mlflow_file
from tuner.settings import Settings
from tuner.study.artifacts import open_artifacts

__all__ = ["Finding", "examine"]


def examine(
    settings: Settings, quick: bool = False, stage: Stage = lambda text: None
) -> Iterator[Finding]:
    """The findings of all checks, as soon as each is known. Changes nothing and raises nothing.
    `quick`: skip TensorFlow, which takes seconds to start. `stage` gets the name of each check
    before it runs."""
    yield from run_checks({"python": check_python, "libraries": check_libraries}, stage)
    yield from run_checks(_machine_checks(settings, quick), stage)
    yield from _examine_database(settings, stage)
    yield from run_checks({"mlflow": partial(check_mlflow, settings), "ray": check_ray}, stage)
    if not quick:
        yield from run_checks({"tensorflow": check_tensorflow}, stage)


def _machine_checks(settings: Settings, quick: bool) -> dict[str, Check]:
    return {
        "cores": partial(check_cores, quick),
        "memory": partial(check_memory, quick),
        "folders": lambda: check_folders(_folders(settings)),
        **_store_check(settings),
        "disk space": lambda: check_disks(_folders(settings)),
    }


def _store_check(settings: Settings) -> dict[str, Check]:
    """Of a store of networks on other machines, where there is one."""
    if settings.artifacts_url is None:
        return {}
    return {"networks": partial(check_networks, open_artifacts(settings))}


def _folders(settings: Settings) -> dict[str, Path]:
    """The folders that a search writes to, under the names of their contents."""
    store = mlflow_file(settings.tracking_uri)
    folders = {
        "database": database_folder(settings.storage),
        "checkpoints": settings.checkpoints,
        "copies of data": scratch_folder(settings),
        "mlruns": None if store is None else store.parent,
        "temporary files": Path(tempfile.gettempdir()),
    }
    return {content: folder for content, folder in folders.items() if folder is not None}


def _examine_database(settings: Settings, stage: Stage) -> Iterator[Finding]:
    stage("database")
    try:
        opened = open_database(settings.storage)
    except Exception as error:  # As in run_checks.
        opened = OpenedDatabase(failed_check("database", error))
    yield opened.finding
    yield from run_checks(checks_of_database(opened), stage)
    if opened.store is not None:
        if opened.schemas is not None and opened.schemas.ready:
            yield from run_checks(checks_of_searches(opened.store, settings), stage)
        opened.store.close()
