"""`tuner db backup`: one file with everything, whatever else happens to the database."""

import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa
from postgres_server import PASSWORD, Postgres
from toy_study import toy_spec

from tuner.errors import StorageError, StorageUnavailable
from tuner.storage import open_store
from tuner.storage.connections import parse_url
from tuner.storage.read_only import back_up_to, pg_dump_command
from tuner.storage.schema import slot_rows
from tuner.storage.studies import create_study, list_studies


@pytest.fixture
def url(tmp_path: Path) -> str:
    (tmp_path / "there").mkdir()
    url = f"sqlite:///{tmp_path}/there/tuner.db"
    with closing(open_store(url)) as store:
        create_study(store, "toy", toy_spec())
    return url


def test_the_copy_is_a_database_of_one_file(url: str, tmp_path: Path) -> None:
    copy = tmp_path / "copy.db"
    with closing(open_store(url)) as store:
        create_study(store, "later", toy_spec())  # still in the `-wal`
        assert back_up_to(url, copy) == copy.stat().st_size
        assert store.reader is not None
    assert [each.name for each in tmp_path.iterdir() if each.is_file()] == ["copy.db"]
    with closing(open_store(f"sqlite:///{copy}")) as store:
        assert [study.name for study in list_studies(store)] == ["later", "toy"]


def test_each_copy_is_of_one_moment(url: str, tmp_path: Path) -> None:
    """Rows come in pairs, each pair in one transaction: a copy never has half of one."""
    done = threading.Event()

    def write() -> None:
        with closing(open_store(url)) as store:
            number = 0
            while not done.is_set():
                with store.writing() as connection:
                    for half in (0, 1):
                        row = {"study_id": 77, "number": 2 * number + half, "state": "x" * 500}
                        connection.execute(sa.insert(slot_rows).values(row))
                number += 1

    writer = threading.Thread(target=write)
    writer.start()
    counts = []
    try:
        for number in range(15):
            copy = tmp_path / f"copy-{number}.db"
            back_up_to(url, copy)
            with closing(sqlite3.connect(copy)) as connection:
                assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
                query = "SELECT count(*) FROM tuner_places WHERE study_id = 77"
                counts.append(connection.execute(query).fetchone()[0])
    finally:
        done.set()
        writer.join()
    assert counts == sorted(counts)
    assert counts[-1] > counts[0]
    assert [count % 2 for count in counts] == [0] * 15


def test_a_file_is_replaced_only_when_told(url: str, tmp_path: Path) -> None:
    copy = tmp_path / "copy.db"
    copy.write_text("precious")
    with pytest.raises(StorageUnavailable, match="exists already"):
        back_up_to(url, copy)
    assert copy.read_text() == "precious"
    back_up_to(url, copy, force=True)
    with closing(open_store(f"sqlite:///{copy}")) as store:
        assert len(list_studies(store)) == 1


@pytest.mark.parametrize("name", ["tuner.db", "tuner.db-wal", "tuner.db-shm", "link.db", "hard.db"])
@pytest.mark.parametrize("force", [False, True])
def test_the_database_itself_is_never_replaced(name: str, force: bool, url: str) -> None:
    path = Path(url.removeprefix("sqlite:///"))
    path.with_name("link.db").symlink_to(path)
    path.with_name("hard.db").hardlink_to(path)
    before = path.read_bytes()
    with pytest.raises(StorageUnavailable, match="belongs to the database itself"):
        back_up_to(url, path.with_name(name), force)
    assert path.read_bytes() == before


def test_what_cannot_be_written_leaves_nothing(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(StorageUnavailable, match="is a folder"):
        back_up_to(url, tmp_path, force=True)
    with pytest.raises(StorageUnavailable, match="No such file"):
        back_up_to(url, tmp_path / "none" / "copy.db")

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("tuner.storage.read_only._put_in_place", interrupted)
    with pytest.raises(KeyboardInterrupt):
        back_up_to(url, tmp_path / "copy.db")
    assert [each.name for each in tmp_path.iterdir()] == ["there"]


def test_what_is_no_database_is_not_copied(tmp_path: Path) -> None:
    (tmp_path / "no.db").write_bytes(b"what is this? " * 100)
    with pytest.raises(StorageError, match="not a database"):
        back_up_to(f"sqlite:///{tmp_path}/no.db", tmp_path / "copy.db")
    assert [each.name for each in tmp_path.iterdir()] == ["no.db"]


def test_a_server_is_copied_by_its_own_command(postgres: Postgres, tmp_path: Path) -> None:
    name = postgres.create()
    with pytest.raises(StorageUnavailable, match="pg_dump") as caught:
        back_up_to(postgres.url(name), tmp_path / "my copy")
    message = str(caught.value)
    assert f"--host={postgres.host} --username=odd {name}" in message
    assert "'" in message  # the file's name has a space
    assert PASSWORD not in message
    assert "\n" not in message
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("postgresql://host/data", "--host=host data"),
        ("postgresql://me:secret@host:5433/data", "--host=host --port=5433 --username=me data"),
        ("postgresql://host/d?user=me&password=secret", "--host=host --username=me d"),
        ("postgresql://me:secret@host/odd%20name", "--host=host --username=me 'odd name'"),
        ("postgresql://me@host/-x", "--host=host --username=me --dbname=-x"),
    ],
)
def test_the_command_names_the_database_without_its_password(url: str, words: str) -> None:
    command = pg_dump_command(parse_url(url), Path("copy.dump"))
    assert command == f"pg_dump --format=custom --file=copy.dump {words}"
