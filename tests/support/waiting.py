"""Waiting for what other processes do."""

import time
from collections.abc import Callable

import sqlalchemy as sa

from tuner.storage import Store


def wait_until(
    condition: Callable[[], bool], timeout_s: float = 30.0, every_s: float = 0.02
) -> None:
    """Ask again and again. A condition that reads a database is asked less often: it would take a
    third of a core from those that it waits for. `every_s`: for one whose cost is elsewhere."""
    deadline = time.monotonic() + timeout_s
    while True:
        began = time.thread_time()
        if condition():
            return
        assert time.monotonic() < deadline, "it does not come to pass"
        time.sleep(max(every_s, 8 * (time.thread_time() - began)))


def waits_for_a_lock(store: Store) -> bool:
    """Whether a transaction on PostgreSQL waits for another one."""
    query = (
        "SELECT 1 FROM pg_stat_activity "
        "WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    with store.reading() as connection:
        return connection.execute(sa.text(query)).first() is not None
