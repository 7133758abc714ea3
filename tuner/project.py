"""A project as a whole: its database, and the files that belong to it, moved or copied."""

import contextlib
import os
import shutil
import uuid
from pathlib import Path, PurePosixPath

from tuner.artifacts import Artifact
from tuner.errors import ArtifactError
from tuner.settings import Settings
from tuner.storage import Store, identity
from tuner.storage.damage import is_identity
from tuner.storage.identity import Residence, SavedNetwork


def declare_moved(store: Store) -> Residence:
    """The database lives here now, under the ids that it has."""
    residence = identity.residence(store)
    identity.record(store, residence)
    return residence


def declare_copied(store: Store, settings: Settings) -> Residence:
    """The database and its studies get ids of their own, and files of their own: its networks are
    linked, or copied, into folders of the new ids before SQL knows of them. What the original has
    in MLflow stays the original's; the copy's trials are sent anew."""
    residence = identity.residence(store)
    new_uuids = {old: uuid.uuid4().hex for old in identity.uuids(store) if is_identity(old)}
    root = settings.checkpoints
    for old, new in new_uuids.items():
        _share_checkpoints(root / old, root / new)
    new_paths = {
        network: path
        for network in identity.networks(store)
        if (path := _own_file(root, network, new_uuids[network.study_uuid])) is not None
    }
    identity.become_a_copy(store, residence, new_uuids, new_paths)
    if _has_its_own_files(residence, root):
        for old in new_uuids:
            shutil.rmtree(root / old, ignore_errors=True)
    return residence


def _own_file(root: Path, network: SavedNetwork, new_uuid: str) -> str | None:
    """Where the copy has that network; None where the file is not here."""
    path = PurePosixPath(new_uuid, *PurePosixPath(network.path).parts[1:]).as_posix()
    with contextlib.suppress(ArtifactError, OSError):
        _share(Artifact(network.path).located(root), Artifact(path).located(root))
        return path
    return None


def _share_checkpoints(old: Path, new: Path) -> None:
    for file in old.glob("trial-*/*.ckpt"):
        with contextlib.suppress(OSError):  # without it the trial begins from its first epoch
            _share(file, new / file.relative_to(old))


def _share(source: Path, target: Path) -> None:
    """Files here are replaced, never written into: two names of one file do not disturb each
    other."""
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except FileNotFoundError:
        raise
    except OSError:  # a file system without links
        shutil.copyfile(source, target)


def _has_its_own_files(residence: Residence, root: Path) -> bool:
    """Whether the files under the old ids were copied along with the database: then they are
    nobody's now. In a folder that both share they are the original's."""
    folder = Path(residence.place).parent
    recorded = Path(residence.recorded or residence.place).parent
    away = residence.recorded_machine != residence.machine or recorded != folder
    return away and root.resolve().is_relative_to(folder)
