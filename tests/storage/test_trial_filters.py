"""The grammar that trials are filtered by."""

import pytest

from tuner.errors import UsageError
from tuner.storage.trial_filters import LONGEST_FILTER, Operator, parse_filter


def terms(text: str) -> list[tuple[str, str, object]]:
    return [(term.name, str(term.operator), term.value) for term in parse_filter(text)]


def test_terms_stand_one_after_another() -> None:
    assert terms("  learning_rate<0.01 optimizer=adam score>=.9 ") == [
        ("learning_rate", "<", 0.01),
        ("optimizer", "=", "adam"),
        ("score", ">=", 0.9),
    ]
    assert terms("a==1 and b != true\tc <= -2e-3") == [
        ("a", "=", 1),
        ("b", "!=", True),
        ("c", "<=", -0.002),
    ]
    assert terms("") == terms("  ") == []
    # A parameter may be called like the word that joins terms.
    assert terms("and=1") == [("and", "=", 1)]


def test_quotes_hold_blanks_and_signs_and_none_is_no_value() -> None:
    assert terms("\"my rate\"<1 'a=b'=\"x < y\" c='none' d=none e='1'") == [
        ("my rate", "<", 1),
        ("a=b", "=", "x < y"),
        ("c", "=", "none"),
        ("d", "=", None),
        ("e", "=", "1"),
    ]
    assert Operator.NOT_EQUAL.function(1, 2) and not Operator.NOT_EQUAL.is_order


@pytest.mark.parametrize(
    "text",
    ["adam", "x<", "x<1,y<2 z", "=1", "x 1", "x<1y>2", "x<'1", "x~1", "x<1 or y<2", "<script>"],
)
def test_mistakes_are_one_line_that_says_where(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_filter(text)
    assert "\n" not in str(caught.value)
    assert "cannot be read at" in str(caught.value)


def test_what_has_no_order_and_what_is_too_long_is_refused() -> None:
    with pytest.raises(UsageError, match="nothing is less or more than none"):
        parse_filter("x<none")
    with pytest.raises(UsageError, match="at most 1000 characters, got 1001"):
        parse_filter("x" * (LONGEST_FILTER + 1))
