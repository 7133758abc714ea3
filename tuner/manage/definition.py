"""A wanted study becomes a StudySpec, once its data and code have been checked."""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from tuner.algorithms.pruners import check_can_pause, check_pruner
from tuner.algorithms.samplers import (
    check_generations,
    check_knows_space,
    check_sampler,
    check_several,
)
from tuner.data import Dataset, Source, check_class_weights, find_source, load_dataset
from tuner.errors import MetricError, SpecError
from tuner.manage.own_functions import (
    ChosenObjectives,
    check_function_space,
    check_no_data,
    reported_objective,
    returned_objectives,
    with_kind,
)
from tuner.manage.prior_knowledge import EarlierStudy, settle_prior
from tuner.manage.search_methods import Methods, wanted_methods
from tuner.manage.stored_code import code_to_store, local_files_to_store
from tuner.manage.stored_functions import user_metrics
from tuner.manage.wanted_metrics import WantedMetrics, check_metrics, read_metrics
from tuner.manage.wanted_study import Wanted
from tuner.search_space import Space
from tuner.search_space.function_kinds import FunctionKind
from tuner.search_space.parameters import NETWORKS, TRAINING
from tuner.search_space.ranges import Choices
from tuner.settings import Settings
from tuner.study.data_spec import READING, DataSpec
from tuner.study.fitting import choose_objective, fit_space
from tuner.study.messages import HeldOut
from tuner.study.metrics import Task, ask_direction, metric_named, name_of
from tuner.study.spec import StudySpec

_MOST_SKIPPED = 1000  # names of broken images that a study stores


def define_study(
    space: Space,
    wanted: Wanted,
    settings: Settings,
    sources: Sequence[Source] = (),
    fingerprint: str | None = None,
    subject: StudySpec | None = None,
    check: Callable[[StudySpec, Dataset], None] = lambda spec, dataset: None,
    earlier: Sequence[EarlierStudy] = (),
) -> StudySpec:
    """The spec of a study of this space, after everything was checked and the data loaded;
    `wanted.space` and `wanted.overrides` are ignored. `sources`, `fingerprint`: as `load_dataset`
    takes them. `subject`: the study whose network and metrics it uses, as stored. `check` is
    called at the end. `earlier`: studies that it learns from. Raises a UsageError."""
    space = with_kind(space, settings, subject)
    check_function_space(space)
    if wanted.further_directions and not space.function_kind.trains:
        _objective_of(space, wanted)  # says why there is only one
    methods = wanted_methods(wanted, space.function_kind)
    check_sampler(methods.sampler, space)
    if wanted.held_out != "test":
        check_knows_space(methods.sampler, space)
    check_generations(methods.sampler, space, methods.pruner)
    if space.function_kind.trains:
        check_can_pause(methods.pruner, space.network)
        return _define_own_training(space, wanted, settings, methods, earlier)
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
        sampler=methods.sampler,
        pruner=methods.pruner,
        prior=settle_prior(space, wanted, methods.sampler, earlier, dataset),
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
        elif wanted.direction is None:
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
    space: Space,
    wanted: Wanted,
    settings: Settings,
    methods: Methods,
    earlier: Sequence[EarlierStudy],
) -> StudySpec:
    """The spec of a study whose function trains by itself, perhaps on data of ours."""
    if wanted.held_out == "test":
        raise SpecError(f"{space.network} trains by itself: there is no test split to score it on")
    objective = _objective_of(space, wanted)
    if objective.further:
        check_several(methods.sampler)
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
        sampler=methods.sampler,
        pruner=methods.pruner,
        prior=settle_prior(space, wanted, methods.sampler, earlier),
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


def _objective_of(space: Space, wanted: Wanted) -> ChosenObjectives:
    """The objective of a function that trains by itself. Raises MetricError and SpecError."""
    if wanted.further_directions:
        assert wanted.direction is not None  # the first of them
        directions = (wanted.direction, *wanted.further_directions)
        return returned_objectives(space, wanted.metric, directions, wanted.record)
    return reported_objective(space, wanted.metric, wanted.direction, wanted.record)


def _fit_to_data(space: Space, dataset: Dataset) -> Space:
    fitted = fit_space(space, dataset.task, dataset.input_shape, dataset.input_kind)
    check_class_weights(class_weight_values(fitted), dataset)
    return fitted


def class_weight_values(space: Space) -> Iterator[object]:
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
