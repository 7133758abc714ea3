"""A back end whose workers train nothing: they send what training would send, when it would.

There is neither a process nor a thread: what is measured beside it is the loop alone. See
`tuner.workers.base`.
"""

import heapq
import itertools
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tuner.study.messages import Checkpointed, Ended, Message, Reply, Report, TrialRequest
from tuner.study.messages import WorkerSetup as Setup
from tuner.workers.base import EntryPoint

NAME = "simulated"


@dataclass
class Pace:
    """`report_s`: seconds from one report of a trial to the next. `on_wait`: called before each
    wait, and with what it has waited after it. `staggered`: the first trial of each worker begins
    at an epoch by chance, as if the search had run for long: trials end all the time. `reports`:
    how many were sent. `begun`: how many trials were given to workers."""

    report_s: float = 0.5
    on_wait: Callable[[float], None] = lambda waited_s: None
    staggered: bool = False
    reports: int = 0
    begun: int = 0


PACE = Pace()


def warm(entry: EntryPoint, log: Path | None = None) -> None:
    return


def keep_ready(entry: EntryPoint, processes: int) -> None:
    return


def open_workers(
    entry: EntryPoint,
    setup: Setup,
    *,
    processes: int | None = None,
    data_bytes: float | None = None,
    log: Path | None = None,
    tell: Callable[[str], None] = lambda line: None,
    share: Callable[[], int] | None = None,
) -> "SimulatedWorkers":
    return SimulatedWorkers(processes or 1)


def train(request: TrialRequest, first_epoch: int = 1) -> Iterator[Report | Ended]:
    """What a trial tells: a score that climbs as training does, to a height that its params say."""
    chance = random.Random(repr(sorted(request.params.items())))
    height, metric = chance.uniform(0.5, 0.99), request.goal.metric
    epochs = int(request.params["epochs"])
    for epoch in range(first_epoch, epochs + 1):
        score = height * (1 - 0.7**epoch)
        metrics = {"loss": 1 - score, "accuracy": score, "val_loss": 1 - score, metric: score}
        yield Report(epoch, epoch, True, metrics, {"train": 0.1 * epoch}, "shared graph")
    yield Ended("complete", score, epochs, epochs, 1000, {"train": 0.1 * epochs}, network="")


@dataclass
class SimulatedWorkers:
    count: int
    lanes: int = 1
    _due: list[tuple[float, int, int, Message]] = field(default_factory=list)
    _trials: dict[int, Iterator[Report | Ended]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._numbers = itertools.count()  # of messages: equal times stay in order
        self._chance = random.Random(0)

    def start(self) -> None:
        return

    def takes(self, worker: int) -> bool:
        return True

    def place(self, worker: int) -> None:
        return None

    def recycle(self) -> list[int]:
        return []

    def submit(self, worker: int, request: TrialRequest) -> None:
        first = 1
        if PACE.staggered and worker not in self._trials:
            first = self._chance.randint(1, int(request.params["epochs"]))
        self._trials[worker] = train(request, first)
        PACE.begun += 1
        # Trials that begin together do not report together.
        self._tell_next(worker, PACE.report_s * self._chance.uniform(0.5, 1.5))

    def reply(self, worker: int, reply: Reply) -> None:
        if reply.checkpoint:
            self._tell(worker, Checkpointed(), 0.0)
        elif not reply.stop:
            self._tell_next(worker, PACE.report_s)

    def _tell_next(self, worker: int, after_s: float) -> None:
        message = next(self._trials[worker])
        self._tell(worker, message, 0.0 if isinstance(message, Ended) else after_s)

    def _tell(self, worker: int, message: Message, after_s: float) -> None:
        due = (time.monotonic() + after_s, next(self._numbers), worker, message)
        heapq.heappush(self._due, due)

    def wait(self, timeout_s: float) -> list[tuple[int, Message]]:
        PACE.on_wait(0.0)
        clock = time.monotonic()
        until = clock + timeout_s
        if self._due:
            until = min(until, self._due[0][0])
        if until > clock:
            time.sleep(until - clock)
        now = time.monotonic()
        PACE.on_wait(now - clock)
        messages = []
        while self._due and self._due[0][0] <= now:
            _, _, worker, message = heapq.heappop(self._due)
            messages.append((worker, message))
        PACE.reports += sum(isinstance(message, Report) for _, message in messages)
        return messages

    def restart(self, worker: int) -> None:
        self._trials.pop(worker, None)
        self._due = [each for each in self._due if each[2] != worker]
        heapq.heapify(self._due)

    def close(self) -> None:
        self._trials.clear()
        self._due.clear()
