"""Who may write to a shared database, and versions of tuner that must not work on it together."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from postgres_server import Postgres
from toy_study import Bench

from tuner.errors import StorageError, StorageUnavailable
from tuner.runner import RunStatus, Silent
from tuner.storage import Store, daemon_rows, leases, look_into, open_store, upgrade_database
from tuner.storage.schema import HEAD, VERSION_TABLE
from tuner.storage.studies import list_studies


@pytest.fixture
def url(postgres: Postgres) -> Iterator[str]:
    """A server's database of its own, with all tables."""
    database = postgres.create()
    url = postgres.url(database)
    open_store(url).close()
    yield url
    postgres.drop(database)


def execute(url: str, *statements: str) -> None:
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        for statement in statements:
            connection.execute(sa.text(statement))
    engine.dispose()


def refusal(url: str) -> str:
    with pytest.raises(StorageUnavailable) as refused:
        open_store(url)
    assert "\n" not in str(refused.value)
    return str(refused.value)


def set_revision(store: Store, revision: str) -> None:
    with store.writing() as connection:
        connection.execute(sa.text(f"UPDATE {VERSION_TABLE} SET version_num = '{revision}'"))


def test_a_role_that_may_only_read_reads_and_is_refused_in_one_line(
    url: str, postgres: Postgres
) -> None:
    database = sa.engine.make_url(url).database
    reader = f"reader_{database}"
    execute(url, f"CREATE ROLE {reader} LOGIN IN ROLE pg_read_all_data")
    its_url = url.replace("//odd:", f"//{reader}:")
    store = look_into(its_url)
    assert store is not None
    assert list_studies(store) == []
    store.close()
    assert refusal(its_url).endswith(
        f"is read-only here: the user {reader} may not write its tables; commands that only read "
        "(list, show, export) work"
    )
    store = open_store(its_url, may_only_read=True)  # as the page does
    with pytest.raises(StorageError, match="this database user may only read"):
        daemon_rows.register(store, 1)
    store.close()
    execute(url, f"GRANT pg_write_all_data TO {reader}")
    open_store(its_url).close()
    execute(url, f"DROP ROLE {reader}")


def test_sessions_say_that_they_are_tuners(url: str) -> None:
    store = open_store(url)
    with store.reading() as connection:
        name = connection.execute(sa.text("SELECT current_setting('application_name')")).scalar()
    store.close()
    assert name == "tuner"


def test_no_upgrade_under_those_who_work(url: str) -> None:
    store = open_store(url)
    daemon = daemon_rows.register(store, 2)
    set_revision(store, "0005")
    with pytest.raises(StorageUnavailable, match="is in use by") as refused:
        upgrade_database(url)
    assert str(daemon) in str(refused.value)
    assert "tuner db upgrade --force" in str(refused.value)
    done = upgrade_database(url, force=True)
    assert done is not None and done.before.ours == "0005"
    set_revision(store, "0005")
    daemon_rows.remove(store, daemon)
    assert upgrade_database(url) is not None
    store.close()


class Upgrading(Silent):
    """As another machine's newer tuner, once a trial trains."""

    def __init__(self, store: Store) -> None:
        self._store, self._is_done = store, False

    def changed(self, status: RunStatus) -> None:
        if not self._is_done and any(worker.epoch for worker in status.workers):
            self._is_done = True
            set_revision(self._store, "9999")


def test_an_old_search_ends_in_one_line_and_loses_nothing(empty_url: str, tmp_path: Path) -> None:
    """After an upgrade by a newer tuner it writes no trial any more; the next one goes on."""
    store = open_store(empty_url)
    bench = Bench(tmp_path, store)
    study = bench.create({"epochs": 1000})
    with pytest.raises(StorageUnavailable) as refused:
        bench.run(1, asked={"lease_s": 2.0}, watcher=Upgrading(store))
    assert "was upgraded by a newer version of tuner meanwhile (its tables are of 9999" in str(
        refused.value
    )
    assert "made by a newer version of tuner" in refusal(empty_url)
    set_revision(store, HEAD)
    [trial] = bench.trials
    assert trial.state == "WAITING"
    assert leases.holders(store, study) == []
    store.close()
