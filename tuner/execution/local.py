"""Workers as processes of this machine, forked from one server that has TensorFlow imported."""

import contextlib
import multiprocessing
import os
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from multiprocessing import forkserver
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import cast

import psutil

from tuner.errors import WorkerError
from tuner.execution.protocol import EntryPoint, Lost, Message, Opened, Reply
from tuner.execution.worker import worker_main
from tuner.training.events import Ended, Plan, WorkerSetup

# Keras keeps memory from trial to trial: a worker past either bound is replaced between trials.
_MOST_JOBS = 200
_MOST_GROWTH = 2 * 2**30
# So many in a row that end before their session is open, and it is no accident.
_MOST_STILLBORN = 3
_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass
class _Worker:
    process: ForkServerProcess
    connection: Connection
    lifeline: Connection
    opened: bool = False
    jobs: int = 0
    first_rss: int = 0


class LocalWorkers:
    """`count` processes, one thread each. What they and their server write to stderr goes to the
    file `log`."""

    def __init__(
        self,
        count: int,
        entry: EntryPoint,
        setup: WorkerSetup,
        gpus: tuple[int, ...] = (),
        log: Path | None = None,
    ) -> None:
        self.count = count
        self._log = log
        self._entry, self._setup, self._gpus = entry.name, setup, gpus
        self._stillborn = 0
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(list(entry.preload))
        self._workers: list[_Worker] = []

    def warm(self) -> None:
        """Let the fork server begin its imports while the caller does something else."""
        # What ends a search must not end the server in the middle of an import: it inherits that
        # they are blocked. Blocked, not ignored, so that we lose none that comes now.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)
        try:
            with _stderr_to(self._log):
                forkserver.ensure_running()
        except OSError as error:
            # Its socket lies in the temporary folder, whose path must not be long.
            where = tempfile.gettempdir()
            raise WorkerError(f"workers cannot be started: {error} (TMPDIR: {where})") from error
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def start(self) -> None:
        self.warm()
        for number in range(self.count):
            self._workers.append(self._spawn(number))

    def _spawn(self, number: int) -> _Worker:
        ours, theirs = self._context.Pipe()
        their_lifeline, our_lifeline = self._context.Pipe(duplex=False)
        gpu = self._gpus[number % len(self._gpus)] if self._gpus else None
        process = self._context.Process(
            target=worker_main,
            args=(self._entry, replace(self._setup, gpu=gpu), theirs, their_lifeline),
            name=f"tuner-worker-{number}",
            daemon=True,
        )
        process.start()
        theirs.close()
        their_lifeline.close()
        return _Worker(process, ours, our_lifeline)

    def restart(self, worker: int) -> None:
        self._replace(worker)

    def submit(self, worker: int, plan: Plan) -> bool:
        outgrown = self._outgrown(self._workers[worker])
        if outgrown:
            self._replace(worker)
        self._workers[worker].jobs += 1
        self._send(worker, plan)
        return outgrown

    def reply(self, worker: int, reply: Reply) -> None:
        self._send(worker, reply)

    def _send(self, worker: int, message: Plan | Reply) -> None:
        # A broken pipe shows as a lost worker at the next wait.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self._workers[worker].connection.send(message)

    def wait(self, timeout_s: float) -> list[tuple[int, Message]]:
        connections = {worker.connection: n for n, worker in enumerate(self._workers)}
        messages: list[tuple[int, Message]] = []
        for ready in wait(list(connections), timeout_s):
            number = connections[cast(Connection, ready)]
            message = self._receive(number)
            if message is not None:
                messages.append((number, message))
        return messages

    def _receive(self, number: int) -> Message | None:
        worker = self._workers[number]
        try:
            message: Message | Opened = worker.connection.recv()
        except (EOFError, OSError):
            return self._lose(number)
        if isinstance(message, Opened):
            if message.problem is not None:
                raise WorkerError(f"training cannot start: {message.problem}")
            worker.opened, self._stillborn = True, 0
            return None
        if isinstance(message, Ended) and not worker.first_rss:
            worker.first_rss = _rss(worker)
        return message

    def _lose(self, number: int) -> Lost:
        worker = self._workers[number]
        worker.process.join(1.0)
        exit_code = worker.process.exitcode
        self._stillborn += not worker.opened
        if self._stillborn >= _MOST_STILLBORN:
            see = f"; see {self._log}" if self._log else ""
            raise WorkerError(f"workers end as they start, with exit code {exit_code}{see}")
        self._replace(number)
        return Lost(exit_code)

    def _outgrown(self, worker: _Worker) -> bool:
        if worker.jobs >= _MOST_JOBS:
            return True
        if not worker.first_rss:
            return False
        return _rss(worker) - worker.first_rss > self._most_growth(worker.first_rss)

    def _most_growth(self, first_rss: int) -> float:
        # What earlier trials have left behind must not count against the next one's limit.
        limit = self._setup.memory_bytes
        return _MOST_GROWTH if limit is None else min(_MOST_GROWTH, (limit - first_rss) / 2)

    def _replace(self, number: int) -> None:
        _end(self._workers[number])
        self._workers[number] = self._spawn(number)

    def close(self) -> None:
        for worker in self._workers:
            worker.process.kill()
        deadline = time.monotonic() + 5
        for worker in self._workers:
            worker.process.join(max(0.0, deadline - time.monotonic()))
            worker.connection.close()
            worker.lifeline.close()
        self._workers = []


@contextlib.contextmanager
def _stderr_to(log: Path | None) -> Iterator[None]:
    """Children started inside write their stderr to `log`: TensorFlow's start-up notes would cut
    through the display, and a crashed worker's last words should be kept."""
    if log is None:
        yield
        return
    log.parent.mkdir(parents=True, exist_ok=True)
    sys.stderr.flush()
    kept = os.dup(2)
    try:
        # Appended to: another loop of the study may be writing here too.
        with log.open("ab") as file:
            os.dup2(file.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def _rss(worker: _Worker) -> int:
    with contextlib.suppress(psutil.Error):
        return int(psutil.Process(worker.process.pid).memory_info().rss)
    return 0


def _end(worker: _Worker) -> None:
    worker.process.kill()
    worker.process.join(5)
    worker.connection.close()
    worker.lifeline.close()
