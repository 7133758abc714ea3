"""A project as a whole, moved or copied: its database and the files that belong to it."""

import uuid
from pathlib import PurePosixPath

from tuner.errors import ArtifactError, ArtifactsUnavailable, StorageError, StudyError
from tuner.settings import Settings
from tuner.storage import Store, identity
from tuner.storage.identity import DatabaseIdentity, Residence, SavedNetwork
from tuner.study.artifacts import Artifacts, open_artifacts


def declare_moved(store: Store) -> Residence:
    """Record that the database is here now; its ids stay."""
    residence = identity.residence(store)
    identity.record(store, residence)
    return residence


def declare_copied(store: Store, settings: Settings) -> Residence:
    """Give the database and its studies new ids, and files of their own: its networks are copied
    under the new ids before SQL names them. Files under the old ids are left, since they may be the
    original's. So are the original's runs in MLflow; the copy's trials are sent again.

    A search that runs on the copy ends: its lease belongs to the old ids. Raises StudyError where
    the database is at home here already; StorageError where the files cannot be written, and then
    nothing has changed.
    """
    residence = identity.residence(store)
    if residence.identity == DatabaseIdentity.HERE:
        raise StudyError(
            f"the database at {residence.place} has ids of its own: it was used here before"
        )
    artifacts = open_artifacts(settings)
    new_uuids = {old: uuid.uuid4().hex for old in identity.study_uuids(store)}
    try:
        new_paths = _share_files(artifacts, identity.all_networks(store), new_uuids)
        identity.become_a_copy(store, residence, uuid.uuid4().hex, new_uuids, new_paths)
    except BaseException as error:
        for new in new_uuids.values():
            artifacts.sweep(new)
        if isinstance(error, OSError) and not isinstance(error, ArtifactsUnavailable):
            problem = f"{error.filename or settings.checkpoints}: {error.strerror or error}"
            raise StorageError(f"the copy's networks cannot be written: {problem}") from error
        raise
    return residence


def _share_files(
    artifacts: Artifacts, networks: list[SavedNetwork], new_uuids: dict[str, str]
) -> dict[SavedNetwork, str]:
    """The copy's name of each network whose file is here. Raises OSError."""
    for old, new in new_uuids.items():
        for name in artifacts.names(f"{old}/trial-*/*.ckpt"):
            artifacts.copy(name, name.replace(old, new, 1))
    new_paths: dict[SavedNetwork, str] = {}
    for network in networks:
        if network.study_uuid not in new_uuids:
            continue  # a damaged row, of no study
        parts = PurePosixPath(network.path).parts[1:]
        path = PurePosixPath(new_uuids[network.study_uuid], *parts).as_posix()
        try:
            if artifacts.exists(network.path):
                artifacts.copy(network.path, path)
                new_paths[network] = path
        except ArtifactsUnavailable:
            raise
        except ArtifactError:
            pass  # earlier versions kept networks in other folders too
    return new_paths
