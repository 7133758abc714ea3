"""Paths in URLs: what is written is what is read, by tuner, SQLAlchemy and MLflow alike."""

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from toy_study import toy_spec

from tuner.data import project_folder
from tuner.errors import LocationError, StorageUnavailable
from tuner.settings import load_settings
from tuner.storage import exists, open_store
from tuner.storage.connections import format_url, parse_url
from tuner.storage.studies import create_study, list_studies
from tuner.system.locations import file_url, local_path, mlflow_url, sqlite_file, sqlite_url
from tuner.tracking.client import open_client
from tuner.tracking.experiments import open_experiment

NAMES = [
    "a%20b", "100%", "%", "a?b", "?", "a#b", "größe ö", "a+b", "a&b=c;d", "it's", 'say "x"',
    "a@b:c", "user:pw@host", "new\nline", "tab\there", "a\\b", "{x}", "[x]", "~", "file:x",
    ":memory:", "名前", "a%2Fb", "%00", "a b ", "-x", "$HOME", "esc\x1b[2J",
]  # fmt: skip
# What a folder may be called: all but / and NUL, and no more than 255 bytes.
FOLDERS = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="/\0"), min_size=1, max_size=40
).filter(lambda name: name not in (".", ".."))


# MLflow takes seconds to make its tables. One wrongly read name in a path spoils all of it.
NESTED = [NAMES[first::4] for first in range(4)]


@contextmanager
def folder_named(*names: str) -> Iterator[Path]:
    """Folders of these names, each in the one before; nothing may appear beside any of them."""
    with tempfile.TemporaryDirectory() as outer:
        folder = Path(outer, *names)
        folder.mkdir(parents=True)
        yield folder
        for name in reversed(names):
            assert [each.name for each in folder.parent.iterdir()] == [name]
            folder = folder.parent


@given(FOLDERS, FOLDERS)
def test_a_path_comes_back_from_its_url(folder: str, name: str) -> None:
    for path in (Path("/nowhere", folder, name), Path(folder, name), Path(name)):
        assert sqlite_file(sqlite_url(path)) == path
        assert sa.engine.make_url(sqlite_url(path)).database == str(path)
        assert sqlite_file(sa.engine.URL.create("sqlite", database=str(path)).render_as_string())
    assert local_path(file_url(Path("/nowhere", folder, name))) == Path("/nowhere", folder, name)


@pytest.fixture(autouse=True)
def _mlflow_s_own_tables(
    monkeypatch: pytest.MonkeyPatch, make_mlflow_tables: Callable[[Path, Path], None]
) -> None:
    """Made where the folder is, as they are for users: its name is the subject."""
    monkeypatch.setattr("tuner.tracking.client._make_tables", make_mlflow_tables)


def use_everything(folder: Path) -> None:
    """A study's row, MLflow's store, a run with an artifact; all of it in this folder alone."""
    url = sqlite_url(folder / "tuner.db")
    assert not exists(url)
    store = open_store(url)
    study = create_study(store, "s", toy_spec(), experiment="größe / 50% ?")
    assert [found.name for found in list_studies(open_store(format_url(store.url)))] == ["s"]
    store.close()
    client = open_client(sqlite_url(folder / "mlruns" / "mlflow.db"))
    experiment = open_experiment(client, study)
    run = client.create_run(experiment).info.run_id
    client.log_text(run, "text", "note.txt")
    assert [each.path for each in client.list_artifacts(run)] == ["note.txt"]
    (note,) = folder.rglob("note.txt")
    assert note.read_text() == "text"
    assert exists(url)
    assert (folder / "mlruns" / "mlflow.db").is_file()


@pytest.mark.parametrize("names", NESTED, ids=ascii)
def test_a_project_in_folders_of_any_name(names: list[str]) -> None:
    with folder_named(*names) as folder:
        use_everything(folder)


@given(st.lists(FOLDERS, min_size=1, max_size=3))
@settings(max_examples=3, deadline=None, suppress_health_check=list(HealthCheck))
@example(["a%3Fb?c#d%"])
def test_a_project_in_folders_of_generated_names(names: list[str]) -> None:
    with folder_named(*names) as folder:
        use_everything(folder)


@pytest.mark.parametrize("names", NESTED, ids=ascii)
def test_relative_urls_mean_the_working_directory(
    names: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with folder_named(*names) as folder:
        monkeypatch.chdir(folder)
        store = open_store("sqlite:///tuner.db")
        study = create_study(store, "s", toy_spec())
        store.close()
        # A name of its own: MLflow keeps the stores of a process open, by their URLs.
        client = open_client(f"sqlite:///mlruns/{uuid4().hex}.db")
        run = client.create_run(open_experiment(client, study)).info.run_id
        client.log_text(run, "text", "note.txt")
        assert {"tuner.db", "mlruns"} <= {each.name for each in folder.iterdir()}
        assert len(list(folder.rglob("note.txt"))) == 1
        monkeypatch.chdir("/")


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("sqlite:////tmp/a?b/tuner.db", r"\? begins the options .* write \? as %3F"),
        ("sqlite:///what?.db", r"write \? as %3F"),
        ("sqlite:///x.db?", r"write \? as %3F"),
        ("sqlite:///file:x.db?uri=true", r"'uri=true' is none"),
        ("sqlite:///file::memory:?mode=memory&uri=true", "is none"),
        ("sqlite:///a%00b.db", "the character NUL"),
        ("sqlite:///a%FFb.db", "UTF-8"),
        ("sqlite:///a\udcffb.db", "UTF-8"),
        ("sqlite://", "expected a database file"),
        ("sqlite://tuner.db", "three slashes"),
        ("sqlite://folder/tuner.db", "three slashes"),
        ("sqlite+aiosqlite:///x.db", "not supported"),
        ("sqlite:///", "expected a database file"),
        ("sqlite:///:memory:", "expected a database file"),
        ("sqlite:///%3Amemory:", "expected a database file"),
    ],
    ids=ascii,
)
def test_urls_that_name_no_file(url: str, told: str) -> None:
    with pytest.raises(LocationError, match=told) as refused:
        sqlite_file(url)
    assert str(refused.value).isprintable()
    with pytest.raises(StorageUnavailable):
        parse_url(url)


def test_a_folder_that_is_no_text_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/b\xff"))
    folder.mkdir()
    monkeypatch.chdir(folder)
    with pytest.raises(StorageUnavailable, match=r"not UTF-8 text \(byte 0xff\); rename it"):
        open_store("sqlite:///tuner.db")
    assert list(folder.iterdir()) == []


def test_an_option_of_the_driver_is_no_part_of_the_path() -> None:
    assert sqlite_file("sqlite:///x.db?timeout=5&check_same_thread=false") == Path("x.db")


def test_a_path_that_was_not_quoted_is_refused_by_the_character(tmp_path: Path) -> None:
    (tmp_path / "a%20b").mkdir()
    with pytest.raises(LocationError, match="write the character % of a path as %25"):
        sqlite_file(f"sqlite:///{tmp_path}/a%20b/tuner.db")
    (tmp_path / "a b").mkdir()  # now the URL means what it says
    assert sqlite_file(f"sqlite:///{tmp_path}/a%20b/tuner.db") == tmp_path / "a b" / "tuner.db"
    (tmp_path / "c%20d.db").touch()
    with pytest.raises(LocationError, match="as %25"):
        sqlite_file(f"sqlite:///{tmp_path}/c%20d.db")


def test_urls_of_other_things_are_left_alone() -> None:
    for url in ("http://me:pw@host/%20?x", "postgresql+psycopg://host/a%20b?x", "./mlruns"):
        assert sqlite_file(url) is None
        assert mlflow_url(url) == url
    assert local_path("s3://bucket/a") is None


def test_a_linked_database_has_the_projects_folder_of_the_real_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or networks would be missed, and deleted beside another database."""
    real, links = tmp_path / "real", tmp_path / "links"
    real.mkdir()
    links.mkdir()
    (links / "one.db").symlink_to("../real/tuner.db")  # which need not be there yet
    (links / "two.db").symlink_to(links / "one.db")
    (links / "loop.db").symlink_to(links / "loop.db")
    monkeypatch.chdir(links)
    for url in ("sqlite:///one.db", "sqlite:///two.db", sqlite_url(links / "two.db")):
        found = load_settings(url)
        assert found.checkpoints == real / ".tuner" / "checkpoints"
        assert project_folder(found) == real
    assert project_folder(load_settings("sqlite:///loop.db")) == links
    assert project_folder(load_settings("sqlite:///tuner.db")) == links
    assert load_settings("postgresql://h/db").checkpoints == Path(".tuner/checkpoints")
    assert project_folder(load_settings("postgresql://h/db")) is None
    assert project_folder(load_settings("sqlite:wrong")) is None
