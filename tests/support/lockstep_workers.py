"""A back end whose workers train nothing and all report at the same moment: in each round, every
trial that goes on tells of its next epoch. See `tuner.workers.base`."""

from collections.abc import Callable
from pathlib import Path

from tuner.study.messages import Ended, Message, Reply, Report, TrialRequest, WorkerSetup
from tuner.workers.base import EntryPoint

NAME = "lockstep"


def before_round(number: int) -> None:
    """Called before each round with its number, from 1: tests put what happens then in its
    place."""


def warm(entry: EntryPoint, log: Path | None = None) -> None:
    return


def keep_ready(entry: EntryPoint, processes: int) -> None:
    return


def open_workers(
    entry: EntryPoint,
    setup: WorkerSetup,
    *,
    processes: int | None = None,
    data_bytes: float | None = None,
    log: Path | None = None,
    tell: Callable[[str], None] = lambda line: None,
    share: Callable[[], int] | None = None,
) -> "LockstepWorkers":
    return LockstepWorkers(processes or 1)


class LockstepWorkers:
    """`epochs_left`, `told`: of each worker's trial, the epochs to come and those it told of."""

    lanes = 1

    def __init__(self, count: int) -> None:
        self.count, self.round = count, 0
        self.epochs_left: dict[int, int] = {}
        self.told: dict[int, int] = {}

    def start(self) -> None:
        return

    def takes(self, worker: int) -> bool:
        return True

    def place(self, worker: int) -> None:
        return None

    def submit(self, worker: int, request: TrialRequest) -> None:
        self.epochs_left[worker], self.told[worker] = int(request.params["epochs"]), 0

    def reply(self, worker: int, reply: Reply) -> None:
        if reply.stop:
            self.restart(worker)

    def wait(self, timeout_s: float) -> list[tuple[int, Message]]:
        self.round += 1
        before_round(self.round)
        return [(worker, self._next(worker)) for worker in sorted(self.epochs_left)]

    def _next(self, worker: int) -> Message:
        if not self.epochs_left[worker]:
            self.epochs_left.pop(worker)
            return Ended("complete", 0.5, 1, self.told[worker], 7, network="")
        self.epochs_left[worker] -= 1
        self.told[worker] += 1
        return Report(self.told[worker], self.told[worker], True, {"val_accuracy": 0.5})

    def restart(self, worker: int) -> None:
        self.epochs_left.pop(worker, None)

    def recycle(self) -> list[int]:
        return []

    def close(self) -> None:
        self.epochs_left.clear()
