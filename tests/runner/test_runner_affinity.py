"""Which worker a trial is given to: one that holds its program, or the one with the fewest."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from test_runner_trials import SQLITE
from toy_study import Bench
from toy_training import PARAMETERS, ToySession

from tuner.errors import StorageError
from tuner.runner.placement import Affinity
from tuner.search_space import make_space
from tuner.study.messages import (
    Ended,
    Lost,
    Message,
    Reply,
    Report,
    Resumed,
    Saved,
    TrialRequest,
    WorkerSetup,
)
from tuner.workers import EntryPoint

BOTH = [0, 1]


def test_of_equals_the_first() -> None:
    assert Affinity().choose([1, 2], "a") == 1


def test_first_trials_spread_the_programs() -> None:
    affinity = Affinity()
    affinity.gave(0, "a")
    assert affinity.choose(BOTH, "b") == 1
    affinity.gave(1, "b")
    affinity.gave(1, "c")
    assert affinity.choose(BOTH, "d") == 0


def test_the_latest_holder_is_preferred_whatever_it_was_given_since() -> None:
    affinity = Affinity()
    for worker, key in [(0, "a"), (1, "a"), (1, "b")]:
        affinity.gave(worker, key)
    assert affinity.choose(BOTH, "a") == 1
    assert affinity.choose([0], "a") == 0
    affinity.gave(0, "a")
    assert affinity.choose(BOTH, "a") == 0


def test_a_program_of_one_trial_alone_is_held_by_nobody() -> None:
    affinity = Affinity()
    affinity.gave(1, "")
    affinity.gave(0, "a")
    affinity.gave(1, "")
    assert affinity.choose(BOTH, "") == 1


def test_a_new_process_holds_what_it_was_given_alone() -> None:
    affinity = Affinity()
    for worker, key in [(0, "a"), (0, "b"), (1, "c")]:
        affinity.gave(worker, key)
    affinity.forget(0)
    affinity.gave(0, "d")
    affinity.gave(1, "d")
    assert [affinity.choose(BOTH, key) for key in ("a", "b", "d")] == [0, 0, 1]
    affinity.forget(1)
    assert [affinity.choose(BOTH, key) for key in ("c", "d")] == [1, 0]


def test_a_worker_keeps_the_latest_programs() -> None:
    affinity = Affinity(most_programs=2)
    for key in ("a", "b", "a", "c"):
        affinity.gave(0, key)
    assert [affinity.choose(BOTH, key) for key in ("a", "b", "c")] == [0, 1, 0]


def test_workers_of_one_process_share_its_programs() -> None:
    affinity = Affinity(lanes=2)
    affinity.gave(0, "a")
    assert affinity.choose([1, 2, 3], "a") == 1
    assert affinity.choose([1, 2, 3], "b") == 2
    affinity.forget(1)
    assert affinity.choose([0, 2], "b") == 0


class InStep:
    """Workers in this process that train toys and say one thing each at every turn, so that trials
    of equal length end together. `lost`: workers that are lost at a turn; `recycled`: workers
    that are replaced after so many submissions."""

    lost: dict[int, list[int]]
    recycled: dict[int, list[int]]
    given: list[tuple[int, TrialRequest]]

    def __init__(self, count: int, entry: EntryPoint, setup: WorkerSetup, *_others: Any) -> None:
        self._setup, self._turn = setup, 0
        self.count, self.lanes = count, setup.lanes
        self._replies: dict[int, Reply] = {}
        self._talks: dict[int, Iterator[Message]] = {}

    def warm(self) -> None:
        return

    start = close = warm

    def takes(self, worker: int) -> bool:
        return True

    def place(self, worker: int) -> None:
        return None

    def recycle(self) -> list[int]:
        return self.recycled.pop(len(self.given), [])

    def submit(self, worker: int, request: TrialRequest) -> None:
        toy = replace(request, params=PARAMETERS | {"x": 0.5} | request.params)
        self._talks[worker] = self._talk(worker, toy)
        self.given.append((worker, request))

    def _talk(self, worker: int, request: TrialRequest) -> Iterator[Message]:
        session = ToySession(self._setup)
        event: Resumed | Report | Ended
        for event in session.events(request):
            yield event
            reply = self._replies.pop(worker)
            if reply.save_to is not None:
                assert self._setup.artifacts is not None
                yield Saved(self._setup.artifacts.put(reply.save_to, session.save))
            if reply.stop:
                return

    def reply(self, worker: int, reply: Reply) -> None:
        self._replies[worker] = reply

    def wait(self, timeout_s: float) -> list[tuple[int, Message]]:
        self._turn += 1
        messages: list[tuple[int, Message]] = []
        for worker in self.lost.get(self._turn, []):
            self._talks.pop(worker, None)
            messages.append((worker, Lost(9)))
        for worker, talk in self._talks.items():
            message = next(talk, None)
            messages += [] if message is None else [(worker, message)]
        return messages


@pytest.fixture
def in_step(monkeypatch: pytest.MonkeyPatch) -> type[InStep]:
    InStep.lost, InStep.recycled, InStep.given = {}, {}, []
    monkeypatch.setattr("tuner.workers.local.LocalWorkers", InStep)
    return InStep


def search(bench: Bench, *depths: int, workers: int = 2, **asked: Any) -> list[list[int]]:
    """Trials of these depths, each of which has a program; the worker of each one's attempts."""
    parameters = {"depth": {"type": "int", "low": 1, "high": 4}, "epochs": 2}
    trials = [{"depth": depth} for depth in depths]
    bench.create(space=make_space("mlp", parameters, trials))
    # All of them save, so that none takes a turn more than another.
    bench.run(len(depths), workers, asked={"log_models": "all"} | asked)
    assert [trial.params["depth"] for trial in bench.trials] == list(depths)
    return [[attempt.worker for attempt in trial.attempts] for trial in bench.trials]


@SQLITE
def test_trials_go_where_their_program_is(bench: Bench, in_step: type[InStep]) -> None:
    assert search(bench, 1, 2, 2, 1, 3, 1) == [[0], [1], [1], [0], [0], [1]]
    assert [worker for worker, _ in in_step.given] == [0, 1, 1, 0, 0, 1]
    assert {request.engine for _, request in in_step.given} == {"auto"}
    assert all(request.choices == {"depth": (1, 4)} for _, request in in_step.given)


@SQLITE
def test_exact_trials_go_to_the_first_that_is_free(bench: Bench, in_step: type[InStep]) -> None:
    assert search(bench, 1, 2, 2, 1, engine="keras") == [[0], [1], [0], [1]]
    assert {request.engine for _, request in in_step.given} == {"keras"}


@SQLITE
def test_a_recycled_worker_holds_nothing(bench: Bench, in_step: type[InStep]) -> None:
    in_step.recycled = {4: [1]}
    # The last would go to worker 1, which was given depth 1 after worker 0, but is a new process.
    assert search(bench, 1, 2, 1, 1, 2, 3, 1) == [[0], [1], [0], [1], [1], [0], [0]]


@SQLITE
def test_a_worker_lost_while_it_idles_holds_nothing(bench: Bench, in_step: type[InStep]) -> None:
    epochs = {"type": "int", "low": 1, "high": 3}
    lengths = [{"epochs": 3}, {"epochs": 1}]
    bench.create(space=make_space("mlp", {"epochs": epochs}, lengths))
    in_step.lost = {4: [1, 0]}
    bench.run(2, 2, asked={"log_models": "all"})
    long, short = bench.trials
    assert [(a.worker, a.end) for a in short.attempts] == [(1, "complete")]
    assert [(a.worker, a.end) for a in long.attempts] == [(0, "worker_lost"), (0, "complete")]


@SQLITE
def test_what_has_begun_is_put_back_if_sql_fails_before_it_is_trained(
    bench: Bench, in_step: type[InStep], monkeypatch: pytest.MonkeyPatch
) -> None:
    def unavailable(*_args: object) -> None:
        raise StorageError("gone")

    monkeypatch.setattr("tuner.storage.attempt_rows.move", unavailable)
    with pytest.raises(StorageError):
        search(bench, 1, 2, 2)
    assert bench.states == ["COMPLETE", "COMPLETE", "WAITING"]


@SQLITE
def test_one_worker_takes_all_in_order(bench: Bench, in_step: type[InStep]) -> None:
    assert search(bench, 2, 1, 3, 1, workers=1) == [[0]] * 4
    assert [request.params["depth"] for _, request in in_step.given] == [2, 1, 3, 1]
