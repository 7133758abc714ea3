"""Workers as processes of this machine, forked from one server that has TensorFlow imported."""

import contextlib
import errno
import functools
import multiprocessing
import os
import shutil
import signal
import tempfile
import time
from dataclasses import dataclass, field, replace
from multiprocessing import forkserver, util
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import cast

import psutil

from tuner.errors import WorkerError
from tuner.settings import libraries_first
from tuner.study.messages import (
    Checkpointed,
    EntryPoint,
    Failed,
    Lost,
    Message,
    Opened,
    Reply,
    Saved,
    TrialRequest,
    WorkerSetup,
)
from tuner.system.logs import last_line, output_to
from tuner.system.temporary_folders import lock_folder, own_servers_folder
from tuner.workers.worker import worker_main

# Keras keeps memory from trial to trial: a worker past either bound is replaced between trials.
_MOST_JOBS = 200
# Half of it for weights and slots of kept programs (training/kept.py), half for what is compiled.
_MOST_GROWTH = 2**30
# So many in a row that end before their session is open, and it is no accident.
_MOST_STILLBORN = 3
# For so long a fork server that has died may be started again.
_RELAUNCH_S = 10.0
# A socket's path has up to 107 bytes, of which multiprocessing's own two names take 33.
_MOST_TMPDIR_BYTES = 72
_SHORT_FOLDERS = ("/tmp", "/var/tmp", "/dev/shm")
_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass
class _Process:
    """`connections`: one for each worker in it; `busy`: the workers whose trial has not ended;
    `log_start`: the size of the log when the process was given its last trial."""

    process: ForkServerProcess
    connections: list[Connection]
    lifeline: Connection
    opened: bool = False
    jobs: int = 0
    log_start: int = 0
    first_rss: int = 0
    busy: set[int] = field(default_factory=set)


class LocalWorkers:
    """`processes` with as many workers each as the setup's population says. What they and their
    server print, their native code included, goes to the file `log`."""

    def __init__(
        self,
        processes: int,
        entry: EntryPoint,
        setup: WorkerSetup,
        gpus: tuple[int, ...] = (),
        log: Path | None = None,
    ) -> None:
        self.lanes = setup.lanes
        self.count = processes * self.lanes
        self._log = log
        self._entry, self._setup, self._gpus = entry, setup, gpus
        self._stillborn, self._has_worked = 0, False
        self._context = multiprocessing.get_context("forkserver")
        self._processes: list[_Process] = []
        self._lost: dict[int, Lost] = {}  # what is still to be told of those beside a lost one

    def start(self) -> None:
        warm(self._entry, self._log)
        for number in range(self.count // self.lanes):
            self._processes.append(self._spawn(number))

    def _spawn(self, number: int) -> _Process:
        pipes = [self._context.Pipe() for _ in range(self.lanes)]
        their_lifeline, our_lifeline = self._context.Pipe(duplex=False)
        gpu = self._gpus[number % len(self._gpus)] if self._gpus else None
        theirs = [their_end for _, their_end in pipes]
        process = self._context.Process(
            target=worker_main,
            args=(self._entry.name, replace(self._setup, gpu=gpu), theirs, their_lifeline),
            name=f"tuner-worker-{number}",
            daemon=True,
        )
        self._launch(process)
        for end in (*theirs, their_lifeline):
            end.close()
        return _Process(process, [our_end for our_end, _ in pipes], our_lifeline)

    def _launch(self, process: ForkServerProcess) -> None:
        """Have the fork server start a process. It may have died since it was last needed, for
        want of memory perhaps: multiprocessing starts another one, once it notices."""
        until = time.monotonic() + (_RELAUNCH_S if self._has_worked else 0.0)
        while True:
            try:
                with libraries_first(), output_to(self._log):
                    process.start()
                return
            except (EOFError, OSError) as error:
                if time.monotonic() >= until:
                    raise WorkerError(self._why_none_starts(error)) from error
            time.sleep(0.1)

    def _why_none_starts(self, error: Exception) -> str:
        if not isinstance(error, EOFError | ConnectionError):
            return _unstartable(error)
        said = last_line(self._log)
        why = f": {said}" if said else ""
        see = f"; see {self._log}" if self._log else ""
        return f"the process that starts the workers has ended{why}{see}"

    def _of(self, worker: int) -> _Process:
        return self._processes[worker // self.lanes]

    def _connection(self, worker: int) -> Connection:
        return self._of(worker).connections[worker % self.lanes]

    def restart(self, worker: int) -> None:
        # A process cannot be ended in part.
        self._replace(worker, restarted=True)

    def recycle(self) -> list[int]:
        # Before a trial is given one: what a process needs to open is no trial's time.
        recycled: list[int] = []
        for first in range(0, self.count, self.lanes):
            process = self._of(first)
            if process.opened and not process.busy and self._outgrown(process):
                self._replace(first)
                recycled += range(first, first + self.lanes)
        return recycled

    def takes(self, worker: int) -> bool:
        process = self._of(worker)
        return process.opened and not self._outgrown(process)

    def submit(self, worker: int, request: TrialRequest) -> None:
        self._lost.pop(worker, None)  # of an earlier trial, which has ended all the same
        process = self._of(worker)
        process.jobs += 1
        process.busy.add(worker)
        process.log_start = _size(self._log)
        self._send(worker, request)

    def reply(self, worker: int, reply: Reply) -> None:
        if worker not in self._of(worker).busy:
            return  # its process has been replaced since it spoke; the next wait will tell
        self._send(worker, reply)
        if reply.stop and reply.save_to is None and not reply.checkpoint:
            self._free(worker)

    def _free(self, worker: int) -> None:
        """The worker's trial has ended."""
        process = self._of(worker)
        process.busy.discard(worker)
        # After a trial of any end: growth is counted from what the first one needed.
        process.first_rss = process.first_rss or _rss(process)

    def _send(self, worker: int, message: TrialRequest | Reply) -> None:
        # A broken pipe shows as a lost worker at the next wait.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self._connection(worker).send(message)

    def wait(self, timeout_s: float) -> list[tuple[int, Message]]:
        if self._lost:
            lost, self._lost = self._lost, {}
            return list(lost.items())
        connections = {self._connection(worker): worker for worker in range(self.count)}
        messages: list[tuple[int, Message]] = []
        for ready in wait(list(connections), timeout_s):
            worker = connections[cast(Connection, ready)]
            if ready is not self._connection(worker):
                continue  # of a process that has been found lost just now
            message = self._receive(worker)
            if message is not None:
                messages.append((worker, message))
        return messages

    def _receive(self, worker: int) -> Message | None:
        process = self._of(worker)
        try:
            message: Message | Opened = self._connection(worker).recv()
        except (EOFError, OSError):
            return self._lose(worker)
        if isinstance(message, Opened):
            if message.problem is not None:
                raise WorkerError(f"training cannot start: {message.problem}")
            process.opened, self._has_worked, self._stillborn = True, True, 0
            return None
        if isinstance(message, Saved | Failed | Checkpointed):
            self._free(worker)
        return message

    def _lose(self, worker: int) -> Lost:
        process = self._of(worker)
        process.process.join(1.0)
        exit_code = process.process.exitcode
        self._stillborn += not process.opened
        if self._stillborn >= _MOST_STILLBORN:
            see = f"; see {self._log}" if self._log else ""
            raise WorkerError(f"workers end as they start, with exit code {exit_code}{see}")
        beside = len(process.busy - {worker})
        self._replace(worker)
        return Lost(exit_code, beside, last_words=last_line(self._log, process.log_start))

    def _outgrown(self, process: _Process) -> bool:
        if process.jobs >= _MOST_JOBS * self.lanes:
            return True
        if not process.first_rss:
            return False
        return _rss(process) - process.first_rss > self._most_growth(process.first_rss)

    def _most_growth(self, first_rss: int) -> float:
        # What earlier trials have left behind must not count against the next one's limit.
        limit = self._setup.memory_bytes
        return _MOST_GROWTH if limit is None else min(_MOST_GROWTH, (limit - first_rss) / 2)

    def _replace(self, worker: int, restarted: bool = False) -> None:
        """Another process in the place of the worker's; those beside it will be told as lost."""
        process = self._of(worker)
        _end(process)
        last_words = last_line(self._log, process.log_start)
        lost = Lost(process.process.exitcode, len(process.busy) - 1, restarted, last_words)
        self._lost |= dict.fromkeys(process.busy - {worker}, lost)
        number = worker // self.lanes
        self._processes[number] = self._spawn(number)

    def close(self) -> None:
        for process in self._processes:
            process.process.kill()
        deadline = time.monotonic() + 5
        for process in self._processes:
            process.process.join(max(0.0, deadline - time.monotonic()))
            _hang_up(process)
        self._processes = []


def warm(entry: EntryPoint, log: Path | None = None) -> None:
    """Let the fork server begin its imports while the caller does something else."""
    multiprocessing.get_context("forkserver").set_forkserver_preload(list(entry.preload))
    # What ends a search must not end the server in the middle of an import: it inherits that
    # they are blocked. Blocked, not ignored, so that we lose none that comes now.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)
    try:
        with libraries_first(), output_to(log):
            _shorten_socket_paths()
            own_servers_folder()
            forkserver.ensure_running()
    except OSError as error:
        raise WorkerError(_unstartable(error)) from error
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _shorten_socket_paths() -> None:
    """The fork server's socket lies in the temporary folder, but the path of a socket has up to
    107 bytes: where TMPDIR is longer, multiprocessing is given another folder, as it makes its
    own."""
    config = multiprocessing.current_process()._config  # type: ignore[attr-defined]
    if config.get("tempdir") or len(os.fsencode(tempfile.gettempdir())) <= _MOST_TMPDIR_BYTES:
        return
    for base in _SHORT_FOLDERS:
        with contextlib.suppress(OSError):
            config["tempdir"] = tempfile.mkdtemp(prefix="pymp-", dir=base)
            remove = functools.partial(shutil.rmtree, ignore_errors=True)
            # Its priority is that of multiprocessing's own folder: after all that may use it.
            util.Finalize(None, remove, args=(config["tempdir"],), exitpriority=-100)
            lock_folder(Path(config["tempdir"]))
            return


def _unstartable(error: OSError | Exception) -> str:
    advice = ""
    if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
        advice = "; allow more of them: ulimit -n 1024"
    return f"workers cannot be started: {error}{advice}"


def _size(log: Path | None) -> int:
    try:
        return log.stat().st_size if log is not None else 0
    except OSError:
        return 0


def _rss(process: _Process) -> int:
    with contextlib.suppress(psutil.Error):
        return int(psutil.Process(process.process.pid).memory_info().rss)
    return 0


def _end(process: _Process) -> None:
    process.process.kill()
    process.process.join(5)
    _hang_up(process)


def _hang_up(process: _Process) -> None:
    for connection in (*process.connections, process.lifeline):
        connection.close()
