"""By which sampler and pruner a study searches that names none."""

import pytest

from tuner.manage.search_methods import wanted_methods
from tuner.manage.wanted_study import Wanted
from tuner.search_space.function_kinds import FunctionKind
from tuner.study.spec import Choice


@pytest.mark.parametrize(
    ("kind", "further", "names"),
    [
        (FunctionKind.BUILD, (), ("curves", "promotion")),
        (FunctionKind.HYPERMODEL, (), ("curves", "promotion")),
        (FunctionKind.TRAIN, (), ("tpe", "hyperband")),
        (FunctionKind.OBJECTIVE, (), ("tpe", "median")),
        (FunctionKind.OBJECTIVE, ("minimize",), ("tpe", "none")),
    ],
)
def test_the_defaults_of_each_kind(
    kind: FunctionKind, further: tuple[str, ...], names: tuple[str, str]
) -> None:
    methods = wanted_methods(Wanted(further_directions=further), kind)  # type: ignore[arg-type]
    assert (methods.sampler.name, methods.pruner.name) == names


def test_options_alone_are_those_of_the_defaults() -> None:
    wanted = Wanted(sampler_options={"spacing": 0.1}, pruner_options={"reduction_factor": 4})
    sampler, pruner = wanted_methods(wanted, FunctionKind.BUILD)
    assert sampler == Choice(name="curves", options={"spacing": 0.1})
    assert pruner == Choice(name="promotion", options={"reduction_factor": 4})


def test_a_population_is_not_pruned() -> None:
    methods = wanted_methods(Wanted(sampler=Choice(name="pbt")), FunctionKind.BUILD)
    assert methods.pruner == Choice(name="none")
