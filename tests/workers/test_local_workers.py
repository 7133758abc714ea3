"""Worker processes: they keep the contract; how they die, and what takes their place."""

import errno
import multiprocessing
import os
import signal
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from multiprocessing import forkserver, resource_tracker, util
from pathlib import Path
from typing import Any

import psutil
import pytest
from conformance import (
    REQUEST,
    STOP,
    Conformance,
    acting,
    next_message,
    run_trial,
    wait_until,
    wait_until_free,
)
from toy_training import BROKEN, STILLBORN, TOY

from tuner.errors import WorkerError
from tuner.study.messages import Ended, Failed, Lost, WorkerSetup
from tuner.system.machine import cores, data_budget_bytes, default_workers, gpus, memory_bytes
from tuner.workers import BackEnd, EntryPoint, Workers, fork_server, local, process_starts
from tuner.workers.local import LocalWorkers, warm


class TestLocalWorkers(Conformance):
    def open_workers(self, processes: int, setup: WorkerSetup) -> Workers:
        back_end: BackEnd = local
        return back_end.open_workers(TOY, setup, processes=processes)

    def open_broken(self, setup: WorkerSetup) -> Workers:
        return LocalWorkers(2, BROKEN, setup)


@pytest.fixture
def workers(setup: WorkerSetup) -> Iterator[LocalWorkers]:
    workers = LocalWorkers(1, TOY, setup)
    workers.start()
    yield workers
    workers.close()


def pid(workers: LocalWorkers) -> int:
    number = workers._processes[0].process.pid
    assert number is not None
    return number


def test_an_error_leaves_the_process_alone(workers: LocalWorkers) -> None:
    before = pid(workers)
    assert isinstance(run_trial(workers, acting("raise"))[-1], Failed)
    assert isinstance(run_trial(workers, REQUEST)[-1], Ended)
    assert pid(workers) == before


def test_a_worker_that_dies_idle_is_replaced_too(workers: LocalWorkers) -> None:
    run_trial(workers, REQUEST)
    os.kill(pid(workers), signal.SIGKILL)
    assert next_message(workers) == Lost(-9)
    assert isinstance(run_trial(workers, REQUEST)[-1], Ended)


def test_ctrl_c_is_none_of_a_workers_business(workers: LocalWorkers) -> None:
    run_trial(workers, REQUEST)
    os.kill(pid(workers), signal.SIGINT)
    assert isinstance(run_trial(workers, REQUEST)[-1], Ended)


def test_workers_are_recycled(workers: LocalWorkers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "_MAX_TRIALS_A_LANE", 2)
    pids = []
    for _ in range(5):
        assert isinstance(run_trial(workers, REQUEST)[-1], Ended)
        pids.append(pid(workers))
    assert pids[0] == pids[1] != pids[2] == pids[3] != pids[4]


def test_a_recycled_worker_takes_nothing_until_it_has_opened(
    workers: LocalWorkers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "_MAX_TRIALS_A_LANE", 2)
    recycled = []
    for _ in range(4):
        recycled.append(workers.recycle())
        assert not (recycled[-1] and workers.takes(0))
        run_trial(workers, REQUEST, STOP)
    assert recycled == [[], [], [0], []]


def test_growth_counts_where_no_trial_runs_to_its_end(
    workers: LocalWorkers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "_MAX_GROWTH_BYTES", 48 * 2**20)
    pids = []
    for _ in range(4):  # each leaves 32 MiB behind, and is pruned
        run_trial(workers, acting("leave", at=1), STOP)
        pids.append(pid(workers))
    assert pids[0] == pids[1] == pids[2] != pids[3]


def test_closing_ends_the_processes(setup: WorkerSetup) -> None:
    workers = LocalWorkers(2, TOY, setup)
    workers.start()
    processes = [psutil.Process(worker.process.pid) for worker in workers._processes]
    for number in range(2):
        workers.submit(number, acting("hang", at=1))
    workers.close()
    assert not any(process.is_running() for process in processes)


def test_a_worker_ends_with_the_pipe_to_its_loop(workers: LocalWorkers) -> None:
    workers.submit(0, acting("hang", at=1))
    process = psutil.Process(pid(workers))
    workers._processes[0].lifeline.close()
    process.wait(5)
    assert not process.is_running()


def test_a_trial_can_end_what_it_starts(workers: LocalWorkers) -> None:
    assert isinstance(run_trial(workers, acting("start and end"))[-1], Ended)


@pytest.mark.parametrize("how", ["close", "restart", "hang up"])
def test_what_a_trial_has_started_ends_with_its_worker(workers: LocalWorkers, how: str) -> None:
    wait_until_free(workers)
    workers.submit(0, acting("start and hang", at=1))
    worker = psutil.Process(pid(workers))
    wait_until(workers, lambda: bool(worker.children()))
    [child] = worker.children()
    match how:
        case "close":
            workers.close()
        case "restart":
            workers.restart(0)
        case _:
            workers._processes[0].lifeline.close()
    child.wait(5)
    assert not child.is_running()


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        (STILLBORN, "workers end as they start, with exit code 7"),
        (
            EntryPoint("nowhere:open"),
            "cannot start: ModuleNotFoundError: No module named 'nowhere'",
        ),
    ],
)
def test_workers_that_cannot_start(setup: WorkerSetup, entry: EntryPoint, words: str) -> None:
    workers = LocalWorkers(2, entry, setup)
    workers.start()
    with pytest.raises(WorkerError) as caught:
        for _ in range(10):
            workers.wait(2.0)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    workers.close()


def test_what_the_machine_has() -> None:
    assert 1 <= cores() <= (os.cpu_count() or 1)
    assert 1 <= default_workers() <= (len(gpus()) or cores())
    assert data_budget_bytes(4) == memory_bytes() / 8 <= psutil.virtual_memory().total / 8


def test_a_long_temporary_folder_is_no_hindrance(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The path of a socket has up to 107 bytes."""
    long = tmp_path / ("x" * 120)
    long.mkdir()
    config = multiprocessing.current_process()._config  # type: ignore[attr-defined]
    monkeypatch.setitem(config, "tempdir", None)
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    forkserver._forkserver._stop()  # type: ignore[attr-defined]
    try:
        warm(EntryPoint("toy_training:open_session"))
        assert forkserver._forkserver._forkserver_pid is not None  # type: ignore[attr-defined]
        assert not list(long.iterdir())
    finally:
        forkserver._forkserver._stop()  # type: ignore[attr-defined]


def test_a_server_that_was_started_early_is_kept_if_it_fits() -> None:
    entry = EntryPoint("toy_training:open_session")
    other = replace(entry, preload=("json",))
    server: Any = forkserver._forkserver  # type: ignore[attr-defined]
    server._stop()
    pids = []
    for needed in (entry, other, None):
        fork_server.start_early(entry)
        pids.append(server._forkserver_pid)
        if needed is not None:
            warm(needed)
        fork_server.end_early()  # as this process ends
        pids.append(server._forkserver_pid)
        server._stop()
    kept, kept_after, refused, another, _, gone = pids
    assert kept == kept_after is not None
    assert another not in (None, refused)
    assert gone is None
    assert not any(psutil.pid_exists(pid) for pid in pids if pid)


def test_ctrl_c_does_not_end_the_fork_server_while_it_imports(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nor where multiprocessing's tracker, which unblocks the signal, starts with it."""
    blocked: dict[str, bool] = {}
    spawn = util.spawnv_passfds

    def watched(path: Any, args: list[str], passed: Any) -> int:
        server = "forkserver" if "forkserver" in args[-1] else "tracker"
        blocked[server] = signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, ())
        return spawn(path, args, passed)

    monkeypatch.setattr(util, "spawnv_passfds", watched)
    forkserver._forkserver._stop()  # type: ignore[attr-defined]
    resource_tracker._resource_tracker._stop()  # type: ignore[attr-defined]
    warm(EntryPoint("toy_training:open_session"))
    forkserver._forkserver._stop()  # type: ignore[attr-defined]
    assert blocked == {"tracker": True, "forkserver": True}
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, ())


def test_too_many_open_files_is_told_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(forkserver, "ensure_running", refuse)
    with pytest.raises(WorkerError, match="allow more of them: ulimit -n 1024"):
        warm(EntryPoint("toy_training:open_session"))


def test_a_process_that_waits_becomes_a_worker(setup: WorkerSetup) -> None:
    entry = EntryPoint(TOY.name, TOY.preload, warm_up="toy_training:warm_up")
    local.keep_ready(entry, 2)
    waiting = [ready.process.pid for ready in process_starts._ready]
    try:
        workers = LocalWorkers(1, entry, setup)
        workers.start()
        assert pid(workers) == waiting[0]
        assert isinstance(run_trial(workers, REQUEST)[-1], Ended)
        os.kill(pid(workers), signal.SIGKILL)
        assert next_message(workers) == Lost(-9)
        assert pid(workers) == waiting[1]
        workers.close()
    finally:
        local.keep_ready(entry, 0)
    assert not any(psutil.pid_exists(number) for number in waiting if number)


def test_processes_start_as_the_share_grows(
    setup: WorkerSetup, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "_SURPLUS_S", 0.0)
    shares = [1]
    workers = LocalWorkers(3, TOY, setup, share=lambda: shares[0])
    workers.start()
    assert len(workers._processes) == 1
    shares[0] = 3
    wait_until(workers, lambda: workers.takes(2))
    shares[0] = 1
    wait_until(workers, lambda: len(workers._processes) == 1)
    assert (workers.takes(0), workers.takes(1)) == (True, False)
    assert isinstance(run_trial(workers, REQUEST)[-1], Ended)
    workers.close()
