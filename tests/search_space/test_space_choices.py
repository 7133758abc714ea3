"""What the trials of a study may have, by parameter."""

from typing import Any

import pytest
from toy_study import any_of, toy_spec

from tuner.search_space import make_space
from tuner.study.spec import Choice

SMOOTHING = {"type": "float", "low": 0.1, "high": 0.2}
BOTH = any_of("relu", "tanh")


def choices(parameters: dict[str, Any]) -> dict[str, Any]:
    return make_space("mlp", parameters).choices()


def test_all_of_a_list_and_the_ends_of_a_range() -> None:
    depth = {"type": "int", "low": 1, "high": 6, "step": 2}
    assert choices({"activation": BOTH, "depth": depth, "dropout": 0.5}) == {
        "activation": ("relu", "tanh"),
        "depth": (1, 5),
    }


def test_one_value_a_layer_is_one_range() -> None:
    width = {"type": "int", "low": 32, "high": 64, "repeat": "depth"}
    assert choices({"width": width}) == {"width": (32, 64)}


@pytest.mark.parametrize("only", [any_of("tanh"), {"type": "int", "low": 3, "high": 3}, 3])
def test_what_has_one_value_is_no_choice(only: Any) -> None:
    assert make_space("net.py:build", {"p": only}).choices() == {}


def test_one_value_or_the_default_are_two() -> None:
    flip = any_of(True) | {"when": {"activation": "relu"}}
    assert choices({"activation": BOTH, "augment_flip": flip})["augment_flip"] == (True, False)


@pytest.mark.parametrize(
    ("loss", "when", "has_default"),
    [
        (any_of("auto", "mse"), {"loss": "auto"}, True),
        (any_of("auto", "mse"), {}, False),
        # Without it by the catalogue, not by default: there is no smoothing of these losses.
        (any_of("auto", "huber"), {"loss": "auto"}, False),
        # It can never fail.
        ("auto", {"loss": "auto"}, False),
        (any_of("auto", "mse"), {"depth": 2}, False),
        (any_of("auto", "mse"), {"activation": ["tanh", "relu"]}, False),
        # It may have its own default, which is relu.
        (any_of("auto", "mse"), {"activation": "tanh"}, True),
    ],
)
def test_the_default_counts_where_a_condition_can_put_it_in_place(
    loss: Any, when: Any, has_default: bool
) -> None:
    space = {"loss": loss, "activation": BOTH, "label_smoothing": SMOOTHING | {"when": when}}
    expected = (0.1, 0.2, 0.0) if has_default else (0.1, 0.2)
    assert choices(space)["label_smoothing"] == expected


def test_listed_configurations_leave_no_room_for_others() -> None:
    parameters = {"x": {"type": "float", "low": 0.0, "high": 1.0}, "act": any_of("learn", "flat")}
    baselines = [{"x": 0.5, "act": "learn"}, {"x": 0.25, "act": "learn"}]
    listed = toy_spec(parameters, baselines, sampler=Choice(name="listed"))
    assert listed.choices() == {"x": (0.5, 0.25)}
    assert toy_spec(parameters, baselines).choices() == listed.space.choices()
    assert listed.space.choices() == {"x": (0.0, 1.0), "act": ("learn", "flat")}


def test_of_listed_layers_each_value_counts() -> None:
    width = {"type": "int", "low": 1, "high": 64, "repeat": "depth"}
    space = make_space("mlp", {"width": width}, [{"width": [8, 4]}, {"width": [8, 16]}])
    listed = toy_spec(sampler=Choice(name="listed")).model_copy(update={"space": space})
    assert listed.choices() == {"width": (8, 4, 16)}
