"""Worker processes: what they answer, how they die, what takes their place."""

import errno
import hashlib
import multiprocessing
import os
import signal
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from multiprocessing import forkserver
from pathlib import Path
from typing import Any

import psutil
import pytest
from toy_training import BROKEN, STILLBORN, TOY

from tuner.errors import WorkerError
from tuner.study.messages import Ended, Failed, Goal, Message, Report, TrialRequest, WorkerSetup
from tuner.system.machine import cores, data_budget_bytes, default_workers, gpus, memory_bytes
from tuner.workers import EntryPoint, LocalWorkers, Lost, Reply, Saved, local, warm

GO_ON = Reply()
REQUEST = TrialRequest(
    "toy", {"x": 0.8, "epochs": 3, "patience": 5}, 1, Goal("val_accuracy", "maximize")
)


@pytest.fixture
def workers(setup: WorkerSetup) -> Iterator[LocalWorkers]:
    workers = LocalWorkers(1, TOY, setup)
    workers.start()
    yield workers
    workers.close()


def acting(act: str, **params: Any) -> TrialRequest:
    return replace(REQUEST, params=REQUEST.params | {"act": act} | params)


def next_message(workers: LocalWorkers) -> Message:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        for _, message in workers.wait(0.5):
            return message
    raise AssertionError("the worker says nothing")


def until_free(workers: LocalWorkers) -> None:
    """Replace what is to be replaced, as a loop does, and wait until the worker takes a trial."""
    deadline = time.monotonic() + 20
    workers.recycle()
    while not workers.takes(0):
        assert time.monotonic() < deadline
        workers.wait(0.1)


def conversation(
    workers: LocalWorkers, request: TrialRequest, reply: Reply = GO_ON
) -> list[Message]:
    """All a worker says of a plan, each time answered by `reply`."""
    until_free(workers)
    workers.submit(0, request)
    said = [next_message(workers)]
    while isinstance(said[-1], Report) and not reply.stop:
        workers.reply(0, reply)
        said.append(next_message(workers))
    if isinstance(said[-1], Report | Ended):
        workers.reply(0, Reply(stop=True))
    return said


def pid(workers: LocalWorkers) -> int:
    found = workers._processes[0].process.pid
    assert found is not None
    return found


def test_a_trial_is_told_interval_by_interval(workers: LocalWorkers) -> None:
    *intervals, ended = conversation(workers, REQUEST)
    assert [interval.step for interval in intervals] == [1, 2, 3]  # type: ignore[union-attr]
    assert isinstance(ended, Ended)
    assert (ended.end, ended.best_epoch) == ("complete", 3)


def test_equal_requests_give_equal_events(workers: LocalWorkers) -> None:
    assert conversation(workers, REQUEST) == conversation(workers, REQUEST)


def test_a_stopped_worker_takes_the_next_request(workers: LocalWorkers) -> None:
    first = conversation(workers, REQUEST, Reply(stop=True))
    assert [type(message) for message in first] == [Report]
    assert isinstance(conversation(workers, REQUEST)[-1], Ended)


def test_the_network_is_saved_before_the_worker_goes_on(
    workers: LocalWorkers, tmp_path: Path
) -> None:
    path = tmp_path / "models" / "trial-0.keras"
    workers.submit(0, REQUEST)
    while not isinstance(next_message(workers), Ended):
        workers.reply(0, GO_ON)
    workers.reply(0, Reply(stop=True, save_to=path))
    sha256 = hashlib.sha256(b"0.8").hexdigest()
    assert next_message(workers) == Saved(path, 3, sha256)
    assert path.read_text() == "0.8"
    assert isinstance(conversation(workers, REQUEST)[-1], Ended)


def test_an_error_is_told_and_the_worker_lives(workers: LocalWorkers) -> None:
    before = pid(workers)
    failed = conversation(workers, acting("raise"))[-1]
    assert isinstance(failed, Failed)
    assert failed.message.startswith("ValueError: the network")
    assert isinstance(conversation(workers, REQUEST)[-1], Ended)
    assert pid(workers) == before


def test_a_dead_worker_is_replaced(workers: LocalWorkers) -> None:
    assert conversation(workers, acting("crash"))[-1] == Lost(9)
    assert isinstance(conversation(workers, REQUEST)[-1], Ended)


def test_a_worker_that_dies_idle_is_replaced_too(workers: LocalWorkers) -> None:
    conversation(workers, REQUEST)
    os.kill(pid(workers), signal.SIGKILL)
    assert next_message(workers) == Lost(-9)
    assert isinstance(conversation(workers, REQUEST)[-1], Ended)


def test_ctrl_c_is_none_of_a_workers_business(workers: LocalWorkers) -> None:
    conversation(workers, REQUEST)
    os.kill(pid(workers), signal.SIGINT)
    assert isinstance(conversation(workers, REQUEST)[-1], Ended)


def test_workers_are_recycled(workers: LocalWorkers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "_MOST_JOBS", 2)
    pids = []
    for _ in range(5):
        assert isinstance(conversation(workers, REQUEST)[-1], Ended)
        pids.append(pid(workers))
    assert pids[0] == pids[1] != pids[2] == pids[3] != pids[4]


def test_a_recycled_worker_takes_nothing_until_it_has_opened(
    workers: LocalWorkers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "_MOST_JOBS", 2)
    recycled = []
    for _ in range(4):
        recycled.append(workers.recycle())
        assert not (recycled[-1] and workers.takes(0))
        conversation(workers, REQUEST, Reply(stop=True))
    assert recycled == [[], [], [0], []]


def test_growth_counts_where_no_trial_runs_to_its_end(
    workers: LocalWorkers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "_MOST_GROWTH", 48 * 2**20)
    pids = []
    for _ in range(4):  # each leaves 32 MiB behind, and is pruned
        conversation(workers, acting("leave", at=1), Reply(stop=True))
        pids.append(pid(workers))
    assert pids[0] == pids[1] == pids[2] != pids[3]


def test_closing_ends_workers_in_the_middle_of_work(setup: WorkerSetup) -> None:
    workers = LocalWorkers(2, TOY, setup)
    workers.start()
    processes = [psutil.Process(worker.process.pid) for worker in workers._processes]
    for number in range(2):
        workers.submit(number, acting("hang", at=1))
    clock = time.monotonic()
    workers.close()
    assert time.monotonic() - clock < 3
    assert not any(process.is_running() for process in processes)


def test_a_worker_ends_with_the_pipe_to_its_loop(workers: LocalWorkers) -> None:
    workers.submit(0, acting("hang", at=1))
    process = psutil.Process(pid(workers))
    workers._processes[0].lifeline.close()
    process.wait(5)
    assert not process.is_running()


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        (BROKEN, "training cannot start: RuntimeError: no such device"),
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


def test_too_many_open_files_is_told_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(forkserver, "ensure_running", refuse)
    with pytest.raises(WorkerError, match="allow more of them: ulimit -n 1024"):
        warm(EntryPoint("toy_training:open_session"))
