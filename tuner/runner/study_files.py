"""The files of a search: the study's data, what its trials write, and a scratch folder.

A study's data may have moved: their fingerprint decides, not their place.
"""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from tuner.data import Dataset, Source, find_source, load_dataset, make_scratch_folder, parse_source
from tuner.data import scratch_folder as scratch_place
from tuner.errors import DatasetError, SpecError
from tuner.manage.trust import HAS_CHANGED, data_code
from tuner.runner.later_deletions import Deletion, at_once
from tuner.settings import Settings
from tuner.study.artifacts import (
    CHECKPOINT_PATTERNS,
    OWN_FOLDERS,
    Artifacts,
    artifacts_at,
    network_name,
    open_artifacts,
    trial_prefix,
)
from tuner.study.messages import Checkpoints
from tuner.study.spec import StudySpec
from tuner.system.temporary_folders import (
    TEMPORARY,
    abandoned,
    lock_folder,
    sweep,
    sweep_temporary,
)
from tuner.system.user_modules import read_modules

# Shorter than a loop that stops waits for an epoch (loop.CHECKPOINT_WAIT_S): a trial whose epochs
# take longer has a checkpoint of its last one.
CHECKPOINT_EVERY_S = 4.0


def search_log(root: Path, uuid: str) -> Path:
    """Where a study's searches log, and their workers print. `root`: the project's folder of
    networks."""
    return root / uuid / "search.log"


SAY_WHERE = "say where the data lie now: --data PATH"
# The file in a study's folder that says to which database the study belongs: databases may share a
# folder of networks.
OWNER_FILE = "database"
# In a study's folder: locked by the process that promotes one of its trials.
PROMOTION_LOCK = "promotion.lock"


def mark_owner(artifacts: Artifacts, study_uuid: str, database_uuid: str) -> None:
    """Note in the study's folder to which database it belongs. Without the note the folder is never
    cleaned up, no more: no error is raised."""
    name = f"{study_uuid}/{OWNER_FILE}"
    with suppress(OSError):
        if not artifacts.exists(name):
            artifacts.put(name, database_uuid.encode())


def sweep_study(settings: Settings, study_uuid: str, patterns: Sequence[str] = ()) -> None:
    """Delete a study's files, as `Artifacts.sweep` does: in the store, and its logs and locks on
    this machine where the store is elsewhere."""
    here = artifacts_at(settings.checkpoints.absolute())
    for artifacts in dict.fromkeys((open_artifacts(settings), here)):
        artifacts.sweep(study_uuid, patterns)


@dataclass(frozen=True)
class TrialFiles:
    """The names of the networks and checkpoints of a study's trials. `artifacts`: the project's
    store; `uuid`: the study's; `later`: does what the loop need not wait for.

    Each attempt has names of its own: one that was frozen, and taken over, overwrites nothing when
    it wakes."""

    artifacts: Artifacts
    uuid: str
    checkpoint_every_s: float = CHECKPOINT_EVERY_S
    later: Callable[[Deletion], None] = at_once

    def trial_prefix(self, number: int) -> str:
        """What the names of a trial's files begin with."""
        return trial_prefix(self.uuid, number)

    def network(self, number: int, attempt: int, suffix: str) -> str:
        return network_name(self.uuid, number, attempt, suffix)

    def checkpoints(
        self, number: int, attempt: int, known_epochs: int, parent: Checkpoints | None = None
    ) -> Checkpoints:
        """For an attempt that begins. `parent`: those of the trial that it goes on from."""
        artifacts = self.artifacts.below(self.trial_prefix(number))
        return Checkpoints(artifacts, attempt, known_epochs, self.checkpoint_every_s, parent)

    def forget(self, number: int) -> None:
        """Remove the checkpoints of a trial that has ended, and the folders of its own code."""
        self.later(partial(_forget, self.artifacts, self.trial_prefix(number)))


def _forget(artifacts: Artifacts, trial: str) -> None:
    for folder in OWN_FOLDERS:
        artifacts.sweep(f"{trial}/{folder}")
    artifacts.sweep(trial, CHECKPOINT_PATTERNS)


_PREFIX = "tuner-data-"
_OWNER = "owner"


def abandoned_scratch(settings: Settings) -> Iterator[Path]:
    """The scratch folders that killed searches of this user have left. Each is locked until the
    next one is asked for."""
    temporary = Path(tempfile.gettempdir())
    for place in dict.fromkeys((scratch_place(settings), temporary)):
        yield from abandoned(place, _PREFIX, _OWNER)
    for prefix in TEMPORARY:
        yield from abandoned(temporary, prefix)


@contextmanager
def scratch_folder(settings: Settings) -> Iterator[Path]:
    """A new folder, in which a search keeps the data for its workers; removed at the end. It lies
    beside the project, since the temporary folder is often in memory. Folders that killed searches
    left are removed now. Raises DatasetError where none can be made."""
    place = make_scratch_folder(settings)
    for each in {place, Path(tempfile.gettempdir())}:  # the latter where `place` failed
        sweep(each, _PREFIX, _OWNER)
    sweep_temporary()
    folder, owner = _make(place)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(owner)


def _make(place: Path) -> tuple[Path, int]:
    """The folder, and its owner's lock."""
    try:
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=place))
        owner = lock_folder(folder, _OWNER)
    except OSError as error:
        reason = error.strerror or error
        raise DatasetError(
            f"{place}: no folder for the prepared data can be made there ({reason}); set "
            "TUNER_SCRATCH to another folder"
        ) from error
    return folder, owner


def trained_on(settings: Settings, spec: StudySpec, data: str | None = None) -> Dataset:
    """The data as the study's trials see them. `data`: where they lie now, if not where they were
    when the study was created. Raises DatasetError when they are no longer the same data, CodeError
    where their code was tampered with."""
    data_code(spec)
    dataset = load_dataset(
        spec.known_data, settings, check_data(settings, spec, data), wanted=spec.fingerprint
    )
    check_fingerprint(spec.fingerprint, dataset.fingerprint, data or spec.data_source)
    return dataset.for_test() if spec.held_out == "test" else dataset


def check_fingerprint(expected: str, actual: str, source: str) -> None:
    """Raises DatasetError for data that are not the study's."""
    if actual != expected:
        raise DatasetError(
            f"{source} has changed since the study was created (fingerprint {actual[:12]}, was "
            f"{expected[:12]}), or is other data; scores would not be comparable: create a new "
            "study, or say where the study's data lie now: --data PATH"
        )


def check_data(settings: Settings, spec: StudySpec, data: str | None = None) -> list[Source]:
    """Where the study's data may lie. Only a user's own code is read, which must be that of the
    study. Raises DatasetError where there is nothing, SpecError for other code."""
    own = spec.known_data.source
    try:
        sources = find_source(data or own, settings)
    except DatasetError as error:
        raise DatasetError(f"{error}; {SAY_WHERE}") from error
    # A path alone is enough: the study knows which column, or which function.
    selector = parse_source(own).selector
    sources = [_selecting(source, selector) for source in sources]
    return sources if spec.data_path is None else _unchanged(sources, spec, spec.data_path)


def _selecting(source: Source, selector: str) -> Source:
    if source.selector or not source.selects or not selector:
        return source
    text = f"{source.text.removesuffix(':')}:{selector}"
    return replace(source, text=text, selector=selector)


def _unchanged(sources: Sequence[Source], spec: StudySpec, path: str) -> list[Source]:
    """Those whose file, and the modules that it imports from its folder, are the study's."""
    changed = {source: _changed(source.code, spec, path) for source in sources if source.code}
    same = [source for source, files in changed.items() if not files]
    if changed and not same:
        first = next(iter(changed.values()))[0]
        raise SpecError(f"{first} {HAS_CHANGED}")
    return same or list(sources)


def _changed(file: Path, spec: StudySpec, path: str) -> list[Path]:
    try:
        text = file.read_bytes()
        if _sha256(text) != spec.code[path].sha256:
            return [file]
        if not spec.keeps_modules:
            return []
        here = {name: _sha256(module) for name, module in read_modules(file, text).items()}
    except OSError as error:
        raise DatasetError(f"{file}: {error.strerror or error}") from error
    stored = {name: code.sha256 for name, code in spec.modules_of(path).items()}
    names = sorted(here.keys() | stored.keys())
    return [file.parent / name for name in names if here.get(name) != stored.get(name)]


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
