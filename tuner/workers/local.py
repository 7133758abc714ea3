"""Workers as processes of this machine, forked from one server that has TensorFlow imported.

The back end "local": see `base.BackEnd`.
"""

import contextlib
import logging
import math
import multiprocessing
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import cast

import psutil

from tuner.errors import WorkerError
from tuner.study.messages import (
    Checkpointed,
    Failed,
    Lost,
    Message,
    Opened,
    Reply,
    Saved,
    TrialRequest,
    WorkerSetup,
)
from tuner.system.child_processes import end_with_children
from tuner.system.logs import last_line, shorten_log
from tuner.system.machine import (
    data_budget_bytes,
    default_workers,
    driver_gpus,
    gpus,
    threads_a_worker,
)
from tuner.system.names import command
from tuner.workers.base import EntryPoint
from tuner.workers.process_starts import (
    keep_ready,
    leave_gpu,
    start_process,
    take_gpu,
    take_ready,
    warm,
    why_not_started,
)
from tuner.workers.worker import worker_main

__all__ = ["LocalWorkers", "keep_ready", "open_workers", "warm"]

logger = logging.getLogger(__name__)

# Keras keeps memory from trial to trial: a process past either limit is replaced between trials.
_MAX_TRIALS_A_LANE = 200
# Half of it for weights and slots of cached programs, half for compiled code.
_MAX_GROWTH_BYTES = 2**30
# So many processes in a row that end before their session is open are no accident.
_MAX_FAILED_STARTS = 3
# A fork server that has died is started again for so long.
_RELAUNCH_S = 10.0
# A process that is needed no longer ends after so long: another may be needed soon.
_SURPLUS_S = 15.0


def open_workers(
    entry: EntryPoint,
    setup: WorkerSetup,
    *,
    processes: int | None = None,
    data_bytes: float | None = None,
    log: Path | None = None,
    tell: Callable[[str], None] = lambda line: None,
    share: Callable[[], int] | None = None,
) -> "LocalWorkers":
    """See `base.BackEnd.open_workers`. By default: a process for each GPU, else for each core."""
    usable_gpus = gpus()  # where there are any, asking takes as long as the fork server's imports
    if len(usable_gpus) < driver_gpus():
        tell(
            f"TensorFlow can use {len(usable_gpus)} of the driver's {driver_gpus()} GPUs; "
            f"to see why: {command('doctor')}"
        )
    count = processes or default_workers(len(usable_gpus))
    setup = replace(
        setup,
        budget_bytes=data_bytes or data_budget_bytes(count),
        threads=threads_a_worker(count),
    )
    return LocalWorkers(count, entry, setup, usable_gpus, log, share)


@dataclass
class _Process:
    """`connections`: one for each of its workers. `busy`: the workers whose trial has not ended.
    `trials`: how many it was given. `log_start`: the size of the log when it got the latest.
    `first_rss`: its memory in bytes after its first trial, 0 before. `gpu`: the one it computes on,
    None without one."""

    process: ForkServerProcess
    connections: list[Connection]
    lifeline: Connection
    gpu: int | None = None
    opened: bool = False
    trials: int = 0
    log_start: int = 0
    first_rss: int = 0
    busy: set[int] = field(default_factory=set)

    def rss(self) -> int:
        with contextlib.suppress(psutil.Error):
            return int(psutil.Process(self.process.pid).memory_info().rss)
        return 0

    def end(self) -> None:
        _kill([self])
        self.process.join(5)
        self.hang_up()

    def hang_up(self) -> None:
        leave_gpu(self.gpu)
        for connection in (*self.connections, self.lifeline):
            connection.close()


def _kill(processes: list[_Process]) -> None:
    """With all that a user's function has started in them."""
    end_with_children(each.process.pid for each in processes if each.process.pid is not None)
    for each in processes:
        each.process.kill()


class LocalWorkers:
    """`processes` with `setup.lanes` workers each. What they and their fork server print, native
    code included, goes to the file `log`. `share`: how many workers are needed now; only so many
    processes are started, and those beyond it end after a while. `woken_by`: once something can be
    read from it, `wait` waits no longer."""

    def __init__(
        self,
        processes: int,
        entry: EntryPoint,
        setup: WorkerSetup,
        gpus: tuple[int, ...] = (),
        log: Path | None = None,
        share: Callable[[], int] | None = None,
        woken_by: Connection | None = None,
    ) -> None:
        self.lanes = setup.lanes
        self.count = processes * self.lanes
        self._log_file = log
        self._entry, self._setup, self._gpus = entry, setup, gpus
        self._failed_starts, self._has_worked = 0, False
        self._context = multiprocessing.get_context("forkserver")
        # The first ones of all: others are not needed now.
        self._processes: list[_Process] = []
        self._woken_by = [] if woken_by is None else [woken_by]
        self._share = share or (lambda: self.count)
        self._needed_at = 0.0
        # Messages still to be returned by `wait`: the trials that shared a process that was ended.
        self._lost: dict[int, Lost] = {}

    def start(self) -> None:
        warm(self._entry, self._log_file)
        self._start_needed(at_least=1)

    def _start_needed(self, at_least: int = 0) -> None:
        """Start the processes that the share asks for; end an idle one that it has not asked for
        during a while."""
        share = max(at_least, min(self._share(), self.count))
        needed, clock = math.ceil(share / self.lanes), time.monotonic()
        while len(self._processes) < needed:
            self._processes.append(self._spawn(len(self._processes)))
        if len(self._processes) <= needed:
            self._needed_at = clock
        elif clock - self._needed_at > _SURPLUS_S and not self._processes[-1].busy:
            self._processes.pop().end()

    def _spawn(self, number: int) -> _Process:
        if self.lanes == 1 and not self._gpus:
            ready = take_ready(self._entry, (self._setup, self._log_file))
            if ready is not None:
                return _Process(ready.process, [ready.connection], ready.lifeline)
        pipes = [self._context.Pipe() for _ in range(self.lanes)]
        their_lifeline, our_lifeline = self._context.Pipe(duplex=False)
        gpu = take_gpu(self._gpus)
        their_ends = [their_end for _, their_end in pipes]
        process = self._context.Process(
            target=worker_main,
            args=(
                self._entry,
                replace(self._setup, gpu=gpu),
                their_ends,
                their_lifeline,
                self._log_file,
            ),
            name=f"tuner-worker-{number}",
            daemon=True,
        )
        self._start_process(process)
        for end in (*their_ends, their_lifeline):
            end.close()
        return _Process(process, [our_end for our_end, _ in pipes], our_lifeline, gpu)

    def _start_process(self, started: ForkServerProcess) -> None:
        """Have the fork server start a process. The server may have died since it was last needed,
        perhaps for lack of memory: multiprocessing starts another one, once it notices."""
        deadline = time.monotonic() + (_RELAUNCH_S if self._has_worked else 0.0)
        while True:
            try:
                start_process(started, self._entry, self._log_file)
                return
            except (EOFError, OSError) as error:
                if time.monotonic() >= deadline:
                    raise WorkerError(self._why_no_process(error)) from error
            time.sleep(0.1)

    def _why_no_process(self, error: Exception) -> str:
        if not isinstance(error, EOFError | ConnectionError):
            return why_not_started(error)
        last_words = last_line(self._log_file)
        reason = f": {last_words}" if last_words else ""
        return f"the process that starts the workers has ended{reason}{self._see_log()}"

    def _see_log(self) -> str:
        return f"; see {self._log_file}" if self._log_file else ""

    def _of(self, worker: int) -> _Process:
        return self._processes[worker // self.lanes]

    @property
    def _started(self) -> int:
        """How many workers have a process: the first ones."""
        return len(self._processes) * self.lanes

    def _connection(self, worker: int) -> Connection:
        return self._of(worker).connections[worker % self.lanes]

    def takes(self, worker: int) -> bool:
        if worker >= self._started:
            return False
        process = self._of(worker)
        return process.opened and not self._is_outgrown(process)

    def is_open(self, worker: int) -> bool:
        """Whether its process has opened its session."""
        return worker < self._started and self._of(worker).opened

    def is_outgrown(self, worker: int) -> bool:
        """Whether its process should be replaced once all trials in it have ended."""
        return worker < self._started and self._is_outgrown(self._of(worker))

    def place(self, worker: int) -> None:
        return None

    def submit(self, worker: int, request: TrialRequest) -> None:
        self._lost.pop(worker, None)  # of an earlier trial, which has ended all the same
        process = self._of(worker)
        process.trials += 1
        process.busy.add(worker)
        if self._log_file is not None:
            shorten_log(self._log_file)
        process.log_start = _size(self._log_file)
        self._send(worker, request)

    def reply(self, worker: int, reply: Reply) -> None:
        if worker not in self._of(worker).busy:
            return  # its process was replaced meanwhile; the next `wait` says so
        self._send(worker, reply)
        if reply.stop and reply.save_to is None and not reply.checkpoint:
            self._free(worker)

    def restart(self, worker: int) -> None:
        # A process cannot be ended in part.
        logger.info("the process of worker %d is ended", worker)
        self._replace(worker, restarted=True)

    def recycle(self) -> list[int]:
        recycled: list[int] = []
        for first in range(0, self._started, self.lanes):
            process = self._of(first)
            if process.opened and not process.busy and self._is_outgrown(process):
                logger.info("the process of worker %d has grown, and is replaced", first)
                self._replace(first)
                recycled += range(first, first + self.lanes)
        return recycled

    def _free(self, worker: int) -> None:
        """The worker's trial has ended."""
        process = self._of(worker)
        process.busy.discard(worker)
        # However the first trial ended: growth is counted from what that one needed.
        process.first_rss = process.first_rss or process.rss()

    def _send(self, worker: int, message: TrialRequest | Reply) -> None:
        # A broken pipe shows as a lost worker at the next wait.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self._connection(worker).send(message)

    def wait(self, timeout_s: float) -> list[tuple[int, Message]]:
        if self._lost:
            lost, self._lost = self._lost, {}
            return list(lost.items())
        self._start_needed()
        connections = {self._connection(worker): worker for worker in range(self._started)}
        messages: list[tuple[int, Message]] = []
        for ready in wait([*connections, *self._woken_by], timeout_s):
            if ready in self._woken_by:
                continue
            worker = connections[cast(Connection, ready)]
            if ready is not self._connection(worker):
                continue  # of a process that was found lost just now, and replaced
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
            process.opened, self._has_worked, self._failed_starts = True, True, 0
            return None
        if isinstance(message, Saved | Failed | Checkpointed):
            self._free(worker)
        return message

    def _lose(self, worker: int) -> Lost:
        """The worker's process has ended by itself."""
        process = self._of(worker)
        process.process.join(1.0)
        exit_code = process.process.exitcode
        self._failed_starts += not process.opened
        if self._failed_starts >= _MAX_FAILED_STARTS:
            raise WorkerError(
                f"workers end as they start, with exit code {exit_code}{self._see_log()}"
            )
        others = len(process.busy - {worker})
        logger.info("the process of worker %d ended with exit code %s", worker, exit_code)
        self._replace(worker)
        return Lost(exit_code, others, last_words=last_line(self._log_file, process.log_start))

    def _is_outgrown(self, process: _Process) -> bool:
        if process.trials >= _MAX_TRIALS_A_LANE * self.lanes:
            return True
        if not process.first_rss:
            return False
        return process.rss() - process.first_rss > self._max_growth_bytes(process.first_rss)

    def _max_growth_bytes(self, first_rss: int) -> float:
        # What earlier trials have left behind must not count against the next one's limit.
        limit = self._setup.memory_bytes
        return min(_MAX_GROWTH_BYTES, math.inf if limit is None else (limit - first_rss) / 2)

    def _replace(self, worker: int, restarted: bool = False) -> None:
        """Start another process in place of the worker's; the next `wait` tells of the other trials
        in it."""
        process = self._of(worker)
        process.end()
        last_words = last_line(self._log_file, process.log_start)
        lost = Lost(process.process.exitcode, len(process.busy) - 1, restarted, last_words)
        self._lost |= dict.fromkeys(process.busy - {worker}, lost)
        number = worker // self.lanes
        self._processes[number] = self._spawn(number)

    def close(self) -> None:
        _kill(self._processes)
        deadline = time.monotonic() + 5
        for process in self._processes:
            process.process.join(max(0.0, deadline - time.monotonic()))
            process.hang_up()
        self._processes = []


def _size(log: Path | None) -> int:
    try:
        return log.stat().st_size if log is not None else 0
    except OSError:
        return 0
