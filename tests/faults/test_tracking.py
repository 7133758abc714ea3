"""An MLflow that is down, frozen, broken, or loses its answers: the search does not care."""

import contextlib
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from mlflow_server import MlflowServer, Proxy
from toy_study import Bench
from waiting import wait_until

from faults.victims import finish
from tuner.errors import TrackingError
from tuner.storage import open_store
from tuner.storage.deliveries import count_delivered, forget
from tuner.storage.studies import load_study
from tuner.tracking.sync import check_study, sync_study

Check = Callable[..., None]


@pytest.fixture(scope="module")
def server() -> Iterator[MlflowServer]:
    folder = Path(tempfile.mkdtemp(prefix="tuner-mlflow-"))
    server = MlflowServer(folder)
    yield server
    server.stop()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def proxy(server: MlflowServer) -> Iterator[Proxy]:
    proxy = Proxy(server.port)
    yield proxy
    proxy.close()


@pytest.fixture
def bench(tmp_path: Path, proxy: Proxy) -> Iterator[Bench]:
    store = open_store(f"sqlite:///{tmp_path}/tuner.db")
    yield Bench(tmp_path, store, proxy.uri)
    store.close()


@pytest.mark.times(1, 3)
@pytest.mark.parametrize("mode", ["refuse", "frozen", "500"])
def test_mlflow_down_for_a_whole_study(
    bench: Bench, proxy: Proxy, mode: str, times: int, check: Check, request: pytest.FixtureRequest
) -> None:
    study = bench.create({"pace": 0.02}, name=request.node.name)
    proxy.mode = mode
    trials = 4 * times
    loop = bench.start(trials, workers=2)
    wait_until(lambda: bench.slots.get("done", 0) == trials)
    assert count_delivered(bench.store, study) == (0, trials)
    # The trials are done; the tracker has given up, or is not waited for when we ask.
    if mode == "frozen":
        loop.terminate()
    assert f"done_here={trials}" in finish(loop, 60)
    proxy.mode = "pass"
    synced = sync_study(bench.store, proxy.uri, load_study(bench.store))
    assert (synced.sent, synced.missing, synced.problem) == (trials, 0, None)
    assert check_study(bench.store, proxy.uri, load_study(bench.store)).differences == []
    check(bench, trials, f"MLflow down for a whole study ({mode}), back afterwards", times)


@pytest.mark.times(1, 5)
def test_answers_lost(
    bench: Bench, proxy: Proxy, times: int, check: Check, request: pytest.FixtureRequest
) -> None:
    """MLflow has done what it was asked, and we do not hear of it: nothing is shown twice."""
    bench.create({"pace": 0.02}, name=request.node.name)
    proxy.mode = "drop"
    trials = 4 * times
    assert f"done_here={trials}" in finish(bench.start(trials, workers=2), 150)
    for _ in range(50):
        if proxy.dropped >= 4 * trials:
            break
        with contextlib.suppress(TrackingError):
            sync_study(bench.store, proxy.uri, load_study(bench.store))
            forget(bench.store, load_study(bench.store))  # it came through: once more
    assert proxy.dropped >= 4 * trials
    proxy.mode = "pass"
    sync_study(bench.store, proxy.uri, load_study(bench.store))
    assert check_study(bench.store, proxy.uri, load_study(bench.store)).differences == []
    check(bench, trials, "MLflow's answers lost after its commits", proxy.dropped)
