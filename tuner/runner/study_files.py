"""The data of a study, found again: the fingerprint decides, not where they lie.

Where a study's trials keep their files: networks, and checkpoints while they train.

The folder in which a search keeps its data for its workers: beside the project, since the
temporary folder is often memory. A killed search cannot remove its own: the next one does.

Putting a study right that dead loops have left, without running it.
"""

import contextlib
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import optuna

from tuner.data import Dataset, Source, find_source, load_dataset, make_scratch_folder, parse_source
from tuner.errors import DatasetError, SpecError
from tuner.manage.trust import HAS_CHANGED, data_code
from tuner.runner.trial_writer import Repaired, TrialBook
from tuner.settings import Settings
from tuner.storage import Store, leases
from tuner.storage.leases import LeaseKeeper
from tuner.storage.studies import StudyRow
from tuner.study.artifacts import Artifact
from tuner.study.messages import Checkpoints
from tuner.study.spec import StudySpec
from tuner.system.temporary_folders import lock_folder, sweep, sweep_temporary
from tuner.system.user_modules import read_modules
from tuner.workers import Saved

# Less than a loop that stops waits for an epoch (loop.CHECKPOINT_WAIT_S): what takes longer than
# that has a checkpoint of its last epoch.
CHECKPOINT_EVERY_S = 4.0
# What a killed writer leaves half written, too.
_CHECKPOINTS = ("*.ckpt", "*.part")


def workers_log(root: Path, uuid: str) -> Path:
    """What the workers of a study print. `root`: the project's folder of networks."""
    return root / uuid / "workers.log"


@dataclass(frozen=True)
class TrialFiles:
    """`root`: the project's folder of networks; `uuid`: the study's. Each attempt has names of its
    own, so that one that was taken over while it was frozen overwrites nothing when it wakes."""

    root: Path
    uuid: str
    checkpoint_every_s: float = CHECKPOINT_EVERY_S

    def of(self, number: int) -> Path:
        return (self.root / self.uuid / f"trial-{number}").absolute()

    def network(self, number: int, attempt: int) -> Path:
        return self.of(number) / f"attempt-{attempt}.keras"

    def saved(self, message: Saved) -> Artifact:
        """What SQL keeps of a network that a worker has saved."""
        path = message.path.relative_to(self.root.absolute()).as_posix()
        return Artifact(path, message.size, message.sha256)

    def checkpoints(self, number: int, attempt: int, known_epochs: int) -> Checkpoints:
        """Of an attempt that begins."""
        return Checkpoints(self.of(number), attempt, known_epochs, self.checkpoint_every_s)

    def forget(self, number: int) -> None:
        """Remove the checkpoints of a trial that has ended."""
        folder = self.of(number)
        # A file that cannot be removed costs some disk space, and nothing else.
        with contextlib.suppress(OSError):
            for file in [file for form in _CHECKPOINTS for file in folder.glob(form)]:
                file.unlink(missing_ok=True)
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()


_PREFIX = "tuner-data-"
_OWNER = "owner"


@contextmanager
def scratch_folder(settings: Settings) -> Iterator[Path]:
    """A new folder, removed at the end; those of searches that have died are removed now. Raises
    DatasetError where none can be made."""
    place = make_scratch_folder(settings)
    for each in {place, Path(tempfile.gettempdir())}:  # there they are when `place` fails
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
    """The data as the study's trials see them. `data`: where they lie now, if that is not where the
    study was told. Raises DatasetError when they are no longer those the study was created with,
    CodeError where their code was tampered with."""
    data_code(spec)
    dataset = load_dataset(
        spec.data, settings, check_data(settings, spec, data), wanted=spec.fingerprint
    )
    check_fingerprint(spec.fingerprint, dataset.fingerprint, data or spec.data.source)
    return dataset.for_test() if spec.held_out == "test" else dataset


def check_fingerprint(wanted: str, found: str, source: str) -> None:
    """Raises DatasetError for data that are not the study's."""
    if found != wanted:
        raise DatasetError(
            f"{source} has changed since the study was created (fingerprint {found[:12]}, was "
            f"{wanted[:12]}), or is other data; scores would not be comparable: create a new "
            "study, or say where the study's data lie now: --data PATH"
        )


def check_data(settings: Settings, spec: StudySpec, data: str | None = None) -> list[Source]:
    """Where the study's data may lie. Nothing is read but a user's own code, which must be that of
    the study. Raises DatasetError where there is nothing, SpecError for other code."""
    try:
        found = find_source(data or spec.data.source, settings)
    except DatasetError as error:
        raise DatasetError(f"{error}; say where the data lie now: --data PATH") from error
    # A path alone is enough: which column, or which function, the study knows.
    selector = parse_source(spec.data.source).selector
    found = [_selecting(source, selector) for source in found]
    return found if spec.data_path is None else _unchanged(found, spec, spec.data_path)


def _selecting(source: Source, selector: str) -> Source:
    if source.selector or not source.selects or not selector:
        return source
    text = f"{source.text.removesuffix(':')}:{selector}"
    return replace(source, text=text, selector=selector)


def _unchanged(found: Sequence[Source], spec: StudySpec, path: str) -> list[Source]:
    """Those whose file, and the modules that it imports from its folder, are the study's."""
    changed = {source: _changed(source.code, spec, path) for source in found if source.code}
    same = [source for source, files in changed.items() if not files]
    if changed and not same:
        first = next(iter(changed.values()))[0]
        raise SpecError(f"{first} {HAS_CHANGED}")
    return same or list(found)


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


def repair(store: Store, study: StudyRow) -> Repaired:
    """What each start of `tuner optimize` does first. Loops whose lease holds are left alone."""
    lease = leases.open_lease(store, study, begins_trials=False)
    optuna_study = optuna.load_study(study_name=study.name, storage=store.optuna)
    book = TrialBook(store, optuna_study, study.spec, lease)
    try:
        # There may be thousands: the lease is to last until the last one.
        with store.asking_optuna(), LeaseKeeper(store, lease):
            return book.repair()
    finally:
        book.close()
