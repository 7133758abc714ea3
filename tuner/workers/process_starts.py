"""How the processes of local workers begin: all are forked by one server. Some of them wait for
their setup, warmed up."""

import contextlib
import errno
import multiprocessing
from collections import Counter
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from pathlib import Path

from tuner.errors import WorkerError
from tuner.settings import libraries_first
from tuner.system.machine import gpus
from tuner.workers.base import EntryPoint
from tuner.workers.fork_server import STARTING, ensure_server, no_main_module
from tuner.workers.worker import ready_main


def warm(entry: EntryPoint, log: Path | None = None) -> None:
    """Start the fork server, which begins its imports. See `base.BackEnd.warm`."""
    try:
        with STARTING:
            ensure_server(entry, log)
    except OSError as error:
        raise WorkerError(why_not_started(error)) from error


@dataclass
class ReadyProcess:
    """A process that waits to become a worker."""

    entry: EntryPoint
    process: ForkServerProcess
    connection: Connection
    lifeline: Connection

    def end(self) -> None:
        self.process.kill()
        self.process.join(5)
        self.connection.close()
        self.lifeline.close()


_ready: list[ReadyProcess] = []


def keep_ready(entry: EntryPoint, processes: int) -> None:
    """See `base.BackEnd.keep_ready`. With a GPU nothing is gained: which one a process takes is
    known once it is needed."""
    with STARTING:
        for each in [each for each in _ready if not each.process.is_alive()]:
            _ready.remove(each)
        while len(_ready) > processes:
            _ready.pop().end()
        while entry.warm_up and not gpus() and len(_ready) < processes:
            _ready.append(_begin_ready(entry))


def _begin_ready(entry: EntryPoint) -> ReadyProcess:
    """Raises WorkerError."""
    context = multiprocessing.get_context("forkserver")
    ours, theirs = context.Pipe()
    their_lifeline, our_lifeline = context.Pipe(duplex=False)
    process = context.Process(
        target=ready_main, args=(entry, theirs, their_lifeline), name="tuner-ready", daemon=True
    )
    try:
        start_process(process, entry, None)
    except (EOFError, OSError) as error:
        raise WorkerError(why_not_started(error)) from error
    finally:
        theirs.close()
        their_lifeline.close()
    return ReadyProcess(entry, process, ours, our_lifeline)


def start_process(process: ForkServerProcess, entry: EntryPoint, log: Path | None) -> None:
    """Have the fork server start a process. Raises EOFError and OSError."""
    with STARTING:
        ensure_server(entry, log)
        with libraries_first(), no_main_module():
            process.start()
        # Before it starts another one, multiprocessing asks each process that it knows how it
        # ended, and only one thread may ask.
        multiprocessing.process._children.discard(process)  # type: ignore[attr-defined]


def take_ready(entry: EntryPoint, message: object) -> ReadyProcess | None:
    """A process that waits and has been given the message; None where there is none."""
    with STARTING:
        for each in [each for each in _ready if each.entry == entry]:
            _ready.remove(each)
            with contextlib.suppress(OSError):
                each.connection.send(message)
                return each
    return None


def why_not_started(error: Exception) -> str:
    advice = ""
    if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
        advice = "; allow more of them: ulimit -n 1024"
    return f"workers cannot be started: {error}{advice}"


# How many worker processes of this process' searches compute on each GPU.
_on_gpu: Counter[int] = Counter()


def take_gpu(gpus: tuple[int, ...]) -> int | None:
    """The GPU with the fewest processes; None where there is none."""
    with STARTING:
        gpu = min(gpus, key=lambda number: _on_gpu[number], default=None)
        if gpu is not None:
            _on_gpu[gpu] += 1
        return gpu


def leave_gpu(gpu: int | None) -> None:
    """A process that computed on it has ended."""
    if gpu is not None:
        with STARTING:
            _on_gpu[gpu] -= 1
