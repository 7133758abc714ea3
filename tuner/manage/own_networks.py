"""What happens to a user's own network when a study is created with it: it is tried in a process
of its own, and the user is told what inputs it gets."""

import time
from collections.abc import Callable
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from tuner.data import Dataset, Split, describe_inputs
from tuner.data.named_rows import map_rows, named_parts
from tuner.errors import NetworkError
from tuner.manage.stored_functions import user_network
from tuner.search_space.parameters import TRAINING
from tuner.settings import Settings
from tuner.study.lineage import NO_COMPILED_MODEL
from tuner.study.messages import Goal
from tuner.study.spec import StudySpec
from tuner.system.temporary_folders import OwnFolder
from tuner.training.trial_builds import TrialBuilds
from tuner.workers.network_trials import BuildLimits, try_network

# All may take 15 s: the last configuration, begun within the budget, and saving follow it.
_BUDGET_S = 10.0
# More than anyone would wait for; of larger spaces only some configurations are tried.
_MAX_CONFIGURATIONS = 200
_MAX_RANDOM = 60
_ROWS = 32


def try_own_network(
    settings: Settings,
    spec: StudySpec,
    dataset: Dataset,
    tell: Callable[[str], None] = lambda text: None,
    limits: BuildLimits | None = None,
) -> str:
    """Try the study's own network. Returns a line on what the network is given. `tell` gets a line
    before the tries begin, and each warning. Raises NetworkError for a network that a search could
    not train."""
    until = time.monotonic() + _BUDGET_S
    with OwnFolder("tuner-network-") as folder:
        request = make_request(settings, spec, dataset, until, Path(folder))
        count = len(request.configurations)
        plural = "" if count == 1 else "s"
        tell(f"trying {spec.space.network} with {count} configuration{plural}: some seconds")
        tried = try_network(request, limits)
    for warning in tried.warnings:
        tell(warning)
    if tried.compiles and spec.generation_epochs is not None:
        raise NetworkError(f"{spec.space.network}: {NO_COMPILED_MODEL}")
    if tried.compiles:
        tell(f"{spec.space.network} returns a compiled model: Keras' fit trains it")
    if 0 < tried.tried < count:
        tell(f"{tried.tried} of {count} configurations were tried: there was no time for more")
    return f"{spec.space.network} is given {request.described}{_otherwise(dataset)}"


def make_request(
    settings: Settings, spec: StudySpec, dataset: Dataset, until: float, folder: Path
) -> TrialBuilds:
    code = user_network(settings, spec)
    assert code is not None
    return TrialBuilds(
        code=code,
        dataset=some_rows(dataset),
        train_rows=spec.train_rows,
        described=describe_inputs(dataset),
        configurations=_configurations(spec),
        more=[] if spec.sampler.name == "listed" else list(spec.space.random(_MAX_RANDOM)),
        varying=spec.space.varying() or list(spec.space.parameters),
        own=[name for name in spec.space.parameters if name not in TRAINING],
        declared=list(spec.space.parameters),
        goal=Goal(spec.metric, spec.direction),
        until=until,
        folder=folder,
        function_kind=spec.function_kind,
    )


def _configurations(spec: StudySpec) -> list[dict[str, Any]]:
    """The study's own, where it lists them; else the corners of its space."""
    space = spec.space
    if spec.sampler.name == "listed":
        listed = (space.resolve(flat) for flat in space.configurations())
        return list(islice(listed, _MAX_CONFIGURATIONS))
    return list(islice(space.corners(), _MAX_CONFIGURATIONS))


def some_rows(dataset: Dataset) -> Dataset:
    """A dataset with the same few rows in each split: the first ones, and those with the largest
    and the smallest value, by which integer ids are recognised."""
    x = dataset.train.x
    numbers = list(range(min(_ROWS, len(x))))
    for part in named_parts(x).values():
        if isinstance(part, np.ndarray):
            by_row = part.reshape(len(part), -1)
            numbers += [int(by_row.max(axis=1).argmax()), int(by_row.min(axis=1).argmin())]
    weights = dataset.train.weights
    rows = Split(
        map_rows(x[numbers], np.asarray),
        dataset.train.y[numbers],
        None if weights is None else weights[numbers],
    )
    return replace(dataset, train=rows, validation=rows, test=rows)


def _otherwise(dataset: Dataset) -> str:
    if dataset.input_kind == "tokens":
        return ""
    if all(part.scaling.method == "none" for part in dataset.input_parts.values()):
        return "; --scaling standardize scales them"
    return "; --scaling none gives them raw"
