"""Dates and times that are written as texts or numbers."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tuner.preparation.date_texts import DatesRead, number_order, numbers_to_seconds, read_dates


def read(*texts: str) -> DatesRead:
    return read_dates(texts, np.ones(len(texts), np.int64))


@pytest.mark.parametrize(
    ("text", "date"),
    [
        ("2025-12-31", datetime(2025, 12, 31)),
        ("2025/1/2", datetime(2025, 1, 2)),
        ("2025-12", datetime(2025, 12, 1)),
        ("Dec-2025", datetime(2025, 12, 1)),
        ("December 2025", datetime(2025, 12, 1)),
        ("2025-12-31T10:20:30.5", datetime(2025, 12, 31, 10, 20, 30, 500_000)),
        ("2025-12-31 10:20:30+02:00", datetime(2025, 12, 31, 8, 20, 30)),
        ("2025-12-31 10:20:30+00", datetime(2025, 12, 31, 10, 20, 30)),
        ("2025-12-31T10:20Z", datetime(2025, 12, 31, 10, 20)),
        ("31.12.2025", datetime(2025, 12, 31)),
        ("1.2.25 7:05", datetime(2025, 2, 1, 7, 5)),
        ("12/31/2025", datetime(2025, 12, 31)),
        ("31/12/2025", datetime(2025, 12, 31)),
        ("12/31/2025 5:30 PM", datetime(2025, 12, 31, 17, 30)),
        ("31-Dec-2025", datetime(2025, 12, 31)),
        ("31. December 2025", datetime(2025, 12, 31)),
        ("Dec 31, 2025", datetime(2025, 12, 31)),
        ("Wed, 31 Dec 2025 10:20:30 GMT", datetime(2025, 12, 31, 10, 20, 30)),
        ("0044-03-15", datetime(44, 3, 15)),
    ],
)
def test_forms_that_are_read(text: str, date: datetime) -> None:
    assert read(text).seconds.tolist() == [date.replace(tzinfo=UTC).timestamp()]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2025",
        "20251231",
        "2025-02-30",
        "32.1.2025",
        "13/13/2025",
        "1.2",
        "sunday",
        "noon",
        "2025-12-31T",
        "10:61",
        "25:00",
        "31 Foo 2025",
        "1.2.3",
        "192.168.1.1",
        "mon 5",
        "12-31",
    ],
)
def test_what_is_no_date(text: str) -> None:
    assert np.isnan(read(text).seconds).all()


def test_the_order_of_day_and_month_follows_from_the_column() -> None:
    found = read("01/02/2025", "13/02/2025")
    assert (found.order, found.also) == ("dmy", "")
    found = read("01/02/2025", "02/13/2025")
    assert (found.order, found.also) == ("mdy", "")
    assert read("01/02/2025").also  # either is as good
    assert not read("05/05/2025").also  # and here the same day
    assert not read("01.02.2025").also  # dots are day first
    assert np.isnan(read("13/02/2025", "02/13/2025").seconds).sum() == 1


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1)), min_size=1),
    st.sampled_from(
        [
            "%Y-%m-%d",
            "%Y-%m-%dT%H:%M:%S",
            "%Y-%m-%d %H:%M:%S.%f",
            "%d.%m.%Y",
            "%d.%m.%Y %H:%M",
            "%d-%b-%Y",
            "%B %d, %Y",
            "%a, %d %b %Y %H:%M:%S",
            "%Y/%m/%d %I:%M %p",
            "%Y-%m-%dT%H:%MZ",
        ]
    ),
)
def test_dates_come_back_from_any_form(dates: list[datetime], form: str) -> None:
    texts = [date.strftime(form) for date in dates]
    found = read(*texts)
    wanted = [datetime.strptime(text, form).replace(tzinfo=UTC).timestamp() for text in texts]
    np.testing.assert_allclose(found.seconds, wanted, atol=1e-5)
    assert not found.also


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 28), st.integers(1, 12)), min_size=1), st.booleans())
def test_slashes_are_read_in_the_order_that_fits(
    days: list[tuple[int, int]], day_first: bool
) -> None:
    pairs = days if day_first else [(month, day) for day, month in days]
    found = read(*(f"{a}/{b}/2025" for a, b in pairs))
    wanted = [datetime(2025, month, day, tzinfo=UTC).timestamp() for day, month in days]
    if not found.also:
        np.testing.assert_array_equal(found.seconds, wanted)
    else:
        assert all(day <= 12 for day, _ in days)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(10**8, 4 * 10**9), min_size=1), st.sampled_from([1, 10**3, 10**6]))
def test_unix_time_is_known_by_its_size(seconds: list[int], unit: int) -> None:
    values = np.array(seconds, np.float64) * unit
    np.testing.assert_array_equal(numbers_to_seconds(values, number_order(values)), seconds)


def test_numbers_of_eight_digits() -> None:
    first = datetime(2024, 2, 27, tzinfo=UTC)
    days = [first + timedelta(days=n) for n in range(5)]
    values = np.array([float(day.strftime("%Y%m%d")) for day in days] + [np.nan])
    order = number_order(values[:-1])
    assert order == "digits"
    seconds = numbers_to_seconds(values, order)
    assert seconds[:-1].tolist() == [day.timestamp() for day in days]
    assert np.isnan(seconds[-1])
    assert number_order(np.array([20240231.0])) == "seconds"  # no date
