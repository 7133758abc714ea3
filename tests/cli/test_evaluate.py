"""`tuner evaluate`, with a formula in place of the network."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from command_line import Command
from fake_network import describe, save_fake_network

from tuner.preparation.kinds import Task
from tuner.preparation.network_description import NetworkDescription
from tuner.preparation.row_sample import RowSample

ROWS = 60


@pytest.fixture
def rows() -> pd.DataFrame:
    """Mostly of the label that a FakeNetwork gives."""
    draw = np.random.default_rng(0)
    size = draw.normal(size=ROWS).round(2)
    kind = np.where(size + 0.5 * draw.normal(size=ROWS) > 0, "c", "a")
    kind[:5] = "b"
    return pd.DataFrame({"size": size, "city": draw.choice(["Bonn", "Rome"], ROWS), "kind": kind})


@pytest.fixture
def project(tmp_path: Path, rows: pd.DataFrame, monkeypatch: pytest.MonkeyPatch) -> Path:
    save(tmp_path, describe(), monkeypatch)
    rows.to_csv(tmp_path / "new.csv", index=False)
    return tmp_path


def save(folder: Path, network: NetworkDescription, monkeypatch: pytest.MonkeyPatch) -> None:
    save_fake_network(folder / "best.keras", network, monkeypatch)


def test_all_figures_are_printed(project: Path, tuner: Command) -> None:
    done = tuner("evaluate", "best.keras", "new.csv")
    assert done.code == 0
    lines = done.out.splitlines()
    assert lines[0] == "best.keras on new.csv: 60 rows, target kind"
    assert "metrics with 95 % intervals (BCa bootstrap, 2,000 resamples)" in lines
    assert any(line.startswith("balanced_accuracy ") for line in lines)
    head = lines.index("label  rows  predicted  precision  recall      f1     auc")
    assert lines[head + 3].split()[:3] == ["b", "5", "0"]
    assert lines[head + 3].split()[3] == "–"  # no row is predicted as b
    assert "true \\ predicted   a  b   c" in lines
    assert any(line.startswith("probability of the predicted label: ") for line in lines)


def test_the_target_may_have_another_name(
    project: Path, tuner: Command, rows: pd.DataFrame
) -> None:
    rows.rename(columns={"kind": "checked"}).to_csv(project / "other.csv", index=False)
    done = tuner("evaluate", "best.keras", "other.csv")
    assert (done.code, done.out) == (2, "")
    assert done.err == (
        "tuner: other.csv: lacks the target 'kind' to compare predictions with; name the column "
        "that holds it: FILE:COLUMN\n"
    )
    named = tuner("evaluate", "best.keras", "other.csv:checked", "--json")
    assert named.code == 0
    own = json.loads(tuner("evaluate", "best.keras", "new.csv", "--json").out)
    assert json.loads(named.out)["metrics"] == own["metrics"]


def test_a_label_that_the_network_does_not_know_is_refused(
    project: Path, tuner: Command, rows: pd.DataFrame
) -> None:
    rows.loc[3, "kind"] = "d"
    rows.to_csv(project / "new.csv", index=False)
    done = tuner("evaluate", "best.keras", "new.csv")
    assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
    assert "'d'" in done.err


@pytest.mark.parametrize(
    ("file", "problem"),
    [
        ("figures.txt", "must end in .json"),
        ("none/figures.json", "the folder none does not exist"),
    ],
)
def test_a_file_that_cannot_be_written_is_refused_first(
    project: Path, tuner: Command, file: str, problem: str
) -> None:
    done = tuner("evaluate", "best.keras", "missing.csv", "--save", file)
    assert done.code == 2
    assert done.err.startswith(f"tuner: --save {file}: ") and problem in done.err


def test_the_figures_are_written(project: Path, tuner: Command) -> None:
    done = tuner("evaluate", "best.keras", "new.csv", "--save", "figures.json")
    assert done.err.endswith("tuner: wrote figures.json\n")
    written = json.loads((project / "figures.json").read_text())
    assert written == json.loads(tuner("evaluate", "best.keras", "new.csv", "--json").out)
    assert (written["network"], written["data"]) == ("best.keras", "new.csv")
    assert sum(map(sum, written["confusion"]["counts"])) == written["rows"] == ROWS


@pytest.mark.parametrize(
    ("task", "labels", "line"),
    [
        ("binary", ("a", "c"), "probability of c: expected calibration error"),
        ("regression", (), "quantiles of the error, prediction - target: mean "),
    ],
)
def test_the_other_tasks(
    project: Path,
    tuner: Command,
    rows: pd.DataFrame,
    monkeypatch: pytest.MonkeyPatch,
    task: Task,
    labels: tuple[str, ...],
    line: str,
) -> None:
    save(project, describe(task, labels), monkeypatch)
    kind = rows["kind"].replace("b", "a") if task == "binary" else 10 * rows["size"] + 1
    rows.assign(kind=kind).to_csv(project / "new.csv", index=False)
    done = tuner("evaluate", "best.keras", "new.csv")
    assert done.code == 0
    assert any(text.startswith(line) for text in done.out.splitlines())


@pytest.mark.parametrize(
    ("seen", "line"),
    [
        (60, "the network was trained or validated on 60 of these 60 rows: on new rows it will"),
        (40, "the network was trained or validated on 40 of these 60 rows: on new rows it will"),
        (1, "1 of these 60 rows equal rows that the network was trained or validated on"),
        (0, ""),
    ],
)
def test_rows_that_the_network_has_seen_are_told(
    project: Path,
    tuner: Command,
    rows: pd.DataFrame,
    monkeypatch: pytest.MonkeyPatch,
    seen: int,
    line: str,
) -> None:
    rows["size"] = np.arange(ROWS) / 8
    rows.to_csv(project / "new.csv", index=False)
    network = describe()
    inputs = network.preparation.prepare(rows.drop(columns="kind")).inputs
    save(project, replace(network, seen=RowSample.of([inputs[:seen]])), monkeypatch)
    done = tuner("evaluate", "best.keras", "new.csv")
    assert done.code == 0
    assert (line in done.err) if line else ("trained" not in done.err)


def test_categories_that_were_not_in_training_are_told_or_refused(
    project: Path, tuner: Command, rows: pd.DataFrame
) -> None:
    rows.loc[7, "city"] = "Oslo"
    rows.to_csv(project / "new.csv", index=False)
    assert "'Oslo' 1" in tuner("evaluate", "best.keras", "new.csv").err
    strict = tuner("evaluate", "best.keras", "new.csv", "--strict")
    assert (strict.code, strict.out) == (2, "")
