"""Every parameter of the catalogue in a space file: searched, fixed, conditional, a condition."""

from typing import Any

import pytest
from optuna.trial import FixedTrial

from tuner.search_space import make_space
from tuner.search_space.parameter_types import Parameter
from tuner.search_space.parameters import NETWORKS, catalogue

CASES = [(network, name) for network in NETWORKS for name in catalogue(network)]


def two_values(parameter: Parameter) -> list[Any]:
    """The default and another legal value."""
    if parameter.kind in ("bool", "categorical"):
        return [parameter.default, next(c for c in parameter.choices if c != parameter.default)]
    assert isinstance(parameter.default, int | float)
    other = parameter.default + (1 if parameter.kind == "int" else 0.05)
    assert parameter.refusal(other) is None
    return [parameter.default, other]


def needed(network: str, name: str) -> dict[str, Any]:
    """Constants with which the parameter is there at all."""
    return {parent: values[0] for parent, values in catalogue(network)[name].when.items()}


def searched(parameter: Parameter) -> dict[str, Any]:
    values = two_values(parameter)
    if parameter.kind in ("int", "float"):
        return {"type": parameter.kind, "low": values[0], "high": values[1]}
    return {"type": "categorical", "choices": values}


@pytest.mark.parametrize(("network", "name"), CASES)
def test_it_is_searched_while_its_condition_holds(network: str, name: str) -> None:
    parameter = catalogue(network)[name]
    switch = "batch_size" if name != "batch_size" else "depth"
    space = make_space(
        network,
        needed(network, name)
        | {
            switch: {"type": "categorical", "choices": [3, 5]},
            name: searched(parameter) | {"when": {switch: 5}},
        },
    )
    other = two_values(parameter)[1]
    assert space.sample(FixedTrial({switch: 5, name: other}))[name] == other
    assert space.sample(FixedTrial({switch: 3}))[name] == parameter.default


@pytest.mark.parametrize(("network", "name"), CASES)
def test_others_depend_on_it(network: str, name: str) -> None:
    parameter = catalogue(network)[name]
    first, second = two_values(parameter)
    counted = name in ("epochs", "patience")
    said = searched(parameter) if counted else {"type": "categorical", "choices": [first, second]}
    child = "l1" if name != "l1" else "l2"
    space = make_space(
        network,
        needed(network, name)
        | {name: said, child: {"type": "float", "low": 0.1, "high": 0.2, "when": {name: second}}},
    )
    assert space.sample(FixedTrial({name: second, child: 0.15}))[child] == 0.15
    assert space.sample(FixedTrial({name: first}))[child] == 0.0
