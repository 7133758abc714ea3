"""Several processes at the same moment on one database."""

import pytest
import sqlalchemy as sa
from at_once import at_once, claim_all, open_and_close

from tuner.storage import open_store
from tuner.storage.schema import VERSION_TABLE
from tuner.storage.studies import StudyRow

pytestmark = pytest.mark.usefixtures("own_fork_server")


def test_an_empty_database_is_prepared_by_four_at_once(empty_url: str) -> None:
    assert at_once(open_and_close, empty_url) == ["opened"] * 4
    store = open_store(empty_url)
    with store.reading() as connection:
        for table in (VERSION_TABLE, "alembic_version", "version_info"):
            count = sa.select(sa.func.count()).select_from(sa.table(table))
            assert connection.execute(count).scalar() == 1
    store.close()


def test_four_processes_claim_each_slot_once(storage_url: str, study: StudyRow) -> None:
    found = at_once(claim_all, storage_url, 30)
    claimed = [number for process in found for number in process["claimed"]]
    assert sorted(claimed) == list(range(1, 31))
    assert sorted(process["more"] for process in found) == [32, 34, 36, 38]
    # Each loop has a number of its own, or two would draw the same points.
    assert sorted(process["loop"] for process in found) == [0, 1, 2, 3]
