"""Databases that restart, cut connections, or have another clock."""

import random
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from postgres_server import Postgres
from toy_study import Bench
from waiting import wait_until

from faults import victims
from faults.audit import ends
from faults.commit_cutter import CommitCutter
from faults.victims import finish
from tuner.storage import open_store

Check = Callable[..., None]
SLOWLY = {"epochs": 6, "patience": 6, "pace": 0.1}


@pytest.fixture(scope="module")
def durable() -> Iterator[Postgres]:
    """A server that may be killed."""
    folder = Path(tempfile.mkdtemp(prefix="tuner-postgres-"))
    server = Postgres(folder, durable=True)
    yield server
    server.stop()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def on_postgres(tmp_path: Path, durable: Postgres) -> Iterator[Bench]:
    store = open_store(durable.url(durable.create()))
    yield Bench(tmp_path, store)
    store.close()


@pytest.mark.times(2, 20)
@pytest.mark.daemons
def test_restarts(
    on_postgres: Bench, durable: Postgres, times: int, check: Check, by_daemon: bool
) -> None:
    bench = on_postgres
    bench.create(SLOWLY)
    trials = 12 * times
    loops = [bench.start(trials, workers=2) for _ in range(2)]
    wait_until(lambda: victims.running(bench) > 0)
    for number in range(times):
        durable.go_down(signal.SIGQUIT if number % 2 else signal.SIGINT)
        time.sleep(0.5)
        durable.come_back()
        time.sleep(2.0)
    said = [finish(loop, 200) for loop in loops]
    assert all(line.startswith("None") for line in said), "\n".join(said)
    who = "daemons" if by_daemon else "loops"
    check(bench, trials, f"PostgreSQL stopped (fast, immediate) under 2 {who}", times)
    assert not ends(bench)["lost"]


@pytest.mark.times(5, 200)
def test_connections_cut(
    on_postgres: Bench, durable: Postgres, times: int, check: Check, by_daemon: bool
) -> None:
    bench, chance = on_postgres, random.Random(4)
    bench.create(SLOWLY | {"pace": 0.05})
    trials = 6 + 3 * times
    database = str(bench.store.url.database)
    loops = [bench.start(trials, workers=2) for _ in range(2)]
    wait_until(lambda: victims.running(bench) > 0)
    cuts = 0
    while cuts < times and any(loop.poll() is None for loop in loops):
        cuts += durable.cut_connections(database) > 0
        time.sleep(chance.uniform(0.05, 0.4))
    said = [finish(loop, 200) for loop in loops]
    assert all(line.startswith("None") for line in said), "\n".join(said)
    check(bench, trials, f"connections cut by the server{', daemons' if by_daemon else ''}", cuts)
    assert cuts == times


@pytest.mark.times(5, 200)
def test_cut_right_after_commit(
    on_postgres: Bench, durable: Postgres, times: int, check: Check, by_daemon: bool
) -> None:
    bench = on_postgres
    bench.create({"epochs": 4})
    folder = Path(tempfile.mkdtemp(prefix="tuner-cutter-"))
    cutter = CommitCutter(folder, durable.host, chance=0.05)
    database = str(bench.store.url.database)
    through = Bench(bench.folder, open_store(durable.url(database, host=str(folder))))
    trials = 0
    try:
        while cutter.cuts < times:
            trials += 4
            loops = [through.start(trials) for _ in range(2)]
            said = [finish(loop, 120) for loop in loops]
            assert all(line.startswith("None") for line in said), "\n".join(said)
    finally:
        cutter.close()
        shutil.rmtree(folder)
    who = ", daemons" if by_daemon else ""
    check(bench, trials, f"connections cut right after COMMIT{who}", cutter.cuts)
    assert not set(ends(bench)) & {"lost", "worker_lost"}


@pytest.mark.times(1, 1)
def test_clocks(on_postgres: Bench, durable: Postgres, times: int, check: Check) -> None:
    """Loops an hour before and behind the database, whose sessions would speak another zone."""
    bench = on_postgres
    bench.create(SLOWLY)
    durable.set_time_zone("Asia/Tokyo")
    loops = [bench.start(8, clock_s=offset, asked={"lease_s": 4.0}) for offset in (3600, -3600)]
    said = [finish(loop) for loop in loops]
    durable.set_time_zone("UTC")
    assert all(line.startswith("None") for line in said), "\n".join(said)
    assert not any("done_here=0" in line for line in said), said
    check(bench, 8, "clocks an hour apart, another time zone", times)
    assert set(ends(bench)) == {"complete"}
    for trial in bench.trials:
        (attempt,) = trial.attempts
        assert attempt.ended_at is not None
        assert 0 < attempt.ended_at - attempt.started_at < 60
        assert abs(attempt.started_at - time.time()) < 300
