"""The catalogue, and what it says of single values."""

import pytest

from tuner.search_space.parameter_types import equal_values, format_value, sort_by_similarity
from tuner.search_space.parameters import NETWORKS, TRAINING, catalogue


@pytest.mark.parametrize("network", NETWORKS)
def test_every_default_is_legal_and_every_condition_can_hold(network: str) -> None:
    known = catalogue(network)
    assert all(p.layers in known for p in known.values() if p.layers)
    for name, parameter in known.items():
        assert parameter.name == name
        assert parameter.refusal(parameter.default) is None
        for parent, values in parameter.when.items():
            assert all(known[parent].refusal(value) is None for value in values)


def test_a_network_of_ones_own_has_the_trainings_parameters() -> None:
    assert catalogue("net.py:build") == TRAINING


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("dropout", 1, "must be < 1, got 1"),
        ("dropout", -0.1, "must be >= 0, got -0.1"),
        ("dropout", True, "must be a number, got true"),
        ("learning_rate", 0, "must be > 0, got 0"),
        ("learning_rate", float("nan"), "must be finite, got nan"),
        ("depth", 2.5, "must be a whole number, got 2.5"),
        ("depth", 10**60, "must be <= 64, got a huge number"),
        ("batch_norm", 1, "must be true or false, got 1"),
        ("activation", "tan", "must be one of tanh, "),
        ("optimizer", None, "must be one of adam, adamw, nadam, sgd, rmsprop, adagrad; got None"),
    ],
)
def test_illegal_values_are_refused_with_the_reason(name: str, value: object, reason: str) -> None:
    refusal = catalogue("mlp")[name].refusal(value)
    assert refusal is not None
    assert refusal.startswith(reason)


def test_values_are_cast_to_the_parameters_type() -> None:
    known = catalogue("mlp")
    assert repr(known["dropout"].cast(0)) == "0.0"
    assert repr(known["depth"].cast(2.0)) == "2"


def test_truth_values_are_no_numbers() -> None:
    assert equal_values(1, 1.0)
    assert not equal_values(1, True)


def test_nearest_first() -> None:
    assert sort_by_similarity("dropuot", ["depth", "dropout", "width"])[0] == "dropout"


def test_long_values_are_cut() -> None:
    assert len(format_value("x" * 1000)) == 60
