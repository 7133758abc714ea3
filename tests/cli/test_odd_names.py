"""Names that only the database can bring: listed, found and deleted, but used for nothing else."""

import sqlite3
from pathlib import Path
from typing import Any

import pytest

ODD = ["../..", "/", "..", "my study", "größe", "a'; ls '", "evil\x1b[2J\x07", "-x", "x" * 300, " "]
CREATE = ["study", "create", "s", "--data", "iris", "--epochs", "1"]


def rename(name: str, number: int = 1) -> None:
    database = sqlite3.connect("tuner.db")
    for table, column in (("tuner_studies", "name"), ("studies", "study_name")):
        database.execute(f"update {table} set {column} = ? where study_id = ?", (name, number))
    database.commit()
    database.close()


@pytest.fixture(params=ODD, ids=ascii)
def odd(request: pytest.FixtureRequest, tuner: Any) -> str:
    assert tuner(*CREATE).code == 0
    name: str = request.param
    rename(name)
    return name


def test_deleting_it_removes_no_other_folder(odd: str, tuner: Any, tmp_path: Path) -> None:
    precious = [tmp_path / "thesis.txt", tmp_path / ".tuner" / "thesis.txt"]
    (tmp_path / ".tuner" / "checkpoints").mkdir(parents=True)
    for file in precious:
        file.write_text("mine")
    assert tuner("study", "delete", "--yes", "--", odd).code == 0
    assert all(file.read_text() == "mine" for file in precious)
    assert "no study yet" in tuner("study", "list").out


def test_it_is_listed_and_shown_without_escape_sequences(odd: str, tuner: Any) -> None:
    for words in (["list"], ["show", "--", odd], ["show"], ["show", "--", "unknown"]):
        done = tuner("study", *words)
        assert done.code == (2 if "unknown" in words else 0)
        assert "\x1b" not in done.out + done.err
        assert "\x07" not in done.out + done.err


def test_it_is_not_told_as_a_part_of_a_command(odd: str, tuner: Any) -> None:
    done = tuner("study", "create", odd, "--data", "iris", "--epochs", "2", "--seed", "1")
    assert done.code == 2
    if not odd.startswith("-"):  # which is an option
        assert "exists with another definition" in done.err
        assert done.err.strip().endswith("tuner study delete STUDY")


def test_making_it_again_finds_it(odd: str, tuner: Any) -> None:
    done = tuner("study", "create", *CREATE[3:], "--", odd)
    assert done.code == 0
    assert "exists already, with this definition" in done.out
    assert "next: tuner optimize STUDY --trials 100" in done.out


@pytest.mark.parametrize("uuid", ["../..", "/tmp", "", ".."])
def test_an_id_that_is_another_folder(uuid: str, tuner: Any, tmp_path: Path) -> None:
    assert tuner(*CREATE).code == 0
    (tmp_path / ".tuner" / "checkpoints").mkdir(parents=True)
    (tmp_path / "thesis.txt").write_text("mine")
    database = sqlite3.connect("tuner.db")
    database.execute("update tuner_studies set uuid = ?", (uuid,))
    database.execute(
        "update study_system_attributes set value_json = ? where key = 'tuner:study'",
        (f'"{uuid}"',),
    )
    database.commit()
    database.close()
    for words in (["optimize", "s", "--trials", "1", "--workers", "1"], ["db", "copied"]):
        tuner(*words)
        assert (tmp_path / "thesis.txt").read_text() == "mine"
    tuner("study", "delete", "s", "--yes", "--force")
    assert (tmp_path / "thesis.txt").read_text() == "mine"
    assert tmp_path.is_dir()


@pytest.mark.parametrize("name", ["x" * 129, "名" * 100, "a b", "evil\x1b[2J", "x/y"], ids=ascii)
def test_no_new_study_gets_such_a_name(name: str, tuner: Any, tmp_path: Path) -> None:
    for words in ([*CREATE[:2], name, *CREATE[3:]], ["compare", "reference", "--name", name]):
        done = tuner(*words)
        assert (done.code, done.out) == (2, "")
        assert len(done.err.strip().splitlines()) == 1
        assert "\x1b" not in done.err
    assert not (tmp_path / "tuner.db").exists()


@pytest.mark.parametrize("name", ["", " ", "x" * 501, "a\x1bb"], ids=ascii)
def test_no_study_gets_such_an_experiment(name: str, tuner: Any, tmp_path: Path) -> None:
    done = tuner(*CREATE, "--experiment", name)
    assert (done.code, done.out) == (2, "")
    assert "MLflow experiment" in done.err
    assert not (tmp_path / "tuner.db").exists()
