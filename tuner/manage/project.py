"""A project as a whole: its database, and the files that belong to it, moved or copied."""

import contextlib
import uuid
from pathlib import PurePosixPath

from tuner.errors import ArtifactError, StorageError, StudyError
from tuner.settings import Settings
from tuner.storage import Store, identity
from tuner.storage.identity import DatabaseIdentity, Residence, SavedNetwork
from tuner.study.artifacts import Artifacts, open_artifacts


def declare_moved(store: Store) -> Residence:
    """The database lives here now, under the ids that it has."""
    residence = identity.residence(store)
    identity.record(store, residence)
    return residence


def declare_copied(store: Store, settings: Settings) -> Residence:
    """The database and its studies get ids of their own, and files of their own: its networks are
    linked, or copied, into folders of the new ids before SQL knows of them. What lies under the old
    ids is left: it may be the original's. What the original has in MLflow stays the original's; the
    copy's trials are sent anew.

    A search that runs on the copy ends: its lease goes with the old ids. Raises StudyError where
    the database lives here already; StorageError where the files cannot be written, and nothing
    has changed then.
    """
    residence = identity.residence(store)
    if residence.found == DatabaseIdentity.HERE:
        raise StudyError(
            f"the database at {residence.place} has ids of its own: it was used here before"
        )
    artifacts = open_artifacts(settings)
    new_uuids = {old: uuid.uuid4().hex for old in identity.uuids(store)}
    try:
        new_paths = _share_files(artifacts, identity.networks(store), new_uuids)
        identity.become_a_copy(store, residence, uuid.uuid4().hex, new_uuids, new_paths)
    except BaseException as error:
        for new in new_uuids.values():
            artifacts.sweep(new)
        if isinstance(error, OSError):
            problem = f"{error.filename or settings.checkpoints}: {error.strerror or error}"
            raise StorageError(f"the copy's networks cannot be written: {problem}") from error
        raise
    return residence


def _share_files(
    artifacts: Artifacts, networks: list[SavedNetwork], new_uuids: dict[str, str]
) -> dict[SavedNetwork, str]:
    """Where the copy has each network whose file is here. Raises OSError."""
    for old, new in new_uuids.items():
        for name in artifacts.names(f"{old}/trial-*/*.ckpt"):
            artifacts.copy(name, name.replace(old, new, 1))
    new_paths: dict[SavedNetwork, str] = {}
    for network in networks:
        if network.study_uuid not in new_uuids:
            continue  # a damaged row, of no study
        parts = PurePosixPath(network.path).parts[1:]
        path = PurePosixPath(new_uuids[network.study_uuid], *parts).as_posix()
        # Earlier versions kept networks in other folders too: such a name is an ArtifactError.
        with contextlib.suppress(ArtifactError):
            if artifacts.exists(network.path):
                artifacts.copy(network.path, path)
                new_paths[network] = path
    return new_paths
