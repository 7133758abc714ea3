"""Deleting studies: searches are kept off, rows and files go."""

import contextlib
import time
from collections.abc import Callable, Iterator

from tuner.errors import ArtifactError, ArtifactsUnavailable, StudyError
from tuner.manage.databases import check_settled
from tuner.manage.kept_files import delete_unused, kept_files
from tuner.runner.study_files import OWNER_FILE, sweep_study
from tuner.settings import Settings
from tuner.storage import Store, leases, studies
from tuner.storage.attempt_rows import saved_networks
from tuner.storage.damage import is_identity
from tuner.storage.studies import StudyRow
from tuner.study.artifacts import CHECKPOINT_PATTERNS, open_artifacts
from tuner.system.names import command, in_command

_POLL_S = 0.5
# The study is closed to searches for so long, should the command that deletes it be killed.
_DELETING_S = 600.0


def remove_study(
    settings: Settings,
    store: Store,
    study: StudyRow,
    *,
    keep_runs: bool = False,
    keep_networks: bool = False,
    keep_data: bool = False,
    force: bool = False,
    say: Callable[[str], None] = lambda text: None,
) -> list[str]:
    """Delete a study: its MLflow runs, its rows, its saved networks, and the data from memory and
    the code of a notebook that were kept for it alone. Returns the networks that
    stay although they were to go: see `unowned_networks`. Raises StudyError while a search is
    running; with `force` the search is asked to stop, and `say` is told of it. Raises
    ArtifactsUnavailable, and deletes nothing, where the store of networks is to be cleaned and does
    not answer."""
    check_settled(store, "study delete")
    if not keep_networks:
        _check_reachable(settings, study)
    with closed_to_searches(store, study, force, say):
        if not keep_runs:
            from tuner.tracking import sync

            sync.remove_study(settings.tracking_uri, study, store)
        left = unowned_networks(settings, store, study)
        delete_study(settings, store, study, keep_networks, force)
        if not keep_data:
            delete_unused(store, kept_files(settings, study.definition))
    return [] if keep_networks else left


def delete_study(
    settings: Settings, store: Store, study: StudyRow, keep_networks: bool, force: bool
) -> None:
    """Delete a study's rows and, unless `keep_networks`, the networks that this project saved under
    its id. Its MLflow runs are deleted by `tracking.sync`. Raises StudyError while a search is
    running, unless `force`."""
    studies.delete_study(store, study, even_while_searched=force)
    if not is_identity(study.uuid):  # a damaged one, such as "../..", would name another folder
        return
    patterns = [f"trial-*/{pattern}" for pattern in CHECKPOINT_PATTERNS] if keep_networks else []
    sweep_study(settings, study.uuid, patterns)
    artifacts = open_artifacts(settings)
    if keep_networks:  # on purpose: without the mark `tuner gc` leaves the folder alone
        with contextlib.suppress(OSError):
            artifacts.delete(f"{study.uuid}/{OWNER_FILE}")


def _check_reachable(settings: Settings, study: StudyRow) -> None:
    """Before rows are deleted that say what lies in the store."""
    try:
        open_artifacts(settings).names("*")
    except ArtifactsUnavailable as error:
        again = command("study", "delete", in_command(study.name), "--keep-networks")
        raise ArtifactsUnavailable(
            f"{error}; nothing was deleted; to leave the study's files there: {again}"
        ) from error


def unowned_networks(settings: Settings, store: Store, study: StudyRow) -> list[str]:
    """The networks that an earlier version saved under the study's name. They may belong to another
    database's study of that name, so deleting the study leaves them."""
    artifacts = open_artifacts(settings)
    files: list[str] = []
    for artifact in saved_networks(store, study):
        with contextlib.suppress(ArtifactError):
            is_own = artifact.path.startswith(f"{study.uuid}/")
            if not is_own and artifacts.exists(artifact.path):
                files.append(f"{artifacts}/{artifact.path}")
    return files


@contextlib.contextmanager
def closed_to_searches(
    store: Store, study: StudyRow, force: bool, say: Callable[[str], None]
) -> Iterator[None]:
    """Inside, no search writes the study, and none begins. Raises StudyError while a search is
    running; with `force` the search is asked to stop, and waited for at most as long as a lease
    lasts. After an error inside, the study may be searched again."""
    _refuse_if_searched(store, study, force)
    leases.close_to_loops(store, study, _DELETING_S)
    try:
        if searching := leases.holders(store, study):
            _refuse_if_searched(store, study, force)  # one that has begun just now
            say(f"asking the search to stop: {', '.join(map(str, searching))}")
            deadline = time.monotonic() + leases.LEASE_S
            while leases.holders(store, study) and time.monotonic() < deadline:
                time.sleep(_POLL_S)
        yield
    except BaseException:
        leases.open_to_loops(store, study)
        raise


def _refuse_if_searched(store: Store, study: StudyRow, force: bool) -> None:
    searching = leases.holders(store, study)
    if searching and not force:
        who = ", ".join(map(str, searching))
        raise StudyError(
            f"study {study.name!r} is being searched by {who}; stop that search, or delete the "
            "study anyway: " + command("study", "delete", in_command(study.name), "--force")
        )
