"""A project as a whole: its database, and the files that belong to it, moved or copied."""

import os
import shutil
import uuid
from pathlib import Path, PurePosixPath

from tuner.errors import ArtifactError, StorageError, StudyError
from tuner.settings import Settings
from tuner.storage import Store, identity
from tuner.storage.identity import DatabaseIdentity, Residence, SavedNetwork
from tuner.study.artifacts import Artifact


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
    if residence.identity == DatabaseIdentity.HERE:
        raise StudyError(
            f"the database at {residence.place} has ids of its own: it was used here before"
        )
    new_uuids = {old: uuid.uuid4().hex for old in identity.study_uuids(store)}
    try:
        new_paths = _share_files(settings.checkpoints, identity.all_networks(store), new_uuids)
        identity.become_a_copy(store, residence, uuid.uuid4().hex, new_uuids, new_paths)
    except BaseException as error:
        for new in new_uuids.values():
            shutil.rmtree(settings.checkpoints / new, ignore_errors=True)
        if isinstance(error, OSError):
            problem = f"{error.filename or settings.checkpoints}: {error.strerror or error}"
            raise StorageError(f"the copy's networks cannot be written: {problem}") from error
        raise
    return residence


def _share_files(
    root: Path, networks: list[SavedNetwork], new_uuids: dict[str, str]
) -> dict[SavedNetwork, str]:
    """Where the copy has each network whose file is here. Raises OSError."""
    for old, new in new_uuids.items():
        for file in (root / old).glob("trial-*/*.ckpt"):
            _share(file, root / new / file.relative_to(root / old))
    new_paths: dict[SavedNetwork, str] = {}
    for network in networks:
        if network.study_uuid not in new_uuids:
            continue  # a damaged row, of no study
        parts = PurePosixPath(network.path).parts[1:]
        path = PurePosixPath(new_uuids[network.study_uuid], *parts).as_posix()
        try:
            source, target = Artifact(network.path).located(root), Artifact(path).located(root)
        except ArtifactError:
            continue  # of another folder, as earlier versions kept them
        if source.is_file():
            _share(source, target)
            new_paths[network] = path
    return new_paths


def _share(source: Path, target: Path) -> None:
    """Files here are replaced, never written into: two names of one file do not disturb each
    other."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:  # a file system without links
        shutil.copyfile(source, target)
