"""What columns of a table are taken for, by their cells or as the user says."""

import datetime as dt
import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tuner.data import (
    Dataset,
    describe_dataset,
    open_dataset,
    preparation_of,
    save_dataset,
    summarize_columns,
)
from tuner.data.columns import read_column
from tuner.errors import DatasetError
from tuner.preparation.cells import read_cells
from tuner.preparation.text_columns import MANY_TEXTS, ReadColumn, UnclearColumn

Load = Callable[..., Dataset]
N = 120


def column(cells: Any, said: Any = None) -> ReadColumn:
    series = cells if isinstance(cells, pd.Series) else pd.Series(cells)
    return read_column(series.rename("x"), said)


def numbers() -> list[str]:
    return [str(50 + i) for i in range(N)]


def said_of(read: ReadColumn) -> str:
    return "\n".join(read.notes)


def refusal(cells: Any, said: Any = None) -> str:
    with pytest.raises((UnclearColumn, DatasetError)) as caught:
        column(cells, said)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("mark", ["?", "NA", "n/a", "-", "null", "None", "#DIV/0!", ".", ""])
def test_numbers_with_a_mark_for_missing_are_numbers(mark: str) -> None:
    cells = numbers()
    cells[7] = cells[55] = mark
    read = column(cells)
    assert read.kind == "number"
    assert np.flatnonzero(read.cells.gaps()).tolist() == [7, 55]
    assert read.cells.values[8] == 58
    assert f"2 of 120 cells hold {mark!r} and count as missing numbers" in said_of(read)


@pytest.mark.parametrize(
    ("kind", "cells", "note"),
    [
        ("number", ["12 %", "7 %", "30%"], "'12 %' is read as the number 12"),
        ("number", ["$1,234.50", "$7"], "is read as the number"),
        ("number", ["1,234", "950"], "its comma as a thousands mark"),
        ("number", ["1,5", "2,25"], "is read as the number"),
        ("number", ["1", "2"], "its texts are numbers; if they are names: --column x=category"),
        ("category", ["007", "123"], "codes that begin with 0 ('007'; first in row 1)"),
        ("category", ["1 kg", "2 g"], "their units differ (g, kg): taken for categories"),
        ("category", ["1", "2", "ground"], "2 of 3 cells are numbers, 1 are not ('ground'; first"),
        ("category", ["None", "Mild"], ""),
        ("category", ["red", "blue", "?"], ""),
        ("date", ["2025-01-31", "2025-02-28"], ""),
        ("date", ["31.1.2025", "28.2.2025"], "dates with the day first ('28.2.2025', "),
        ("date", ["1/31/2025", "2/28/2025"], "dates with the month first"),
        ("date", ["2025-01-31T10:00Z"] * 2, "times are read as UTC"),
        ("date", ["2025-01-31", "?"], "1 of 2 cells hold '?' and count as missing dates"),
        ("date", ["31.1.25", "28.2.25"], "years of two digits are those from 1969 to 2068"),
        ("date", ["10:30", "11:15"], "times of the day ('10:30', "),
        ("category", ["2025-01-31", "2025-02-28", "soon"], "2 of 3 cells are dates, 1 are none"),
    ],
)
def test_texts_by_what_they_hold(kind: str, cells: list[str], note: str) -> None:
    read = column(cells)
    assert read.kind == kind
    assert note in said_of(read)
    assert bool(note) == bool(read.notes)


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        (
            [*numbers(), "broken", "broken"],
            "column 'x': 120 of 122 cells are numbers, 2 are not ('broken'; first in row 121); "
            "mend these cells, or say what it is: --column x=category, or =text, or =drop",
        ),
        ([*numbers(), "1.5", "1,5"], "written in different ways"),
        ([f"{i} {'kg' if i % 2 else 'g'}" for i in range(N)], "their units differ (g, kg)"),
        (
            [f"{i % 12 + 1}/{i // 12 % 12 + 1}/2025" for i in range(N)],
            "all dates can be read with the day or the month first",
        ),
        (
            ["2025-01-31 10:00", "2025-01-31 10:00Z"],
            "some dates name a time zone and some do not",
        ),
        (
            [f"name {i}" for i in range(N)],
            "column 'x' holds 120 different texts in 120 rows, as names, ids or sentences do; say "
            "what it is: --column x=drop, or =text, or =category",
        ),
        (
            [f"name {i % 1001}" for i in range(5000)],
            "holds 1001 different texts, more than 1000",
        ),
        ([[1, 2], [3]], "holds mixed values (list); leave it out: --column x=drop, or turn it"),
        ([b"a", b"b"], "holds bytes values"),
        ([1j, 2j], "holds"),
    ],
)
def test_columns_that_are_refused(cells: list[Any], message: str) -> None:
    assert message in refusal(cells)


def typed(values: Any, dtype: str) -> pd.Series:
    return pd.Series(values, dtype=dtype)


@pytest.mark.parametrize(
    ("kind", "cells"),
    [
        ("number", typed([1, 2], "int64")),
        ("number", typed([1, None], "Int64")),
        ("number", typed([1.5, None], "float32")),
        ("number", typed([True, False], "bool")),
        ("number", typed([True, None], "boolean")),
        ("number", pd.Series([Decimal("1.5"), None])),
        ("number", pd.Series([dt.timedelta(hours=12), None])),
        ("number", typed([None, None], "object")),
        ("number", typed([None, None], "str")),
        ("category", pd.Series(pd.Categorical([3, 5]))),
        ("category", pd.Series(pd.Categorical(["a", None]))),
        ("category", pd.Series([True, None, False])),
        ("category", pd.Series(["a", 1, 2.0])),
        ("date", typed(["2025-01-31", None], "datetime64[ns]")),
        ("date", pd.Series(["2025-01-31 10:00+02:00"]).astype("datetime64[us, Europe/Berlin]")),
        ("date", pd.Series([dt.date(2025, 1, 31), None])),
        ("date", pd.Series([dt.datetime(2025, 1, 31, tzinfo=dt.UTC), None])),
        ("date", pd.Series([dt.time(10, 30), dt.time(11, 15)])),
        ("date", pd.Series(pd.period_range("2025-01", periods=2, freq="M"))),
    ],
)
def test_columns_of_data_frames(kind: str, cells: pd.Series) -> None:
    read = column(cells)
    assert read.kind == kind
    assert read.cells.gaps().tolist() == cells.isna().tolist()


def test_zones_become_utc() -> None:
    berlin = pd.Series(["2025-01-31 10:00"]).astype("datetime64[us, Europe/Berlin]")
    aware = dt.datetime(2025, 1, 31, 9, tzinfo=dt.UTC)
    for cells in (berlin, ["2025-01-31 10:00+01:00"], pd.Series([aware])):
        assert column(cells).cells.values.tolist() == [aware.timestamp()]


@pytest.mark.parametrize(
    ("said", "cells", "kind"),
    [
        ("number", ["007", "012"], "number"),
        ("number", ["1 kg", "?"], "number"),
        ("category", [2019, 2020], "category"),
        ("category", [1.0, None, 2.5], "category"),
        ("text", ["a b", "b c"], "text"),
        ("text", [1, 2], "text"),
        ("date", [1_700_000_000, 1_700_000_060], "date"),
        ("date", [20250131, 20250201], "date"),
        ("date", ["20250131", "?"], "date"),
        ("date", ["31.1.2025", "NA"], "date"),
        ("number", [None, None], "number"),
        ("date", [None, None], "date"),
        ("category", [None, None], "category"),
        ("text", [None, None], "text"),
    ],
)
def test_the_user_says_what_a_column_is(said: str, cells: list[Any], kind: str) -> None:
    assert column(cells, said).kind == kind


@pytest.mark.parametrize(
    ("said", "cells", "message"),
    [
        ("number", ["red", "blue", "red", "5"], "x=number: 3 of 4 cells are no numbers ('red', 'b"),
        ("number", pd.Series(pd.to_datetime(["2025-01-31"])), "it holds dates; take date"),
        ("number", ["1 kg", "2 g"], "their units differ (g, kg)"),
        ("date", ["red", "2025-01-31"], "1 of 2 cells are no dates"),
        ("date", ["1/2/2025", "2/1/2025"], "with the day or the month first"),
        ("category", list(range(2000)), "2000 different values, more than 1000"),
    ],
)
def test_what_a_column_cannot_be(said: str, cells: Any, message: str) -> None:
    assert message in refusal(cells, said)


def test_names_of_categories_are_the_same_whatever_their_type() -> None:
    for cells in ([1, 2, 10], [1.0, 2.0, 10.0], ["1", "2", "10"], pd.Categorical([1, 2, 10])):
        assert sorted(column(pd.Series(cells), "category").cells.texts) == ["1", "10", "2"]


# Contents of one column: their kind, and cells.
plain = st.one_of(
    st.lists(st.integers(-(10**6), 10**6).map(str), min_size=5),
    st.lists(st.sampled_from(["red", "green", "blue", "NA"]), min_size=5),
    st.lists(st.dates(dt.date(1990, 1, 1), dt.date(2030, 1, 1)).map(str), min_size=5),
    st.lists(st.integers(0, 99).map("{} %".format), min_size=5),
    st.lists(st.integers(0, 999).map("{:04}".format), min_size=5),
    st.lists(st.sampled_from(["1", "2", "x", "2025-01-01", "?", "7 kg"]), min_size=5),
)


@hypothesis_settings(max_examples=60, deadline=None)
@given(plain, st.integers(0, 3), st.randoms(use_true_random=False))
def test_the_order_of_rows_changes_no_kind(cells: list[str], marks: int, random: Any) -> None:
    cells = [*cells, *["?"] * marks]
    shuffled = random.sample(cells, len(cells))
    try:
        read = column(cells)
    except UnclearColumn as error:
        with pytest.raises(UnclearColumn) as caught:
            column(shuffled)
        assert str(caught.value).partition("(")[0] == str(error).partition("(")[0]
        return
    again = column(shuffled)
    assert (again.kind, again.format) == (read.kind, read.format)


def table(rows: int = N) -> pd.DataFrame:
    draw = np.random.default_rng(3)
    days = np.datetime64("2024-01-01") + draw.integers(0, 500, rows)
    return pd.DataFrame(
        {
            "size": draw.normal(size=rows),
            "power": [("?" if i % 40 == 3 else str(50 + i)) for i in range(rows)],
            "price": [f"${1000 + 37 * i:,}" for i in range(rows)],
            "town": draw.choice(["Rome", "Oslo", "Ulm"], rows),
            "when": [str(day) for day in days],
            "note": [f"{draw.choice(['good', 'bad'])} room {i}" for i in range(rows)],
            "name": [f"n{i}" for i in range(rows)],
            "y": ["a", "b"] * (rows // 2),
        }
    )


SAID: dict[str, Any] = {"note": "text", "name": "drop", "y": "target"}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    table().to_csv(tmp_path / "t.csv", index=False)
    return tmp_path / "t.csv"


def test_a_whole_table(load: Load, path: Path) -> None:
    dataset = load(path, columns=SAID)
    assert dataset.labels == ("a", "b")
    kinds = {report.name: report.kind for report in dataset.reports}
    assert kinds == {
        "size": "number", "power": "number", "price": "number", "town": "category",
        "when": "date", "note": "text", "name": "drop", "y": "target",
    }  # fmt: skip
    assert summarize_columns(dataset.reports).startswith(
        "3 numbers, 1 category (town 3), 1 text (note "
    )
    assert summarize_columns(dataset.reports).endswith(", 1 date (when); left out: name")
    features = dataset.features or ()
    assert {"when.year", "when.month", "when.day", "when.weekday", "when.days"} <= {*features}
    assert not {"when.hour", "when.minute"} & {*features}
    assert {"note:good", "note:bad", "note:room"} <= {*features}
    facts = describe_dataset(dataset)["columns"]
    assert json.loads(json.dumps(facts)) == [
        {**fact, "examples": list(fact["examples"])} for fact in facts
    ]
    assert facts[1] | {"gaps": 3, "low": "50", "high": "169"} == facts[1]


def test_dates_become_numbers(load: Load, path: Path) -> None:
    dataset = load(path, columns=SAID)
    features = list(dataset.features or ())
    start = features.index("when.year")
    year, month, day, weekday, days = dataset.train.x[:, start : start + 5].astype(int).T
    assert days.min() == 0
    dates = [dt.date(*each) for each in zip(year, month, day, strict=True)]
    assert [date.weekday() for date in dates] == weekday.tolist()
    assert [(date - min(dates)).days for date in dates] == days.tolist()


def test_words_that_a_cell_holds(load: Load, path: Path) -> None:
    dataset = load(path, columns=SAID)
    features = list(dataset.features or ())
    good, bad = (dataset.train.x[:, features.index(f"note:{word}")] for word in ("good", "bad"))
    np.testing.assert_array_equal(good + bad, 1)
    scaled = dataset.scaling.apply(dataset.train.x)
    np.testing.assert_array_equal(scaled[:, features.index("note:good")], good)


def test_rows_that_come_later_are_encoded_as_in_training(
    load: Load, path: Path, tmp_path: Path
) -> None:
    dataset = load(path, columns=SAID)
    save_dataset(dataset, tmp_path / "kept")
    kept = open_dataset(tmp_path / "kept")
    assert kept.columns == dataset.columns
    preparation = preparation_of(kept)
    everything = preparation.prepare(table(), "later").inputs
    for split in dataset.splits.values():
        rows = {row.tobytes() for row in everything}
        assert all(row.tobytes() in rows for row in np.asarray(split.x))
    assert len(everything) == sum(len(split) for split in dataset.splits.values())
    one = table().iloc[[3]]
    np.testing.assert_array_equal(preparation.prepare(one, "later").inputs, everything[[3]])
    odd = table().assign(power="broken", when="soon", price="5 kg")
    with pytest.raises(DatasetError) as caught:
        preparation.prepare(odd, "later")
    message = str(caught.value)
    assert "column 'power' must hold numbers, written as in training; 120 of 120" in message
    assert "column 'when' must hold dates" in message
    assert "column 'price' must hold numbers" in message


def test_parquet_and_csv_are_the_same_data(load: Load, path: Path, tmp_path: Path) -> None:
    table().to_parquet(tmp_path / "t.parquet")
    stored = load(tmp_path / "t.parquet", columns=SAID)
    assert stored.fingerprint == load(path, columns=SAID).fingerprint
    dated = table()
    dated["when"] = pd.to_datetime(dated["when"])
    dated.to_parquet(tmp_path / "dated.parquet")
    assert load(tmp_path / "dated.parquet", columns=SAID).fingerprint == stored.fingerprint


def test_all_problems_of_a_file_are_one_message(load: Load, tmp_path: Path) -> None:
    odd = table()
    odd.loc[5, "power"] = "broken"
    odd["y"] = pd.to_datetime(odd["when"]).astype(str)
    odd.to_csv(tmp_path / "odd.csv", index=False)
    with pytest.raises(DatasetError) as caught:
        load(f"{tmp_path / 'odd.csv'}:y")
    message = str(caught.value)
    assert "\n" not in message
    for part in (
        "column 'power': ",
        "column 'note' holds",
        "column 'name' holds",
        "it holds dates",
    ):
        assert part in message
    assert message.count("odd.csv") == 1


@pytest.mark.parametrize(
    ("source", "said", "parts"),
    [
        ("t.csv", {}, ["name the target column as"]),
        ("t.csv:y", {"siz": "drop"}, ["--column siz=drop: no such column; there are: size, "]),
        ("t.csv:y", {"size": "target"}, ["several targets are named: y, size; name one"]),
        ("t.csv:y", {"y": "drop"}, ["--column y=drop: it is the target"]),
        ("t.csv", {"z": "target", "q=r": "drop"}, ["z=target: no such", "q=r=drop: no such"]),
    ],
)
def test_names_that_are_wrong(
    load: Load, path: Path, source: str, said: dict[str, Any], parts: list[str]
) -> None:
    with pytest.raises(DatasetError) as caught:
        load(path.parent / source, columns=said)
    assert "\n" not in str(caught.value)
    for part in parts:
        assert part in str(caught.value)


def test_columns_are_of_tables_alone(load: Load, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"digits: holds no table; .* not x"):
        load("digits", columns={"x": "drop"})


def test_a_target_named_twice_alike(load: Load, path: Path) -> None:
    dropped: dict[str, Any] = {"note": "drop", "name": "drop"}
    said = load(path, columns={**dropped, "y": "target"})
    assert said.fingerprint == load(f"{path}:y", columns=dropped).fingerprint
    assert said.fingerprint == load(f"{path}:y", columns={**dropped, "y": "target"}).fingerprint


def test_frames_of_a_users_own_code(load: Load, tmp_path: Path) -> None:
    code = (
        "import pandas as pd\n"
        "def load():\n"
        "    def frame(first, n):\n"
        "        when = pd.date_range(first, periods=n).astype(str)\n"
        "        return pd.DataFrame({'when': when, 'p': ['?', *map(str, range(n - 1))]})\n"
        "    return ((frame('2024-01-01', 80), list(range(40)) * 2),\n"
        "            (frame('2025-01-01', 20), list(range(20))))\n"
    )
    (tmp_path / "mine.py").write_text(code)
    dataset = load(f"{tmp_path / 'mine.py'}:load", task="regression")
    assert dataset.columns is not None
    assert [column.kind for column in dataset.columns] == ["date", "number"]
    features = list(dataset.features or ())
    assert dataset.test.x[:, features.index("when.days")].min() > 300
    (tmp_path / "odd.py").write_text(code.replace("'2025-01-01', 20)", "'2025-01-01', 20) * 2"))
    with pytest.raises(DatasetError, match=r"test: column 'when' must hold dates"):
        load(f"{tmp_path / 'odd.py'}:load", task="regression")
    with pytest.raises(DatasetError, match="the target is given beside these columns"):
        load(f"{tmp_path / 'mine.py'}:load", columns={"p": "target"})


@pytest.mark.parametrize(
    ("cells", "note"),
    [
        (["5"] * N, r"x: holds one value only in the training rows \(5\); nothing is learnt"),
        (["red"] * N, r"x: holds one value only in the training rows \(red\)"),
        (["2025-01-01"] * N, r"x: holds one value only in the training rows \(2025-01-01\)"),
        ([""] * N, "x: is empty in the training rows; nothing is learnt from it"),
    ],
)
def test_columns_that_say_nothing(load: Load, tmp_path: Path, cells: list[str], note: str) -> None:
    frame = pd.DataFrame({"x": cells, "z": range(N), "y": [0, 1] * (N // 2)})
    frame.to_csv(tmp_path / "t.csv", index=False)
    notes = "\n".join(load(f"{tmp_path / 't.csv'}:y").notes)
    assert pd.Series([notes]).str.contains(note).all(), notes


def test_all_columns_dropped(load: Load, path: Path) -> None:
    said: dict[str, Any] = dict.fromkeys(table().columns, "drop") | {"y": "target"}
    with pytest.raises(DatasetError, match="no column is left to learn from"):
        load(path, columns=said)


def test_studies_of_before_read_as_they_did(load: Load, path: Path, tmp_path: Path) -> None:
    was = load(f"{path}:y", reading=1)
    assert was.columns is not None
    assert [column.kind for column in was.columns] == ["number"] + ["category"] * 6
    assert len(was.features or ()) > MANY_TEXTS  # a feature a value
    assert not any("cells" in note for note in was.notes)
    worded = table().assign(level=["None", "Mild"] * (N // 2))[["size", "level"]]
    worded.to_csv(tmp_path / "w.csv", index=False)
    with pytest.raises(DatasetError, match="the target is missing in 60 rows"):
        load(f"{tmp_path / 'w.csv'}:level", reading=1)
    assert load(f"{tmp_path / 'w.csv'}:level").labels == ("Mild", "None")


# Any cells at all, as they may stand in an object column.
anything = st.one_of(
    st.none(), st.text(max_size=8), st.integers(), st.floats(), st.booleans(), st.dates(),
    st.binary(max_size=3), st.decimals(), st.lists(st.integers(), max_size=2), st.times(),
    st.sampled_from(["1", "2", "?", "1,5", "2025-01-01", "1/2/2025", "5 kg", "007"]),
)  # fmt: skip


@hypothesis_settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.one_of(st.lists(anything, min_size=1), anything.flatmap(lambda v: st.just([v, None, v]))),
    st.sampled_from([None, "number", "category", "text", "date"]),
)
def test_any_column_is_read_or_refused(cells: list[Any], said: Any) -> None:
    series = pd.Series(cells, dtype=object)
    try:
        read = column(series, said)
    except (UnclearColumn, DatasetError) as error:
        assert "\n" not in str(error)
        return
    assert len(read.cells) == len(cells)
    if read.kind in ("number", "date"):
        known = read.cells.values[~read.cells.gaps()]
        assert np.isfinite(known.astype(np.float64)).all()
    assert len(read_cells(series)) == len(cells)


@pytest.mark.parametrize(
    ("first", "last", "shown"),
    [
        ("0:00", "23:59", ("00:00:00", "23:59:00")),
        ("1900-01-01", "1900-01-02", ("1900-01-01", "1900-01-02")),
    ],
)
def test_the_ends_of_times_and_dates(
    load: Load, tmp_path: Path, first: str, last: str, shown: tuple[str, str]
) -> None:
    path = tmp_path / "t.csv"
    rows = "".join(f"{last if i % 3 else first},{i % 2}\n" for i in range(30))
    path.write_text(f"a,y\n{rows}")
    report, _ = load(f"{path}:y").reports
    assert (report.kind, report.low, report.high) == ("date", *shown)


@pytest.mark.parametrize(
    ("said", "cells"),
    [(None, ["Rome", "rome", "ROME", "Oslo"]), ("category", ["Rome", "rome", "ROME", "Oslo"])],
)
def test_texts_that_differ_in_capitals_are_noted(said: Any, cells: list[str]) -> None:
    note = "x: 'ROME', 'Rome', 'rome' differ in capitals alone and are different categories"
    assert said_of(column(cells * 30, said)) == note
    assert said_of(column(["Rome", "Oslo"] * 30, said)) == ""


def test_dates_of_several_formats_are_refused_as_such() -> None:
    forms = ("%Y-%m-%d", "%d.%m.%Y", "%b %d, %Y")
    days = [dt.date(2024, 1, 1) + dt.timedelta(days=3 * i) for i in range(N)]
    cells = [day.strftime(forms[i % 3]) for i, day in enumerate(days)]
    message = refusal(cells)
    assert "120 of 120 cells are dates, but written in different ways, such as '2024-" in message
    assert "2024'" in message
    few = column(cells[:6] * 20)
    assert few.kind == "category"
    assert "written in different ways" in said_of(few)


@pytest.mark.parametrize("cells", [[1990, 2024], [45_000, 45_399], [0, 0], ["1999", "2001"]])
def test_numbers_that_are_no_dates_are_refused_as_dates(cells: list[Any]) -> None:
    assert "are neither dates as 20251231 nor times since 1970" in refusal(cells, "date")


def test_zones_of_typed_dates_are_noted() -> None:
    times = pd.Series(pd.date_range("2025-01-01", periods=3, tz="Asia/Tokyo"))
    for said in (None, "date"):
        assert said_of(column(times, said)) == "x: times of Asia/Tokyo are converted to UTC"
        assert said_of(column(times.dt.tz_convert("UTC"), said)) == ""


def test_told_numbers_are_not_asked_about_again() -> None:
    assert said_of(column(["007", "019"], "number")) == ""


def test_times_are_shown_without_a_date(load: Load, tmp_path: Path) -> None:
    frame = pd.DataFrame({"at": [f"{i % 24:02d}:00" for i in range(N)], "y": ["a", "b"] * 60})
    frame["since"] = ["1900-01-01 10:00", "1900-02-01 00:00"] * 60
    frame.to_csv(tmp_path / "t.csv", index=False)
    reports = {each.name: each for each in load(f"{tmp_path / 't.csv'}:y").reports}
    assert (reports["at"].low, reports["at"].high) == ("00:00:00", "23:00:00")
    assert (reports["since"].low, reports["since"].high) == ("1900-01-01 10:00:00", "1900-02-01")
