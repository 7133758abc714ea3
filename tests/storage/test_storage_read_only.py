"""Looking into a database: possible wherever its file can be read, and without a trace."""

import hashlib
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from toy_study import toy_spec

from tuner.errors import StorageError, StorageUnavailable
from tuner.storage import Store, exists, look_into, open_store
from tuner.storage.read_only import ReadOnlyFile
from tuner.storage.schema import studies
from tuner.storage.studies import create_study, list_studies, load_study

MADE_BY_0002 = Path(__file__).with_name("made_by_0002.sql")

# Commits a study and dies, as a search that is killed does: its rows stay in the `-wal`.
DIES = """
import os, sys
from toy_study import toy_spec
from tuner.storage import open_store
from tuner.storage.studies import create_study
store = open_store(sys.argv[1])
create_study(store, sys.argv[2], toy_spec())
os._exit(9)
"""


def url_of(path: Path) -> str:
    return f"sqlite:///{path}"


def made(path: Path, *names: str) -> Path:
    store = open_store(url_of(path))
    for name in names:
        create_study(store, name, toy_spec())
    store.close()
    return path


def killed_with(path: Path, name: str) -> None:
    helpers = str(Path(__file__).parents[1] / "support")
    words = [sys.executable, "-c", DIES, url_of(path), name]
    done = subprocess.run(words, env=os.environ | {"PYTHONPATH": helpers}, check=False)
    assert done.returncode == 9
    assert path.with_name(f"{path.name}-wal").stat().st_size > 0


def state_of(folder: Path) -> dict[str, tuple[int, str]]:
    """All files, by when they were changed and what they hold."""
    return {
        path.name: (path.stat().st_mtime_ns, hashlib.sha256(path.read_bytes()).hexdigest())
        for path in folder.iterdir()
    }


def seen(path: Path) -> list[str]:
    """The studies that a look finds; the folder must be the same before and after."""
    before = state_of(path.parent)
    store = look_into(url_of(path))
    try:
        names = [] if store is None else sorted(study.name for study in list_studies(store))
        for name in names:
            assert store is not None
            load_study(store, name)
    finally:
        if store is not None:
            store.close()
    assert state_of(path.parent) == before
    return names


def as_it_lies(_path: Path) -> None:
    """A search that ended in order."""


def with_wal_of_a_killed_search(path: Path) -> None:
    killed_with(path, "two")


def with_wal_alone(path: Path) -> None:
    """As two of the three files were copied."""
    killed_with(path, "two")
    path.with_name(f"{path.name}-shm").unlink()


def with_empty_wal(path: Path) -> None:
    path.with_name(f"{path.name}-wal").touch()


def in_rollback_mode(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode=DELETE")
    connection.close()


STATES = [
    as_it_lies,
    with_wal_of_a_killed_search,
    with_wal_alone,
    with_empty_wal,
    in_rollback_mode,
]


def writable(_folder: Path) -> None:
    pass


def read_only_file(folder: Path) -> None:
    for path in folder.iterdir():
        path.chmod(0o444)


def read_only_folder(folder: Path) -> None:
    read_only_file(folder)
    folder.chmod(0o555)


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder whose rights count, even when root runs the tests."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    folder.chmod(0o755)
    shutil.rmtree(folder)


@pytest.fixture
def as_nobody() -> Iterator[Callable[[], None]]:
    root = os.geteuid() == 0
    yield lambda: os.seteuid(65534) if root else None
    if root:
        os.seteuid(0)


@pytest.mark.parametrize("rights", [writable, read_only_file, read_only_folder])
@pytest.mark.parametrize("state", STATES)
def test_a_look_finds_everything_and_leaves_no_trace(
    state: Callable[[Path], None],
    rights: Callable[[Path], None],
    folder: Path,
    as_nobody: Callable[[], None],
) -> None:
    path = made(folder / "tuner.db", "one")
    state(path)
    rights(folder)
    if rights is not writable:
        as_nobody()
    expected = ["one", "two"] if "wal_" in state.__name__ and "empty" not in state.__name__ else []
    assert seen(path) == (expected or ["one"])


def test_beside_a_search_at_work(folder: Path, as_nobody: Callable[[], None]) -> None:
    path = made(folder / "tuner.db", "one")
    store = open_store(url_of(path))
    looking = look_into(url_of(path))
    assert looking is not None
    create_study(store, "two", toy_spec())
    assert path.with_name("tuner.db-wal").stat().st_size > 0
    # What is committed meanwhile is seen at once.
    assert len(list_studies(looking)) == 2
    with store.writing() as connection:  # and nobody waits for the other
        connection.execute(sa.update(studies).values(experiment="x"))
        assert seen(path) == ["one", "two"]
    looking.close()
    store.close()
    assert [each.name for each in folder.iterdir()] == ["tuner.db"]


def test_older_tables_are_seen_as_of_today(folder: Path, as_nobody: Callable[[], None]) -> None:
    path = folder / "tuner.db"
    connection = sqlite3.connect(path)
    connection.executescript(MADE_BY_0002.read_text())
    connection.close()
    read_only_folder(folder)
    as_nobody()
    temporary = set(Path(tempfile.gettempdir()).glob("tuner-look-*"))
    assert seen(path) == ["old"]
    assert set(Path(tempfile.gettempdir()).glob("tuner-look-*")) == temporary


@pytest.mark.parametrize("content", [b"", None])
def test_nothing_is_made(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "tuner.db"
    if content is not None:
        path.write_bytes(content)
    before = state_of(tmp_path)
    assert look_into(url_of(path)) is None
    assert look_into(url_of(tmp_path / "none" / "tuner.db")) is None
    assert state_of(tmp_path) == before
    assert exists(url_of(path)) is (content is not None)


def test_who_looks_cannot_write(storage_url: str) -> None:
    store = look_into(storage_url)
    assert store is not None
    with pytest.raises(StorageError, match="opened for reading only"), store.writing():
        pass
    with pytest.raises(StorageError, match=r"read-?only"), store.reading() as connection:
        connection.execute(sa.delete(studies))
    store.close()


def test_tables_of_optuna_alone_are_no_study(tmp_path: Path) -> None:
    import optuna

    url = url_of(tmp_path / "optuna.db")
    optuna.create_study(storage=url)
    assert look_into(url) is None


def test_a_link_to_the_file(folder: Path) -> None:
    path = made(folder / "tuner.db", "one")
    killed_with(path, "two")
    link = Path(tempfile.mkdtemp()) / "link.db"
    link.symlink_to(path)
    assert seen(link) == ["one", "two"]
    shutil.rmtree(link.parent)


def test_a_file_that_changes_meanwhile_is_read_again(tmp_path: Path) -> None:
    path = made(tmp_path / "tuner.db", "one")
    looking = look_into(url_of(path))
    assert looking is not None
    tries = 0

    def look(connection: sa.Connection) -> int:
        nonlocal tries
        tries += 1
        count = connection.execute(sa.select(sa.func.count()).select_from(studies)).scalar_one()
        if tries == 1:
            made(path, "two")  # all of it: begun, written and put into the file
        return int(count)

    assert looking.read(look) == 2
    assert tries == 2
    looking.close()


def test_an_unreadable_file_is_refused_in_one_line(
    folder: Path, as_nobody: Callable[[], None]
) -> None:
    path = made(folder / "tuner.db", "one")
    path.chmod(0)
    as_nobody()
    with pytest.raises(StorageUnavailable, match="unable to open database file") as caught:
        look_into(url_of(path))
    assert "\n" not in str(caught.value)


NAMES = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"], exclude_characters="/"),
    min_size=1,
    max_size=12,
).filter(lambda name: name not in (".", ".."))


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=NAMES)
def test_any_name_of_a_file_is_looked_into(name: str, tmp_path: Path) -> None:
    path = tmp_path / f"{name}.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS t (x)")
    connection.close()
    file = ReadOnlyFile(path, 1.0)
    found = file.connect()
    assert found.execute("SELECT name FROM sqlite_master").fetchall() == [("t",)]
    found.close()
    assert [each.name for each in tmp_path.iterdir() if each != path and "-" in each.name] == []
    path.unlink()


def test_a_store_is_read_as_before(store: Store) -> None:
    create_study(store, "toy", toy_spec())
    looking = look_into(store.url.render_as_string(hide_password=False))
    assert looking is not None
    assert load_study(looking, "toy") == load_study(store, "toy")
    looking.close()


@pytest.mark.parametrize(
    "look", [ReadOnlyFile.journal_mode, ReadOnlyFile._copy], ids=["head", "copy"]
)
def test_reading_the_plain_file_takes_no_lock_from_those_at_work(
    tmp_path: Path, look: Callable[[ReadOnlyFile], object]
) -> None:
    """Or another process removes the -wal that is still written to, and commits are lost."""
    store = open_store(f"sqlite:///{tmp_path}/tuner.db")
    create_study(store, "first", toy_spec())
    path = Path(str(store.url.database))
    look(ReadOnlyFile(path, 1.0))
    count = (
        "import sqlite3, sys; connection = sqlite3.connect(sys.argv[1]); "
        "print(*connection.execute('SELECT count(*) FROM tuner_studies').fetchone()); "
        "connection.close()"
    )
    for number in (1, 2):
        command = [sys.executable, "-c", count, str(path)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert done.stdout == f"{number}\n"
        create_study(store, f"another-{number}", toy_spec())
    store.close()
