"""`tuner gc`: finds what no study needs, and removes it.

A finder yields leftovers of one kind; FINDERS_OF_STUDY and FINDERS_OF_PROJECT list them all.
Several databases may share a folder of networks, so nothing is a leftover because this database
does not know it: only what is known to be its own.

A running search is not disturbed. A study under a live lease is left alone, and so is what was
written just now. Each leftover is looked at again right before it is removed.
"""

import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

from tuner.data import unused_images
from tuner.errors import ArtifactError, SpecError
from tuner.manage.databases import check_settled
from tuner.manage.kept_files import delete_kept, kept_folder, unused_files
from tuner.runner.network_keeping import remove_empty_folder, remove_files
from tuner.runner.study_files import (
    OWNER_FILE,
    PROMOTION_LOCK,
    abandoned_scratch,
    sweep_study,
)
from tuner.settings import Settings
from tuner.storage import Store, identity, kept_networks, leases, slots
from tuner.storage.attempt_rows import saved_networks
from tuner.storage.damage import is_identity
from tuner.storage.kept_networks import ReleasedNetwork
from tuner.storage.studies import StudyRow
from tuner.study.artifacts import OWN_FOLDERS, Artifact, Artifacts, StoredFile, open_artifacts
from tuner.system.file_locks import exclusive_lock
from tuner.system.locations import KEPT_NAMES

# What was written so recently may be in use by a process that has recorded nothing yet. Creating a
# study from data in memory writes the data first, and may take long.
_JUST_WRITTEN_S = 60.0
_CREATION_S = 3600.0
# What killed commands wrote into the store to try it out, and how old it must be. A search on a
# cluster keeps its file while it runs: nodes that join read it.
_CHECKS = {"check-*": _CREATION_S, "ray-check-*/*": 30 * 86_400.0}
_TRIAL_FILE = re.compile(r"[0-9a-f]{32}/trial-(\d+)/([^/]+)")
_PARTIAL = re.compile(r"\..+\.partial\.\w+|.+\.part")


@dataclass(frozen=True)
class Leftover:
    """Something that no study needs. `what`: its kind. `place`: a path, or a model's URI. `size` in
    bytes, None if unknown. `study`: the name of the study that it belonged to, if that exists.
    `remove`: removes it, and says whether it did: not what is in use by now."""

    what: str
    place: str
    size: int | None
    remove: Callable[[], bool]
    study: str | None = None


@dataclass
class Project:
    """Where leftovers are looked for. `keep_models`: how many networks each study keeps; None for
    as many as its searches have kept. `notes`: what the user should know of what is left alone."""

    settings: Settings
    store: Store
    keep_models: int | None = None
    notes: list[str] = field(default_factory=list)

    @property
    def artifacts(self) -> Artifacts:
        return open_artifacts(self.settings)

    def file(self, name: str) -> StoredFile | None:
        """The file of that name in the store of networks; None for a folder, and for one that is
        gone."""
        try:
            return self.artifacts.facts(name)
        except (ArtifactError, OSError):
            return None


def _is_settled(file: StoredFile, seconds: float) -> bool:
    """Whether the file was written so long ago."""
    return time.time() - file.written_at > seconds


def _is_older(file: Path, seconds: float) -> bool:
    return time.time() - file.stat().st_mtime > seconds


def find_leftovers(
    project: Project,
    studies: Sequence[StudyRow],
    *,
    is_whole: bool,
    with_mlflow: bool = False,
) -> list[Leftover]:
    """What these studies no longer need; of the whole project, with `is_whole`. Nothing is changed.
    `with_mlflow`: look into MLflow too. Raises StudyError for a database that may be a copy: its
    files may be the original's."""
    check_settled(project.store, "gc")
    leftovers: list[Leftover] = []
    for study in studies:
        if leases.holders(project.store, study):
            project.notes.append(f"study {study.name} is being searched: it is left alone")
            continue
        for find in FINDERS_OF_STUDY:
            leftovers += find(project, study)
        if with_mlflow:
            leftovers += _models(project, study)
    if is_whole:
        for find_more in FINDERS_OF_PROJECT:
            leftovers += find_more(project)
    return leftovers


def remove_leftovers(
    project: Project, studies: Sequence[StudyRow], leftovers: Sequence[Leftover]
) -> list[Leftover]:
    """Remove them, and return those that were removed. The others are in use by now, or cannot be
    removed; `project.notes` says so of studies that are searched by now."""
    by_name = {study.name: study for study in studies}
    searched: set[str] = set()
    removed = []
    for leftover in leftovers:
        study = by_name.get(leftover.study or "")
        if study is not None and leases.holders(project.store, study):
            searched.add(study.name)
            continue
        with suppress(OSError, ArtifactError):
            if leftover.remove():
                removed.append(leftover)
    for name in sorted(searched):
        project.notes.append(f"a search of study {name} has begun: the study is left alone")
    return removed


def _checkpoints(project: Project, study: StudyRow) -> Iterator[Leftover]:
    """Of finished trials: those of others are what their next attempts go on from. Other trials of
    a population may go on from finished ones too."""
    if _has_generations_left(project, study):
        return
    for file in _ended_files(project, study, r".+\.ckpt"):
        yield _leftover("checkpoints of finished trials", project, study, file)


def _has_generations_left(project: Project, study: StudyRow) -> bool:
    try:
        is_population = study.spec.generation_epochs is not None
    except SpecError:  # damaged: nothing can go on
        return False
    return is_population and slots.has_state(project.store, study, "open", "claimed")


def _own_folders(project: Project, study: StudyRow) -> Iterator[Leftover]:
    """Folders that functions have of trials that have ended meanwhile."""
    if not is_identity(study.uuid):
        return
    unfinished = kept_networks.unfinished_numbers(project.store, study)
    artifacts = project.artifacts
    patterns = [f"{study.uuid}/trial-*/{name}" for name in OWN_FOLDERS]
    for folder in [folder for pattern in patterns for folder in artifacts.names(pattern)]:
        number = PurePosixPath(folder).parent.name.removeprefix("trial-")
        if not number.isdecimal() or int(number) in unfinished:
            continue
        size = sum(file.size for file in artifacts.files(f"{folder}/**/*"))

        def remove(folder: str = folder) -> bool:
            artifacts.sweep(folder)
            return not artifacts.names(folder)

        place = f"{artifacts}/{folder}"
        yield Leftover("folders of finished trials", place, size, remove, study.name)


def _half_written(project: Project, study: StudyRow) -> Iterator[Leftover]:
    """What killed processes were writing. Nobody writes files of a study without a lease."""
    for file in _trial_files(project, study):
        is_partial = _PARTIAL.fullmatch(PurePosixPath(file.name).name)
        if is_partial and _is_settled(file, _JUST_WRITTEN_S):
            yield _leftover("half-written files", project, study, file, has_ended=False)


def _released_networks(project: Project, study: StudyRow) -> Iterator[Leftover]:
    """What killed searches have released and not removed."""
    networks = kept_networks.released(project.store, study)
    yield from _network_leftovers("networks that are no longer kept", project, study, networks)


def _networks_beyond(project: Project, study: StudyRow) -> Iterator[Leftover]:
    """Of trials that are not among the best."""
    most, spec = project.keep_models, study.spec
    if most is None or not spec.selects:
        return
    networks = kept_networks.beyond(project.store, study, spec.direction, most)

    def release() -> None:
        kept_networks.release_beyond(project.store, study, spec.direction, most)

    what = f"networks beyond the best {most}"
    yield from _network_leftovers(what, project, study, networks, release)


def _network_leftovers(
    what: str,
    project: Project,
    study: StudyRow,
    networks: Sequence[ReleasedNetwork],
    before: Callable[[], None] = lambda: None,
) -> Iterator[Leftover]:
    """`before`: what comes before the removal of each."""
    for network in networks:
        file = project.file(network.name)
        if file is None:
            continue

        def remove(network: ReleasedNetwork = network) -> bool:
            before()
            removed = remove_files(project.artifacts, [network])
            kept_networks.note_removed(project.store, study, removed)
            return bool(removed)

        place = f"{project.artifacts}/{network.name}"
        yield Leftover(what, place, file.size, remove, study.name)


def _unrecorded_networks(project: Project, study: StudyRow) -> Iterator[Leftover]:
    """Of attempts that were lost after they had written the file."""
    recorded = {network.path for network in saved_networks(project.store, study)}
    recorded |= {network.name for network in kept_networks.released(project.store, study)}
    for file in _ended_files(project, study, r"attempt-\d+\.(?!ckpt$)\w+"):
        if file.name not in recorded and _is_settled(file, _JUST_WRITTEN_S):
            yield _leftover("networks of lost attempts", project, study, file)


def _final_networks(project: Project, study: StudyRow) -> Iterator[Leftover]:
    """Of promotions that were refused or stopped an hour ago or earlier. The same command would go
    on with them, without training again."""
    if not is_identity(study.uuid):
        return
    for file in project.artifacts.files(f"{study.uuid}/promoted/*"):
        if not _is_settled(file, _CREATION_S):
            continue
        leftover = _leftover("final networks that were not promoted", project, study, file)

        def remove(leftover: Leftover = leftover) -> bool:
            lock = project.settings.checkpoints / study.uuid / PROMOTION_LOCK
            with exclusive_lock(lock) as is_held:  # else a promotion may be using it
                return is_held and leftover.remove()

        yield replace(leftover, remove=remove)


def _ended_files(project: Project, study: StudyRow, pattern: str) -> Iterator[StoredFile]:
    """The files of trials that have ended whose own names match the pattern."""
    unfinished = kept_networks.unfinished_numbers(project.store, study)
    for file in _trial_files(project, study):
        match = _TRIAL_FILE.fullmatch(file.name)
        assert match is not None
        is_wanted = re.fullmatch(pattern, match[2]) and not _PARTIAL.fullmatch(match[2])
        if is_wanted and int(match[1]) not in unfinished:
            yield file


def _trial_files(project: Project, study: StudyRow) -> Iterator[StoredFile]:
    """The files of the study's trials."""
    if is_identity(study.uuid):
        for file in project.artifacts.files(f"{study.uuid}/trial-*/*"):
            if _TRIAL_FILE.fullmatch(file.name):
                yield file


def _leftover(
    what: str, project: Project, study: StudyRow, file: StoredFile, has_ended: bool = True
) -> Leftover:
    """`has_ended`: its trial, in whose folder nobody writes any more."""
    name = file.name

    def remove() -> bool:
        if project.file(name) is None:
            return False
        project.artifacts.delete(name)
        if has_ended:
            remove_empty_folder(project.artifacts, name)
        return True

    return Leftover(what, f"{project.artifacts}/{name}", file.size, remove, study.name)


def _models(project: Project, study: StudyRow) -> Iterator[Leftover]:
    """MLflow's copies of networks that are not kept."""
    from tuner.tracking.kept_models import unneeded_models

    unneeded = set()
    if project.keep_models is not None and study.spec.selects:
        spec = study.spec
        beyond = kept_networks.beyond(project.store, study, spec.direction, project.keep_models)
        unneeded = {network.trial_id for network in beyond}
    for model in unneeded_models(project.settings.tracking_uri, project.store, study, unneeded):
        what = "MLflow models that are no longer kept"
        yield Leftover(what, model.uri, model.size, model.remove, study.name)


# Of the project as a whole


def _deleted_studies(project: Project) -> Iterator[Leftover]:
    """Folders of studies that this database had. `study delete --keep-networks` unmarks them."""
    store, artifacts = project.store, project.artifacts
    if identity.has_damaged_uuids(store):
        project.notes.append("the id of a study is damaged: folders of deleted studies are left")
        return
    own, study_uuids = identity.database_uuid(store), set(identity.study_uuids(store))
    others = []
    for uuid in filter(is_identity, artifacts.names("*")):
        if uuid in study_uuids:
            continue
        if own is None or _owner(artifacts, uuid) != own:
            others.append(uuid)
        elif (size := _unused_size(project, uuid)) is not None:

            def remove(uuid: str = uuid) -> bool:
                if uuid in identity.study_uuids(store) or _unused_size(project, uuid) is None:
                    return False
                sweep_study(project.settings, uuid)
                return not artifacts.names(f"{uuid}/*")

            yield Leftover("folders of deleted studies", f"{artifacts}/{uuid}", size, remove)
    if others:
        count = "1 folder is" if len(others) == 1 else f"{len(others)} folders are"
        project.notes.append(
            f"in {artifacts} {count} of no study of this database, perhaps of another one: left "
            f"alone ({', '.join(others[:3])}{', …' if len(others) > 3 else ''})"
        )


def _owner(artifacts: Artifacts, uuid: str) -> str | None:
    """The database to which the study's folder belongs, if it says so."""
    try:
        return artifacts.get(Artifact(f"{uuid}/{OWNER_FILE}")).read_text()
    except (ArtifactError, OSError, UnicodeDecodeError):
        return None


def _unused_size(project: Project, uuid: str) -> int | None:
    """The size of a study's files; None if one of them was written just now."""
    files = project.artifacts.files(f"{uuid}/**/*")
    if all(_is_settled(file, _JUST_WRITTEN_S) for file in files):
        return sum(file.size for file in files)
    return None


def _folder_size(folder: Path) -> int:
    if not folder.is_dir() or folder.is_symlink():
        return folder.lstat().st_size
    return sum(file.lstat().st_size for file in folder.rglob("*") if not file.is_dir())


def _newest_is_older(path: Path, seconds: float) -> bool:
    files = [path, *path.rglob("*")] if path.is_dir() else [path]
    return all(_is_older(file, seconds) for file in files if file.exists())


def _checks(project: Project) -> Iterator[Leftover]:
    """Files with which killed commands tried the store out."""
    artifacts = project.artifacts
    for pattern, seconds in _CHECKS.items():
        for file in artifacts.files(pattern):
            if not _is_settled(file, seconds):
                continue

            def remove(name: str = file.name) -> bool:
                artifacts.delete(name)
                if "/" in name:
                    remove_empty_folder(artifacts, name)
                return True

            yield Leftover("files of checks", f"{artifacts}/{file.name}", file.size, remove)


def _scratch(project: Project) -> Iterator[Leftover]:
    """Prepared data and sockets of this user's processes that have died."""
    sizes = {folder: _folder_size(folder) for folder in abandoned_scratch(project.settings)}
    for folder, size in sizes.items():

        def remove(folder: Path = folder) -> bool:
            for abandoned in abandoned_scratch(project.settings):
                if abandoned == folder:
                    delete_kept(folder)
            return not folder.exists()

        yield Leftover("scratch folders of dead processes", str(folder), size, remove)


def _kept_files(project: Project) -> Iterator[Leftover]:
    """Data from memory and code of notebooks that no study names, and what was half written of
    them."""
    if project.store.url.get_backend_name() != "sqlite":
        return  # of the current folder, which other databases may use too
    for kind in ("data", "code"):
        files = sorted(kept_folder(project.settings, kind).glob("*"))
        named = [file for file in files if KEPT_NAMES.fullmatch(f".tuner/{kind}/{file.name}")]
        partial = [file for file in files if _PARTIAL.fullmatch(file.name)]
        for file in unused_files(project.store, named):
            yield from _kept(f"kept {kind} of no study", project, file)
        for file in partial:
            yield from _kept("half-written files", project, file)


def _kept(what: str, project: Project, file: Path) -> Iterator[Leftover]:
    if not _newest_is_older(file, _CREATION_S):
        return

    def remove() -> bool:
        if not unused_files(project.store, [file]) or not _newest_is_older(file, _CREATION_S):
            return False
        delete_kept(file)
        return not file.exists()

    yield Leftover(what, str(file), _folder_size(file), remove)


def _decoded_images(project: Project) -> Iterator[Leftover]:
    """Of folders of images: made again when they are needed. A process that reads one keeps its
    open file."""
    for folder in unused_images(project.settings, _CREATION_S):

        def remove(folder: Path = folder) -> bool:
            if folder not in unused_images(project.settings, _CREATION_S):
                return False
            delete_kept(folder)
            return not folder.exists()

        yield Leftover("decoded images", str(folder), _folder_size(folder), remove)


FINDERS_OF_STUDY: tuple[Callable[[Project, StudyRow], Iterator[Leftover]], ...] = (
    _checkpoints,
    _own_folders,
    _half_written,
    _released_networks,
    _networks_beyond,
    _unrecorded_networks,
    _final_networks,
)
FINDERS_OF_PROJECT: tuple[Callable[[Project], Iterator[Leftover]], ...] = (
    _deleted_studies,
    _checks,
    _scratch,
    _kept_files,
    _decoded_images,
)
