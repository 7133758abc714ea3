"""What a loop and its workers say to each other.

The loop submits a plan; the worker answers each Interval and the Ended it sends with waiting for
a Reply, so a pruned trial never trains past its verdict. All of it is plain picklable data.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tuner.training.events import Ended, Failed, Interval, Plan, WorkerSetup


@dataclass(frozen=True)
class Reply:
    """The loop's answer to an event: go on or stop; after Ended, where to save the model."""

    stop: bool = False
    save_to: Path | None = None


@dataclass(frozen=True)
class Saved:
    """The best network lies at `path`, whole."""

    path: Path


@dataclass(frozen=True)
class Lost:
    """The worker process is gone; another takes its number."""

    exit_code: int | None


Message = Interval | Ended | Saved | Failed | Lost


class Entry(Protocol):
    """A training entry point, named "package.module:function"."""

    def __call__(self, setup: WorkerSetup) -> "Session": ...


class Session(Protocol):
    """What a training entry point returns for a WorkerSetup."""

    def run(self, plan: Plan) -> Iterator[Interval | Ended]: ...

    def save(self, path: Path) -> None:
        """Write the network of the trial that has just ended to `path`, whole or not at all."""
        ...

    def failure(self, error: Exception) -> Failed: ...


class Workers(Protocol):
    """A number of workers, numbered from 0."""

    count: int

    def start(self) -> None: ...

    def submit(self, worker: int, plan: Plan) -> None: ...

    def reply(self, worker: int, reply: Reply) -> None: ...

    def wait(self, timeout_s: float) -> list[tuple[int, Message]]:
        """Messages that have arrived, after waiting for at least one up to the timeout."""
        ...

    def close(self) -> None:
        """End all workers at once; what they were training is lost to them, not to the study."""
        ...
