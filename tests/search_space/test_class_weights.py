"""A weight for each class: one text for mappings from files, options and Python."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuner.algorithms.options import parse_configuration
from tuner.errors import SpaceError
from tuner.search_space import make_space, parse_space
from tuner.search_space.class_weights import format_weights, parse_weights

MAPPING = "{no: 1, yes: 10}"
weights = st.floats(0, 1e300) | st.integers(0, 2**40)
mappings = st.dictionaries(st.text(), weights, min_size=1)


@given(mappings)
def test_the_text_gives_the_mapping_back(mapping: dict[str, float]) -> None:
    text = format_weights(mapping)
    assert parse_weights(text) == mapping
    assert format_weights(parse_weights(text)) == text


def test_one_mapping_has_one_text() -> None:
    for text in ("{yes: 10, no: 1}", '{"yes": 10.0,no: 1}', "{ 'no': 1 , yes: 1e1 }"):
        assert format_weights(parse_weights(text)) == MAPPING


def space_of(declared: str, more: str = "") -> object:
    text = f"network: mlp\nparameters:\n  class_weight: {declared}\n{more}"
    return parse_space(text, "mine.yaml").parameters["class_weight"]


@pytest.mark.parametrize(
    ("declared", "value"),
    [
        ("balanced", "balanced"),
        ("{yes: 10, no: 1}", MAPPING),
        ("'{yes: 10, no: 1}'", MAPPING),
        ("{1: 5, 0: 0.5}", "{0: 0.5, 1: 5}"),  # labels that are numbers
        ("{true: 2}", "{true: 2}"),
        ("{'a, b': 2, type: 1}", '{"a, b": 2, type: 1}'),
    ],
)
def test_a_file_gives_a_word_or_a_mapping(declared: str, value: str) -> None:
    assert space_of(declared) == value


def test_mappings_can_be_searched_and_named_by_baselines() -> None:
    declared = "{type: categorical, choices: [none, balanced, {yes: 10, no: 1}]}"
    space = parse_space(
        f"network: mlp\nparameters:\n  class_weight: {declared}\n  depth: {{type: int, low: 1, "
        "high: 2, when: {class_weight: balanced}}\n"
        "baselines: [{class_weight: {no: 1, yes: 10}}]",
        "mine.yaml",
    )
    assert space.choices()["class_weight"] == ("none", "balanced", MAPPING)
    assert space.flatten({"class_weight": {"yes": 10, "no": 1}}) == {"class_weight": MAPPING}
    assert space.flatten({"class_weight": "{yes: 10.0, no: 1}"}) == {"class_weight": MAPPING}
    assert [space.flatten(b) for b in space.baselines] == [{"class_weight": MAPPING}]
    # As a study stores it, and reads it back.
    assert type(space).model_validate_json(space.model_dump_json()) == space


def test_options_and_python_give_it_too() -> None:
    space = make_space("mlp", {})
    for value in (MAPPING, {"yes": 10, "no": 1}):
        assert space.override({"class_weight": value}).parameters == {"class_weight": MAPPING}
    given_values = parse_configuration([f"class_weight={MAPPING}", "width=64,32"], "--set")
    assert given_values == {"class_weight": MAPPING, "width": [64, 32]}


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        ("balance", "must be one of balanced, none, a weight for each class such as"),
        ("{no: -1}", "must have finite weights >= 0, got -1 for class 'no'"),
        ("'{no: -1}'", "must have finite weights >= 0, got -1 for class 'no'"),
        ("{no: .inf}", "must have finite weights >= 0, got inf for class 'no'"),
        ("{no: many}", "must have a number as weight of class 'no', got 'many'"),
        ("{no: true}", "must have a number as weight of class 'no', got True"),
        ("{}", "must name a weight for each class, such as {no: 1, yes: 10}; got '{}'"),
        ("'{a:b: 1}'", "got '{a:b: 1}'; quote a label that holds a comma, a colon or a brace"),
        ("'{no}'", "must name a weight for each class, such as {no: 1, yes: 10}; got '{no}'"),
        ("'{no: 1, no: 2}'", "names class 'no' twice"),
        ("[none]", "must be a number, a string or true/false, got a list"),
        ("{type: categorical, choices: [{no: -1}]}", "choices must have finite weights >= 0"),
    ],
)
def test_mistakes_are_refused(declared: str, message: str) -> None:
    with pytest.raises(SpaceError) as refusal:
        space_of(declared)
    assert str(refusal.value).startswith("mine.yaml: parameters.class_weight")
    assert message in str(refusal.value)


@pytest.mark.parametrize("weight", [math.nan, -0.5, None, [1]])
def test_python_gives_only_weights(weight: object) -> None:
    with pytest.raises(SpaceError, match=r"parameters.class_weight must have"):
        make_space("mlp", {"class_weight": {"yes": weight}})
