"""Numbers that are written as texts."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tuner.preparation.number_texts import (
    NumberFormat,
    Shapes,
    find_format,
    find_shapes,
    split_number,
    to_numbers,
)

Parts = list


def shaped(texts: list[str]) -> tuple[Shapes, Parts]:
    shapes = find_shapes(texts)
    return shapes, [split_number(text) for text in shapes.first]


def parts_of(*texts: str) -> Parts:
    parts = [split_number(text) for text in texts]
    assert None not in parts, texts
    return parts


@pytest.mark.parametrize(
    ("texts", "numbers"),
    [
        (["1", "-2", "+3.5", ".5", "5.", "1e3", "2E-2"], [1, -2, 3.5, 0.5, 5, 1000, 0.02]),
        (["1,234", "56", "-7,890,123"], [1234, 56, -7890123]),
        (["1,234.5", "3.25"], [1234.5, 3.25]),
        (["1,5", "-2,25", "0,125"], [1.5, -2.25, 0.125]),
        (["1.234,5", "1.234.567"], [1234.5, 1234567]),
        (["1 234", "1\u00a0234\u202f567,5"], [1234, 1234567.5]),
        (["1'234", "1’000’000"], [1234, 1000000]),
        (["12 %", "3.5%"], [12, 3.5]),
        (["$5", "-$1,000.50", "$-3"], [5, -1000.5, -3]),
        (["EUR 5", "EUR 7.5"], [5, 7.5]),
        (["5 kg", "7kg"], [5, 7]),
        (["36 months", "60 months"], [36, 60]),
        (["12 km/h", "7 km/h"], [12, 7]),
        (["−5", "3"], [-5, 3]),
        (["(5.50)", "3"], [-5.5, 3]),
        (["($1,234)", "$3"], [-1234, 3]),
        (["0", "5 %"], [0, 5]),
        (["1e−5", "−2.5e−3", "7E+2"], [1e-5, -2.5e-3, 700]),
    ],
)
def test_writings_that_are_read(texts: list[str], numbers: list[float]) -> None:
    parts = parts_of(*texts)
    format_, _ = find_format(parts)
    assert format_ is not None
    np.testing.assert_array_equal(to_numbers(*shaped(texts), format_), numbers)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "?",
        "red",
        "1.2.3",
        "12:30",
        "2025-12-31",
        "10-20",
        "1,2,3",
        "12,34,567",
        "A1",
        "0x1f",
        "1/2",
        "nan",
        "inf",
        "--5",
        "+-5",
        "1 2 3",
        "(5",
        "5'10",
        "1_000",
        "9" * 50,
    ],
)
def test_what_is_no_number(text: str) -> None:
    assert split_number(text) is None


@pytest.mark.parametrize(
    ("texts", "reason"),
    [
        (["5 kg", "7 g"], "their units differ (g, kg)"),
        (["5 %", "7"], "their units differ (none, %)"),
        (["1,5", "2.75"], "written in different ways"),
        (["1,234", "1500"], "the comma of '1,234' may part thousands or be a decimal comma"),
    ],
)
def test_writings_that_are_unclear(texts: list[str], reason: str) -> None:
    format_, said = find_format(parts_of(*texts))
    assert format_ is None
    assert reason in said


def test_a_comma_before_three_digits_is_said() -> None:
    format_, said = find_format(parts_of("1,234", "950"))
    assert format_ == NumberFormat(".", ",")
    assert "'1,234' is read as 1234, its comma as a thousands mark" in said
    assert find_format(parts_of("1,234", "12,345,678")) == (NumberFormat(".", ","), "")


def written(value: int, cents: int, format_: NumberFormat) -> str:
    digits = f"{abs(value):,}".replace(",", format_.thousands)
    sign = "-" if value < 0 else ""
    text = f"{sign}{digits}{format_.decimal}{cents:02}"
    return f"{text} {format_.unit}" if format_.unit else text


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(-(10**12), 10**12), st.integers(0, 99)), min_size=1),
    st.sampled_from([(".", ""), (".", ","), (",", ""), (",", "."), (",", " "), (".", "'")]),
    st.sampled_from(["", "%", "kg", "km/h", "€"]),
)
def test_numbers_come_back_from_any_writing(
    values: list[tuple[int, int]], marks: tuple[str, str], unit: str
) -> None:
    format_ = NumberFormat(*marks, unit)
    texts = [written(value, cents, format_) for value, cents in values]
    parts = parts_of(*texts)
    found, said = find_format(parts)
    assert found is not None
    assert not said  # two digits behind it leave no doubt of the decimal mark
    wanted = [math.copysign(abs(value) + cents / 100, value) for value, cents in values]
    np.testing.assert_allclose(to_numbers(*shaped(texts), found), wanted, rtol=1e-12)
