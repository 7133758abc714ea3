"""A database that an earlier version made: it stays readable, and goes on."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa
from at_once import at_once, open_and_close
from postgres_server import PASSWORD, Postgres
from toy_study import toy_spec
from trial_writes import begin, begun, claimed, complete

from tuner.errors import StorageUnavailable
from tuner.storage import (
    Store,
    attempt_rows,
    leases,
    look_into,
    open_store,
    schema,
    slots,
    upgrade_database,
)
from tuner.storage.attempt_rows import read_attempts
from tuner.storage.deliveries import count_delivered, read_delivery
from tuner.storage.schema import HEAD, VERSION_TABLE, optuna_revisions
from tuner.storage.studies import create_study, list_studies, load_study
from tuner.storage.trials import find_best, list_trials, trial_curve
from tuner.study.messages import Report

MADE_BY_0002 = Path(__file__).with_name("made_by_0002.sql")
MADE_BY_0003 = Path(__file__).with_name("made_by_0003.sql")


def restore(dump: Path, path: Path) -> str:
    """The URL of a new database with the dump's content."""
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(dump.read_text())
    return f"sqlite:///{path}"


@pytest.fixture
def old_url(tmp_path: Path) -> str:
    """A study `old` of four trials on iris, written by the schema's revision 0002."""
    return restore(MADE_BY_0002, tmp_path / "old.db")


@pytest.fixture
def interrupted(tmp_path: Path) -> Iterator[Store]:
    """A study `old` of 20 slots on digits, written by the schema's revision 0003: seven trials have
    ended, the eighth was interrupted."""
    store = open_store(restore(MADE_BY_0003, tmp_path / "interrupted.db"))
    yield store
    store.close()


def test_what_was_in_it_is_there_after_the_upgrade(old_url: str) -> None:
    store = open_store(old_url)
    study = load_study(store, "old")
    assert len(study.uuid) == 32
    trials = list_trials(store, study)
    assert [trial.end for trial in trials] == ["complete", "complete", "complete", "pruned"]
    best = find_best(store, study).trial
    assert best is not None
    assert best.number == 2
    assert [row.epoch for row in trial_curve(store, study, best)] == [1, 2, 3]
    # The folder it lay in is not this one.
    assert best.last is not None
    assert best.last.model_path == "old/trial-2/attempt-1.keras"
    assert count_delivered(store, study) == (4, 0)
    parent = read_delivery(store, study)
    assert parent is not None
    assert parent.run_id == "372ff83ad3aa4a3a81a0271953c4d29d"
    store.close()


def test_it_goes_on_after_the_upgrade(old_url: str) -> None:
    store = open_store(old_url)
    study = load_study(store, "old")
    assert slots.add_slots(store, study, 2) == 6
    lease = leases.open_lease(store, study)
    slot = slots.claim(store, lease, 6)
    assert slot is not None
    assert slot.number == 5
    create_study(store, "new", study.spec)
    assert [row.name for row in list_studies(store)] == ["new", "old"]
    store.close()


def test_an_earlier_study_is_shown_as_it_was(interrupted: Store) -> None:
    study = load_study(interrupted, "old")
    trials = list_trials(interrupted, study)
    ends = ["complete", "early_stopped", *["pruned"] * 4, "early_stopped", "interrupted"]
    assert [trial.end for trial in trials] == ends
    assert [trial.state for trial in trials][-2:] == ["COMPLETE", "WAITING"]
    assert all(trial.damage is None for trial in trials)
    best = find_best(interrupted, study).trial
    assert best is not None
    assert (best.number, len(trial_curve(interrupted, study, best))) == (1, 15)
    assert slots.slot_counts(interrupted, study) == {"done": 7, "open": 13}


def test_an_earlier_studys_interrupted_trial_goes_on(interrupted: Store) -> None:
    study = load_study(interrupted, "old")
    before = list_trials(interrupted, study)[7]
    lease = leases.open_lease(interrupted, study)
    slot = claimed(interrupted, lease, limit=20)
    assert (slot.trial_id, slot.attempt, slot.number) == (before.trial_id, 1, 8)
    slot = begin(interrupted, lease, slot)
    attempt_rows.resume(interrupted, lease, slot, 1)
    attempt_rows.record_report(interrupted, lease, slot, Report(9, 2, True, {"val_accuracy": 0.5}))
    complete(interrupted, lease, slot, 0.5)
    after = list_trials(interrupted, study)[7]
    assert (after.state, after.value, after.params) == ("COMPLETE", 0.5, before.params)
    assert [attempt.end for attempt in after.attempts] == ["interrupted", "complete"]
    following = begun(interrupted, lease)
    assert (following.number, following.attempt) == (9, 1)
    assert len(list_trials(interrupted, study)) == 9


def test_upgrading_twice_changes_nothing(old_url: str) -> None:
    open_store(old_url).close()
    before = load_study(open_store(old_url), "old")
    store = open_store(old_url)
    with store.writing() as connection:
        # As in a file whose revision someone set back.
        connection.execute(sa.text("UPDATE tuner_alembic_version SET version_num = '0002'"))
    store.close()
    again = open_store(old_url)
    assert load_study(again, "old").uuid == before.uuid
    assert len(read_attempts(again, before)) == 4
    again.close()


def revision_of(path: Path) -> str:
    with closing(sqlite3.connect(path)) as connection:
        return str(connection.execute(f"SELECT version_num FROM {VERSION_TABLE}").fetchone()[0])


def path_of(url: str) -> Path:
    return Path(url.removeprefix("sqlite:///"))


def set_revision(url: str, table: str, revision: str) -> None:
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        connection.execute(sa.text(f"UPDATE {table} SET version_num = '{revision}'"))
    engine.dispose()


def tables_of(path: Path) -> dict[str, list[tuple[object, ...]]]:
    with closing(sqlite3.connect(path)) as connection:
        names = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        return {name: connection.execute(f"SELECT * FROM {name}").fetchall() for (name,) in names}


def test_work_backs_the_file_up_and_says_so(old_url: str, caplog: pytest.LogCaptureFixture) -> None:
    path = path_of(old_url)
    before = tables_of(path)
    open_store(old_url).close()
    backup = path.with_name("old.db.0002-backup")
    assert (revision_of(path), revision_of(backup)) == (HEAD, "0002")
    assert tables_of(backup) == before
    (line,) = caplog.messages
    assert str(backup) in line
    # Once is enough.
    caplog.clear()
    open_store(old_url).close()
    assert not caplog.messages
    assert sorted(each.name for each in path.parent.iterdir()) == ["old.db", backup.name]


def test_an_earlier_backup_is_kept(old_url: str) -> None:
    path = path_of(old_url)
    for number in ("", "-2"):
        path.with_name(f"old.db.0002-backup{number}").write_text("precious")
    open_store(old_url).close()
    assert path.with_name("old.db.0002-backup").read_text() == "precious"
    assert revision_of(path.with_name("old.db.0002-backup-3")) == "0002"


def test_four_at_once_make_one_backup(old_url: str) -> None:
    assert at_once(open_and_close, old_url) == ["opened"] * 4
    path = path_of(old_url)
    assert revision_of(path) == HEAD
    names = sorted(each.name for each in path.parent.iterdir())
    assert names == ["old.db", "old.db.0002-backup"]


def test_a_failed_upgrade_changes_nothing(old_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = path_of(old_url)
    before = tables_of(path)
    ours = schema.migrate_ours

    def fails(connection: sa.Connection) -> None:
        ours(connection)
        raise ValueError("no\nluck")

    monkeypatch.setattr(schema, "migrate_ours", fails)
    backup = path.with_name("old.db.0002-backup")
    words = rf"could not be upgraded \(no\); it is unchanged, and {backup} is a copy"
    with pytest.raises(StorageUnavailable, match=words) as caught:
        open_store(old_url)
    assert "\n" not in str(caught.value)
    assert tables_of(path) == before == tables_of(backup)
    monkeypatch.undo()
    open_store(old_url).close()
    assert revision_of(path) == HEAD


def test_without_a_backup_no_upgrade(old_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tuner.storage.read_only._put_in_place", full)
    with pytest.raises(StorageUnavailable, match=r"could not be backed up first: .*No space left"):
        open_store(old_url)
    path = path_of(old_url)
    assert revision_of(path) == "0002"
    assert [each.name for each in path.parent.iterdir()] == ["old.db"]


@pytest.mark.parametrize("revision", ["0001", "0002"])
def test_a_revision_set_back_does_no_harm(revision: str, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/tuner.db"
    with closing(open_store(url)) as store:
        row = create_study(store, "toy", toy_spec())
    set_revision(url, VERSION_TABLE, revision)
    with closing(open_store(url)) as store:
        assert load_study(store, "toy") == row


@pytest.mark.parametrize(
    ("table", "revision", "words"),
    [
        (VERSION_TABLE, "9999", r"newer version of tuner .*9999.*upgrade tuner"),
        (
            "alembic_version",
            "v9.9.9",
            r"newer version of Optuna .*v9\.9\.9.*upgrade tuner and",
        ),
        ("alembic_version", "v3.0.0.d", r"Optuna's tables are of v3\.0\.0\.d.*tuner db upgrade"),
    ],
)
def test_other_versions_are_refused_before_anything_is_written(
    table: str, revision: str, words: str, empty_url: str
) -> None:
    open_store(empty_url).close()
    set_revision(empty_url, table, revision)
    is_file = empty_url.startswith("sqlite")
    before = path_of(empty_url).read_bytes() if is_file else b""
    for opening in (open_store, look_into):
        with pytest.raises(StorageUnavailable, match=words) as caught:
            opening(empty_url)
        assert "\n" not in str(caught.value)
        assert PASSWORD not in str(caught.value)
    if is_file:
        assert path_of(empty_url).read_bytes() == before
        assert len(list(path_of(empty_url).parent.iterdir())) == 1


def test_a_server_is_upgraded_on_demand_alone(postgres: Postgres) -> None:
    url = postgres.url(postgres.create())
    open_store(url).close()
    set_revision(url, VERSION_TABLE, "0002")
    for opening in (open_store, look_into):
        with pytest.raises(StorageUnavailable, match="tuner db upgrade") as caught:
            opening(url)
        message = str(caught.value)
        assert "of 0002, this version of tuner needs" in message
        assert "pg_dump" in message
        assert PASSWORD not in message
        assert "\n" not in message
    done = upgrade_database(url)
    assert done is not None
    assert (done.before.ours, done.backup) == ("0002", None)
    again = upgrade_database(url)
    assert again is not None
    assert again.before.ready
    open_store(url).close()


def test_optunas_revisions_are_those_that_it_says() -> None:
    from alembic.script import ScriptDirectory

    script = ScriptDirectory.from_config(schema._alembic_config(schema._optuna_folder()))
    known = {each.revision for each in script.walk_revisions()}
    assert optuna_revisions() == (script.get_current_head(), known)


def test_optunas_tables_are_upgraded_too(empty_url: str) -> None:
    store = open_store(empty_url)
    row = create_study(store, "toy", toy_spec())
    _downgrade_optuna(store.writer)
    store.close()
    with pytest.raises(StorageUnavailable, match="tuner db upgrade"):
        open_store(empty_url)
    done = upgrade_database(empty_url)
    assert done is not None
    assert done.before.optuna_is_older
    if empty_url.startswith("sqlite"):
        assert done.backup is not None
        assert done.backup.name == f"empty.db.optuna-{done.before.optuna}-backup"
    with closing(open_store(empty_url)) as store:
        assert load_study(store, "toy") == row
        assert store.optuna.get_current_version() == store.optuna.get_head_version()
        assert sa.inspect(store.reader).get_indexes("trials")


def _downgrade_optuna(engine: sa.Engine) -> None:
    """As an earlier Optuna left it, which made no index of the trials' studies."""
    with engine.begin() as connection:
        for index in sa.inspect(connection).get_indexes("trials"):
            connection.execute(sa.text(f"DROP INDEX {index['name']}"))
        connection.execute(sa.text("UPDATE alembic_version SET version_num = 'v3.0.0.d'"))
