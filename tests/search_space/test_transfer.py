"""Configurations of one space in the terms of another."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuner.search_space import load_space, parse_space

SPACE = parse_space(
    """
network: mlp
parameters:
  depth: {type: int, low: 1, high: 3}
  width: {type: int, low: 16, high: 128, repeat: depth}
  optimizer: {type: categorical, choices: [adam, sgd]}
  momentum: {type: float, low: 0.0, high: 0.9, when: {optimizer: sgd}}
  learning_rate: {type: float, low: 1e-4, high: 1e-1, log: true}
  batch_size: {type: categorical, choices: [16, 32, 64]}
  dropout: {type: float, low: 0.0, high: 0.5, step: 0.1}
  activation: relu
""",
    "test.yaml",
)


def test_what_fits_stays():
    flat = {"depth": 2, "width_1": 64, "width_2": 32, "optimizer": "sgd", "momentum": 0.5}
    assert SPACE.transfer(flat) == (flat, (), ())


def test_values_outside_go_to_the_nearest():
    transferred = SPACE.transfer(
        {"learning_rate": 1.0, "batch_size": 256, "dropout": 0.27, "depth": 9, "width": 8}
    )
    assert transferred.flat == {
        "depth": 3,
        **{f"width_{layer}": 16 for layer in (1, 2, 3)},
        "learning_rate": 0.1,
        "batch_size": 64,
        "dropout": 0.3,
    }
    assert set(transferred.moved) == {"learning_rate", "batch_size", "dropout", "depth", "width"}


@pytest.mark.parametrize(
    ("widths", "depth", "expected"),
    [([100, 50, 20, 20], 4, [100, 50, 20]), ([100], 2, [100, 100]), ([100, 50], 3, [100, 50, 50])],
)
def test_lists_get_as_long_as_the_network_is_deep(widths, depth, expected):
    flat = SPACE.transfer({"width": widths, "depth": depth}).flat
    assert [flat[f"width_{layer}"] for layer in range(1, len(expected) + 1)] == expected
    assert f"width_{len(expected) + 1}" not in flat


def test_one_value_for_all_layers_takes_the_first_of_a_list():
    space = parse_space(
        "network: mlp\nparameters: {width: {type: int, low: 8, high: 64}}", "test.yaml"
    )
    assert space.transfer({"width": [48, 16]}).flat == {"width": 48}
    assert space.transfer({"depth": 2, "width_1": 40, "width_2": 8}).flat == {"width": 40}


def test_what_has_no_use_is_named():
    transferred = SPACE.transfer(
        {"filters": 32, "activation": "tanh", "optimizer": "lion", "momentum": 0.5, "depth": 1}
    )
    assert transferred.flat == {"depth": 1}
    assert transferred.dropped == ("filters", "activation", "optimizer", "momentum")


def test_a_constant_with_the_same_value_is_nothing_to_name():
    assert SPACE.transfer({"activation": "relu"}) == ({}, (), ())


@pytest.mark.parametrize("value", [True, "32", None, [], float("nan"), {}])
def test_odd_values_are_dropped(value):
    transferred = SPACE.transfer({"learning_rate": value})
    assert transferred.flat == {}
    assert transferred.dropped == ("learning_rate",)


SPACES = {name: load_space(name) for name in ("mlp", "cnn", "rnn", "tabular", "resnet")}


@given(st.sampled_from(list(SPACES)), st.sampled_from(list(SPACES)), st.integers(1, 30))
def test_any_configuration_of_one_space_is_a_legal_one_of_another(source, target, number):
    *_, params = SPACES[source].random(number)
    flat = SPACES[target].transfer(params).flat
    assert SPACES[target].flatten(flat) == flat
    # What a study stores and reads again is the same configuration.
    assert SPACES[target].transfer(json.loads(json.dumps(flat))).flat == flat
    if source == target:
        assert SPACES[target].resolve(flat) == params
