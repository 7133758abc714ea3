"""`tuner predict`, with a formula in place of the network."""

import gc
import io
import json
import resource
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from command_line import Command
from fake_network import describe, save_fake_network

from tuner.preparation.network_description import NetworkDescription

ROWS = pd.DataFrame(
    {"size": [0.5, -1.0, None, 3.25], "city": ["Bonn", "Rome", "Bonn", None]},
)
LABELS = ["a", "b", "c"]


def expected(rows: pd.DataFrame) -> pd.DataFrame:
    """The predictions of a FakeNetwork for three labels."""
    size = rows["size"].fillna(2.0).to_numpy(np.float32)
    bonn = (rows["city"] == "Bonn").to_numpy(np.float32)
    scores = np.stack([bonn, size, 2 * size], axis=1)
    shares = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    names = [LABELS[number] for number in shares.argmax(axis=1)]
    columns = {f"probability_{label}": shares[:, i] for i, label in enumerate(LABELS)}
    return pd.DataFrame({"prediction": names, **columns})


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    save_network(tmp_path, describe(), monkeypatch)
    ROWS.to_csv(tmp_path / "new.csv", index=False)
    return tmp_path


def save_network(
    folder: Path, description: NetworkDescription, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_fake_network(folder / "best.keras", description, monkeypatch)


def read_npz(file: Path) -> pd.DataFrame:
    with np.load(file) as arrays:
        return pd.DataFrame({name: arrays[name] for name in arrays.files})


READERS = {".csv": pd.read_csv, ".csv.gz": pd.read_csv, ".parquet": pd.read_parquet}


@pytest.mark.parametrize("ending", [".csv", ".csv.gz", ".parquet", ".npz"])
def test_a_file_has_a_row_for_each_row(project: Path, tuner: Command, ending: str) -> None:
    file = project / f"predictions{ending}"
    done = tuner("predict", "best.keras", "new.csv", "--output", file.name)
    assert (done.code, done.out.splitlines()[0]) == (0, f"wrote {file.name}: 4 rows")
    written = READERS.get(ending, read_npz)(file)
    pd.testing.assert_frame_equal(
        written, expected(ROWS), check_dtype=False, check_column_type=False, rtol=1e-6
    )
    assert [path for path in project.iterdir() if path.name.startswith(".tuner-")] == []


def test_columns_may_come_in_any_order_with_the_target(project: Path, tuner: Command) -> None:
    ROWS.assign(kind="a")[["kind", "city", "size"]].to_csv("turned.csv", index=False)
    tuner("predict", "best.keras", "new.csv", "--output", "new-predicted.csv")
    done = tuner("predict", "best.keras", "turned.csv", "--output", "turned-predicted.csv")
    assert Path("turned-predicted.csv").read_text() == Path("new-predicted.csv").read_text()
    assert "the data have the target, kind: it is ignored" in done.err


def test_a_pipe_gets_csv_and_stderr_what_the_rows_have_shown(project: Path, tuner: Command) -> None:
    ROWS.assign(city=["Bonn", "Oslo", "Oslo", None]).to_csv("new.csv", index=False)
    done = tuner("predict", "best.keras", "new.csv")
    assert done.out.splitlines()[0] == "prediction,probability_a,probability_b,probability_c"
    assert len(done.out.splitlines()) == 5
    assert "size: no value in 1 of 4 rows (25 %), set to median 2" in done.err
    assert "'Oslo' 2" in done.err


def test_strict_refuses_unseen_categories_and_writes_nothing(project: Path, tuner: Command) -> None:
    ROWS.assign(city="Oslo").to_csv("new.csv", index=False)
    done = tuner("predict", "best.keras", "new.csv", "--strict", "--output", "p.csv")
    assert (done.code, done.out) == (2, "")
    assert "new.csv: city: categories that no training row had in 4 of 4 rows" in done.err
    assert not Path("p.csv").exists()


def test_top_gives_the_most_probable_labels(project: Path, tuner: Command) -> None:
    done = tuner("predict", "best.keras", "new.csv", "--top", "2")
    table = pd.read_csv(io.StringIO(done.out))
    shares = expected(ROWS)[[f"probability_{label}" for label in LABELS]].to_numpy()
    order = np.argsort(-shares, axis=1)
    for place in (1, 2):
        assert table[f"label_{place}"].tolist() == [LABELS[row[place - 1]] for row in order]
        np.testing.assert_allclose(
            table[f"probability_{place}"], np.sort(shares, axis=1)[:, -place], rtol=1e-6
        )
    assert len(table.columns) == 4


def test_json_has_an_object_for_each_row(project: Path, tuner: Command) -> None:
    rows = json.loads(tuner("predict", "best.keras", "new.csv", "--json").out)
    pd.testing.assert_frame_equal(pd.DataFrame(rows), expected(ROWS), check_dtype=False, rtol=1e-6)


def test_json_of_a_written_file_sums_up(project: Path, tuner: Command) -> None:
    done = tuner("predict", "best.keras", "new.csv", "--output", "p.csv", "--json")
    facts = json.loads(done.out)
    assert (facts["rows"], facts["file"], facts["network"]) == (4, "p.csv", "best.keras")
    assert facts["labels"] == {"a": 2, "b": 0, "c": 2}
    assert "size: no value in 1 of 4 rows (25 %), set to median 2" in facts["notes"]


def test_numbers_are_summed_up(
    project: Path, tuner: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_network(project, describe("regression", ()), monkeypatch)
    done = tuner("predict", "best.keras", "new.csv", "--output", "p.csv")
    assert pd.read_csv("p.csv")["prediction"].tolist() == [6.0, -10.0, 21.0, 32.5]
    assert done.out.splitlines()[1] == "predicted: mean 12.3750, from -10.0000 to 32.5000"


def test_of_two_labels_both_probabilities_are_given(
    project: Path, tuner: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_network(project, describe("binary", ("no", "yes")), monkeypatch)
    table = pd.read_csv(io.StringIO(tuner("predict", "best.keras", "new.csv").out))
    assert table["prediction"].tolist() == ["yes", "no", "yes", "yes"]
    np.testing.assert_allclose(table["probability_no"] + table["probability_yes"], 1, rtol=1e-6)
    np.testing.assert_allclose(table["probability_yes"][1], 1 / (1 + np.e), rtol=1e-6)


def test_rows_without_a_finite_prediction_are_said(
    project: Path, tuner: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_network(project, describe("binary", ("no", "yes")), monkeypatch)
    monkeypatch.setattr(
        "fake_network.FakeNetwork.predict_on_batch", lambda *_: np.array([[np.nan], [0.1]] * 2)
    )
    done = tuner("predict", "best.keras", "new.csv", "--output", "p.csv")
    assert "predicted: no (2), yes (0)" in done.out
    assert "2 of 4 rows have no prediction" in done.err


@pytest.mark.parametrize("width", [80, 140])
@pytest.mark.parametrize("labels", [3, 40])
def test_a_terminal_shows_the_first_rows_in_its_width(
    project: Path, tuner: Command, monkeypatch: pytest.MonkeyPatch, width: int, labels: int
) -> None:
    names = tuple(f"a long name of label {number}" for number in range(labels))
    save_network(project, describe("classes", names), monkeypatch)
    pd.concat([ROWS] * 5).to_csv("new.csv", index=False)
    monkeypatch.setattr("tuner.cli.prediction_output.sys", Terminal(sys))
    monkeypatch.setattr("tuner.cli.output.terminal_width", lambda: width)
    done = tuner("predict", "best.keras", "new.csv")
    assert max(map(len, done.out.splitlines())) <= width
    assert "the first 10 of 20 rows" in done.out
    words = " ".join(done.out.split())
    # Of many labels the three most probable ones.
    assert ("label 1 probability 1" in words) == (labels == 40)
    assert f"{names[-1]} ({10 if labels == 3 else 15})" in words
    assert (f"{names[1]} (0)" in words) == (labels == 3)


class Terminal:
    """The module sys with an stdout that says it is a terminal."""

    def __init__(self, module: Any) -> None:
        self._module = module

    @property
    def stdout(self) -> Any:
        self._module.stdout.isatty = lambda: True
        return self._module.stdout

    def __getattr__(self, name: str) -> Any:
        return getattr(self._module, name)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["best.keras", "none.csv"], "none.csv: no such file"),
        (["none.keras", "new.csv"], "none.keras: there is no such file"),
        (["best.keras", "new.csv", "--output", "p.txt"], "p.txt: must end in .csv, .csv.gz, "),
        (["best.keras", "new.csv", "--output", "no/p.csv"], "the folder no does not exist"),
        (["best.keras", "new.csv", "--output", "old.csv"], "exists already; --force replaces it"),
        (["best.keras", "new.csv", "--output", "new.csv", "--force"], "new.csv: is read from"),
        (["best.keras", "new.csv:kind", "--output", "new.csv"], "new.csv: is read from"),
        (["best.keras", "new.csv", "--output", f"{'x' * 300}.csv"], "File name too long"),
        (["best.keras", "new.csv", "--output", "folder.csv"], "folder.csv: is no file"),
        (
            ["best.keras", "new.csv", "--top", "4"],
            "--top must be from 1 to 3, the number of labels",
        ),
        (["best.keras", "new.csv", "--top", "0"], "--top must be from 1 to 3"),
        (["best.keras", "empty.csv"], "empty.csv: holds no rows"),
        (["best.keras", "other.csv"], "other.csv: lacks the column"),
    ],
)
def test_a_mistake_gets_one_line(
    project: Path, tuner: Command, words: list[str], message: str
) -> None:
    (project / "old.csv").write_text("mine")
    (project / "folder.csv").mkdir()
    (project / "empty.csv").write_text("size,city\n")
    (project / "other.csv").write_text("sise,city\n1,Bonn\n")
    done = tuner("predict", *words)
    assert (done.code, done.out) == (2, "")
    assert message in done.err and len(done.err.splitlines()) == 1
    assert (project / "old.csv").read_text() == "mine"
    assert (project / "new.csv").read_text() == ROWS.to_csv(index=False)


def test_top_is_not_for_numbers(
    project: Path, tuner: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_network(project, describe("regression", ()), monkeypatch)
    done = tuner("predict", "best.keras", "new.csv", "--top", "1")
    assert (done.code, "this network predicts numbers" in done.err) == (2, True)


@pytest.mark.parametrize("ending", [".csv", ".csv.gz", ".parquet", ".npz"])
def test_a_full_disk_leaves_the_file_as_it_was(
    project: Path, tuner: Command, ending: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = project / f"p{ending}"
    file.write_text("before")
    pd.DataFrame({"size": np.arange(20_000) % 1013 / 1013, "city": "Rome"}).to_csv("new.csv")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
    try:
        done = tuner("predict", "best.keras", "new.csv", "--output", file.name, "--force")
        gc.collect()  # nothing is written once more
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert (done.code, done.out) == (1, "")
    assert done.err.splitlines()[-1] == f"tuner: {file.name}: cannot be written: File too large"
    assert "Traceback" not in done.err + capsys.readouterr().err
    assert file.read_text() == "before"
    assert not list(project.glob(".tuner-*"))


def test_control_characters_do_not_reach_a_pipe_s_end(
    project: Path, tuner: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_network(project, describe("binary", ("\x1b[31mred", "blue, or green")), monkeypatch)
    out = tuner("predict", "best.keras", "new.csv", "--top", "2").out
    assert "\x1b" not in out
    assert set(pd.read_csv(io.StringIO(out))["label_1"]) == {"\\x1b[31mred", "blue, or green"}


def test_csv_is_read_from_standard_input(
    project: Path, tuner: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(Path("new.csv").read_bytes())))
    from_input = tuner("predict", "best.keras", "-")
    assert from_input.out == tuner("predict", "best.keras", "new.csv").out
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"sise,city\n1,Bonn\n")))
    assert tuner("predict", "best.keras", "-").err.startswith("tuner: standard input: lacks")
