"""What a loop and its workers say to each other.

The loop submits a plan; the worker answers each Interval and the Ended it sends with waiting for
a Reply, so a pruned trial never trains past its verdict. All of it is plain picklable data.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from tuner.training.events import Ended, Failed, Interval, Plan, Resumed

# A worker's exit code when it ends itself for holding more memory than it may.
OUT_OF_MEMORY = 117


@dataclass(frozen=True)
class Reply:
    """The loop's answer to an event: go on or stop; after Ended, where to save the model; with a
    stop after an epoch, whether to write a checkpoint first."""

    stop: bool = False
    save_to: Path | None = None
    checkpoint: bool = False


@dataclass(frozen=True)
class Saved:
    """The best network lies at `path`, whole, with so many bytes and that SHA-256 in hex."""

    path: Path
    size: int
    sha256: str


@dataclass(frozen=True)
class Checkpointed:
    """The trial has stopped, and its checkpoint is written, where that was possible."""


@dataclass(frozen=True)
class Opened:
    """A worker's first word: its session is open, or the problem it has with that."""

    problem: str | None = None


@dataclass(frozen=True)
class Lost:
    """The worker process is gone; another takes its number. `beside`: how many other trials it was
    training: any of them may be the cause. `restarted`: the loop itself ended the process, for
    another of its trials. `last_words`: what its log got last while it trained; where workers share
    a log it may be another one's."""

    exit_code: int | None
    beside: int = 0
    restarted: bool = False
    last_words: str = field(default="", compare=False)

    @property
    def out_of_memory(self) -> bool:
        return self.exit_code == OUT_OF_MEMORY

    @property
    def how(self) -> str:
        if self.restarted:
            return "its worker process was ended for another trial that it was training"
        if self.out_of_memory:
            what = "held more memory than a trial may take (--trial-memory)"
        else:
            what = f"ended with exit code {self.exit_code}"
        also = f" while it trained {self.beside + 1} trials" if self.beside else ""
        tells = self.last_words and not self.out_of_memory
        log = f"; the workers' log ends: {self.last_words}" if tells else ""
        return f"its worker {what}{also}{log}"


Message = Resumed | Interval | Ended | Saved | Checkpointed | Failed | Lost


@dataclass(frozen=True)
class EntryPoint:
    """Where training begins. `name`: "package.module:function", a function that takes a WorkerSetup
    and returns a Session. `preload`: the slow modules it needs, imported once for all workers."""

    name: str
    preload: tuple[str, ...] = ()


class Session(Protocol):
    """One worker's training."""

    def run(self, plan: Plan) -> Iterator[Resumed | Interval | Ended]: ...

    def save(self, path: Path) -> None:
        """Write the network of the trial that has just ended to `path`, whole or not at all."""
        ...

    def checkpoint(self) -> None:
        """Write a checkpoint of the trial that runs, if it keeps any. Called when its last event
        was an Interval that ended an epoch."""
        ...

    def failure(self, error: Exception) -> Failed: ...

    def beside(self) -> "Session":
        """Another session of this process, which trains at the same time from a thread of its own.
        Asked for where the setup's population is more than one."""
        ...


class Workers(Protocol):
    """A number of workers, numbered from 0, each of which trains one trial at a time. `population`:
    so many in a row share a process, and are lost with it."""

    count: int
    population: int

    def start(self) -> None: ...

    def recycle(self) -> list[int]:
        """Replace the processes that have grown too large and train nothing now; their workers."""
        ...

    def takes(self, worker: int) -> bool:
        """Whether a free worker may be given a trial now. It may not while its process opens, or
        while those beside it keep one that should be replaced."""
        ...

    def submit(self, worker: int, plan: Plan) -> None:
        """Have a free worker that takes one train a trial."""
        ...

    def reply(self, worker: int, reply: Reply) -> None: ...

    def restart(self, worker: int) -> None:
        """End what the worker is doing, at once; a fresh one takes its number. Those that share its
        process are Lost."""
        ...

    def wait(self, timeout_s: float) -> list[tuple[int, Message]]:
        """Messages that have arrived, after waiting for at least one up to the timeout. Raises
        WorkerError when workers cannot be started."""
        ...

    def close(self) -> None:
        """End all workers at once; what they were training is lost to them, not to the study."""
        ...
