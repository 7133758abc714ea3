"""What is shown of a value can be given back, and means the same."""

import csv
import io
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tuner.algorithms.options import parse_configuration, parse_options
from tuner.cli.output import format_param, print_csv
from tuner.errors import SpaceError
from tuner.manage.definition import define_study
from tuner.manage.wanted_study import Wanted, data_spec
from tuner.reports.comparison_tables import params_in_words as compared
from tuner.search_space import make_space, parse_space
from tuner.search_space.nodes import format_in_sentence
from tuner.search_space.parameter_types import equal_values
from tuner.settings import load_settings
from tuner.study.spec import Choice
from tuner.values import SWITCH_TEXTS, as_switch, format_number, parse_word, split_list, word

TRICKY = (
    "true", "False", "yes", "No", "on", "OFF", "null", "~", "", "12", "1e-4", "0x1f", ".inf",
    "a, b", " a", "a ", "'a'", '"a"', "it's", 'say "a"', "[a]", "a: b", "# a", "-", "é", "\n",
    "a\\b", "a=b", "relu", "a-b", "a.b", "{}", "0?", "!x", "&x", "*x", "\x1b[1m", "\x7f", "'", '"',
    "a'b, c", "\u202e", "\u2028", "\U0001f600",
)  # fmt: skip
texts = st.sampled_from(TRICKY) | st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
values = texts | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(
    allow_nan=False, allow_infinity=False
)  # fmt: skip


def is_kept(value: object) -> bool:
    return not isinstance(value, str) or "\0" not in value


@settings(max_examples=300, deadline=None)
@given(values.filter(is_kept))
def test_a_word_is_read_as_the_value_it_shows(value: Any) -> None:
    read = parse_options([f"name={word(value)}"], "--set")["name"]
    assert equal_values(read, value)
    assert type(read) is type(value)
    # A file reads it likewise.
    text = f"network: n.py:f\nparameters: {{p: {{type: categorical, choices: [{word(value)}]}}}}"
    assert equal_values(parse_space(text, "s.yaml").parameters["p"].choices[0], value)  # type: ignore[union-attr]


@settings(max_examples=200, deadline=None)
@given(st.lists(values.filter(is_kept), min_size=1, max_size=5))
def test_choices_are_read_as_they_are_shown(choices: list[Any]) -> None:
    try:
        space = make_space("n.py:f", {"p": {"type": "categorical", "choices": choices}})
    except SpaceError:
        return  # two that are one
    (row,) = [row for row in space.rows() if row.name == "p"]
    given_back = parse_configuration([f"p=[{row.range}]"], "--set")["p"]
    assert isinstance(given_back, list)
    assert len(given_back) == len(choices)
    for back, choice in zip(given_back, choices, strict=True):
        assert equal_values(back, choice)
        assert equal_values(space.flatten({"p": back})["p"], choice)
        assert equal_values(space.override({"p": back}).parameters["p"], choice)


@settings(max_examples=100, deadline=None)
@given(texts | st.booleans() | st.integers(0, 2**53))
def test_a_cell_of_a_table_tells_texts_from_other_values(value: Any) -> None:
    read = parse_word(format_param(value))
    assert isinstance(read, str) == isinstance(value, str)
    assert isinstance(read, bool) == isinstance(value, bool)


@settings(max_examples=100, deadline=None)
@given(st.lists(texts, min_size=1, max_size=4))
def test_a_list_is_split_where_its_words_end(words: list[str]) -> None:
    assert [parse_word(one) for one in split_list(", ".join(map(word, words)))] == words


@given(st.text(max_size=20))
def test_any_text_splits_and_parses(text: str) -> None:
    assert all(isinstance(one, str) for one in split_list(text))
    parse_word(text)


SWITCHES = {"yes": True, "On": True, "true": True, "TRUE": True, "no": False, "off": False}


@pytest.mark.parametrize(("said", "meant"), SWITCHES.items())
def test_a_switch_takes_its_words_everywhere(said: str, meant: bool) -> None:
    text = """
network: mlp
parameters:
  batch_norm: SAID
  nesterov: {type: categorical, choices: [SAID]}
  optimizer: {type: categorical, choices: [sgd, adam]}
  dropout: {type: float, low: 0.1, high: 0.5, when: {batch_norm: SAID}}
  learning_rate: {type: float, low: 0.1, high: 0.5, log: SAID}
baselines:
  - {optimizer: sgd, nesterov: SAID, batch_norm: SAID}
"""
    space = parse_space(text.replace("SAID", said), "s.yaml")
    plain = parse_space(text.replace("SAID", word(meant)), "s.yaml")
    assert space == plain
    assert space.model_dump_json() == plain.model_dump_json()
    words = parse_configuration([f"batch_norm={said}"], "--set")
    searched = make_space("mlp", {"batch_norm": {"type": "categorical", "choices": [True, False]}})
    assert searched.flatten(words) == {"batch_norm": meant}
    assert searched.override(words).parameters == {"batch_norm": meant}
    assert make_space("mlp", {}).override(words).parameters == {"batch_norm": meant}
    own = make_space("n.py:f", {"flag": {"type": "categorical", "choices": ["x", meant]}})
    assert own.flatten(parse_configuration([f"flag={said}"], "trial add")) == {"flag": meant}
    assert own.override({"flag": said}).parameters["flag"] is meant
    fixed = make_space("n.py:f", {"flag": not meant, "x": {"type": "int", "low": 1, "high": 2}})
    assert fixed.override({"flag": said}).parameters["flag"] is meant
    assert make_space("n.py:f", {"flag": meant}).flatten({"flag": said}) == {}


@pytest.mark.parametrize("text", SWITCH_TEXTS)
def test_of_a_users_own_parameter_such_a_word_is_a_text(text: str) -> None:
    file = (
        f"network: n.py:f\nparameters:\n  a: {text}\n  b: {{type: categorical, choices: [{text}, "
    )
    space = parse_space(
        f"{file}perhaps, 1]}}\n  c: {{type: categorical, choices: [x]}}\n", "s.yaml"
    )
    assert space.parameters["a"] == text
    rows = {row.name: row for row in space.rows()}
    note = f"{text}: a text, not true or false"
    assert [rows[name].note for name in "abc"] == [note, note, ""]
    assert (rows["a"].range, rows["b"].range) == (text, f"{text}, perhaps, 1")
    assert space.flatten({"b": text}) == {"b": text}
    with pytest.raises(SpaceError, match="must be one of"):
        space.flatten({"b": as_switch("yes")})


def test_a_text_among_truth_values_is_itself() -> None:
    own = make_space("n.py:f", {"p": {"type": "categorical", "choices": [True, "yes", "true"]}})
    read = [own.flatten(parse_configuration([f"p={said}"], "x"))["p"] for said in ("true", "yes")]
    assert read == [True, "yes"]
    assert own.flatten(parse_configuration(["p='true'"], "x")) == {"p": "true"}
    assert [row.range for row in own.rows() if row.name == "p"] == ['true, yes, "true"']


def test_every_listing_has_the_same_words(capsys: pytest.CaptureFixture[str]) -> None:
    params = {"a": True, "b": [False, True], "c": "true"}
    assert [format_param(value) for value in params.values()] == ["true", "false true", '"true"']
    assert compared({"a": True, "b": [False, True]}) == "a true, b false true"
    assert str(Choice(name="tpe", options={"group": True})) == "tpe group=true"
    assert [format_in_sentence(True), format_in_sentence("yes"), format_in_sentence("true")] == [
        "true",
        "yes",
        '"true"',
    ]
    print_csv([{"number": 1, "params": params}], ["number"], ["a", "b"])
    assert list(csv.reader(io.StringIO(capsys.readouterr().out)))[1] == ["1", "true", "false true"]


def test_a_sampler_s_switch_takes_them_too() -> None:
    options = parse_options(["group=no", "multivariate=yes", "n_startup_trials=3"])
    wanted = Wanted(data=data_spec(source="iris"), sampler=Choice(name="tpe", options=options))
    spec = define_study(make_space("mlp", {"depth": 1}), wanted, load_settings())
    expected = {"group": False, "multivariate": True, "n_startup_trials": 3}
    assert spec.sampler.options == expected


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.97, "0.9700"),
        (-1 / 3, "-0.3333"),
        (0.00002, "2e-05"),
        (9999.9, "9999.9000"),
        (12345.6, "12,346"),
        (-123456.7, "-123,457"),
        (12345678901.0, "1.235e+10"),
        (0.0, "0"),
        (None, "–"),
    ],
)
def test_measured_numbers_keep_their_digits(value: float | None, text: str) -> None:
    assert format_number(value) == text
