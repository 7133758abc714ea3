"""The contract between the loop and whatever trains its trials.

A back end is one module, with a line in `BACK_ENDS`. `tests/workers/conformance.py` checks that it
keeps this contract.
"""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

if TYPE_CHECKING:  # a command starts the fork server before it imports what these need
    from tuner.study.messages import (
        Failed,
        Message,
        Reply,
        Tell,
        TrialRequest,
        WorkerPlace,
        WorkerSetup,
    )

# A module each, imported when it is asked for. It has the functions of BackEnd.
BACK_ENDS = {"local": "tuner.workers.local"}


@dataclass(frozen=True)
class EntryPoint:
    """Where training begins, named by string: the loop imports no TensorFlow. `name`:
    "package.module:function", a function that takes a WorkerSetup and returns a Session. `preload`:
    the slow modules it needs, imported once for all workers. `warm_up`: a function, named alike,
    for what a process can do before it has a setup, on a machine without a GPU; "" for nothing."""

    name: str
    preload: tuple[str, ...] = ()
    warm_up: str = ""

    def load(self) -> "Opener":
        """The function. Raises ImportError and AttributeError."""
        return cast(Opener, _function(self.name))

    def load_warm_up(self) -> Callable[[], None]:
        """The same for `warm_up`."""
        return cast(Callable[[], None], _function(self.warm_up))


# For networks that are trained here.
KERAS = EntryPoint(
    "tuner.training.session:open_session",
    preload=("tuner.training.preloading",),
    warm_up="tuner.training.warming:warm_up",
)
# For functions that train by themselves: no TensorFlow, unless the user's file imports it.
FUNCTIONS = EntryPoint(
    "tuner.functions.function_session:open_session",
    preload=("tuner.functions.function_session", "tuner.workers.worker"),
)


def _function(name: str) -> Any:
    module, _, function = name.partition(":")
    return getattr(importlib.import_module(module), function)


class Opener(Protocol):
    """Opens a worker's session."""

    def __call__(self, setup: "WorkerSetup", /) -> "Session": ...


class Session(Protocol):
    """One worker's training. Trials are run one after another."""

    def run(self, request: "TrialRequest", tell: "Tell") -> None:
        """Train a trial. Each event is told, Ended last, and the trial goes on when the reply
        comes. After a reply that stops it, it tells nothing more."""
        ...

    def save(self, path: Path) -> None:
        """Write the network of the trial that has just ended to a new file."""
        ...

    def checkpoint(self) -> None:
        """Write a checkpoint of the running trial, if it keeps any. Called when its last event was
        a Report that ended an epoch."""
        ...

    def failure(self, error: Exception) -> "Failed":
        """What to send for an error that the training raised."""
        ...

    def beside(self) -> "Session":
        """Another session of this process, which trains at the same time in a thread of its own.
        Called where the setup has more than one lane."""
        ...


class Workers(Protocol):
    """A number of workers, numbered from 0, each of which trains one trial at a time. A worker is
    free until it is given a trial, and again once that trial has ended: with Failed, Lost, a
    restart, or a reply that stops it (after Saved or Checkpointed, where the reply asks for these).

    `count`: of all workers; it may grow at each `wait`. `lanes`: so many in a row share a process,
    and are lost with it.
    """

    count: int
    lanes: int

    def start(self) -> None:
        """Begin to start the workers; `takes` says when one is ready. Raises WorkerError."""
        ...

    def takes(self, worker: int) -> bool:
        """Whether a free worker may be given a trial now. It may not while its process starts, or
        while the process should be replaced once the other trials in it have ended."""
        ...

    def place(self, worker: int) -> "WorkerPlace | None":
        """Where a worker that takes a trial runs; None on this machine."""
        ...

    def submit(self, worker: int, request: "TrialRequest") -> None:
        """Have a free worker, one that takes a trial, train one."""
        ...

    def reply(self, worker: int, reply: "Reply") -> None:
        """Answer a worker's Event: it waits for that. A reply to a worker that has been replaced
        meanwhile does nothing."""
        ...

    def wait(self, timeout_s: float) -> "list[tuple[int, Message]]":
        """Messages that have arrived, each with its worker, after waiting for at least one up to
        the timeout. Called regularly, also while all workers are free: it notices those that died,
        each of which is told as Lost once, and replaced. Raises WorkerError when workers cannot be
        started."""
        ...

    def restart(self, worker: int) -> None:
        """End what the worker is doing, at once; a fresh one takes its number. The trials of those
        that share its process are told as Lost, its own is not."""
        ...

    def recycle(self) -> list[int]:
        """Replace the processes that have grown too large and train nothing now; returns the
        workers in them. Called between trials: a process' start is no trial's time."""
        ...

    def close(self) -> None:
        """End all workers at once, also in the middle of a trial; nothing is told of it."""
        ...


class BackEnd(Protocol):
    """A module that makes workers of one kind, or an object where they need more to be known."""

    def warm(self, entry: EntryPoint, log: Path | None = None) -> None:
        """Begin with what takes long, importing `entry.preload`, while the caller does something
        else. Raises WorkerError."""
        ...

    def keep_ready(self, entry: EntryPoint, processes: int) -> None:
        """Have so many processes run `entry.warm_up`, and wait for the next workers to need them; 0
        ends those that wait. A kind of worker that has nothing to gain does nothing. Raises
        WorkerError."""
        ...

    def open_workers(
        self,
        entry: EntryPoint,
        setup: "WorkerSetup",
        *,
        processes: int | None = None,
        data_bytes: float | None = None,
        log: Path | None = None,
        tell: Callable[[str], None] = ...,
        share: Callable[[], int] | None = None,
    ) -> Workers:
        """Workers that are not started yet. `processes` with `setup.lanes` workers each, and
        `data_bytes` of memory for the data in each; None: as suits the machine. `log`: the file
        for what they print. `tell` gets lines for the user. `share`: how many workers are needed
        now; None for all. The back end may end or not begin others while they are idle. The back
        end chooses the setup's `gpu`, `threads` and `budget_bytes`."""
        ...


def back_end(chosen: str | BackEnd = "local") -> BackEnd:
    """The back end of that name in `BACK_ENDS`, or the one that is given."""
    if isinstance(chosen, str):
        return cast(BackEnd, importlib.import_module(BACK_ENDS[chosen]))
    return chosen
