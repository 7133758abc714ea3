"""What a search-space file says beside its space: data and references; and the configurations that
it names one by one."""

from pathlib import Path

import pytest

from tuner.errors import SpaceError, SpecError
from tuner.manage.wanted_study import file_data
from tuner.search_space import load_file, load_space, parse_space, space_schema

FILE = """
network: mlp
data: {source: digits, scaling: center}
parameters:
  width: {type: int, low: 8, high: 64}
  optimizer: {type: categorical, choices: [adam, sgd]}
  momentum: {type: float, low: 0, high: 0.9}
baselines:
  - {width: 16, optimizer: adam}
  - {width: 8, optimizer: sgd, momentum: 0.9}
references: [97.5, null]
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "mine.yaml"


def changed(path: Path, old: str, new: str) -> str:
    assert FILE.count(old) == 1
    path.write_text(FILE.replace(old, new))
    return str(path)


def test_a_file_names_its_data_and_what_is_known(path: Path) -> None:
    path.write_text(FILE)
    file = load_file(str(path))
    assert file.data == {"source": "digits", "scaling": "center"}
    assert file.references == (97.5, None)
    assert file.space == load_space(str(path))
    assert "data" not in file.space.model_dump()


def test_a_source_alone_is_enough(path: Path) -> None:
    file = load_file(changed(path, "{source: digits, scaling: center}", "mnist"))
    assert file.data == {"source": "mnist"}


def test_a_file_without_them(path: Path) -> None:
    path.write_text("network: mlp\nparameters: {depth: 1}\n")
    file = load_file(str(path))
    assert (file.data, file.references) == ({}, ())
    assert file_data(file, seed=3).source == "fashion_mnist"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("{source: digits, scaling: center}", "[digits]", "data must be a source, or a mapping"),
        (
            "center}",
            "auto, columns: x}",
            "data.columns belongs beside data, as a section of its own",
        ),
        ("references:", "columns: x\nreferences:", "columns must be a mapping such as {zip: "),
        (
            "references:",
            "columns: {zip: categry}\nreferences:",
            "columns.zip must be one of category, date, ",
        ),
        ("center}", "[1]}", "data.scaling must be a number, a string or true/false, got a list"),
        ("[97.5, null]", "97.5", "references must be a list"),
        ("[97.5, null]", "[97.5]", "references must have one entry for each of 2 baselines, got 1"),
        ("[97.5, null]", "[97.5, high]", "references[1] must be a number, got 'high'"),
        ("[97.5, null]", "[.inf, 1]", "references[0] must be finite, got inf"),
        ("references:", "refrences:", "refrences is no known key; known: references,"),
    ],
)
def test_mistakes_in_them(path: Path, old: str, new: str, message: str) -> None:
    with pytest.raises(SpaceError) as caught:
        load_file(changed(path, old, new))
    assert str(caught.value).startswith(f"{path}: {message}")


@pytest.mark.parametrize(
    ("new", "message"),
    [
        ("{source: digits, scalng: center}", "data: scalng is no known key; known: scaling, "),
        ("{source: digits, scaling: centre}", "data: scaling: "),
        ("{source: digits, reading: 1}", "data: reading is no known key; known: "),
        ("{source: digits, test: 2}", "data: the test share must lie between 0 and 1, got 2"),
    ],
)
def test_mistakes_that_the_data_find(path: Path, new: str, message: str) -> None:
    file = load_file(changed(path, "{source: digits, scaling: center}", new))
    with pytest.raises(SpaceError) as caught:
        file_data(file, seed=0)
    assert str(caught.value).startswith(f"{path}: {message}")
    assert "\n" not in str(caught.value)


def test_options_go_before_the_file(path: Path) -> None:
    path.write_text(FILE)
    file = load_file(str(path))
    plain = file_data(file, seed=4)
    assert (plain.source, plain.scaling, plain.seed) == ("digits", "center", 4)
    other = file_data(file, seed=4, source="iris", scaling=None, test=0.3)
    assert (other.source, other.scaling, other.test) == ("iris", "center", 0.3)
    with pytest.raises(SpecError, match="the test share"):
        file_data(file, seed=4, test=3.0)


def test_columns_of_the_file_and_of_options_both_count(path: Path) -> None:
    path.write_text(f"{FILE}columns: {{zip: category, '2019': number, no: text}}\n")
    file = load_file(str(path))
    assert file.columns == {"zip": "category", "2019": "number", "no": "text"}
    data = file_data(file, seed=0, columns={"zip": "drop", "a": "date"})
    assert data.columns == {"zip": "drop", "2019": "number", "no": "text", "a": "date"}
    assert file_data(file, seed=0, columns={}).columns == file.columns


def test_the_schema_knows_the_keys() -> None:
    assert {"data", "columns", "references"} <= set(space_schema()["properties"])
    assert space_schema()["required"] == ["network", "parameters"]


def test_configurations_are_the_baselines() -> None:
    text = FILE.replace("data: {source: digits, scaling: center}\n", "")
    assert parse_space(text, "f").configurations() == [
        {"width": 16, "optimizer": "adam"},
        {"width": 8, "optimizer": "sgd", "momentum": 0.9},
    ]


def test_configurations_are_the_grid_where_there_are_no_baselines() -> None:
    space = parse_space(FILE.partition("baselines")[0].replace("0.9}", "0.9, step: 0.9}"), "f")
    found = space.configurations()
    assert found == list(space.grid())
    assert len(found) == 57 * 3


def test_a_space_without_anything_to_vary_has_one_configuration() -> None:
    assert parse_space("network: mlp\nparameters: {depth: 1}", "f").configurations() == [{}]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (", momentum: 0.9}", "}", r"^baselines\[1\] leaves momentum open"),
        ("- {width: 16, opt", "- {opt", r"^baselines\[0\] leaves width open"),
        (
            "{width: 8, optimizer: sgd, momentum: 0.9}",
            "{optimizer: adam, width: 16.0}",
            r"^baselines\[1\] is the same as baselines\[0\]",
        ),
    ],
)
def test_configurations_are_complete_and_differ(old: str, new: str, message: str) -> None:
    assert FILE.count(old) == 1
    with pytest.raises(SpaceError, match=message):
        parse_space(FILE.replace(old, new), "f").configurations()


def test_neither_baselines_nor_a_finite_grid() -> None:
    space = parse_space(FILE.partition("baselines")[0], "f")
    with pytest.raises(SpaceError, match="momentum has no step; name configurations under base"):
        space.configurations()


def test_a_grid_that_nobody_could_train() -> None:
    text = "network: mlp\nparameters: {width: {type: int, low: 1, high: 20000}}"
    with pytest.raises(SpaceError, match="the grid has 20,000 points, more than 10,000"):
        parse_space(text, "f").configurations()
