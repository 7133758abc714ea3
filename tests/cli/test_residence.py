"""A database that was moved or copied, as its users see it."""

import io
import shutil
import sys
from pathlib import Path

import pytest

from tuner.storage import look_into
from tuner.storage.studies import StudyRow, load_study


@pytest.fixture
def project(tuner, tmp_path, monkeypatch):
    """A project in the folder a, used there."""
    (tmp_path / "a").mkdir()
    monkeypatch.chdir(tmp_path / "a")
    assert tuner("study", "create", "s", "--data", "iris").code == 0
    return tmp_path / "a"


def study_in(folder: Path) -> StudyRow:
    store = look_into(f"sqlite:///{folder}/tuner.db")
    assert store is not None
    found = load_study(store)
    store.close()
    return found


@pytest.fixture
def copy(project, tmp_path, monkeypatch):
    shutil.copytree(project, tmp_path / "b")
    monkeypatch.chdir(tmp_path / "b")
    return tmp_path / "b"


def answer(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stdin", Terminal(text))
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)


def test_a_moved_project_goes_on_and_says_so_once(tuner, project, tmp_path, monkeypatch):
    before = study_in(project)
    project.rename(tmp_path / "c")
    monkeypatch.chdir(tmp_path / "c")
    assert tuner("study", "list").err == ""  # who only looks need not care
    done = tuner("trial", "add", "width=64")
    assert (done.code, done.err.splitlines()) == (
        0,
        [f"tuner: the database was moved here from {project}/tuner.db"],
    )
    assert tuner("trial", "add", "width=96").err == ""
    assert study_in(tmp_path / "c") == before
    assert not project.exists()


@pytest.mark.parametrize("words", [("sync",), ("study", "delete", "s", "--yes")])
def test_of_what_may_be_a_copy_nothing_reaches_the_original(tuner, copy, project, words):
    done = tuner(*words)
    assert done.code == 2
    (line,) = done.err.splitlines()
    assert f"may be a copy of the database at {project}/tuner.db" in line
    assert "tuner db moved, or tuner db copied" in line
    assert study_in(copy) == study_in(project)


def test_of_what_may_be_a_copy_sql_goes_on(tuner, copy):
    done = tuner("trial", "add", "width=64")
    assert (done.code, done.err) == (0, "")


def test_it_is_told_to_be_a_copy(tuner, copy, project):
    assert tuner("db", "copied").code == 0
    assert study_in(copy).uuid != study_in(project).uuid
    assert tuner("study", "delete", "s", "--yes").code == 0
    assert study_in(project).name == "s"


def test_it_is_told_to_have_moved(tuner, copy, project):
    assert tuner("db", "moved").code == 0
    assert study_in(copy) == study_in(project)
    assert tuner("study", "delete", "s", "--yes").code == 0


@pytest.mark.parametrize(("word", "is_new"), [("copied", True), ("moved", False), ("later", False)])
def test_in_a_terminal_it_is_asked(tuner, copy, project, monkeypatch, word, is_new):
    answer(monkeypatch, f"perhaps\n{word}\n")
    done = tuner("trial", "add", "width=64")
    assert done.code == 0
    assert "moved, copied or later?" in done.out
    assert (study_in(copy).uuid != study_in(project).uuid) == is_new
    # Once answered it is not asked again.
    answer(monkeypatch, "later\n")
    assert ("moved, copied or later?" in tuner("trial", "add", "width=64").out) == (word == "later")


@pytest.mark.parametrize("word", ["moved", "copied"])
def test_without_a_database_there_is_nothing_to_tell(tuner, tmp_path, word):
    done = tuner("db", word)
    assert done.code == 2
    assert "there is no study yet" in done.err
    assert list(tmp_path.iterdir()) == []


def test_a_search_in_what_may_be_a_copy_leaves_mlflow_alone(tuner, copy, project, monkeypatch):
    from tuner.manage import searching as room

    asked = []

    def optimize(settings, store, study, request, *rest, **more):
        asked.append(request.tracking)
        raise KeyboardInterrupt

    monkeypatch.setattr(room, "optimize", optimize)
    done = tuner("optimize", "s", "--trials", "1")
    assert "nothing is sent to MLflow" in done.err
    assert tuner("db", "copied").code == 0
    assert "nothing is sent to MLflow" not in tuner("optimize", "s", "--trials", "1").err
    assert asked == [False, True]


def test_doctor_asks_what_it_is(tuner, copy, project):
    line = f"used at {project}/tuner.db before: was it moved or copied?"
    assert line in tuner("doctor", "--quick").out
    assert tuner("db", "copied").code == 0
    assert "moved or copied?" not in tuner("doctor", "--quick").out
