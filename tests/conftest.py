"""Databases for the tests. It lies beside the helpers, so that pytest puts this folder on the
import path for them."""

import contextlib
import fcntl
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from multiprocessing import forkserver
from pathlib import Path, PurePath

import fork_server
import pytest
import sqlalchemy as sa
from forked_run import common_folder, pytest_make_collect_report, run_forked
from optuna.storages._rdb.models import BaseModel
from postgres_server import Postgres
from shared_statements import share_statements

from tuner.storage import Store, open_store
from tuner.storage.schema import metadata as ours
from tuner.system.names import remember_options
from tuner.tracking import client

__all__ = ["pytest_make_collect_report"]
share_statements()

MakeTables = Callable[[Path, Path], None]
theirs = BaseModel.metadata


def pytest_addoption(parser: pytest.Parser) -> None:
    help_text = "faults: for hours instead of minutes, or for a share of that"
    parser.addoption("--soak", type=float, nargs="?", const=1.0, default=0.0, help=help_text)
    help_text = "run the tests in so many processes"
    parser.addoption("--processes", type=int, default=0, help=help_text)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that take long come first, so that no process is left alone with one at the end; before
    them the folders that one process does one after another."""
    long = {item.path for item in items if item.get_closest_marker("slow")}
    first = {"ray": 0, "faults": 1}
    items.sort(key=lambda item: (first.get(item.path.parent.name, 2), item.path not in long))


def _in_one_process(path: PurePath) -> str | None:
    """The folder of the test, if one process is to do all of it."""
    return path.parent.name if path.parent.name in ("faults", "ray") else None


def _is_alone(item: pytest.Item) -> bool:
    """Of tests on Ray clusters: where others keep the cores busy, Ray gives nodes up, and half a
    minute passes until a worker has started."""
    return item.path.parent.name == "ray"


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> bool | None:
    """A file goes to one process: its tests share servers and searches. Faults are done one at a
    time: they keep both cores busy, and have deadlines."""
    processes = session.config.option.processes
    if processes < 2 or session.testsfailed or session.config.option.collectonly:
        return None
    fork_server.start_server()
    alone = sum(map(_is_alone, session.items))  # they come first
    for tests, wanted in ((range(alone), 1), (range(alone, len(session.items)), processes)):
        run_forked(session, tests, wanted, lambda item: _in_one_process(item.path) or item.path)
    return True


@pytest.fixture(scope="module")
def own_fork_server() -> Iterator[None]:
    """The searches of a module share a fork server, whose imports are done once; other modules want
    other imports."""
    forkserver._forkserver._stop()  # type: ignore[attr-defined]
    yield
    forkserver._forkserver._stop()  # type: ignore[attr-defined]


@pytest.fixture(autouse=True)
def no_options_remembered() -> Iterator[None]:
    """Commands that a test runs in this process must not change what messages suggest in others."""
    yield
    remember_options(None, None)


@pytest.fixture(scope="session", autouse=True)
def state_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What tests agree to must not be remembered for their user."""
    before = os.environ.get("XDG_STATE_HOME")
    os.environ["XDG_STATE_HOME"] = str(tmp_path_factory.mktemp("state"))
    yield
    if before is None:
        del os.environ["XDG_STATE_HOME"]
    else:
        os.environ["XDG_STATE_HOME"] = before


@pytest.fixture(scope="session", autouse=True)
def no_cluster_of_others() -> Iterator[None]:
    """What others run on this machine is not used: `--on ray` starts a cluster."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_ADDRESS", "local")
        yield


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    # Not in pytest's own folder, which every start of pytest closes to other users: as root, the
    # server runs as one.
    folder = Path(tempfile.mkdtemp(prefix="tuner-postgres-"))
    postgres = Postgres(folder)
    yield postgres
    postgres.stop()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres_store(postgres: Postgres) -> Iterator[Store]:
    yield from _open(postgres.url(postgres.create()))


@pytest.fixture(scope="session")
def sqlite_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    yield from _open(f"sqlite:///{tmp_path_factory.mktemp('sqlite')}/tuner.db")


@pytest.fixture(scope="session")
def made_tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file with all tables of ours, to be copied: to make them takes 0.1 s."""
    path = tmp_path_factory.mktemp("tables") / "tuner.db"
    store = open_store(f"sqlite:///{path}")
    with store.writing():
        pass
    store.close()
    return path


@pytest.fixture(scope="session", autouse=True)
def make_mlflow_tables(pytestconfig: pytest.Config) -> Iterator[MakeTables]:
    """MLflow takes 1.5 s to make its tables: they are made once, by the first of pytest's processes
    that needs them, and copied. The function that makes them."""
    make: MakeTables = client._make_tables
    folder = common_folder(pytestconfig) / "mlflow-tables"
    folder.mkdir(exist_ok=True)
    made = folder / "mlflow.db"

    def copy(database: Path, artifacts: Path) -> None:
        with (folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not made.exists():
                first = folder / "first.db"
                with contextlib.closing(sqlite3.connect(first)) as connection:
                    connection.execute("PRAGMA journal_mode=WAL")
                make(first, folder)
                first.rename(made)
        shutil.copy(made, database)
        location = f"{client.artifact_location(artifacts)}/0"
        with contextlib.closing(sqlite3.connect(database)) as connection:
            connection.execute("UPDATE experiments SET artifact_location = ?", (location,))
            connection.commit()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(client, "_make_tables", copy)
        yield make


def _open(url: str) -> Iterator[Store]:
    store = open_store(url)
    yield store
    store.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest) -> Store:
    """An open database with all tables and nothing in them."""
    name = {"sqlite": "sqlite_store", "postgresql": "postgres_store"}[request.param]
    store: Store = request.getfixturevalue(name)
    with store.writing() as connection:
        for tables in (ours, theirs):
            for table in reversed(tables.sorted_tables):
                if table.name != "version_info":
                    connection.execute(sa.delete(table))
    # A test that opened a loop's writer may have left it open.
    store.optuna.fence = store.optuna.study_fence = store.optuna.outlining = None
    return store


@pytest.fixture
def storage_url(store: Store) -> str:
    """The URL of that database."""
    return store.url.render_as_string(hide_password=False)


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database without any table."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/empty.db"
    postgres: Postgres = request.getfixturevalue("postgres")
    return postgres.url(postgres.create())
