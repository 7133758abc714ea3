"""Creating and deleting studies: a request becomes a StudySpec, data and code looked at once."""

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from tuner.data import load_dataset, parse_source
from tuner.errors import DatasetError, NetworkError, SpecError, StudyError, UsageError
from tuner.pruners import check_pruner
from tuner.samplers import check_sampler
from tuner.settings import Settings
from tuner.space import Space, load_space
from tuner.spec import (
    Choice,
    CodeFile,
    DataSpec,
    Direction,
    StudySpec,
    check_metric,
    default_metric,
    direction_of,
)
from tuner.storage import Store
from tuner.storage.studies import StudyRow, create_study, delete_study, free_name


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


def data_spec(**values: Any) -> DataSpec:
    """A DataSpec from options; those that are None keep their defaults. Raises SpecError."""
    try:
        return DataSpec(**{name: value for name, value in values.items() if value is not None})
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(key) for key in first["loc"])
        raise SpecError(f"{where}: {first['msg']}, got {first['input']!r}") from error


def define(wanted: Wanted, settings: Settings) -> StudySpec:
    """The study's spec, everything checked and the data loaded. Raises a UsageError."""
    space = load_space(wanted.space).override(wanted.overrides)
    check_sampler(wanted.sampler, space)
    code = _user_code(space, wanted.data)
    dataset = load_dataset(wanted.data, settings)
    metric = wanted.metric or default_metric(dataset.task)[0]
    check_metric(metric, dataset.task)
    spec = StudySpec(
        space=space,
        data=wanted.data.model_copy(update={"task": dataset.task}),
        fingerprint=dataset.fingerprint,
        train_rows=len(dataset.train.y),
        task=dataset.task,
        sampler=wanted.sampler,
        pruner=wanted.pruner,
        metric=metric,
        direction=wanted.direction or direction_of(metric),
        seed=wanted.seed,
        code=code,
    )
    check_pruner(spec.pruner, spec.max_step, spec.direction)
    return spec


def create(wanted: Wanted, settings: Settings, open_store: Callable[[], Store]) -> StudyRow:
    """Create the study and queue its first trials: baselines, or the grid. The database is opened
    last, so that a UsageError leaves nothing half-made."""
    spec = define(wanted, settings)
    first_trials = spec.first_trials()
    if wanted.name is not None:
        _check_name(wanted.name)
    store = open_store()
    name = wanted.name or free_name(store, default_name(wanted))
    return create_study(store, name, spec, wanted.experiment, first_trials)


def default_name(wanted: Wanted) -> str:
    """Space and data, as in mlp-fashion_mnist."""
    source = wanted.data.source.rpartition("/")[2]
    words = f"{Path(wanted.space).stem}-{source.partition('.')[0]}"
    return "".join(c if c.isalnum() or c in "-_" else "-" for c in words)


def _check_name(name: str) -> None:
    # The name becomes a folder of checkpoints and a part of MLflow's tags.
    if not name.strip() or len(name) > 200 or set(name) & set('/\\:*?"<>|\0\n') or name[0] in ".-":
        raise StudyError(
            f"{name!r} is no name for a study: up to 200 characters, not beginning with . or -, "
            'without / \\ : * ? " < > |'
        )


def _user_code(space: Space, data: DataSpec) -> dict[str, CodeFile]:
    """The user's own files, kept with the study."""
    paths: list[tuple[str, type[UsageError]]] = []
    network_path, separator, _ = space.network.rpartition(":")
    if separator:
        paths.append((network_path, NetworkError))
    own_data = parse_source(data.source).code
    if own_data is not None:
        paths.append((str(own_data), DatasetError))
    return {path: _code_file(path, error) for path, error in paths}


def _code_file(path: str, error_class: type[UsageError]) -> CodeFile:
    try:
        return CodeFile.of(Path(path).read_bytes())
    except OSError as error:
        raise error_class(f"{path}: {error.strerror or error}") from error


def check_code(spec: StudySpec) -> None:
    """Refuse to go on with user code that has changed since. Raises SpecError."""
    for path, kept in spec.code.items():
        if Path(path).exists() and CodeFile.of(Path(path).read_bytes()).sha256 != kept.sha256:
            raise SpecError(
                f"{path} has changed since the study was created; scores would not be comparable: "
                "create a new study, or put the file back"
            )


def remove(settings: Settings, store: Store, study: StudyRow) -> None:
    """Delete a study's rows and the networks it saved. Its MLflow runs: `tracking.remove`."""
    delete_study(store, study)
    shutil.rmtree(settings.checkpoints / study.name, ignore_errors=True)
