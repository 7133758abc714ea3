"""What any back end must do: the contract of `tuner.workers.base.Workers`, as tests.

To test a back end, write a test module with a subclass of `Conformance` whose name begins with
`Test`, and give it `open_workers`.
"""

import hashlib
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from toy_study import Bench

from tuner.data import load_dataset, save_dataset
from tuner.errors import WorkerError
from tuner.settings import load_settings
from tuner.study.artifacts import Artifact, FolderArtifacts
from tuner.study.messages import (
    Checkpointed,
    Checkpoints,
    Distribution,
    Ended,
    Failed,
    Goal,
    Lost,
    Message,
    Noted,
    Reply,
    Report,
    Resumed,
    Saved,
    Suggest,
    TrialRequest,
    WorkerSetup,
)
from tuner.study.spec import DataSpec
from tuner.workers import Workers

GO_ON, STOP = Reply(), Reply(stop=True)
REQUEST = TrialRequest(
    "toy", {"x": 0.8, "epochs": 3, "patience": 5}, 1, Goal("val_accuracy", "maximize")
)
# The machine may be busy with other tests: on a Ray cluster a worker then needs half a minute.
_DEADLINE_S = 120.0
Messages = list[tuple[int, Message]]


def toy_setup(folder: Path) -> WorkerSetup:
    """The setup of workers that train toys, with its data in the folder."""
    Bench.write_data(folder / "points.npz")
    dataset = load_dataset(DataSpec(source=str(folder / "points.npz")), load_settings())
    save_dataset(dataset, folder / "data")
    return WorkerSetup(folder / "data", 1e9)


def acting(act: str, **params: Any) -> TrialRequest:
    """A trial that does as `toy_training` says of `act`."""
    return replace(REQUEST, params=REQUEST.params | {"act": act} | params)


def wait_until(workers: Workers, condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline
        assert workers.wait(0.1) == []


def wait_until_free(workers: Workers, *numbers: int) -> None:
    """Replace what is to be replaced, as a loop does, until the workers take trials."""
    workers.recycle()
    wait_until(workers, lambda: all(map(workers.takes, numbers or range(workers.count))))


def next_messages(workers: Workers, count: int = 1) -> Messages:
    """So many messages, in the order of the workers."""
    messages: Messages = []
    deadline = time.monotonic() + _DEADLINE_S
    while len(messages) < count:
        assert time.monotonic() < deadline, messages
        messages += workers.wait(0.5)
    return sorted(messages, key=lambda message: message[0])


def next_message(workers: Workers, worker: int = 0) -> Message:
    [(sender, message)] = next_messages(workers)
    assert sender == worker
    return message


def run_trial(
    workers: Workers, request: TrialRequest, reply: Reply = GO_ON, worker: int = 0
) -> list[Message]:
    """All that a free worker says of a trial, each report answered by `reply`."""
    wait_until_free(workers, worker)
    workers.submit(worker, request)
    messages = [next_message(workers, worker)]
    while isinstance(messages[-1], Resumed | Report) and not reply.stop:
        workers.reply(worker, reply)
        messages.append(next_message(workers, worker))
    if isinstance(messages[-1], Ended):
        workers.reply(worker, STOP)
    elif isinstance(messages[-1], Report):
        workers.reply(worker, reply)
    return messages


class Conformance:
    """`open_workers(processes, setup)`: workers that are not started and train by the session of
    `toy_training`. `open_broken`: workers whose session cannot be opened."""

    def open_workers(self, processes: int, setup: WorkerSetup) -> Workers:
        raise NotImplementedError

    def open_broken(self, setup: WorkerSetup) -> Workers:
        raise NotImplementedError

    @pytest.fixture
    def artifacts(self, tmp_path: Path) -> FolderArtifacts:
        return FolderArtifacts(tmp_path / "artifacts")

    @pytest.fixture
    def start(
        self, setup: WorkerSetup, artifacts: FolderArtifacts
    ) -> Iterator[Callable[..., Workers]]:
        opened: list[Workers] = []

        def start(processes: int = 1, lanes: int = 1) -> Workers:
            workers = self.open_workers(processes, replace(setup, lanes=lanes, artifacts=artifacts))
            opened.append(workers)
            workers.start()
            return workers

        yield start
        for workers in opened:
            workers.close()

    @pytest.fixture
    def workers(self, start: Callable[..., Workers]) -> Workers:
        return start()

    def test_a_trial_is_reported_step_by_step(self, workers: Workers) -> None:
        *reports, ended = run_trial(workers, REQUEST)
        assert [report.step for report in reports] == [1, 2, 3]  # type: ignore[union-attr]
        assert isinstance(ended, Ended)
        assert (ended.end, ended.best_epoch) == ("complete", 3)

    def test_equal_requests_give_equal_messages(self, workers: Workers) -> None:
        assert run_trial(workers, REQUEST) == run_trial(workers, REQUEST)

    def test_a_worker_waits_for_its_reply(self, workers: Workers) -> None:
        wait_until_free(workers)
        workers.submit(0, REQUEST)
        assert isinstance(next_message(workers), Report)
        assert workers.wait(0.3) == []
        workers.reply(0, GO_ON)
        assert isinstance(next_message(workers), Report)

    def test_a_stopped_worker_takes_the_next_trial(self, workers: Workers) -> None:
        assert [type(message) for message in run_trial(workers, REQUEST, STOP)] == [Report]
        assert isinstance(run_trial(workers, REQUEST)[-1], Ended)

    def test_a_network_is_stored_before_the_worker_goes_on(
        self, workers: Workers, artifacts: FolderArtifacts
    ) -> None:
        wait_until_free(workers)
        workers.submit(0, REQUEST)
        while not isinstance(next_message(workers), Ended):
            workers.reply(0, GO_ON)
        workers.reply(0, Reply(stop=True, save_to="study/trial-0/attempt-1.keras"))
        saved = next_message(workers)
        sha256 = hashlib.sha256(b"0.8").hexdigest()
        assert saved == Saved(Artifact("study/trial-0/attempt-1.keras", 3, sha256))
        assert artifacts.get(saved.artifact).read_text() == "0.8"  # type: ignore[union-attr]
        assert isinstance(run_trial(workers, REQUEST)[-1], Ended)

    def test_a_network_that_cannot_be_saved_is_a_failure(self, workers: Workers) -> None:
        wait_until_free(workers)
        workers.submit(0, acting("unsaved"))
        while not isinstance(next_message(workers), Ended):
            workers.reply(0, GO_ON)
        workers.reply(0, Reply(stop=True, save_to="network.keras"))
        assert isinstance(next_message(workers), Failed)
        assert isinstance(run_trial(workers, REQUEST)[-1], Ended)

    def test_a_trial_goes_on_from_its_checkpoint(
        self, workers: Workers, artifacts: FolderArtifacts
    ) -> None:
        first = replace(REQUEST, checkpoints=Checkpoints(artifacts, attempt=1))
        wait_until_free(workers)
        workers.submit(0, first)
        assert isinstance(next_message(workers), Report)
        workers.reply(0, Reply(stop=True, checkpoint=True))
        assert next_message(workers) == Checkpointed()
        second = replace(REQUEST, checkpoints=Checkpoints(artifacts, attempt=2, known_epochs=1))
        resumed, *messages = run_trial(workers, second)
        assert resumed == Resumed(1)
        assert messages == run_trial(workers, REQUEST)[1:]

    def test_an_error_is_told_and_the_worker_lives(self, workers: Workers) -> None:
        failed = run_trial(workers, acting("raise"))[-1]
        assert isinstance(failed, Failed)
        assert failed.message.startswith("ValueError: the network")
        assert workers.takes(0)
        assert isinstance(run_trial(workers, REQUEST)[-1], Ended)

    def test_the_users_own_end_of_file_is_an_error_too(self, workers: Workers) -> None:
        failed = run_trial(workers, acting("raise eof"))[-1]
        assert isinstance(failed, Failed)
        assert failed.message == "EOFError: EOF when reading a line"

    def test_a_dead_worker_is_replaced(self, workers: Workers) -> None:
        assert run_trial(workers, acting("crash"))[-1] == Lost(9)
        assert isinstance(run_trial(workers, REQUEST)[-1], Ended)

    def test_a_reply_to_a_dead_worker_does_nothing(self, workers: Workers) -> None:
        run_trial(workers, acting("crash"))
        workers.reply(0, GO_ON)
        assert isinstance(run_trial(workers, REQUEST)[-1], Ended)

    def test_a_restarted_worker_is_a_fresh_one(self, workers: Workers) -> None:
        wait_until_free(workers)
        workers.submit(0, acting("hang", at=1))
        assert workers.wait(0.3) == []
        workers.restart(0)
        workers.reply(0, GO_ON)  # to the one before
        assert isinstance(run_trial(workers, REQUEST)[-1], Ended)

    def test_a_trial_asks_for_its_values_and_ends_itself(self, workers: Workers) -> None:
        wait_until_free(workers)
        workers.submit(0, replace(REQUEST, params={"asks": True}))
        assert next_message(workers) == Suggest("x", Distribution("float", 0.0, 1.0))
        workers.reply(0, Reply(value=0.25))
        assert next_message(workers) == Noted({"given": 0.25})
        workers.reply(0, GO_ON)
        report = next_message(workers)
        assert isinstance(report, Report)
        assert (report.metrics, report.advisory) == ({"val_accuracy": 0.25}, True)
        workers.reply(0, Reply(prune=True))
        ended = next_message(workers)
        assert isinstance(ended, Ended)
        assert (ended.end, ended.score) == ("pruned", 0.25)
        workers.reply(0, STOP)
        assert isinstance(run_trial(workers, REQUEST)[-1], Ended)

    def test_a_value_that_cannot_be_given_fails_the_trial(self, workers: Workers) -> None:
        wait_until_free(workers)
        workers.submit(0, replace(REQUEST, params={"asks": True}))
        assert isinstance(next_message(workers), Suggest)
        workers.reply(0, Reply(problem="x has other choices now"))
        failed = next_message(workers)
        assert isinstance(failed, Failed)
        assert failed.message == "ValueError: x has other choices now"

    def test_workers_train_side_by_side(self, start: Callable[..., Workers]) -> None:
        workers = start(processes=2, lanes=2)
        assert (workers.count, workers.lanes) == (4, 2)
        wait_until_free(workers)
        for worker in range(4):
            workers.submit(worker, replace(REQUEST, params=REQUEST.params | {"x": 0.1 * worker}))
        reports = next_messages(workers, 4)
        assert [worker for worker, _ in reports] == [0, 1, 2, 3]
        accuracies = [report.metrics["val_accuracy"] for _, report in reports]  # type: ignore[union-attr]
        assert accuracies == pytest.approx([0.05 * worker for worker in range(4)], abs=1e-3)

    def test_those_that_share_a_process_are_lost_together(
        self, start: Callable[..., Workers]
    ) -> None:
        workers = start(processes=2, lanes=2)
        wait_until_free(workers)
        for worker in (0, 2, 3):
            workers.submit(worker, acting("hang"))
        next_messages(workers, 3)
        workers.restart(2)
        [(worker, lost)] = next_messages(workers)
        assert isinstance(lost, Lost)
        assert (worker, lost.beside, lost.restarted) == (3, 1, True)
        workers.reply(0, GO_ON)  # still the same one: it hangs
        wait_until_free(workers, 2, 3)
        assert isinstance(run_trial(workers, REQUEST, worker=3)[-1], Ended)

    def test_no_message_is_none(self, workers: Workers) -> None:
        wait_until_free(workers)
        began = time.monotonic()
        assert workers.wait(0.2) == []
        assert 0.1 < time.monotonic() - began < 5

    def test_nothing_is_recycled_without_need(self, workers: Workers) -> None:
        run_trial(workers, REQUEST)
        assert workers.recycle() == []

    def test_closing_ends_workers_in_the_middle_of_work(
        self, start: Callable[..., Workers]
    ) -> None:
        workers = start(processes=2)
        wait_until_free(workers)
        for worker in range(2):
            workers.submit(worker, acting("hang", at=1))
        began = time.monotonic()
        workers.close()
        assert time.monotonic() - began < 3

    def test_workers_that_cannot_start(self, setup: WorkerSetup) -> None:
        workers = self.open_broken(setup)
        workers.start()
        with pytest.raises(WorkerError) as caught:
            wait_until(workers, lambda: False)
        assert "training cannot start: RuntimeError: no such device" in str(caught.value)
        assert "\n" not in str(caught.value)
        workers.close()
