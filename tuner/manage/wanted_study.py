"""What a study is to be, from the options of `tuner study create` and a space's file."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast, get_args

from pydantic import ValidationError

from tuner.errors import SpaceError, SpecError
from tuner.search_space import SpaceFile, load_file, load_network
from tuner.search_space.function_kinds import FunctionKind
from tuner.search_space.parameter_types import sort_by_similarity
from tuner.study.data_spec import DataSpec
from tuner.study.messages import Direction, HeldOut
from tuner.study.spec import Choice
from tuner.values import Scalar, shown


@dataclass(frozen=True)
class Wanted:
    """What `tuner study create` was asked for; None means the default. `names_data`: whether the
    data were named; a function that trains by itself gets none otherwise. `is_network`: only a
    network was named, so that no data follow from a space. `lengths`: epochs and patience.
    `metric`, and each of `record`: a name ("val_auc") or "my_file.py:function". `sampler_options`,
    `pruner_options`: of the default one, where none is named. `learn_from`: the names of earlier
    studies."""

    name: str | None = None
    space: str | SpaceFile = "mlp"
    data: DataSpec = field(default_factory=DataSpec)
    names_data: bool = True
    is_network: bool = False
    sampler: Choice | None = None
    sampler_options: Mapping[str, Scalar] = field(default_factory=dict)
    pruner: Choice | None = None
    pruner_options: Mapping[str, Scalar] = field(default_factory=dict)
    overrides: Mapping[str, object] = field(default_factory=dict)
    lengths: Mapping[str, int] = field(default_factory=dict)
    metric: str | None = None
    record: tuple[str, ...] = ()
    direction: Direction | None = None
    further_directions: tuple[Direction, ...] = ()
    seed: int = 0
    experiment: str | None = None
    held_out: HeldOut = "val"
    prior: bool = False
    portfolio: bool = False
    learn_from: tuple[str, ...] = ()


def wanted_study(
    name: str | None = None,
    *,
    network: str | None = None,
    function_kind: FunctionKind | None = None,
    space: str | SpaceFile | None = None,
    sampler: str | None = None,
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
    prior: bool = False,
    portfolio: bool = False,
    learn_from: Iterable[str] = (),
    data: str | None = None,
    **data_options: Any,
) -> Wanted:
    """What a study is to be, from the options of `tuner study create`; None means the default.
    `network`: in place of the space's, or with a space of its own. `function_kind`: what it is,
    where that is known otherwise than by its file. `params`: fixed values.
    `data_options`: the other fields of a DataSpec. Raises a UsageError."""
    directions = _directions(direction)
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
        sampler=None if sampler is None else _choice("sampler", sampler, sampler_options),
        sampler_options=dict(sampler_options or {}),
        pruner=None if pruner is None else _choice("pruner", pruner, pruner_options),
        pruner_options=dict(pruner_options or {}),
        overrides=dict(params or {}),
        lengths={name: length for name, length in lengths.items() if length is not None},
        metric=metric,
        record=tuple(record),
        direction=directions[0] if directions else None,
        further_directions=directions[1:],
        seed=seed,
        experiment=experiment,
        prior=prior,
        portfolio=portfolio,
        learn_from=tuple(learn_from),
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
