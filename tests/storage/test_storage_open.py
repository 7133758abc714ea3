"""Databases that cannot be used: one line that says why, never the password."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from postgres_server import PASSWORD, Postgres

from tuner.errors import StorageUnavailable
from tuner.storage import exists, open_store
from tuner.storage.studies import list_studies


def refusal(url: str) -> str:
    with pytest.raises(StorageUnavailable) as caught:
        _ = open_store(url).optuna
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.fixture
def read_only_folder() -> Iterator[Path]:
    """A folder that this process may not write to, even when root runs the tests."""
    folder = Path(tempfile.mkdtemp())
    open_store(f"sqlite:///{folder}/tuner.db").close()
    folder.chmod(0o555)
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    yield folder
    if root:
        os.seteuid(0)
    folder.chmod(0o755)
    shutil.rmtree(folder)


def test_missing_folder(tmp_path: Path) -> None:
    message = refusal(f"sqlite:///{tmp_path}/nowhere/tuner.db")
    assert f"the folder {tmp_path}/nowhere does not exist" in message
    assert not list(tmp_path.iterdir())


def test_new_database_in_a_read_only_folder(read_only_folder: Path) -> None:
    message = refusal(f"sqlite:///{read_only_folder}/new.db")
    assert f"{read_only_folder} cannot be written" in message


def test_existing_database_in_a_read_only_folder(read_only_folder: Path) -> None:
    message = refusal(f"sqlite:///{read_only_folder}/tuner.db")
    assert f"{read_only_folder} cannot be written" in message


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    path = tmp_path / "tuner.db"
    path.write_bytes(b"what is this? " * 100)
    assert "file is not a database" in refusal(f"sqlite:///{path}")
    assert path.read_bytes() == b"what is this? " * 100


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("mysql://host/db", "'mysql' is not supported; use sqlite or postgresql"),
        ("nonsense://host/db", "'nonsense' is not supported"),
        ("not a url", "cannot be read; expected sqlite:///"),
        ("", "cannot be read; expected sqlite:///"),
        ("postgresql://host:notaport/db", "cannot be read"),
        ("sqlite://", "expected a database file"),
        ("sqlite:///:memory:", "expected a database file"),
    ],
)
def test_urls_that_mean_nothing_here(url: str, words: str) -> None:
    assert words in refusal(url)


def test_unreachable_server_hides_the_password() -> None:
    message = refusal("postgresql://me:se{cr}%25et@127.0.0.1:1/studies")
    assert "me:***@127.0.0.1:1/studies" in message
    assert "refused" in message
    assert "cr" not in message.replace("postgresql+psycopg", "")


def test_password_in_the_query_is_hidden() -> None:
    assert "secret" not in refusal("postgresql://127.0.0.1:1/studies?user=me&password=secret")


def test_unescaped_at_in_a_password_shows_none_of_it() -> None:
    message = refusal("postgresql://me:half@secret@127.0.0.1:1/studies")
    assert "write @ in a password as %40" in message
    assert "secret" not in message


def test_awkward_password_logs_in_and_is_never_shown(postgres: Postgres) -> None:
    store = open_store(postgres.url(postgres.create()))
    assert list_studies(store) == []
    assert store.optuna.get_all_studies() == []
    assert PASSWORD not in store.shown
    assert "odd:***@" in store.shown
    store.close()


def test_wrong_password_is_refused_without_being_shown(postgres: Postgres) -> None:
    message = refusal(postgres.url("postgres", password="Wrong%25Password"))
    assert "password authentication failed" in message
    assert "Wrong" not in message


def test_missing_database_on_a_server(postgres: Postgres) -> None:
    assert 'database "nowhere" does not exist' in refusal(postgres.url("nowhere"))


def test_exists_makes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "tuner.db"
    assert not exists(f"sqlite:///{path}")
    assert not path.exists()
    open_store(f"sqlite:///{path}").close()
    assert exists(f"sqlite:///{path}")
