"""Creating and deleting studies: a request becomes a StudySpec, data and code looked at once."""

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError

from tuner.algorithms.pruners import check_pruner
from tuner.algorithms.samplers import check_sampler, settled_sampler
from tuner.data import Dataset, Source, find_source, in_brief, load_dataset, parse_source
from tuner.errors import (
    ArtifactError,
    CodeError,
    DatasetError,
    NetworkError,
    SpaceError,
    SpecError,
    StudyError,
    UsageError,
)
from tuner.manage import own_networks
from tuner.manage.trust import code_of, find_code, require_trusted, trust
from tuner.search_space import Space, SpaceFile, load_space
from tuner.search_space.parameter_types import sort_by_similarity
from tuner.settings import Settings
from tuner.storage import Store, exists, leases
from tuner.storage.attempt_rows import saved_networks
from tuner.storage.corrections import correct_study
from tuner.storage.damage import is_identity
from tuner.storage.studies import StudyRow, create_study, delete_study, free_name, load_study
from tuner.study.artifacts import CHECKPOINT_PATTERNS, Artifact, open_artifacts
from tuner.study.fitting import fitted, objective
from tuner.study.messages import Direction, HeldOut
from tuner.study.metrics import direction_of
from tuner.study.spec import (
    READING,
    Choice,
    CodeFile,
    DataSpec,
    StudySpec,
    beside,
)
from tuner.system.names import check_experiment, check_name, command, in_command, make_name
from tuner.system.user_modules import read_modules

_MOST_DIFFERENCES = 4
_LOOK_S = 0.5
# How long a study that is being deleted is closed to searches, should that command be killed.
_DELETING_S = 600.0


@dataclass(frozen=True)
class Wanted:
    """What `tuner study create` was asked for; None means the default."""

    name: str | None = None
    space: str = "mlp"
    data: DataSpec = field(default_factory=DataSpec)
    sampler: Choice = field(default_factory=lambda: Choice(name="tpe"))
    pruner: Choice = field(default_factory=lambda: Choice(name="hyperband"))
    overrides: Mapping[str, object] = field(default_factory=dict)
    metric: str | None = None
    direction: Direction | None = None
    seed: int = 0
    experiment: str | None = None
    held_out: HeldOut = "val"


# What a space's file may say of its data: `columns` have a section of their own, and in which way
# files are read is no choice.
_DATA_KEYS = tuple(name for name in DataSpec.model_fields if name not in ("columns", "reading"))


def data_spec(**values: Any) -> DataSpec:
    """A DataSpec from options; those that are None keep their defaults. Raises SpecError."""
    try:
        return DataSpec(**{name: value for name, value in values.items() if value is not None})
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(key) for key in first["loc"])
        raise SpecError(f"{where}: {first['msg']}, got {first['input']!r}") from error


def file_data(file: SpaceFile, seed: int, **options: Any) -> DataSpec:
    """The data that a space's file means, with the options that are not None in place of its own
    keys; of columns both count. `seed`: of the split, where the file fixes none. Raises a
    UsageError."""
    said: dict[str, Any] = {"seed": seed, **file.data}
    try:
        _check_keys(file.data)
        data_spec(**said)
    except SpecError as error:
        raise SpaceError(f"{file.source}: data: {error}") from error
    options["columns"] = file.columns | (options.get("columns") or {})
    return data_spec(**said | {key: value for key, value in options.items() if value is not None})


def _check_keys(data: Mapping[str, object]) -> None:
    for key in data:
        if key not in _DATA_KEYS:
            known = ", ".join(sort_by_similarity(key, _DATA_KEYS))
            raise SpecError(f"{key} is no known key; known: {known}")


def define(
    space: Space,
    wanted: Wanted,
    settings: Settings,
    sources: Sequence[Source] = (),
    fingerprint: str | None = None,
    kept: StudySpec | None = None,
    check: Callable[[StudySpec, Dataset], None] = lambda spec, dataset: None,
) -> StudySpec:
    """The spec of a study of this space, everything checked and the data loaded; the wanted file
    and overrides are not looked at. `sources`, `fingerprint`: as `load_dataset` takes them. `kept`:
    the study whose network it is, with the files that it keeps. `check` is called at the end.
    Raises a UsageError."""
    sampler = settled_sampler(wanted.sampler)
    check_sampler(sampler, space)
    sources = sources or find_source(wanted.data.source, settings)
    code = _user_code(space, wanted.data, sources[0], settings, kept)
    is_own = ":" in space.network
    # Only a study's spec says which network it is for: its scaling is settled here.
    raw_integers = is_own and wanted.data.reading == READING
    dataset = load_dataset(wanted.data, settings, sources, fingerprint, raw_integers)
    space = fitted(space, dataset.task, dataset.input_shape)
    metric = objective(space, dataset.task, wanted.metric, wanted.held_out)
    validation = len(dataset.validation) if wanted.held_out == "test" else 0
    spec = StudySpec(
        space=space,
        data=_as_loaded(wanted.data, dataset, raw_integers),
        fingerprint=dataset.fingerprint,
        train_rows=len(dataset.train) + validation,
        task=dataset.task,
        sampler=sampler,
        pruner=wanted.pruner,
        metric=metric,
        direction=wanted.direction or direction_of(metric),
        seed=wanted.seed,
        held_out=wanted.held_out,
        code=code,
    )
    check_pruner(spec.pruner, spec.max_step, spec.direction)
    check(spec, dataset)
    return spec


def _as_loaded(data: DataSpec, dataset: Dataset, raw_integers: bool) -> DataSpec:
    """The data as the study keeps them: with their task, and with the scaling of integers that are
    left raw for an own network. Whoever reads them again need not know which network it is for."""
    update: dict[str, object] = {"task": dataset.task}
    if raw_integers and dataset.scaling.method == "none":
        update["scaling"] = "none"
    return data.model_copy(update=update)


class Created(NamedTuple):
    """`is_new`: False for a study that had that name and definition before. `left_out`: what the
    space searches and these data have no use for. `corrected`: what has changed in the user's own
    files, and was taken into a study that was there. `columns`: what the columns of a
    table were taken for, in a line; `notes` on the data. `given`: what an own network is given."""

    study: StudyRow
    is_new: bool
    left_out: tuple[str, ...] = ()
    corrected: tuple[str, ...] = ()
    columns: str = ""
    notes: tuple[str, ...] = ()
    given: str | None = None


def create(
    wanted: Wanted,
    settings: Settings,
    open_store: Callable[[], Store],
    tell: Callable[[str], None] = lambda text: None,
) -> Created:
    """Create the study and queue its first trials: baselines, or the grid. A study that has the
    name already is left as it is; only while no trial of it has finished, corrected files of the
    user's are taken. The database is opened last, so that a UsageError leaves nothing half-made.
    `tell` gets lines about an own network that is tried. Raises StudyError where the name belongs
    to a study that is defined otherwise."""
    check_names(wanted, settings)  # before an own network is tried, which takes seconds
    space = load_space(wanted.space).override(wanted.overrides)
    datasets: list[Dataset] = []
    given: list[str] = []

    def check(spec: StudySpec, dataset: Dataset) -> None:
        datasets.append(dataset)
        given.extend(check_network(settings, spec, dataset, tell))

    spec = define(space, wanted, settings, check=check)
    kept = spec.space.varying()
    left_out = tuple(name for name in space.varying() if name not in kept)
    created = create_as(spec, wanted, settings, open_store)
    trust_own(spec, settings)
    columns, notes = in_brief(datasets[0].reports), datasets[0].notes
    return created._replace(
        left_out=left_out, columns=columns, notes=notes, given=next(iter(given), None)
    )


def check_network(
    settings: Settings, spec: StudySpec, dataset: Dataset, tell: Callable[[str], None]
) -> list[str]:
    """Try the study's network, if it is a user's own; what that is given, in a line. Raises
    NetworkError."""
    if ":" not in spec.space.network:
        return []
    return [own_networks.try_own_network(settings, spec, dataset, tell)]


def create_as(
    spec: StudySpec, wanted: Wanted, settings: Settings, open_store: Callable[[], Store]
) -> Created:
    """The same for a definition that is at hand."""
    first_trials = spec.first_trials()
    check_names(wanted, settings)
    store = open_store()
    found = _find(store, wanted.name)
    while found is None:
        if wanted.name is not None:
            check_name(wanted.name)
        name = wanted.name or free_name(store, default_name(wanted))
        try:
            return Created(create_study(store, name, spec, wanted.experiment, first_trials), True)
        except StudyError:  # another command may have made it meanwhile
            found = _find(store, wanted.name)
            is_taken = free_name(store, name) != name
            if found is None and not (wanted.name is None and is_taken):
                raise
    return _again(store, found, spec, wanted.experiment)


def check_names(wanted: Wanted, settings: Settings) -> None:
    """Refuse names as far as that needs no database: a study that is there may have an odd one.
    Raises a UsageError."""
    if wanted.experiment is not None:
        check_experiment(wanted.experiment)
    if wanted.name is not None and not exists(settings.storage):
        check_name(wanted.name)


def _find(store: Store, name: str | None) -> StudyRow | None:
    try:
        return load_study(store, name) if name is not None else None
    except StudyError:
        return None


def _again(store: Store, study: StudyRow, spec: StudySpec, experiment: str | None) -> Created:
    """A study that exists, with the user's own files as they are now. Raises StudyError where it is
    defined otherwise, or can no longer be corrected."""
    differences = spec.differences(study.spec)
    if study.experiment != (experiment or study.name):
        differences.append(
            f"MLflow experiment was {study.experiment}, is {experiment or study.name}"
        )
    elif differences and (corrected := spec.correcting(study.spec)) is not None:
        changes_data = corrected.fingerprint != study.spec.fingerprint
        done = correct_study(store, study, corrected.model_dump_json(), changes_data)
        if isinstance(done, StudyRow):
            return Created(done, False, corrected=tuple(differences))
        raise StudyError(_defined_otherwise(study, [*differences, done.reason]))
    if differences:
        raise StudyError(_defined_otherwise(study, differences))
    return Created(study, False)


def _defined_otherwise(study: StudyRow, differences: list[str]) -> str:
    told = differences[:_MOST_DIFFERENCES]
    if more := len(differences) - len(told):
        told.append(f"and {more} more")
    return (
        f"study {study.name!r} exists with another definition: {'; '.join(told)}; choose another "
        "name, or delete that study first: " + command("study", "delete", in_command(study.name))
    )


def default_name(wanted: Wanted) -> str:
    """Space and data, as in mlp-fashion_mnist."""
    source = Path(wanted.data.source)
    # A folder may be given as . or ..
    data = source.name.partition(".")[0] or source.resolve().name
    return make_name(Path(wanted.space).stem.replace(".", "-"), data.replace(".", "-"))


def _user_code(
    space: Space,
    data: DataSpec,
    source: Source,
    settings: Settings,
    kept: StudySpec | None,
) -> dict[str, CodeFile]:
    """The user's own files, kept with the study, and what they import from their folders."""
    files: dict[str, CodeFile] = {}
    path, is_own, _ = space.network.rpartition(":")
    if is_own:
        file = find_code(path, settings) or Path(path)
        files |= _kept_files(path, kept, file) or _with_modules(path, file, NetworkError)
    if source.code is not None:
        path = str(parse_source(data.source).path)
        for name, code in _with_modules(path, source.code, DatasetError).items():
            if files.setdefault(name, code) != code:
                raise DatasetError(
                    f"the network and the data import different files by the name of {name}: "
                    "rename one of them"
                )
    return files


def _kept_files(path: str, kept: StudySpec | None, file: Path) -> dict[str, CodeFile]:
    """A network's file and its modules as a study keeps them; the modules of one that keeps none
    are those in the folder."""
    if kept is None or path not in kept.code:
        return {}
    code = kept.code[path]
    if not kept.keeps_modules:
        return {path: code} | _modules(path, file, code, NetworkError)
    return {path: code} | {beside(path, m): c for m, c in kept.modules_of(path).items()}


def _with_modules(path: str, file: Path, error_class: type[UsageError]) -> dict[str, CodeFile]:
    """A file of the user's and the modules beside it, by how they are named."""
    with _reading_code(path, error_class):
        code = CodeFile.of(file.read_bytes())
    return {path: code} | _modules(path, file, code, error_class)


def _modules(
    path: str, file: Path, code: CodeFile, error_class: type[UsageError]
) -> dict[str, CodeFile]:
    files: dict[str, CodeFile] = {}
    with _reading_code(path, error_class):
        contents = read_modules(file, code.text.encode())
    for module, content in contents.items():
        name = beside(path, module)
        with _reading_code(name, error_class):
            files[name] = CodeFile.of(content)
    return files


@contextlib.contextmanager
def _reading_code(path: str, error_class: type[UsageError]) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        named = error.filename if isinstance(error.filename, str) else path
        raise error_class(f"{named}: {error.strerror or error}") from error
    except SpecError as error:
        raise error_class(f"{path}: {error}") from error


def check_code(spec: StudySpec, settings: Settings, data: str | None = None) -> None:
    """Refuse to go on with user code that has changed since or may not run here, or without data.
    `data`: where these lie now, if elsewhere. Raises a UsageError."""
    from tuner.runner import check_data  # creating a study needs none of the loop

    require_trusted(spec, settings)
    check_data(settings, spec, data)


def trust_own(spec: StudySpec, settings: Settings) -> None:
    """What a user has made a study of may run on this machine, also once the file is gone."""
    # Where that cannot be remembered, the file itself still speaks for it.
    with contextlib.suppress(CodeError):
        trust(settings, [code.sha256 for code in code_of(spec)])


def remove(
    settings: Settings, store: Store, study: StudyRow, keep_networks: bool, force: bool
) -> None:
    """Delete a study's rows and, unless told to keep them, the networks that it saved in this
    project under its id. Its MLflow runs: `tracking.remove`. Raises StudyError while a search has
    it."""
    delete_study(store, study, even_while_searched=force)
    if not is_identity(study.uuid):  # a damaged one, such as "../..", names a folder of others
        return
    artifacts = open_artifacts(settings)
    patterns = [f"trial-*/{pattern}" for pattern in CHECKPOINT_PATTERNS] if keep_networks else []
    artifacts.sweep(study.uuid, patterns)


def networks_left(settings: Settings, store: Store, study: StudyRow) -> list[Path]:
    """The networks that an earlier version saved under the study's name. They carry no id, and may
    be another database's: deleting the study leaves them."""
    artifacts = open_artifacts(settings)
    files: list[Path] = []
    for artifact in saved_networks(store, study):
        with contextlib.suppress(ArtifactError):
            if not artifact.path.startswith(f"{study.uuid}/"):
                files.append(artifacts.get(Artifact(artifact.path)))
    return files


@contextlib.contextmanager
def kept_from_searches(
    store: Store, study: StudyRow, force: bool, say: Callable[[str], None]
) -> Iterator[None]:
    """Inside, no search writes the study, and none begins. Refused while one does, or with `force`
    it is asked to stop, and waited for at most as long as a lease lasts. Left by an error, the
    study may be searched again. Raises StudyError."""
    _refuse_if_searched(store, study, force)
    leases.ask_to_stop(store, study, _DELETING_S)
    try:
        if searching := leases.holders(store, study):
            _refuse_if_searched(store, study, force)  # one that has begun just now
            say(f"asking the search to stop: {', '.join(map(str, searching))}")
            deadline = time.monotonic() + leases.LEASE_S
            while leases.holders(store, study) and time.monotonic() < deadline:
                time.sleep(_LOOK_S)
        yield
    except BaseException:
        leases.ask_to_stop(store, study, 0.0)
        raise


def _refuse_if_searched(store: Store, study: StudyRow, force: bool) -> None:
    searching = leases.holders(store, study)
    if searching and not force:
        who = ", ".join(map(str, searching))
        raise StudyError(
            f"study {study.name!r} is being searched by {who}; stop that search, or delete the "
            "study all the same: " + command("study", "delete", in_command(study.name), "--force")
        )
