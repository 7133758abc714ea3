"""CSV and Parquet: what columns become, and what is refused."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tuner.data import Dataset, describe_dataset, preparation_of
from tuner.errors import DatasetError

Load = Callable[..., Dataset]

ROWS = 60


def frame() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "size": np.arange(ROWS) * 1.5,
            "colour": ["red", "green", "blue"] * (ROWS // 3),
            "old": [True, False] * (ROWS // 2),
            "kind": ["a", "b"] * (ROWS // 2),
        }
    )


def write(path: Path, table: pd.DataFrame) -> Path:
    if path.suffix == ".csv":
        table.to_csv(path, index=False)
    else:
        table.to_parquet(path, index=False)
    return path


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_columns_become_one_float_matrix(load: Load, tmp_path: Path, suffix: str) -> None:
    path = write(tmp_path / f"things{suffix}", frame())
    dataset = load(f"{path}:kind")
    assert dataset.name == "things"
    assert (dataset.task, dataset.labels) == ("binary", ("a", "b"))
    assert dataset.features == ("size", "colour=blue", "colour=green", "colour=red", "old")
    assert dataset.train.x.dtype == np.float32
    for split in dataset.splits.values():
        size, blue, green, red, old = split.x.T
        row = size / 1.5
        np.testing.assert_array_equal(red, row % 3 == 0)
        np.testing.assert_array_equal(green, row % 3 == 1)
        np.testing.assert_array_equal(blue, row % 3 == 2)
        np.testing.assert_array_equal(old, row % 2 == 0)
        np.testing.assert_array_equal(split.y, row % 2)


def test_both_forms_of_one_table_are_the_same_data(load: Load, tmp_path: Path) -> None:
    csv = load(f"{write(tmp_path / 't.csv', frame())}:kind")
    parquet = load(f"{write(tmp_path / 't.parquet', frame())}:kind")
    assert csv.fingerprint == parquet.fingerprint


def test_one_hot_features_are_not_scaled(load: Load, tmp_path: Path) -> None:
    dataset = load(f"{write(tmp_path / 't.csv', frame())}:kind")
    scaled = dataset.scaling.apply(dataset.train.x)
    assert np.isclose(scaled[:, 0].mean(), 0, atol=1e-5)
    assert np.isclose(scaled[:, 0].std(), 1, atol=1e-5)
    np.testing.assert_array_equal(scaled[:, 1:4], dataset.train.x[:, 1:4])


def test_missing_values_are_filled_and_said(load: Load, tmp_path: Path) -> None:
    table = frame()
    table.loc[::2, "size"] = np.nan
    table.loc[::4, "colour"] = None
    dataset = load(f"{write(tmp_path / 't.csv', table)}:kind")
    assert "colour=(missing)" in (dataset.features or ())
    assert not np.isnan(dataset.train.x).any()
    said = "\n".join(describe_dataset(dataset)["notes"])
    assert "train: size: " in said
    assert "missing, set to median" in said
    assert "missing, a feature of their own" in said
    column = (dataset.features or ()).index("colour=(missing)")
    hot = dataset.train.x[:, 1 : 1 + 4]
    np.testing.assert_array_equal(hot.sum(axis=1), 1)
    assert dataset.train.x[:, column].any()


def test_what_columns_become_is_learnt_on_train_alone(load: Load, tmp_path: Path) -> None:
    table = frame()
    test_rows = load(f"{write(tmp_path / 't.csv', table)}:kind").test.x[:, 0] / 1.5
    there = test_rows.astype(int)
    table.loc[there, "colour"] = "violet"
    table.loc[there[0], "colour"] = None
    table.loc[there, "size"] = 1e6
    table.loc[there[0], "size"] = np.nan
    dataset = load(f"{write(tmp_path / 't.csv', table)}:kind")
    assert dataset.features == ("size", "colour=blue", "colour=green", "colour=red", "old")
    assert not dataset.test.x[:, 1:4].any()
    assert dataset.test.x[0, 0] == np.median(dataset.train.x[:, 0])
    assert f"test: colour: {len(there) - 1} of unseen categories, all zeros" in dataset.notes


def test_rows_that_come_later_are_encoded_alike(load: Load, tmp_path: Path) -> None:
    dataset = load(f"{write(tmp_path / 't.csv', frame())}:kind")
    preparation = preparation_of(dataset)
    later = pd.DataFrame({"old": [1], "colour": ["green"], "size": [7.0], "more": ["?"]})
    np.testing.assert_array_equal(preparation.prepare(later).inputs, [[7, 0, 1, 0, 1]])
    with pytest.raises(DatasetError, match="later: lacks the column colour"):
        preparation.prepare(later.drop(columns="colour"), "later")
    with pytest.raises(DatasetError, match="column 'size' must hold numbers"):
        preparation.prepare(later.assign(size="big"), "later")


def test_cells_of_the_file_itself_are_encoded_as_they_were(load: Load, tmp_path: Path) -> None:
    """As texts, which is how other rows of a file are best read; and typed by pandas."""
    table = frame().assign(
        truth=np.resize([True, False, False], len(frame())), day=pd.Timestamp("2024-05-01")
    )
    table["day"] += pd.to_timedelta(np.arange(len(table)), unit="D")
    file = write(tmp_path / "t.csv", table)
    dataset = load(f"{file}:kind")
    assert dataset.columns is not None
    assert "truth" in {column.name for column in dataset.columns if column.kind == "number"}
    preparation = preparation_of(dataset)
    texts = preparation.prepare(pd.read_csv(file, dtype=str, keep_default_na=False)).inputs
    rows = np.concatenate([np.asarray(split.x[:]) for split in dataset.splits.values()])
    assert sorted(map(tuple, texts)) == sorted(map(tuple, rows))
    typed = preparation.prepare(pd.read_csv(file)).inputs
    np.testing.assert_array_equal(typed, texts)


def test_nullable_and_categorical_columns_of_parquet(load: Load, tmp_path: Path) -> None:
    table = pd.DataFrame(
        {
            "count": pd.array([1, None, 3] * 20, dtype="Int64"),
            "level": pd.Categorical(["low", "high", None] * 20),
            "flag": pd.array([True, None, False] * 20, dtype="boolean"),
            "y": pd.Categorical([3, 5, 9] * 20),
        }
    )
    dataset = load(f"{write(tmp_path / 't.parquet', table)}:y")
    assert dataset.labels == ("3", "5", "9")
    assert dataset.features == ("count", "level=high", "level=low", "level=(missing)", "flag")


@pytest.mark.parametrize(
    ("text", "target", "message"),
    [
        ("", "y", "is empty"),
        ("a,y\n", "y", "the target is empty: there are no rows"),
        ("a,y\n1,2\n", "", "name the target column as .*:COLUMN, one of a, y"),
        ("a,y\n1,2\n", "z", "no column 'z'; it has a, y"),
        ("y\n1\n", "y", "has no column beside the target 'y'"),
        ("a,y\n1,2,3\n", "y", "line 2 has 3 cells, the header 2; "),
        ("a,y\n1,2\n1,2,3\n", "y", "line 3 has 3 cells, the header 2; "),
        ("a,y\n" + "1,x\n" * 9 + "1,\n1,\n", "y", r"is missing in 2 rows \(first: row 10\)"),
        ("a,y\n" + "1,x\n" * 9, "y", r"one value only \(x\)"),
        ("a,y\n" + "1,2.5\n" * 9, "y", r"one value only \(2.5\)"),
        ("a,y\n" + "inf,1\n1,2\n" * 9, "y", r"column 'a' holds an infinite value \(row 1\)"),
        ("a,y\n" + "1,p\n2,q\n" * 9 + "1,rare\n", "y", "class 'rare' has 1 row, and train"),
    ],
)
def test_tables_that_are_refused(
    load: Load, tmp_path: Path, text: str, target: str, message: str
) -> None:
    path = tmp_path / "t.csv"
    path.write_text(text)
    with pytest.raises(DatasetError, match=message) as caught:
        load(f"{path}:{target}")
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_columns_that_are_refused(load: Load, tmp_path: Path) -> None:
    dates = frame().assign(when=pd.Timestamp("2024-01-01"))
    with pytest.raises(DatasetError, match="column 'when' holds datetime64 values"):
        load(f"{write(tmp_path / 't.parquet', dates)}:kind", reading=1)
    lists = frame()
    lists["tags"] = [[1, 2]] * ROWS
    with pytest.raises(DatasetError, match="column 'tags' holds mixed values"):
        load(f"{write(tmp_path / 't.parquet', lists)}:kind")
    many = pd.DataFrame({"id": [f"row {i}" for i in range(3000)], "y": [0, 1, 2] * 1000})
    with pytest.raises(DatasetError, match=r"column 'id' holds .* different texts, more than 1000"):
        load(f"{write(tmp_path / 't.csv', many)}:y")


def test_a_file_that_is_no_parquet_and_no_text(load: Load, tmp_path: Path) -> None:
    for name in ("t.parquet", "t.csv"):
        (tmp_path / name).write_bytes(b"\xff\xfe\x00PAR1" * 9)
        with pytest.raises(DatasetError, match="cannot be read"):
            load(f"{tmp_path / name}:y")


@hypothesis_settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.text(alphabet='a1.,"\n ey-\x00', max_size=80))
def test_random_text_is_read_or_refused(load: Load, tmp_path: Path, text: str) -> None:
    path = tmp_path / "random.csv"
    path.write_text("a,y\n" + text)
    with suppress(DatasetError):
        load(f"{path}:y")
