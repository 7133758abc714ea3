"""Every engine handles every role of every parameter. No TensorFlow: what an engine does with a
parameter shows in the keys of its programs. That its value has an effect is what the tests named in
EXERCISES see (tests/search_space/test_parameters_are_tested.py)."""

from dataclasses import replace
from typing import Any

import pytest

from tuner.search_space.parameter_types import Parameter, Role
from tuner.search_space.parameters import (
    NETWORKS,
    catalogue,
    defaults,
    parameters_with,
    training_parameters,
)
from tuner.study.messages import Goal, TrialRequest
from tuner.training.program_key import (
    CHOICE_ROLES,
    FIXED_ROLES,
    HOST_ROLES,
    INPUT_ROLES,
    NUMBERS,
    OPERATION_ROLES,
    SHARED_NETWORK,
    program_key,
    program_key_of,
    structure_key,
)
from tuner.training.row_weights import ROW_WEIGHTS

EVERY = [(network, name) for network in NETWORKS for name in catalogue(network)]
SHARED = [name for name, parameter in catalogue(SHARED_NETWORK).items() if not parameter.keras_only]
# Another value of these gives another program of the Keras engine; of the others only whether a
# number or a rate is above zero, or whether rows have weights, counts.
KERAS_STRUCTURE = (Role.STRUCTURE, Role.SIZE, Role.CHOICE, Role.SWITCH, Role.PRECISION)


def two_values(parameter: Parameter) -> tuple[Any, Any]:
    """Different legal values, both above zero if they are numbers, and both weighing rows."""
    if parameter.role is Role.ROW_WEIGHT:
        return "balanced", "{a: 1, b: 3}"
    if parameter.kind == "bool":
        return False, True
    if parameter.kind == "categorical":
        return parameter.choices[0], parameter.choices[1]
    first = parameter.default if parameter.default else parameter.cast(0.5) or 1
    second = parameter.cast(first * 2) if parameter.kind == "int" else first / 2  # type: ignore
    assert parameter.refusal(first) is parameter.refusal(second) is None
    return first, second


def complete_params(network: str, parameter: Parameter) -> dict[str, Any]:
    """Everything that a trial has in which the parameter exists."""
    parents: dict[str, Any] = {parent: values[-1] for parent, values in parameter.when.items()}
    if parameter.layers is not None:
        parents[parameter.layers] = 2
    return {**defaults(network), **parents}


def request_of(params: dict[str, Any], **choices: tuple[Any, ...]) -> TrialRequest:
    goal = Goal("val_loss", "minimize")
    return TrialRequest(SHARED_NETWORK, params, seed=1, goal=goal, choices=choices)


def test_every_role_is_handled_in_one_way() -> None:
    handled = [*FIXED_ROLES, *CHOICE_ROLES, *OPERATION_ROLES, *INPUT_ROLES, *HOST_ROLES]
    assert sorted(handled) == sorted(Role)


@pytest.mark.parametrize(("network", "name"), EVERY)
def test_the_keras_engine_compiles_anew_where_structure_differs(network: str, name: str) -> None:
    parameter = catalogue(network)[name]
    first, second = two_values(parameter)
    params = complete_params(network, parameter)
    keys = [structure_key(network, params | {name: value}) for value in (first, second)]
    assert (keys[0] != keys[1]) == (parameter.role in KERAS_STRUCTURE)
    if parameter.role in (Role.SCALAR, Role.DROPOUT, Role.ROW_WEIGHT) and parameter.is_optional:
        off = structure_key(network, params | {name: parameter.without_effect})
        assert off != keys[0]


@pytest.mark.parametrize("name", SHARED)
def test_the_graph_and_the_lanes_share_a_program_unless_it_is_fixed(name: str) -> None:
    parameter = catalogue(SHARED_NETWORK)[name]
    values = two_values(parameter)
    params = complete_params(SHARED_NETWORK, parameter)
    requests = [request_of(params | {name: value}, **{name: values}) for value in values]
    keys = {program_key(request) for request in requests}
    assert len(keys) == (2 if parameter.role in FIXED_ROLES else 1)
    key = program_key_of(requests[1])
    assert key is not None
    if parameter.role in FIXED_ROLES:
        assert key[name] == values[1]
    elif parameter.role in CHOICE_ROLES:
        assert {*values} <= {*dict(key.choices)[name]}
    elif parameter.role in OPERATION_ROLES:
        assert name in NUMBERS or name in key.included


@pytest.mark.parametrize("name", SHARED)
def test_an_operation_that_no_trial_has_is_in_no_program(name: str) -> None:
    parameter = catalogue(SHARED_NETWORK)[name]
    if parameter.role not in OPERATION_ROLES or not parameter.is_optional:
        return
    params = complete_params(SHARED_NETWORK, parameter) | {name: parameter.without_effect}
    key = program_key_of(request_of(params))
    assert key is not None
    assert name not in key.included


def test_the_step_reads_every_number() -> None:
    assert {*NUMBERS} == {*parameters_with(SHARED_NETWORK, Role.SCALAR)}


def test_every_parameter_that_weighs_rows_has_its_weights() -> None:
    assert {*ROW_WEIGHTS} == {*training_parameters(Role.ROW_WEIGHT)}
    for name, parameter in training_parameters(Role.ROW_WEIGHT).items():
        assert parameter.is_optional, f"{name} would be in every program"


def test_every_dropout_has_its_places() -> None:
    for network, kind in NETWORKS.items():
        assert {*kind.dropout_places} == {*parameters_with(network, Role.DROPOUT)}


def test_an_engine_that_is_asked_for_by_name_has_no_shared_program() -> None:
    request = request_of(defaults(SHARED_NETWORK))
    assert program_key(request)
    assert program_key(replace(request, engine="keras")) == ""  # type: ignore[arg-type]
