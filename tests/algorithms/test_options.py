"""NAME=VALUE words of the command line."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tuner.algorithms.options import parse_columns, parse_configuration, parse_options
from tuner.errors import SpecError


def test_values_have_the_type_they_look_like() -> None:
    words = ["a=3", "b=1e-4", "c=true", "d=halton", "e=no", "f=null", "g=x=y", " h = 2 "]
    assert parse_options(words) == {
        "a": 3, "b": 1e-4, "c": True, "d": "halton", "e": "no", "f": "null", "g": "x=y", "h": 2,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["abc"], "--pruner-option takes NAME=VALUE, got 'abc'"),
        (["=3"], "--pruner-option takes NAME=VALUE, got '=3'"),
        (["a=1", "a=2"], "--pruner-option gives a twice"),
        (["a=.nan"], r"'\.nan' must be finite, got nan"),
        (["a=1e999"], "must be finite, got inf"),
        (["a=" + "9" * 30], "must lie within"),
    ],
)
def test_words_that_are_no_options(words: list[str], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        parse_options(words, "--pruner-option")


def test_configurations_take_lists() -> None:
    words = ["depth=2", "width=64,32", "a=[1]", "b=[x, true]", "c=[]", "d=relu"]
    assert parse_configuration(words, "configuration") == {
        "depth": 2, "width": [64, 32], "a": [1], "b": ["x", True], "c": [], "d": "relu",
    }  # fmt: skip


@settings(max_examples=100, deadline=None)
@given(st.lists(st.text(max_size=12), max_size=3))
def test_any_words_parse_or_are_refused(words: list[str]) -> None:
    for parse in (parse_options, parse_configuration):
        try:
            parse(words, "--set")
        except SpecError as error:
            assert "\n" not in str(error)


@pytest.mark.parametrize(
    ("words", "kinds"),
    [
        ([], {}),
        (["zip=category", "id=drop", "id=drop"], {"zip": "category", "id": "drop"}),
        (["a=b=text", " size = Number "], {"a=b": "text", "size": "number"}),
    ],
)
def test_kinds_of_columns(words: list[str], kinds: dict[str, str]) -> None:
    assert parse_columns(words) == kinds


def test_all_kinds_that_are_wrong_are_told_at_once() -> None:
    with pytest.raises(SpecError) as caught:
        parse_columns(["a=categry", "b", "=text", "c=", "d=text", "d=date"])
    told = str(caught.value).split("; --column")
    assert len(told) == 5
    assert told[0].startswith("--column a=categry: the kind must be one of category, ")
    assert told[1] == " takes NAME=KIND, got 'b'"
    assert told[4] == " gives d twice, as text and date"
