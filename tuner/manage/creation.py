"""Creating studies: a wanted study is defined, checked and stored, or the existing one is taken."""

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from tuner.data import Dataset, imbalance_note, summarize_columns
from tuner.errors import CodeError, StudyError
from tuner.manage import own_networks
from tuner.manage.definition import class_weight_values, define_study
from tuner.manage.own_functions import check_function, describe_kind, with_kind
from tuner.manage.prior_knowledge import EarlierStudy, describe_prior, read_earlier_studies
from tuner.manage.search_methods import keep_methods
from tuner.manage.trust import code_of, require_trusted, trust_code
from tuner.manage.wanted_study import Wanted
from tuner.search_space import Space, SpaceFile, load_space
from tuner.search_space.parameters import FULL_PRECISION, TRAINING
from tuner.settings import Settings
from tuner.storage import Store, exists, studies
from tuner.storage.corrections import correct_study
from tuner.storage.studies import StudyRow, free_name, load_study
from tuner.study.spec import StudySpec
from tuner.study.study_differences import corrected_study, study_differences
from tuner.system.machine import driver_gpus
from tuner.system.names import check_experiment, check_name, command, in_command, make_name

_MAX_DIFFERENCES = 4


class Created(NamedTuple):
    """`is_new`: False for a study that had this name and definition before. `left_out`: parameters
    of the space that do not apply to these data. `corrected`: what has changed in the user's own
    files, and was taken into an existing study. `columns`: what the columns of a table were taken
    for, in a line. `notes`: on the data. `given`: what an own network is given. `kind`: what kind
    of function it is, in a line, "" for one that builds a network. `prior`: what it knows
    beforehand, a line each."""

    study: StudyRow
    is_new: bool
    left_out: tuple[str, ...] = ()
    corrected: tuple[str, ...] = ()
    columns: str = ""
    notes: tuple[str, ...] = ()
    given: str | None = None
    kind: str = ""
    prior: tuple[str, ...] = ()


def create_study(
    wanted: Wanted,
    settings: Settings,
    open_store: Callable[[], Store],
    tell: Callable[[str], None] = lambda text: None,
) -> Created:
    """Create the study and queue its first trials: baselines, or the grid. An existing study of
    that name and definition is left as it is; while no trial of it has finished, corrected files of
    the user are taken into it. The database is opened last, unless the study learns from earlier
    ones: a UsageError changes nothing. `tell`
    gets lines about an own network that is tried. Raises StudyError where the name belongs to a
    study with another definition."""
    check_names(wanted, settings)  # before an own network is tried, which takes seconds
    space = with_kind(load_space(wanted.space), settings)
    has_data = wanted.names_data or not wanted.is_network
    check_function(space, has_data=has_data, has_patience="patience" in wanted.lengths)
    space = space.override({**wanted.overrides, **wanted.lengths})
    datasets: list[Dataset] = []
    given: list[str] = []

    def check(spec: StudySpec, dataset: Dataset) -> None:
        datasets.append(dataset)
        given.extend(check_network(settings, spec, dataset, tell))

    earlier = _earlier_studies(wanted, settings, open_store)
    spec = define_study(space, wanted, settings, check=check, earlier=earlier)
    used = spec.space.varying()
    left_out = tuple(name for name in space.varying() if name not in used)
    created = create_defined_study(spec, wanted, settings, open_store)
    trust_own_code(spec, settings)
    created = created._replace(
        left_out=left_out,
        given=next(iter(given), None),
        kind=describe_kind(spec.space),
        prior=tuple(describe_prior(created.study.spec, earlier)),
    )
    return _with_notes(created, spec, datasets[0]) if datasets else created


def _earlier_studies(
    wanted: Wanted, settings: Settings, open_store: Callable[[], Store]
) -> tuple[EarlierStudy, ...]:
    """What the study learns from. Raises StudyError, before the data are read."""
    if not wanted.learn_from:
        return ()
    if not exists(settings.storage):  # opening would make it
        raise StudyError(f"unknown study {wanted.learn_from[0]!r}: there is no database yet")
    return read_earlier_studies(open_store(), wanted.learn_from, wanted.name)


def _with_notes(created: Created, spec: StudySpec, dataset: Dataset) -> Created:
    """With what the user should know of the data."""
    columns = summarize_columns(dataset.reports)
    weighs_classes = any(value != "none" for value in class_weight_values(spec.space))
    imbalance = imbalance_note(dataset, spec.metric, weighs_classes)
    precision = _precision_note(spec.space)
    notes = (*filter(None, [imbalance, precision]), *dataset.notes)
    return created._replace(columns=columns, notes=notes)


def _precision_note(space: Space) -> str | None:
    """What the user should know of a precision that is made for GPUs."""
    choices = TRAINING["precision"].choices
    narrow = [word for word in choices if word != FULL_PRECISION and space.takes("precision", word)]
    if not narrow or driver_gpus():
        return None
    return f"precision {', '.join(map(str, narrow))}: slower than float32 without a GPU"


def check_network(
    settings: Settings, spec: StudySpec, dataset: Dataset, tell: Callable[[str], None]
) -> list[str]:
    """Try the study's network, if it is a user's own. Returns a line on what the network is given.
    Raises NetworkError."""
    if ":" not in spec.space.network:
        return []
    return [own_networks.try_own_network(settings, spec, dataset, tell)]


def create_defined_study(
    spec: StudySpec, wanted: Wanted, settings: Settings, open_store: Callable[[], Store]
) -> Created:
    """Create the study of a definition that `define_study` has made."""
    first_trials = spec.first_trials()
    check_names(wanted, settings)
    store = open_store()
    existing = _find(store, wanted.name)
    while existing is None:
        if wanted.name is not None:
            check_name(wanted.name)
        name = wanted.name or free_name(store, default_name(wanted))
        try:
            return Created(
                studies.create_study(store, name, spec, wanted.experiment, first_trials), True
            )
        except StudyError:  # another command may have made it meanwhile
            existing = _find(store, wanted.name)
            is_taken = free_name(store, name) != name
            if existing is None and not (wanted.name is None and is_taken):
                raise
    wanted_spec = keep_methods(spec, wanted, existing.spec)
    return _take_existing(store, existing, wanted_spec, wanted.experiment)


def check_names(wanted: Wanted, settings: Settings) -> None:
    """Refuse names as far as that needs no database: an existing study may have an odd name. Raises
    a UsageError."""
    if wanted.experiment is not None:
        check_experiment(wanted.experiment)
    if wanted.name is not None and not exists(settings.storage):
        check_name(wanted.name)


def _find(store: Store, name: str | None) -> StudyRow | None:
    try:
        return load_study(store, name) if name is not None else None
    except StudyError:
        return None


def _take_existing(
    store: Store, study: StudyRow, spec: StudySpec, experiment: str | None
) -> Created:
    """The existing study, with the user's own files as they are now. Raises StudyError where it has
    another definition, or can no longer be corrected."""
    differences = study_differences(study.spec, spec)
    if study.experiment != (experiment or study.name):
        differences.append(
            f"MLflow experiment was {study.experiment}, is {experiment or study.name}"
        )
    elif differences and (corrected := corrected_study(study.spec, spec)) is not None:
        changes_data = corrected.fingerprint != study.spec.fingerprint
        done = correct_study(store, study, corrected.model_dump_json(), changes_data)
        if isinstance(done, StudyRow):
            return Created(done, is_new=False, corrected=tuple(differences))
        raise StudyError(_defined_otherwise(study, [*differences, done.reason]))
    if differences:
        raise StudyError(_defined_otherwise(study, differences))
    return Created(study, is_new=False)


def _defined_otherwise(study: StudyRow, differences: list[str]) -> str:
    lines = differences[:_MAX_DIFFERENCES]
    if more := len(differences) - len(lines):
        lines.append(f"and {more} more")
    return (
        f"study {study.name!r} exists with another definition: {'; '.join(lines)}; choose another "
        "name, or delete that study first: " + command("study", "delete", in_command(study.name))
    )


def default_name(wanted: Wanted) -> str:
    """Space and data, as in mlp-fashion_mnist. Without data that of the space, or file and
    function, as in forest-train."""
    if not wanted.names_data and (own := load_space(wanted.space)).function_kind.trains:
        path, _, function = own.network.rpartition(":")
        is_file = isinstance(wanted.space, str)
        parts = [_space_name(wanted.space)] if is_file else [Path(path).stem, function]
        return make_name(*(part.replace(".", "-") for part in parts))
    source = Path(wanted.data.source)
    # A folder may be given as . or ..
    data = source.name.partition(".")[0] or source.resolve().name
    return make_name(_space_name(wanted.space).replace(".", "-"), data.replace(".", "-"))


def _space_name(space: str | SpaceFile) -> str:
    """The name of its file; of a space made in Python that of its network."""
    if isinstance(space, str):
        return Path(space).stem
    return space.space.network.rpartition(":")[2]


def check_code(spec: StudySpec, settings: Settings, data: str | None = None) -> None:
    """Refuse to go on where the user's code has changed or may not run here, or the data are
    missing. `data`: where they lie now, if elsewhere. Raises a UsageError."""
    from tuner.runner import check_data  # creating a study does not need the loop

    require_trusted(spec, settings)
    if spec.data is not None:
        check_data(settings, spec, data)


def trust_own_code(spec: StudySpec, settings: Settings) -> None:
    """Let the files that a user has made a study of run on this machine, also once they are
    gone."""
    # Where that cannot be stored, the files themselves are still trusted.
    with contextlib.suppress(CodeError):
        trust_code(settings, [code.sha256 for code in code_of(spec)])
