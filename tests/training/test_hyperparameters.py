"""KerasTuner's `hp` as tuner has it: its values, scopes and conditions. That KerasTuner means the
same by them is tested in test_hypermodels.py."""

import pytest

from tuner.algorithms.distributions import optuna_distribution
from tuner.study.messages import Distribution
from tuner.training.hyperparameters import HyperParameter, HyperParameters


class Dealt:
    """Gives the values listed by name, else defaults, and keeps what was asked for."""

    def __init__(self, **values):
        self.values, self.asked = values, []

    def __call__(self, parameter: HyperParameter):
        self.asked.append(parameter)
        return self.values.get(parameter.name, parameter.default)


@pytest.mark.parametrize(
    ("ask", "distribution"),
    [
        (lambda hp: hp.Int("a", 6, 12), Distribution("int", 6, 12)),
        (lambda hp: hp.Int("a", 6, 13, step=3), Distribution("int", 6, 12, 3)),
        (lambda hp: hp.Int("a", 1, 64, sampling="log"), Distribution("int", 1, 64, log=True)),
        (
            lambda hp: hp.Int("a", 2, 40, step=2, sampling="log"),
            Distribution("categorical", choices=(2, 4, 8, 16, 32)),
        ),
        (
            lambda hp: hp.Int("a", 2, 32, step=4, sampling="reverse_log"),
            Distribution("categorical", choices=(32, 26, 2)),
        ),
        (lambda hp: hp.Float("a", 0, 1), Distribution("float", 0.0, 1.0)),
        (lambda hp: hp.Float("a", 0, 1, step=0.3), Distribution("float", 0.0, 0.9, 0.3)),
        (lambda hp: hp.Float("a", 0.1, 0.3, step=0.1), Distribution("float", 0.1, 0.3, 0.1)),
        (
            lambda hp: hp.Float("a", 1e-4, 1e-2, sampling="LOG"),
            Distribution("float", 1e-4, 1e-2, log=True),
        ),
        (
            lambda hp: hp.Float("a", 0.001, 10, step=10, sampling="log"),
            Distribution("categorical", choices=(0.001, 0.01, 0.1, 1.0, 10.0)),
        ),
        (
            lambda hp: hp.Float("a", 1, 4, sampling="reverse_log"),
            Distribution("float", 1.0, 4.0),
        ),
        (
            lambda hp: hp.Choice("a", ["x", "y"]),
            Distribution("categorical", choices=("x", "y")),
        ),
        (lambda hp: hp.Choice("a", [True, False]), Distribution("categorical", choices=(1, 0))),
        (lambda hp: hp.Boolean("a"), Distribution("categorical", choices=(True, False))),
        (lambda hp: hp.Fixed("a", 0.5), Distribution("categorical", choices=(0.5,))),
    ],
)
def test_a_range_is_asked_for_with_the_values_that_kerastuner_gives_it(ask, distribution):
    dealt = Dealt()
    ask(HyperParameters(dealt))
    assert [asked.distribution for asked in dealt.asked] == [distribution]
    made = optuna_distribution(distribution)
    if distribution.high is not None:
        assert made.high == distribution.high  # Optuna would lower what no step reaches


def test_defaults_are_given_or_the_first_value():
    hp = HyperParameters()
    assert hp.Int("i", 3, 9) == 3
    assert hp.Float("f", 0.5, 1, default=0.75) == 0.75
    assert hp.Choice("c", ["x", "y"], default="y") == "y"
    assert hp.Boolean("b") is False
    assert hp.Boolean("t", default=True) is True


@pytest.mark.parametrize(
    ("ask", "problem"),
    [
        (lambda hp: hp.Int("a", 9, 3), "min_value 9 is larger than max_value 3"),
        (lambda hp: hp.Int("a", 1.5, 3), "min_value must be a whole number"),
        (lambda hp: hp.Int("a", 1, 3, step=0), "step must be > 0"),
        (lambda hp: hp.Float("a", 0, 1, sampling="log"), "needs min_value > 0"),
        (lambda hp: hp.Float("a", 1, 8, step=1, sampling="log"), "needs step > 1"),
        (lambda hp: hp.Float("a", 1, 8, sampling="cubic"), "sampling must be linear, log or"),
        (lambda hp: hp.Choice("a", []), "at least one value"),
        (lambda hp: hp.Choice("a", [1, 2.0]), "of one type"),
        (lambda hp: hp.Choice("a", [None]), "must be int, float, str or bool"),
        (lambda hp: hp.Choice("a", [1, 2], default=3), "the default must be one of"),
        (lambda hp: hp.Fixed("a", [1]), "must be an int, float, str or bool"),
        (lambda hp: hp.Int("a", 1, 2, parent_name="b", parent_values=[1]), "no parameter 'b'"),
    ],
)
def test_a_range_that_is_none_says_so(ask, problem):
    with pytest.raises((ValueError, TypeError), match=problem):
        ask(HyperParameters())


def test_a_name_is_asked_for_once_and_its_first_range_holds():
    dealt = Dealt(units=5)
    hp = HyperParameters(dealt)
    assert (hp.Int("units", 1, 8), hp.Int("units", 1, 99), hp.get("units")) == (5, 5, 5)
    assert len(dealt.asked) == 1


def test_scopes_prefix_names():
    dealt = Dealt(**{"encoder/units": 7})
    hp = HyperParameters(dealt)
    with hp.name_scope("encoder"):
        assert hp.Int("units", 1, 8) == 7
        assert hp["units"] == 7
        assert "units" in hp
    assert "units" not in hp
    assert hp.get("encoder/units") == 7


def ask_by_model(hp: HyperParameters):
    hp.Choice("model", ["linear", "deep"])
    with hp.conditional_scope("model", ["deep"]):
        layers = hp.Int("layers", 1, 3, default=2)
        with hp.conditional_scope("layers", [2, 3]):
            dropout = hp.Float("dropout", 0, 0.5)
    return layers, dropout, hp.Boolean("bias", parent_name="model", parent_values="linear")


def test_parameters_without_their_conditions_are_none_and_not_asked_for():
    dealt = Dealt()
    hp = HyperParameters(dealt)
    assert ask_by_model(hp) == (None, None, False)
    assert hp.values == {"model": "linear", "bias": False}
    assert [asked.name for asked in dealt.asked] == ["model", "bias"]
    assert [asked.name for asked in hp.space] == ["model", "layers", "dropout", "bias"]
    assert not hp.is_active("layers")
    assert "layers" not in hp
    with pytest.raises(ValueError, match="'layers' is not active"):
        hp.get("layers")
    with pytest.raises(KeyError, match="no parameter 'units'"):
        hp.get("units")


def test_nested_conditions_all_have_to_be_met():
    hp = HyperParameters(Dealt(model="deep", dropout=0.25))
    assert ask_by_model(hp) == (2, 0.25, None)
    assert hp.is_active("dropout")
    shallow = HyperParameters(Dealt(model="deep", layers=1))
    assert ask_by_model(shallow) == (1, None, None)


def test_one_name_under_two_conditions_has_two_full_names():
    dealt = Dealt(model="b")
    hp = HyperParameters(dealt)
    hp.Choice("model", ["a", "b"])
    first = hp.Choice("units", [1, 2], parent_name="model", parent_values=["a"])
    second = hp.Choice("units", [30, 40], parent_name="model", parent_values=["b"])
    assert (first, second, hp.get("units")) == (None, 30, 30)
    assert dealt.asked[-1].full_name == "units [model=b]"


def test_a_copy_gives_defaults_for_what_is_new():
    dealt = Dealt(units=5)
    hp = HyperParameters(dealt)
    hp.Int("units", 1, 8)
    copied = hp.copy()
    assert (copied.Int("units", 1, 8), copied.Int("layers", 2, 8)) == (5, 2)
    assert list(hp.values) == ["units"]
    assert len(dealt.asked) == 1
