"""Creating studies: a request becomes a StudySpec, once its data and code have been checked."""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple, cast, get_args

from pydantic import ValidationError

from tuner.algorithms.pruners import check_pruner
from tuner.algorithms.samplers import check_sampler, check_several, settled_sampler
from tuner.data import (
    Dataset,
    Source,
    check_class_weights,
    find_source,
    imbalance_note,
    load_dataset,
    summarize_columns,
)
from tuner.errors import (
    CodeError,
    MetricError,
    SpaceError,
    SpecError,
    StudyError,
)
from tuner.manage import own_networks
from tuner.manage.own_functions import (
    Objective,
    check_function,
    check_function_space,
    check_no_data,
    default_pruner,
    describe_kind,
    reported_objective,
    returned_objectives,
    with_kind,
)
from tuner.manage.stored_code import code_to_store, local_files_to_store
from tuner.manage.stored_functions import user_metrics
from tuner.manage.trust import code_of, require_trusted, trust_code
from tuner.manage.wanted_metrics import (
    WantedMetrics,
    check_metrics,
    read_metrics,
)
from tuner.search_space import Space, SpaceFile, load_file, load_network, load_space
from tuner.search_space.function_kinds import FunctionKind
from tuner.search_space.parameter_types import sort_by_similarity
from tuner.search_space.parameters import FULL_PRECISION, NETWORKS, TRAINING
from tuner.search_space.ranges import Choices
from tuner.settings import Settings
from tuner.storage import Store, exists, studies
from tuner.storage.corrections import correct_study
from tuner.storage.studies import StudyRow, free_name, load_study
from tuner.study.fitting import choose_objective, fit_space
from tuner.study.messages import Direction, HeldOut
from tuner.study.metrics import Task, ask_direction, metric_named, name_of
from tuner.study.spec import (
    READING,
    Choice,
    DataSpec,
    StudySpec,
)
from tuner.system.machine import driver_gpus
from tuner.system.names import check_experiment, check_name, command, in_command, make_name
from tuner.values import Scalar, shown

_MAX_DIFFERENCES = 4
_MOST_SKIPPED = 1000  # names of broken images that a study stores


@dataclass(frozen=True)
class Wanted:
    """What `tuner study create` was asked for; None means the default. `names_data`: whether the
    data were named; a function that trains by itself gets none otherwise. `is_network`: only a
    network was named, so that no data follow from a space. `lengths`: epochs and patience.
    `metric`, and each of `record`: a name ("val_auc") or "my_file.py:function"."""

    name: str | None = None
    space: str | SpaceFile = "mlp"
    data: DataSpec = field(default_factory=DataSpec)
    names_data: bool = True
    is_network: bool = False
    sampler: Choice = field(default_factory=lambda: Choice(name="tpe"))
    pruner: Choice | None = None
    overrides: Mapping[str, object] = field(default_factory=dict)
    lengths: Mapping[str, int] = field(default_factory=dict)
    metric: str | None = None
    record: tuple[str, ...] = ()
    direction: Direction | None = None
    further_directions: tuple[Direction, ...] = ()
    seed: int = 0
    experiment: str | None = None
    held_out: HeldOut = "val"


def wanted_study(
    name: str | None = None,
    *,
    network: str | None = None,
    function_kind: FunctionKind | None = None,
    space: str | SpaceFile | None = None,
    sampler: str = "tpe",
    sampler_options: Mapping[str, Scalar] | None = None,
    pruner: str | None = None,
    pruner_options: Mapping[str, Scalar] | None = None,
    params: Mapping[str, object] | None = None,
    epochs: int | None = None,
    patience: int | None = None,
    metric: str | None = None,
    record: Iterable[str] = (),
    direction: str | Sequence[str] | None = None,
    seed: int = 0,
    experiment: str | None = None,
    data: str | None = None,
    **data_options: Any,
) -> Wanted:
    """What a study is to be, from the options of `tuner study create`; None means the default.
    `network`: in place of the space's, or with a space of its own. `function_kind`: what it is,
    where that is known otherwise than by its file. `params`: fixed values.
    `data_options`: the other fields of a DataSpec. Raises a UsageError."""
    directions = _directions(direction)
    if pruner is None and pruner_options:
        pruner = "hyperband"
    if network is not None:
        space = load_network(network, space, function_kind)
    space = "mlp" if space is None else space
    file = load_file(space)
    lengths = {"epochs": epochs, "patience": patience}
    return Wanted(
        name=name,
        space=space,
        data=file_data(file, seed, source=data, **data_options),
        names_data=data is not None or "source" in file.data,
        is_network=network is not None,
        sampler=_choice("sampler", sampler, sampler_options),
        pruner=None if pruner is None else _choice("pruner", pruner, pruner_options),
        overrides=dict(params or {}),
        lengths={name: length for name, length in lengths.items() if length is not None},
        metric=metric,
        record=tuple(record),
        direction=directions[0] if directions else None,
        further_directions=directions[1:],
        seed=seed,
        experiment=experiment,
    )


def _directions(given: str | Sequence[str] | None) -> tuple[Direction, ...]:
    """The directions, one for each objective; texts may have several with commas between."""
    texts = [] if given is None else [given] if isinstance(given, str) else list(given)
    words = [word.strip() for text in texts for word in str(text).split(",")]
    for word in words:
        if word not in get_args(Direction):
            raise SpecError(f"direction: must be maximize or minimize, got {shown(word)}")
    return tuple(cast(Direction, word) for word in words)


def _choice(what: str, name: str, options: Mapping[str, Scalar] | None) -> Choice:
    try:
        return Choice(name=name, options=dict(options or {}))
    except (ValidationError, TypeError, ValueError) as error:
        with_options = f" with {shown(options)}" if options else ""
        raise SpecError(
            f"{what}: must be a name with options by name, got {shown(name)}{with_options}"
        ) from error


# What a space's file may say of its data. `columns` have a section of their own; `reading` records
# a version of tuner, and `skipped` what was found: they cannot be chosen.
_NO_KEYS = ("columns", "reading", "skipped")
_DATA_KEYS = tuple(name for name in DataSpec.model_fields if name not in _NO_KEYS)


def data_spec(**values: Any) -> DataSpec:
    """A DataSpec from options; those that are None keep their defaults. Raises SpecError."""
    try:
        return DataSpec(**{name: value for name, value in values.items() if value is not None})
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(key) for key in first["loc"])
        reason = first["msg"].replace("Input should be", "must be")
        raise SpecError(f"{where}: {reason}, got {shown(first['input'])}") from error


def file_data(file: SpaceFile, seed: int, **options: Any) -> DataSpec:
    """The data that a space's file names. Options that are not None replace its keys; columns are
    merged. `seed`: of the split, unless the file sets one. Raises a UsageError."""
    try:
        _check_keys(file.data)
        data_spec(**file.data)
    except SpecError as error:
        raise SpaceError(f"{file.source}: data: {error}") from error
    options["columns"] = file.columns | (options.get("columns") or {})
    chosen = {key: value for key, value in options.items() if value is not None}
    return data_spec(**{"seed": seed, **file.data, **chosen})


def _check_keys(data: Mapping[str, object]) -> None:
    for key in data:
        if key not in _DATA_KEYS:
            keys = ", ".join(sort_by_similarity(key, _DATA_KEYS))
            raise SpecError(f"{key} is no known key; known: {keys}")


def define_study(
    space: Space,
    wanted: Wanted,
    settings: Settings,
    sources: Sequence[Source] = (),
    fingerprint: str | None = None,
    subject: StudySpec | None = None,
    check: Callable[[StudySpec, Dataset], None] = lambda spec, dataset: None,
) -> StudySpec:
    """The spec of a study of this space, after everything was checked and the data loaded;
    `wanted.space` and `wanted.overrides` are ignored. `sources`, `fingerprint`: as `load_dataset`
    takes them. `subject`: the study whose network and metrics it uses, as stored. `check` is
    called at the end. Raises a UsageError."""
    space = with_kind(space, settings, subject)
    check_function_space(space)
    if wanted.further_directions and not space.function_kind.trains:
        _objective_of(space, wanted)  # says why there is only one
    check_sampler(sampler := settled_sampler(wanted.sampler), space)
    if space.function_kind.trains:
        return _define_own_training(space, wanted, settings, sampler)
    sources = sources or find_source(wanted.data.source, settings)
    metrics = _wanted_metrics(wanted, subject)
    code = code_to_store(space, wanted.data, sources[0], settings, subject, metrics.paths)
    # Only a study's spec says which network it is for: its scaling is settled here.
    raw_integers = ":" in space.network and wanted.data.reading == READING
    wanted = replace(wanted, data=_for_network(wanted.data, space.network))
    dataset = load_dataset(wanted.data, settings, sources, fingerprint, raw_integers)
    space = _fit_to_data(space, dataset)
    heads = dataset.head_tasks
    metric = _objective(space, wanted, dataset.task, metrics, heads)
    spec = StudySpec(
        space=space,
        **_data_facts(wanted, dataset, raw_integers),
        sampler=sampler,
        pruner=wanted.pruner or default_pruner(space.function_kind, 1),
        metric=metric,
        direction=wanted.direction or metrics.direction(metric, dataset.head_tasks),
        seed=wanted.seed,
        held_out=wanted.held_out,
        record=metrics.recorded(metric),
        own_metrics=metrics.own,
        code=code,
        local_files=local_files_to_store(space, code, settings, subject),
    )
    check_pruner(spec.pruner, spec.max_step, spec.direction)
    # Metrics of a stored study were tried when it was created.
    check_metrics(spec, dataset, user_metrics(settings, spec) if subject is None else {})
    check(spec, dataset)
    return spec


def _for_network(data: DataSpec, network: str) -> DataSpec:
    """The data with the form of texts that the network learns from, where none is given."""
    kind = NETWORKS.get(network)
    if data.text is None and kind is not None and kind.takes_tokens:
        return data.model_copy(update={"text": "tokens"})
    return data


def _objective(
    space: Space, wanted: Wanted, task: Task, metrics: WantedMetrics, heads: Mapping[str, Task]
) -> str:
    """The study's objective. A user's compiled model may report a name that tuner does not know:
    whether it does shows when the model is tried. Raises a UsageError."""
    objective, held_out = metrics.objective, wanted.held_out
    own: set[str] = set(metrics.own)
    name = "" if objective is None else name_of(objective)
    if ":" in space.network and objective is not None and metric_named(name, heads) is None:
        has_own_fit = space.function_kind is FunctionKind.HYPERMODEL and name not in own
        if has_own_fit and wanted.direction is None:
            raise MetricError(ask_direction(objective))
        if has_own_fit and objective.isidentifier():
            return objective
        if wanted.direction is not None and objective == f"{held_out}_{name}":
            own.add(name)
        elif wanted.direction is None and space.function_kind is FunctionKind.BUILD:
            with _own_name_explained():
                return choose_objective(space, task, objective, held_out, own, heads)
    return choose_objective(space, task, objective, held_out, own, heads)


@contextlib.contextmanager
def _own_name_explained() -> Iterator[None]:
    """Inside, a metric that tuner does not know may be one that the user's model is compiled
    with."""
    try:
        yield
    except SpecError as error:
        raise SpecError(
            f"{error}; for a metric that your own model is compiled with, say --direction too"
        ) from error


def _define_own_training(
    space: Space, wanted: Wanted, settings: Settings, sampler: Choice
) -> StudySpec:
    """The spec of a study whose function trains by itself, perhaps on data of ours."""
    if wanted.held_out == "test":
        raise SpecError(f"{space.network} trains by itself: there is no test split to score it on")
    objective = _objective_of(space, wanted)
    if objective.further:
        check_several(sampler)
    source, facts = None, {}
    if wanted.names_data:
        source, *more = find_source(wanted.data.source, settings)
        dataset = load_dataset(wanted.data, settings, [source, *more], None, False)
        facts = _data_facts(wanted, dataset, False)
    else:
        check_no_data(wanted.data, space.network)
    code = code_to_store(space, wanted.data, source, settings, None, ())
    spec = StudySpec(
        space=space,
        **facts,
        sampler=sampler,
        pruner=wanted.pruner or default_pruner(space.function_kind, 1 + len(objective.further)),
        metric=objective.metric,
        direction=objective.direction,
        further_objectives=objective.further,
        seed=wanted.seed,
        record=objective.record,
        code=code,
        local_files=local_files_to_store(space, code, settings, None),
    )
    check_pruner(spec.pruner, spec.max_step, spec.direction)
    return spec


def _objective_of(space: Space, wanted: Wanted) -> Objective:
    """The objective of a function that trains by itself. Raises MetricError and SpecError."""
    if wanted.further_directions:
        assert wanted.direction is not None  # the first of them
        directions = (wanted.direction, *wanted.further_directions)
        return returned_objectives(space, wanted.metric, directions, wanted.record)
    return reported_objective(space, wanted.metric, wanted.direction, wanted.record)


def _fit_to_data(space: Space, dataset: Dataset) -> Space:
    fitted = fit_space(space, dataset.task, dataset.input_shape, dataset.input_kind)
    check_class_weights(_class_weights(fitted), dataset)
    return fitted


def _class_weights(space: Space) -> Iterator[object]:
    """The values that the space declares of parameters with a weight for each class."""
    for name, declared in space.parameters.items():
        if name in TRAINING and TRAINING[name].by_class:
            yield from declared.choices if isinstance(declared, Choices) else [declared]


def _wanted_metrics(wanted: Wanted, subject: StudySpec | None) -> WantedMetrics:
    return read_metrics(
        wanted.metric,
        wanted.record,
        wanted.direction,
        wanted.held_out,
        stored=subject.own_metrics if subject is not None else {},
    )


def _data_facts(wanted: Wanted, dataset: Dataset, raw_integers: bool) -> dict[str, Any]:
    """What a spec says of its data."""
    return {
        "data": _as_loaded(wanted.data, dataset, raw_integers),
        "fingerprint": dataset.fingerprint,
        "train_rows": _trained_rows(dataset, wanted.held_out),
        "task": dataset.task,
        "heads": dataset.head_tasks,
    }


def _trained_rows(dataset: Dataset, held_out: HeldOut) -> int:
    """Where the test split is held out, trials train on all other rows."""
    return len(dataset.train) + (len(dataset.validation) if held_out == "test" else 0)


def _as_loaded(data: DataSpec, dataset: Dataset, raw_integers: bool) -> DataSpec:
    """The data as the study keeps them: with their task, and with the scaling of integers that are
    left raw for an own network. Whoever reads them again need not know which network it is for."""
    update: dict[str, object] = {"task": dataset.task, "skipped": dataset.skipped[:_MOST_SKIPPED]}
    # Of several inputs those of integers are never scaled.
    if raw_integers and not dataset.inputs and dataset.scaling.method == "none":
        update["scaling"] = "none"
    if not any(report.kind == "text" for report in dataset.reports):
        update["text"] = None
    return data.model_copy(update=update)


class Created(NamedTuple):
    """`is_new`: False for a study that had this name and definition before. `left_out`: parameters
    of the space that do not apply to these data. `corrected`: what has changed in the user's own
    files, and was taken into an existing study. `columns`: what the columns of a table were taken
    for, in a line. `notes`: on the data. `given`: what an own network is given. `kind`: what kind
    of function it is, in a line, "" for one that builds a network."""

    study: StudyRow
    is_new: bool
    left_out: tuple[str, ...] = ()
    corrected: tuple[str, ...] = ()
    columns: str = ""
    notes: tuple[str, ...] = ()
    given: str | None = None
    kind: str = ""


def create_study(
    wanted: Wanted,
    settings: Settings,
    open_store: Callable[[], Store],
    tell: Callable[[str], None] = lambda text: None,
) -> Created:
    """Create the study and queue its first trials: baselines, or the grid. An existing study of
    that name and definition is left as it is; while no trial of it has finished, corrected files of
    the user are taken into it. The database is opened last: a UsageError changes nothing. `tell`
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

    spec = define_study(space, wanted, settings, check=check)
    used = spec.space.varying()
    left_out = tuple(name for name in space.varying() if name not in used)
    created = create_defined_study(spec, wanted, settings, open_store)
    trust_own_code(spec, settings)
    created = created._replace(
        left_out=left_out, given=next(iter(given), None), kind=describe_kind(spec.space)
    )
    return _with_notes(created, spec, datasets[0]) if datasets else created


def _with_notes(created: Created, spec: StudySpec, dataset: Dataset) -> Created:
    """With what the user should know of the data."""
    columns = summarize_columns(dataset.reports)
    weighs_classes = any(value != "none" for value in _class_weights(spec.space))
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
    return _take_existing(store, existing, spec, wanted.experiment)


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
    differences = spec.differences(study.spec)
    if study.experiment != (experiment or study.name):
        differences.append(
            f"MLflow experiment was {study.experiment}, is {experiment or study.name}"
        )
    elif differences and (corrected := spec.correcting(study.spec)) is not None:
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
    own = load_space(wanted.space)
    if own.function_kind.trains and not wanted.names_data:
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
