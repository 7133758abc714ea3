"""By which sampler and pruner a study searches that names none."""

from typing import NamedTuple

from tuner.algorithms.samplers import SAMPLERS, settled_sampler
from tuner.manage.wanted_study import Wanted
from tuner.search_space.function_kinds import FunctionKind
from tuner.study.spec import Choice, StudySpec


class Methods(NamedTuple):
    """How a study searches."""

    sampler: Choice
    pruner: Choice


def wanted_methods(wanted: Wanted, kind: FunctionKind) -> Methods:
    """Those that it names, and the defaults of its kind and its number of objectives."""
    objectives = 1 + len(wanted.further_directions)
    sampler = wanted.sampler or Choice(
        name=_default_sampler(kind), options=dict(wanted.sampler_options)
    )
    pruner = wanted.pruner or Choice(
        name=_default_pruner(kind, objectives, sampler.name), options=dict(wanted.pruner_options)
    )
    return Methods(settled_sampler(sampler), pruner)


def keep_methods(spec: StudySpec, wanted: Wanted, existing: StudySpec) -> StudySpec:
    """The definition with the existing study's methods where none is asked for: other versions of
    tuner have other defaults."""
    kept = {}
    if wanted.sampler is None and not wanted.sampler_options:
        kept["sampler"] = existing.sampler
    if wanted.pruner is None and not wanted.pruner_options:
        kept["pruner"] = existing.pruner
    return spec.model_copy(update=kept)


def _default_sampler(kind: FunctionKind) -> str:
    """Of what trains by itself only some reports at each step, and some has several objectives."""
    return "tpe" if kind.trains else "curves"


def _default_pruner(kind: FunctionKind, objectives: int, sampler: str) -> str:
    """Nothing that trains by itself can be paused. An Optuna objective gets Optuna's default."""
    if objectives > 1 or (sampler in SAMPLERS and SAMPLERS[sampler].generations):
        return "none"
    if kind is FunctionKind.OBJECTIVE:
        return "median"
    return "hyperband" if kind.trains else "promotion"
