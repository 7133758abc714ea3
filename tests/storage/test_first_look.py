"""What is seen of a study before SQLAlchemy is imported."""

import json
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from tuner.storage.first_look import trains_networks


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "look.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE tuner_studies (study_id INTEGER, name TEXT, spec TEXT)")
        connection.execute("CREATE TABLE tuner_places (study_id INTEGER, state TEXT)")
        kinds = {"built": "build", "tuned": "hypermodel", "own": "train", "old": None}
        for number, (name, kind) in enumerate(kinds.items()):
            spec = json.dumps({"function_kind": kind} if kind else {})
            connection.execute("INSERT INTO tuner_studies VALUES (?, ?, ?)", (number, name, spec))
        connection.execute("INSERT INTO tuner_places VALUES (0, 'done'), (0, 'done'), (0, 'open')")
    connection.close()
    return path


@pytest.mark.parametrize(
    ("study", "expected"),
    [("built", True), ("tuned", True), ("old", True), ("own", False), ("none", False)],
)
def test_a_study_that_trains_networks(file: Path, study: str, expected: bool) -> None:
    assert trains_networks(f"sqlite:///{file}", study) is expected
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def test_without_a_name_all_studies_must(file: Path) -> None:
    assert not trains_networks(f"sqlite:///{file}", None)
    with sqlite3.connect(file) as connection:
        connection.execute("DELETE FROM tuner_studies WHERE name = 'own'")
    connection.close()
    assert trains_networks(f"sqlite:///{file}", None)


def test_a_study_that_has_its_trials(file: Path) -> None:
    url = f"sqlite:///{file}"
    assert [trains_networks(url, "built", trials) for trials in (2, 3)] == [False, True]


def test_what_cannot_be_read_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "text.db").write_text("no database")
    (tmp_path / "empty.db").write_bytes(b"")
    for url in ("text.db", "empty.db", "absent.db", "."):
        assert not trains_networks(f"sqlite:///{tmp_path / url}", None)
    for url in ("sqlite+other:///x.db", "postgresql+psycopg://nowhere/x"):
        assert not trains_networks(url, None)
    assert not (tmp_path / "absent.db").exists()


def test_a_look_imports_no_sqlalchemy() -> None:
    code = (
        "import sys; import tuner.storage.first_look, tuner.workers.fork_server;"
        "print(sorted({'sqlalchemy', 'pydantic', 'numpy', 'optuna'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
