"""New data for a saved network: every format, index and target, and what is refused."""

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from tuner.data import Dataset, preparation_of
from tuner.data.later_rows import OPENERS, LaterRows, RowBlock, open_rows
from tuner.data.readers import READERS, later_delimited, later_parquet, text_file
from tuner.data.readers.delimited_file import DelimitedFile
from tuner.errors import DatasetError
from tuner.preparation.preparation import Findings
from tuner.settings import Settings

Load = Callable[..., Dataset]
ROWS = 90


def people() -> pd.DataFrame:
    draw = np.random.default_rng(1)
    return pd.DataFrame(
        {
            "id": np.arange(ROWS) + 100,
            "age": draw.integers(18, 80, ROWS).astype(float),
            "city": draw.choice(["Rome", "Oslo", "Paris"], ROWS),
            "left": draw.choice(["no", "yes"], ROWS),
        }
    )


@pytest.fixture
def network(load: Load, tmp_path: Path) -> Dataset:
    """The data set of a network that takes age and city; the id was left out."""
    path = tmp_path / "people.csv"
    people().to_csv(path, index=False)
    return load(f"{path}:left", columns={"id": "drop"})


@pytest.fixture
def open_for(settings: Settings) -> Callable[[Dataset, object], LaterRows]:
    def open_rows_for(dataset: Dataset, text: object) -> LaterRows:
        preparation = preparation_of(dataset)
        return open_rows(str(text), preparation, settings, dataset.task, dataset.labels)

    return open_rows_for


Open = Callable[[Dataset, object], LaterRows]


def test_what_can_be_trained_from_can_be_predicted() -> None:
    assert set(READERS) <= OPENERS.keys()


def small_blocks(patch: pytest.MonkeyPatch) -> None:
    """Blocks of a few rows, as a large file has many."""
    for module in (later_delimited, text_file):
        patch.setattr(module, "_BLOCK_BYTES", 100)


def blocks(rows: LaterRows) -> list[RowBlock]:
    return list(rows.blocks())


def prepared(dataset: Dataset, rows: LaterRows) -> tuple[np.ndarray, Findings]:
    findings, inputs = Findings(), []
    for block in rows.blocks():
        result = preparation_of(dataset).prepare(block.rows, rows.source, first_row=block.first_row)
        findings.add(result.findings)
        inputs.append(result.inputs)
    return np.concatenate(inputs), findings


def write(path: Path, table: pd.DataFrame, **options: Any) -> Path:
    if path.suffix == ".parquet":
        table.to_parquet(path, **options)
    else:
        table.to_csv(path, **{"index": False} | options)
    return path


@pytest.mark.parametrize("ending", [".csv", ".parquet"])
def test_index_and_target_are_given_beside_the_rows(
    network: Dataset, open_for: Open, tmp_path: Path, ending: str
) -> None:
    table = people()
    rows = open_for(network, write(tmp_path / f"new{ending}", table))
    (block,) = blocks(rows)
    assert list(block.rows.columns) == ["age", "city"]
    assert block.index is not None and block.index["id"].tolist() == table["id"].tolist()
    assert (rows.target, len(block)) == ("left", ROWS)
    np.testing.assert_array_equal(block.target, table["left"] == "yes")
    bare = open_for(network, write(tmp_path / f"bare{ending}", table[["city", "age"]]))
    (block,) = blocks(bare)
    assert (bare.target, block.index, block.target) == (None, None, None)


def test_a_first_column_that_training_did_not_have_is_given_back(
    network: Dataset, open_for: Open, tmp_path: Path
) -> None:
    """By it people find their rows again."""
    table = people()[["age", "city"]]
    table.insert(0, "order", range(7000, 7000 + ROWS))
    (block,) = blocks(open_for(network, write(tmp_path / "new.csv", table)))
    assert block.index is not None
    assert block.index["order"].tolist() == table["order"].tolist()
    table = table[["age", "order", "city"]]
    (block,) = blocks(open_for(network, write(tmp_path / "new.csv", table)))
    assert block.index is None


@pytest.mark.parametrize("ending", [".csv", ".parquet"])
def test_an_index_of_pandas_is_given_back(
    network: Dataset, open_for: Open, tmp_path: Path, ending: str
) -> None:
    table = people().drop(columns="id").sample(frac=1, random_state=0)
    table.index.name = "person"
    named = write(tmp_path / f"named{ending}", table, index=True)
    for block in blocks(open_for(network, named)) if ending == ".parquet" else []:
        assert block.index is not None and block.index["person"].tolist() == [*table.index]
    table.index.name = None
    (block,) = blocks(open_for(network, write(tmp_path / f"plain{ending}", table, index=True)))
    assert block.index is not None and block.index.iloc[:, 0].tolist() == [*table.index]


def test_no_row_is_left_out(network: Dataset, open_for: Open, tmp_path: Path) -> None:
    path = tmp_path / "new.csv"
    path.write_text("id,age,city\n1,30,Rome\n,,\n3,40,Oslo\n# a comment\n4,50,Bern\n")
    rows = open_for(network, path)
    inputs, findings = prepared(network, rows)
    assert len(inputs) == 4
    assert findings.gaps == {"age": 1, "city": 1}
    assert findings.unseen_texts == {"city": {"Bern": 1}}
    median = preparation_of(network).columns[0].fill  # type: ignore[index]
    assert findings.lines() == [
        f"age: no value in 1 of 4 rows (25 %), set to median {median:g}",
        "city: no value in 1 of 4 rows (25 %), all zeros",
        "city: categories that no training row had in 1 of 4 rows (25 %): 'Bern' 1; all zeros",
    ]


def test_large_files_are_read_in_blocks_in_order(
    network: Dataset, open_for: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_blocks(monkeypatch)
    table = people().assign(city='a "quoted"\nline')
    read = blocks(open_for(network, write(tmp_path / "new.csv", table)))
    assert len(read) > 5
    assert [block.first_row for block in read] == np.cumsum(
        [0, *(len(block) for block in read[:-1])]
    ).tolist()
    ids = [number for block in read for number in block.index["id"]]  # type: ignore[index]
    assert ids == table["id"].tolist()
    assert {text for block in read for text in block.rows["city"]} == {'a "quoted"\nline'}


@pytest.mark.parametrize("size", [1, 11, 12, 13, 40])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_block_may_end_anywhere(
    network: Dataset,
    open_for: Open,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    size: int,
    end: str,
) -> None:
    """Also between the two characters of a line's end, as of the header, which has 11."""
    for module in (later_delimited, text_file):
        monkeypatch.setattr(module, "_BLOCK_BYTES", size)
    path = write(tmp_path / "new.csv", people()[["id", "age", "city"]], lineterminator=end)
    read = blocks(open_for(network, path))
    assert [n for block in read for n in block.index["id"]] == [*range(100, 100 + ROWS)]  # type: ignore[index]


def test_numbers_of_an_index_keep_their_zeros(
    network: Dataset, open_for: Open, tmp_path: Path
) -> None:
    """Also where the rows that are looked at first have none."""
    table = pd.concat([people()] * 4, ignore_index=True)
    numbers = [*map(str, range(len(table) - 1)), "007"]
    (block,) = blocks(open_for(network, write(tmp_path / "new.csv", table.assign(id=numbers))))
    assert block.index is not None and block.index["id"].tolist() == numbers


def test_a_file_that_changes_meanwhile_is_refused(
    network: Dataset, open_for: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_blocks(monkeypatch)
    path = write(tmp_path / "new.csv", people())
    read = open_for(network, path).blocks()
    next(read)
    with path.open("a") as file:
        file.write("1,2,Rome,no\n")
    with pytest.raises(DatasetError, match=r"new\.csv: changed while it was read; try again"):
        list(read)


def test_parquet_is_read_in_blocks_in_order(
    network: Dataset, open_for: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(later_parquet, "_MOST_ROWS", 40)
    table = people().set_index(pd.RangeIndex(5, 5 + ROWS, name="person"))
    read = blocks(open_for(network, write(tmp_path / "new.parquet", table.drop(columns="id"))))
    assert [(len(block), block.first_row) for block in read] == [(40, 0), (40, 40), (10, 80)]
    numbers = [n for block in read for n in block.index["person"]]  # type: ignore[index]
    assert numbers == [*table.index]
    assert [age for block in read for age in block.rows["age"]] == table["age"].tolist()


def test_a_word_among_numbers_costs_only_its_column(
    network: Dataset, open_for: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_blocks(monkeypatch)
    monkeypatch.setattr(DelimitedFile, "cleaned", None)  # would read the file cell by cell
    table = people().astype({"age": object})
    table.loc[70, "age"] = "n/a"
    inputs, findings = prepared(network, open_for(network, write(tmp_path / "new.csv", table)))
    assert (len(inputs), findings.gaps) == (ROWS, {"age": 1})


def test_a_quote_amid_a_cell_opens_none(
    network: Dataset, open_for: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_blocks(monkeypatch)
    monkeypatch.setattr(later_delimited, "_LONGEST_ROW_BYTES", 300)
    path = tmp_path / "new.csv"
    lines = [f"{number},30,Oslo" for number in range(ROWS)]
    lines[40] = '40,30,24" screen'
    path.write_text("\n".join(["id,age,city", *lines, ""]))
    read = blocks(open_for(network, path))
    assert [n for block in read for n in block.index["id"]] == [*range(ROWS)]  # type: ignore[index]
    assert [c for block in read for c in block.rows["city"]][40] == '24" screen'


def test_a_wrong_cell_is_named_by_its_row_in_the_file(
    network: Dataset, open_for: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_blocks(monkeypatch)
    table = people().astype({"age": object})
    table.loc[70, "age"] = "old"
    path = write(tmp_path / "new.csv", table)
    with pytest.raises(
        DatasetError, match=r"1 of \d+ cells do not \('old'; first in row 71\); train"
    ):
        prepared(network, open_for(network, path))
    table.loc[70, "age"] = 50
    table.loc[70, "left"] = "maybe"
    read = blocks(open_for(network, write(path, table)))
    with pytest.raises(
        DatasetError, match=r"'maybe' \(first in row 71\), which the network does not"
    ):
        _ = [block.target for block in read]
    table.loc[70, "left"] = None
    read = blocks(open_for(network, write(path, table)))
    with pytest.raises(DatasetError, match=r"'left' is missing in 1 row \(first: row 71\)"):
        _ = [block.target for block in read]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "Age,city\n1,Rome\n", r"a.csv: lacks the column age \(did you mean 'Age'\?\)"),
        ("a.csv", "x,y\n1,2\n", "lacks the columns age, city; others are x, y"),
        ("a.csv", "age,city\n", "a.csv: holds no rows"),
        ("a.csv", "", "a.csv: is empty"),
        ("a.csv", "age,city\n1,Rome\n2\n", "line 3 has 1 cell, the header 2"),
        ("a.csv", 'age,city\n1,"Rome\n2,Oslo\n', "line 2: a cell begins with a quote"),
        ("a.csv", "age,city\n1,Rome\ninf,Rome\n", r"'age' holds an infinite value \(row 2\)"),
        ("a.csv", "age,age,city\n1,2,Rome\n", "several columns are named 'age'"),
        ("a.parquet", "PAR1", "a.parquet: cannot be read"),
        ("a.npz", "", "a.npz: is no .npz archive"),
        ("a.json", "{}", "a.json: the format is not known by its name; it may end in .csv"),
        ("a.png", "", "a.png: is an image, the network takes a table with age, city"),
    ],
)
def test_each_mistake_gets_one_line(
    network: Dataset, open_for: Open, tmp_path: Path, name: str, content: str, message: str
) -> None:
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(DatasetError, match=message) as raised:
        prepared(network, open_for(network, path))
    assert "\n" not in str(raised.value)


def test_a_missing_file_and_column_are_refused(network: Dataset, open_for: Open) -> None:
    for text, message in {
        "no.csv": "no.csv: no such file",
        "no.png": "no.png: no such file",
        "no": "no data set or folder 'no'",
        "x" * 5000: "x: cannot be read .File name too long",
        "digits": "digits: holds arrays, the network takes a table with age, city",
    }.items():
        with pytest.raises(DatasetError, match=message):
            open_for(network, text)


def test_another_target_can_be_named(network: Dataset, open_for: Open, tmp_path: Path) -> None:
    path = write(tmp_path / "new.csv", people().rename(columns={"left": "gone"}))
    rows = open_for(network, f"{path}:gone")
    assert rows.target == "gone"
    np.testing.assert_array_equal(blocks(rows)[0].target, people()["left"] == "yes")
    with pytest.raises(DatasetError, match=r"no column 'Gone' \(did you mean 'gone'\?\)"):
        open_for(network, f"{path}:Gone")


def test_numbers_are_labels_however_they_are_written(
    load: Load, open_for: Open, tmp_path: Path
) -> None:
    table = people().assign(left=np.arange(ROWS) % 3)
    path = write(tmp_path / "a.csv", table)
    dataset = load(f"{path}:left")
    for values in (table["left"].astype(float), table["left"].astype(str)):
        (block,) = blocks(open_for(dataset, write(path, table.assign(left=values))))
        assert block.target is not None and block.target.dtype == np.int32
        np.testing.assert_array_equal(block.target, table["left"])


@pytest.fixture
def images(load: Load) -> Dataset:
    return load("digits")


def test_known_data_and_archives_give_all_rows(
    images: Dataset, open_for: Open, tmp_path: Path
) -> None:
    rows = open_for(images, "digits")
    inputs, _ = prepared(images, rows)
    assert (rows.count, inputs.shape) == (1797, (1797, 8, 8))
    x, y = inputs[:9].astype(np.uint8), np.arange(9)
    path = tmp_path / "new.npz"
    np.savez(path, x=x)
    assert blocks(open_for(images, path))[0].target is None
    np.savez(path, x_train=x, y_train=y, x_test=x[:2], y_test=y[7:])
    whole, test = open_for(images, path), open_for(images, f"{path}:test")
    assert (whole.count, whole.notes) == (11, ("rows of train, then test",))
    np.testing.assert_array_equal(blocks(test)[0].target, [7, 8])
    with pytest.raises(DatasetError, match="no part 'dev'; its parts are train, test"):
        open_for(images, f"{path}:dev")
    np.savez(path, x=x, y=y[:3])
    with pytest.raises(DatasetError, match="x and y differ in length, 9 and 3"):
        open_for(images, path)


def test_an_archive_may_hold_one_row(images: Dataset, open_for: Open, tmp_path: Path) -> None:
    path = tmp_path / "new.npz"
    np.savez(path, x=np.ones((8, 8)), y=np.int64(7))
    rows = open_for(images, path)
    (block,) = blocks(rows)
    assert (rows.count, block.rows.shape) == (1, (1, 8, 8))
    np.testing.assert_array_equal(block.target, [7])
    np.savez(path, x=1.0)
    with pytest.raises(DatasetError, match=r"new\.npz: is a single value, the network takes"):
        open_for(images, path)


def test_idx_files_are_read_with_and_without_labels(
    load: Load, open_for: Open, tmp_path: Path, write_mnist_like: Callable[..., None]
) -> None:
    write_mnist_like(tmp_path / "like")
    dataset = load(tmp_path / "like")
    rows = open_for(dataset, tmp_path / "like")
    assert (rows.count, rows.notes) == (80, ("rows of train, then test",))
    file = tmp_path / "like" / "t10k-images-idx3-ubyte.gz"
    (block,) = blocks(open_for(dataset, file))
    np.testing.assert_array_equal(block.target, np.arange(20) % 10)
    (tmp_path / "like" / "t10k-labels-idx1-ubyte.gz").unlink()
    assert blocks(open_for(dataset, file))[0].target is None
    file.write_bytes(struct.pack(">HBBI", 0, 8, 1, 3) + bytes(3))
    with pytest.raises(
        DatasetError, match=r"rows have shape \(3,\), the network takes arrays of 5 x 4"
    ):
        prepared(dataset, open_for(dataset, file))


def test_an_image_is_one_row_with_the_channels_of_the_network(
    images: Dataset, open_for: Open, tmp_path: Path
) -> None:
    path = tmp_path / "seven.png"
    pixels = np.arange(64, dtype=np.uint8).reshape(8, 8) % 17
    Image.fromarray(pixels).save(path)
    rows = open_for(images, path)
    np.testing.assert_array_equal(prepared(images, rows)[0], [pixels])
    assert (rows.count, rows.notes) == (1, ())
    Image.fromarray(np.dstack([pixels] * 3)).save(path)
    rows = open_for(images, path)
    np.testing.assert_array_equal(prepared(images, rows)[0], [pixels])
    assert rows.notes == ("is RGB; taken as grey, as the network's data",)
    Image.fromarray(np.zeros((8, 9), np.uint8)).save(path)
    with pytest.raises(
        DatasetError, match=r"is an image of 8 x 9 pixels .*, the network takes 8 x"
    ):
        open_for(images, path)
    Image.fromarray(pixels).save(path)
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(DatasetError, match=r"seven\.png: cannot be read"):
        open_for(images, path)


def test_a_network_of_named_features_takes_tables_by_name(
    load: Load, open_for: Open, tmp_path: Path
) -> None:
    iris = load("iris")
    x, _ = prepared(iris, open_for(iris, "iris"))
    table = pd.DataFrame(x.astype(np.float64), columns=iris.features)
    path = write(tmp_path / "iris.csv", table.iloc[:, [2, 0, 3, 1]])
    np.testing.assert_array_equal(prepared(iris, open_for(iris, path))[0], x)
    write(path, table.set_axis([*"abcd"], axis=1))
    inputs, findings = prepared(iris, open_for(iris, path))
    np.testing.assert_array_equal(inputs, x)
    assert findings.lines() == ["columns are taken in their order: a, b, c, d"]


def test_the_notation_of_training_comes_before_any_other(
    load: Load, open_for: Open, tmp_path: Path
) -> None:
    prices = [f"{number}.234,50" for number in range(1, 10)] * 10
    path = write(tmp_path / "a.csv", people().assign(age=prices), sep="|")
    dataset = load(f"{path}:left", columns={"id": "drop"})
    for cell, value in {"1.234": 1234.0, "2.000,5": 2000.5, "12.5": 12.5}.items():
        path.write_text(f"city|age\nRome|{cell}\n")
        assert prepared(dataset, open_for(dataset, path))[0][0, 0] == value


def test_dots_that_change_their_meaning_are_refused(
    load: Load, open_for: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_blocks(monkeypatch)
    table = people().assign(age=["1.234"] * ROWS, city=["0,5"] * ROWS)
    dataset = load(f"{write(tmp_path / 'a.csv', table, sep=';')}:left", columns={"id": "drop"})
    table = pd.concat([table, table], ignore_index=True)  # the first 100 rows decide
    table.loc[150, "age"] = "1.5"
    with pytest.raises(DatasetError, match="'age': dots were thousands marks up to row"):
        prepared(dataset, open_for(dataset, write(tmp_path / "b.csv", table, sep=";")))


def test_dots_that_were_decimal_once_stay_so(
    load: Load, open_for: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = people().assign(age=["1.234"] * ROWS, city=["0,5"] * ROWS)
    dataset = load(f"{write(tmp_path / 'a.csv', table, sep=';')}:left", columns={"id": "drop"})
    table = pd.concat([table] * 4, ignore_index=True)
    table.loc[120, "age"] = "1.5"  # beyond the rows that are looked at first
    path = write(tmp_path / "b.csv", table, sep=";")
    for module in (later_delimited, text_file):
        monkeypatch.setattr(module, "_BLOCK_BYTES", path.stat().st_size // 2)
    inputs, _ = prepared(dataset, open_for(dataset, path))
    np.testing.assert_array_equal(np.unique(inputs[:, 0]), np.float32([1.234, 1.5]))
