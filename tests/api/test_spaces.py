"""Spaces in Python: equal to those of files, and checked alike."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tuner
from tuner import Categorical, Float, Int, Space
from tuner.api.spaces import space_file
from tuner.errors import SpaceError
from tuner.search_space import SpaceFile, load_file, shipped_spaces
from tuner.search_space.loading import parse_file
from tuner.settings import load_settings


def file_of(space: Space) -> SpaceFile:
    return space_file(space, load_settings())


WORDS = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=8
)
NAMES = WORDS.filter(lambda name: "[" not in name and name.strip() == name)
VALUES = st.one_of(
    st.booleans(),
    st.integers(-(2**53), 2**53),
    st.floats(allow_nan=False, allow_infinity=False),
    WORDS,
)
INTS = st.tuples(st.integers(1, 1000), st.integers(1, 1000)).map(
    lambda pair: Int(min(pair), max(pair), log=pair[0] % 2 == 0)
)
FLOATS = st.tuples(st.floats(0, 1e6), st.floats(0, 1e6)).map(lambda pair: Float(*sorted(pair)))
CHOICES = st.lists(VALUES, min_size=1, max_size=4, unique_by=lambda value: (value == 1, value)).map(
    Categorical
)


@given(st.dictionaries(NAMES, st.one_of(VALUES, INTS, FLOATS, CHOICES), max_size=5), st.data())
def test_a_space_written_as_yaml_is_the_same_space(
    parameters: dict[str, Any], data: st.DataObject
) -> None:
    try:
        space = Space("net.py:build", {"epochs": 3, **parameters}, [{"epochs": 3}])
    except SpaceError:
        return  # a name of the training with another kind of value
    text = space.to_yaml()
    assert Space.from_yaml(text) == space
    assert parse_file(text, "space.yaml").space == file_of(space).space


@pytest.mark.parametrize("name", sorted(shipped_spaces()))
def test_a_shipped_space_is_the_same_in_python(name: str) -> None:
    space = Space.load(name)
    assert file_of(space)._replace(source="") == load_file(name)._replace(source="")
    assert Space.from_yaml(space.to_yaml()) == space


def test_all_parts_of_a_file_can_be_written_in_python() -> None:
    space = Space(
        "mlp",
        {
            "depth": Int(1, 3),
            "width": Int(16, 256, log=True, repeat="depth"),
            "optimizer": Categorical(["sgd", "adam"]),
            "momentum": Float(0, 0.9, step=0.1, when={"optimizer": "sgd"}),
            "batch_norm": True,
        },
        [{"depth": 2, "width": [64, 32]}],
        data={"source": "digits", "seed": 3},
        columns={"zip": "category"},
        references=[None],
    )
    text = """
network: mlp
parameters:
  depth: {type: int, low: 1, high: 3}
  width: {type: int, low: 16, high: 256, log: true, repeat: depth}
  optimizer: {type: categorical, choices: [sgd, adam]}
  momentum: {type: float, low: 0, high: 0.9, step: 0.1, when: {optimizer: sgd}}
  batch_norm: true
baselines:
  - {depth: 2, width: [64, 32]}
data: {source: digits, seed: 3}
columns:
  zip: category
references: [null]
"""
    assert space.to_yaml() == text.lstrip()
    assert file_of(space) == parse_file(text, "Space")


def test_a_space_cannot_be_changed_and_says_how_it_is_made() -> None:
    space = Space("mlp", {"width": Int(16, 64, step=16), "dropout": Categorical([0.0, 0.5])})
    assert eval(repr(space), vars(tuner) | {n: getattr(tuner, n) for n in tuner.__all__}) == space
    assert copy.deepcopy(space) == space
    with pytest.raises(AttributeError):
        space.network = "cnn"  # type: ignore[misc]
    with pytest.raises(AttributeError):
        space.parameters["width"].low = 1


def test_a_weight_for_each_class_is_a_value_and_a_choice() -> None:
    weights = {"0": np.float32(0.5), "1": 10}
    searched = Space("mlp", {"class_weight": Categorical(["none", weights])})
    fixed = Space("mlp", {"class_weight": weights}, [{"class_weight": weights}])
    for space in (searched, fixed):
        assert Space.from_yaml(space.to_yaml()) == space
        assert parse_file(space.to_yaml(), "s.yaml").space == file_of(space).space
    in_numbers = Space("mlp", {"class_weight": {1: 10, 0: 0.5}}, fixed.baselines)
    assert file_of(in_numbers).space == file_of(fixed).space
    assert file_of(fixed).space.parameters == {"class_weight": "{0: 0.5, 1: 10}"}
    with pytest.raises(SpaceError, match=r"choices must have finite weights >= 0, got -1"):
        Categorical(["none", {0: -1}])
    with pytest.raises(SpaceError, match=r"rate.*must be a number, a string or true/false"):
        file_of(Space("net.py:build", {"rate": Categorical([{0: 1}])}))


def test_numbers_of_numpy_are_taken() -> None:
    space = Space("mlp", {"width": Int(np.int64(16), np.int64(64)), "dropout": np.float32(0.5)})
    assert space == Space("mlp", {"width": Int(16, 64), "dropout": 0.5})
    choices = Categorical(np.array([1, 2]))  # type: ignore[arg-type]
    assert choices == Categorical([1, 2])


def test_weights_of_classes_are_those_of_a_file() -> None:
    text = """
network: mlp
parameters:
  class_weight:
    type: categorical
    choices: [none, {no: 1, "a,b": 2.5}]
"""
    space = Space("mlp", {"class_weight": Categorical(["none", {"no": 1, "a,b": np.float32(2.5)}])})
    assert file_of(space).space == parse_file(text, "Space").space
    assert Space.from_yaml(text) == space == Space.from_yaml(space.to_yaml())
    constant = Space("mlp", {"class_weight": {0: 1, 1: 10}})
    assert Space.from_yaml("network: mlp\nparameters: {class_weight: {0: 1, 1: 10}}") == constant
    assert Space.from_yaml(constant.to_yaml()) == constant


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Int(10, 5), "Int(10, 5): low must be <= high (5), got 10"),
        (lambda: Int(1, 5.5), "Int(1, 5.5): high must be a whole number, got 5.5"),
        (
            lambda: Float(0, 1, log=True),
            "Float(0, 1, log=True): low must be > 0 when log is true, got 0",
        ),
        (lambda: Categorical([]), "Categorical([]): choices must name at least one value"),
        (
            lambda: Categorical("relu"),
            "Categorical('relu'): choices must be a list such as [1, 2], got 'relu'",
        ),
        (
            lambda: Categorical(["none", {"no": -1}]),
            "Categorical(['none', {'no': -1}]): choices must have finite weights >= 0, got -1",
        ),
        (
            lambda: Space("mlq"),
            "Space: network must be one of mlp, cnn, resnet, rnn, or file.py:function",
        ),
        (lambda: Space("mlp", {"dropot": 0.1}), "Space: parameters.dropot is no parameter of mlp"),
        (lambda: Space("mlp", [1]), "Space: parameters must be a mapping of names to values"),
        (
            lambda: Space("mlp", {"width": [16, 32]}),
            "Space: parameters.width must be a number, a string or true/false, got a list; choices "
            "are a tuner.Categorical, a range is an Int or a Float",
        ),
        (
            lambda: Space("mlp", {"width": Int(0, 5)}),
            "Space: parameters.width.low must be >= 1, got 0",
        ),
        (
            lambda: Space("mlp", {}, [{"width": "a"}]),
            "Space: baselines[0].width is not searched by this space",
        ),
        (lambda: Space("mlp", data={"columns": 1}), "Space: data.columns belongs beside data"),
        (lambda: Space(lambda params: None), "Space: network: a lambda has no name"),
        (lambda: Space(3), "Space: network: int is no function that a file defines"),
        (
            lambda: Space.from_yaml("network: mlq"),
            "YAML: network must be one of mlp, cnn, resnet, rnn",
        ),
        (lambda: Space.load("mlq"), "unknown search space 'mlq'; shipped: mlp"),
        (lambda: file_of({"network": "mlp"}), "space must be a shipped name, the path of a YAML"),  # type: ignore[arg-type]
    ],
)
def test_a_mistake_has_the_message_of_a_file(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(SpaceError) as caught:
        make()
    assert str(caught.value).startswith(message)


def test_a_function_is_named_by_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, Any] = {}
    file = tmp_path / "net.py"
    file.write_text("def build(params, input_shape, outputs):\n    ...\n")
    exec(compile(file.read_text(), str(file), "exec"), namespace)
    space = Space(namespace["build"], {"units": Int(1, 2)})
    assert repr(space) == "Space(build, parameters={'units': Int(1, 2)})"
    assert file_of(space).space.network == "net.py:build"
    assert space.to_yaml().splitlines()[0] == 'network: "net.py:build"'
