"""Data from memory: kept once, read back as they were, refused with a reason."""

import shutil
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import scipy.sparse

import tuner
from tuner.api import memory_data
from tuner.api.memory_data import data_source
from tuner.data import Dataset, load_dataset, preparation_of
from tuner.errors import DatasetError, UsageError
from tuner.settings import Settings, load_settings
from tuner.study.spec import DataSpec

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 4))
Y = (X[:, 0] > 0).astype(int)
WORDS = np.array(["no", "yes"])[Y]
TABLE = pd.DataFrame(
    {
        "number": X[:, 0],
        "small": RNG.integers(0, 9, 60).astype("int8"),
        "kind": pd.Categorical(np.array(["u", "v", "w"])[RNG.integers(0, 3, 60)]),
        "day": pd.date_range("2020-01-01", periods=60, tz="UTC"),
        "count": pd.array([1, None, 3] * 20, dtype="Int64"),
        "flag": [True, False] * 30,
        "text": ["a b", None, "c,d"] * 20,
        "left": WORDS,
    }
)
FEATURES = TABLE.drop(columns="left")


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.chdir(tmp_path)
    return load_settings("sqlite:///tuner.db")


def load(data: Any, target: Any, settings: Settings) -> Dataset:
    source = data_source(data, target, settings)
    before = _state(Path(".tuner"))
    assert data_source(data, target, settings) == source  # the same data, the same source
    assert _state(Path(".tuner")) == before  # and nothing is written again
    return load_dataset(DataSpec(source=source), settings)


def _state(folder: Path) -> dict[str, tuple[int, int]]:
    files = (file for file in folder.rglob("*") if file.is_file())
    return {str(file): (file.stat().st_ino, file.stat().st_mtime_ns) for file in files}


class Parts(NamedTuple):
    """How many rows a split has; None where tuner splits it off."""

    train: int | None = None
    validation: int | None = None
    test: int | None = None


@pytest.mark.parametrize(
    ("data", "target", "parts"),
    [
        ((X, Y), None, Parts()),
        ((X.tolist(), Y.tolist()), None, Parts()),
        (X, Y, Parts()),
        ((np.asfortranarray(X), WORDS.astype(object)), None, Parts()),
        (((X, Y), (X[:25], Y[:25])), None, Parts(test=25)),
        ({"x_train": X, "y_train": Y, "x_val": X[:9], "y_val": Y[:9]}, None, Parts(validation=9)),
        ((X.astype(">f4")[::2], Y[::2]), None, Parts()),
        (TABLE, "left", Parts()),
        (pa.Table.from_pandas(TABLE), "left", Parts()),
        (FEATURES, TABLE["left"], Parts()),
        (TABLE, TABLE["left"], Parts()),
        ((FEATURES, TABLE[["left"]]), None, Parts()),
        ((FEATURES, Y), None, Parts()),
        (TABLE.sample(40, random_state=0), "left", Parts()),
        (((FEATURES, WORDS), (FEATURES[:25], WORDS[:25])), None, Parts(test=25)),
        (
            {"x_train": FEATURES, "y_train": WORDS, "x_val": FEATURES[:9], "y_val": WORDS[:9]},
            None,
            Parts(validation=9),
        ),
    ],
)
def test_all_forms_are_read_back(data: Any, target: Any, parts: Parts, settings: Settings) -> None:
    dataset = load(data, target, settings)
    assert dataset.task == "binary"
    for split, rows in parts._asdict().items():
        assert rows in (None, len(getattr(dataset, split)))
    assert not any("index" in note for note in dataset.notes)


def test_a_kept_table_is_the_table(settings: Settings) -> None:
    path, _, target = data_source(TABLE, "left", settings).rpartition(":")
    assert target == "left"
    pd.testing.assert_frame_equal(pd.read_parquet(path), TABLE)


def test_kept_arrays_are_the_arrays(settings: Settings) -> None:
    arrays = {"x": X.astype(">f4")[::-1], "y": WORDS, "weight": np.arange(60, dtype="uint8")}
    with np.load(data_source(arrays, None, settings)) as kept:
        for name, array in arrays.items():
            np.testing.assert_array_equal(kept[name], array)
            assert kept[name].dtype == array.dtype


def test_the_name_depends_on_the_contents_alone(settings: Settings) -> None:
    source = data_source((X, Y), None, settings)
    assert data_source((X.copy(order="F"), Y.tolist()), None, settings) == source
    assert data_source((np.r_[X[:-1], [[0, 0, 0, 1e-9]]], Y), None, settings) != source
    assert data_source((X.astype("f4"), Y), None, settings) != source
    table = data_source(TABLE, "left", settings)
    assert data_source(TABLE.copy(), "left", settings) == table
    assert data_source(TABLE.assign(flag=True), "left", settings) != table


def test_a_project_finds_its_data_from_everywhere(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = data_source((X, Y), None, settings)
    assert source.startswith(".tuner/data/arrays-")
    absolute = load_settings(f"sqlite:///{tmp_path}/tuner.db")
    (tmp_path / "below").mkdir()
    monkeypatch.chdir(tmp_path / "below")
    assert data_source((X, Y), None, absolute) == source
    assert len(load_dataset(DataSpec(source=source), absolute).train) > 0


def test_columns_that_arrow_lacks_are_kept(settings: Settings) -> None:
    """Sparse ones are numbers, and the intervals of `pandas.cut` categories."""
    third = pd.cut(TABLE["number"], 3, labels=None).where(TABLE["number"] < 1)
    table = pd.DataFrame(
        {
            "third": third,
            "interval": pd.array(pd.cut(TABLE["number"], 2).array.astype("interval")),
            "sparse": pd.arrays.SparseArray([0, 1, 0] * 20),
            7: Y,
        }
    )
    dataset = load(table, 7, settings)
    assert dataset.columns is not None
    kinds = {column.name: (column.kind, len(column.categories or ())) for column in dataset.columns}
    assert kinds == {
        "third": ("category", third.nunique()),
        "interval": ("category", 2),
        "sparse": ("number", 0),
    }


def test_new_rows_are_encoded_as_the_training_rows_were(settings: Settings) -> None:
    table = TABLE.set_index("number")
    dataset = load(table, "left", settings)
    preparation = preparation_of(dataset)
    encoded = preparation.prepare(table.drop(columns="left")).inputs
    assert encoded.dtype == np.asarray(dataset.train.x[:]).dtype
    rows = np.concatenate([np.asarray(split.x[:]) for split in dataset.splits.values()])
    assert sorted(map(tuple, rows)) == sorted(map(tuple, encoded))
    assert (preparation.prepare(TABLE).inputs == encoded).all()  # also as a plain column
    with pytest.raises(DatasetError, match=r"^data: lacks the column small$"):
        preparation.prepare(table.drop(columns=["left", "small"]))
    with pytest.raises(DatasetError, match=r"^data: the network takes a table with the columns"):
        preparation.prepare(X)


def test_large_arrays_are_not_copied(settings: Settings) -> None:
    """Every second row of a Fortran array of 96 MB is hashed and written a block at a time."""
    x = np.zeros((1_500_000, 16), dtype="f4", order="F")[::2]
    tracemalloc.start()
    try:
        data_source((x, np.zeros(len(x), "u1")), None, settings)
        assert tracemalloc.get_traced_memory()[1] < 0.8 * x.nbytes
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("data", "target", "message"),
    [
        (3, None, "data must be a source such as 'digits'"),
        (X, None, "data must be a source such as 'digits'"),
        ((X, Y, X), None, "data must be a source such as 'digits'"),
        ((X, Y[:5]), None, "data: x and y differ in length, 60 and 5"),
        ((X, Y), "left", "target='left': only a table has columns"),
        ((X, np.array([1, "a"] * 30, object)), None, "y holds int, str; give it one type"),
        ((X, [None, 1] * 30), None, "y holds NoneType, int"),
        (([[1], ["a", "b"]], [0, 1]), None, "data: x: the sequence of row 2 must hold numbers"),
        ((WORDS[:, None], Y), None, "x must hold numbers"),
        ((scipy.sparse.csr_matrix(X), Y), None, "x is sparse; give x.toarray()"),
        ({"x": X}, None, "data: holds 'x' without 'y'"),
        ({"x_train": FEATURES, "y_train": Y, "x_test": X, "y_test": Y}, None, "data: x is a Data"),
        (TABLE, None, "name the target column, as target='left'"),
        (TABLE, "Left", "target='Left': no such column (did you mean 'left'?)"),
        (pd.concat([TABLE, TABLE], axis=1), "left", "data: several columns are named 'count'"),
        (TABLE.assign(mixed=[1, "a"] * 30), "left", "data: column 'mixed' holds int, str"),
        (TABLE.assign(mixed=[1j] * 60), "left", "data: column 'mixed' cannot be stored"),
        (FEATURES, ["flag"], "target=['flag']: give the column's name alone, target='flag'"),
        (FEATURES, 3, "target='3': no such column"),
        (FEATURES, WORDS[:5], "x and y of train differ in length, 60 and 5"),
        (FEATURES, TABLE["left"][::-1], "data: x and y of train have the same index in another"),
        (FEATURES, TABLE["flag"].map(str), "data: 'flag' is a column of x and the name of the"),
        ("digits", "left", "target='left': the source 'digits' has no columns to name"),
        ("a.csv:b", "left", "target='left': the source 'a.csv:b' names 'b'"),
        (lambda: (X, Y), None, "a lambda has no name"),
        (tuner.create_study, "left", "target: a data function returns the targets itself"),
    ],
)
def test_a_mistake_is_named_and_nothing_is_kept(
    data: Any, target: Any, message: str, settings: Settings
) -> None:
    with pytest.raises(UsageError) as caught:
        data_source(data, target, settings)
    assert str(caught.value).startswith(message)
    assert not Path(".tuner").exists()


def test_sources_are_sources(settings: Settings, tmp_path: Path) -> None:
    assert data_source("digits", None, settings) == "digits"
    assert data_source(Path("a.csv"), "b", settings) == "a.csv:b"
    assert data_source("a.csv:b", "b", settings) == "a.csv:b"


def test_a_full_disk_leaves_nothing(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(".")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1000))
    with pytest.raises(UsageError, match=r"arrays-.*\.npz: cannot be written \(No space left"):
        data_source((X, Y), None, settings)
    monkeypatch.undo()
    assert not [file for file in Path(".tuner").rglob("*") if file.is_file()]


@pytest.mark.parametrize("write", ["_write_archive", "_write_table"])
def test_an_interrupted_write_leaves_nothing(
    write: str, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    original: Callable[..., None] = getattr(memory_data, write)

    def interrupted(*arguments: Any) -> None:
        original(*arguments)
        raise KeyboardInterrupt

    data: Any = (X, Y)
    if write == "_write_table":
        import pyarrow.parquet

        original, data = pyarrow.parquet.write_table, (FEATURES, WORDS)
        monkeypatch.setattr(pyarrow.parquet, "write_table", interrupted)
    else:
        monkeypatch.setattr(memory_data, write, interrupted)
    with pytest.raises(KeyboardInterrupt):
        data_source(data, None, settings)
    assert not [file for file in Path(".tuner").rglob("*") if file.is_file()]
