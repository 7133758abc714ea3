"""A database that an earlier version made: it stays readable, and goes on."""

import sqlite3
from pathlib import Path

import pytest
import sqlalchemy as sa

from tuner.storage import leases, open_store, places
from tuner.storage.records import read_attempts
from tuner.storage.studies import create_study, list_studies, load_study
from tuner.storage.tracked import count_delivered, read_delivery
from tuner.storage.trials import best_trial, list_trials, trial_curve

MADE_BY_0002 = Path(__file__).with_name("made_by_0002.sql")


@pytest.fixture
def old_url(tmp_path: Path) -> str:
    """A study `old` of four trials on iris, written by the schema's revision 0002."""
    path = tmp_path / "old.db"
    connection = sqlite3.connect(path)
    connection.executescript(MADE_BY_0002.read_text())
    connection.close()
    return f"sqlite:///{path}"


def test_what_was_in_it_is_there_after_the_upgrade(old_url: str) -> None:
    store = open_store(old_url)
    study = load_study(store, "old")
    assert len(study.uuid) == 32
    trials = list_trials(store, study)
    assert [trial.end for trial in trials] == ["complete", "complete", "complete", "pruned"]
    best = best_trial(study, trials)
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
    assert places.add_places(store, study, 2) == 6
    lease = leases.open_lease(store, study)
    place = places.claim(store, lease, 6)
    assert place is not None
    assert place.number == 5
    create_study(store, "new", study.spec)
    assert [row.name for row in list_studies(store)] == ["new", "old"]
    store.close()


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
