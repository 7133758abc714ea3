"""Workers that share a process: each speaks for itself, and all are lost together."""

import os
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from conformance import REQUEST
from toy_training import TOY

from tuner.study.messages import Ended, Lost, Reply, Report, TrialRequest, WorkerSetup
from tuner.workers import local
from tuner.workers.local import LocalWorkers

THREE = [0, 1, 2]


@pytest.fixture
def workers(setup: WorkerSetup) -> Iterator[LocalWorkers]:
    """Three in one process, and three in a second one."""
    workers = LocalWorkers(2, TOY, replace(setup, lanes=3))
    workers.start()
    until_free(workers, range(6))
    yield workers
    workers.close()


def until(
    workers: LocalWorkers, done: Callable[[list[tuple[int, Any]]], bool], kind: type = object
) -> list[tuple[int, Any]]:
    """The messages of a kind, by worker, until `done(them)`; all go on until they have ended."""
    said: list[tuple[int, Any]] = []
    deadline = time.monotonic() + 20
    while not done(said):
        assert time.monotonic() < deadline
        for worker, message in workers.wait(0.1):
            said += [(worker, message)] if isinstance(message, kind) else []
            if isinstance(message, Report | Ended):
                workers.reply(worker, Reply(stop=isinstance(message, Ended)))
    return sorted(said, key=lambda one: one[0])


def until_free(workers: LocalWorkers, numbers: Iterable[int]) -> None:
    until(workers, lambda _: all(map(workers.takes, numbers)))


def heard(workers: LocalWorkers, expected: int, kind: type) -> list[tuple[int, Any]]:
    """So many messages of a kind, by worker."""
    return until(workers, lambda said: len(said) >= expected, kind)


def hang(at: int = 2) -> TrialRequest:
    return replace(REQUEST, params=REQUEST.params | {"act": "hang", "at": at})


def pids(workers: LocalWorkers) -> list[int | None]:
    return [process.process.pid for process in workers._processes]


def test_as_many_trials_as_workers_in_two_processes(workers: LocalWorkers) -> None:
    assert (workers.count, workers.lanes, len(pids(workers))) == (6, 3, 2)
    for worker in range(6):
        workers.submit(worker, replace(REQUEST, params=REQUEST.params | {"x": 0.1 + worker / 10}))
    scores = [ended.score for _, ended in heard(workers, 6, Ended)]
    assert scores == pytest.approx([(0.1 + worker / 10) * 0.875 for worker in range(6)], abs=1e-3)


def test_a_slot_is_filled_again_while_those_beside_it_train(workers: LocalWorkers) -> None:
    workers.submit(1, hang())
    for _ in range(3):
        assert workers.takes(0)
        workers.submit(0, REQUEST)
        assert [worker for worker, _ in heard(workers, 1, Ended)] == [0]


def test_a_killed_process_loses_the_trials_it_trains_and_no_others(workers: LocalWorkers) -> None:
    before = pids(workers)
    for worker in (0, 2, 4):
        workers.submit(worker, hang())
    heard(workers, 3, Report)
    os.kill(before[0] or 0, signal.SIGKILL)
    told = until(workers, lambda said: {0, 2} <= {worker for worker, _ in said}, Lost)
    assert {worker for worker, _ in told} <= set(THREE)
    assert {lost.beside for worker, lost in told if worker in (0, 2)} == {1}
    after = pids(workers)
    assert (after[0] != before[0], after[1]) == (True, before[1])


def test_who_is_beside_a_restarted_worker_is_told_so(workers: LocalWorkers) -> None:
    for worker in THREE:
        workers.submit(worker, hang())
    heard(workers, 3, Report)
    workers.restart(1)
    told = heard(workers, 2, Lost)
    assert [(worker, lost.restarted) for worker, lost in told] == [(0, True), (2, True)]
    until_free(workers, THREE)
    for worker in THREE:
        workers.submit(worker, REQUEST)
    assert [worker for worker, _ in heard(workers, 3, Ended)] == THREE


def test_a_process_is_recycled_once_all_its_trials_have_ended(
    workers: LocalWorkers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "_MAX_TRIALS_A_LANE", 1)
    before = pids(workers)
    for worker in THREE:
        workers.submit(worker, REQUEST if worker else hang())
    heard(workers, 2, Ended)
    assert [workers.takes(worker) for worker in (1, 2)] == [False, False]
    assert workers.recycle() == []
    workers.restart(0)
    until_free(workers, THREE)
    for worker in THREE:
        workers.submit(worker, REQUEST)
    heard(workers, 3, Ended)
    assert workers.recycle() == THREE
    assert not workers.takes(0)
    assert pids(workers)[0] not in (None, before[0])
