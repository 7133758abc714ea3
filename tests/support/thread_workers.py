"""A back end whose workers are threads of this process, the smallest one that keeps the contract of
`tuner.workers.base`. A thread cannot be killed: one that is ended is abandoned, and its connection
closed."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from toy_training import ToySession

from tuner.errors import WorkerError
from tuner.study.messages import (
    Checkpointed,
    Failed,
    Lost,
    Message,
    Reply,
    Saved,
    TrialRequest,
    WorkerSetup,
)
from tuner.workers.base import EntryPoint
from tuner.workers.worker import serve

ENTRY = EntryPoint("thread_workers:open_session")


class Died(BaseException):
    """Ends a thread as an exit code ends a process."""


class ThreadSession(ToySession):
    """A toy session that dies, or hangs, without its process. `ended`: it is abandoned."""

    ended = threading.Event()

    def _act(self, act: str, seed: int, crashes: int) -> None:
        if act == "crash":
            raise Died(9)
        if act == "hang":
            self.ended.wait()
            raise EOFError
        super()._act(act, seed, crashes)


def open_session(setup: WorkerSetup) -> ThreadSession:
    return ThreadSession(setup)


def warm(entry: EntryPoint, log: Path | None = None) -> None:
    return


def keep_ready(entry: EntryPoint, processes: int) -> None:
    """Threads start at once."""


def open_workers(
    entry: EntryPoint,
    setup: WorkerSetup,
    *,
    processes: int | None = None,
    data_bytes: float | None = None,
    log: Path | None = None,
    tell: Callable[[str], None] = lambda line: None,
    share: Callable[[], int] | None = None,
) -> "ThreadWorkers":
    return ThreadWorkers(processes or 1, entry, setup)


@dataclass
class _Group:
    """Workers that are lost together. `busy`: those whose trial has not ended."""

    connections: list[Connection]
    ended: threading.Event
    exit_codes: list[int | None]
    busy: set[int] = field(default_factory=set)


class ThreadWorkers:
    def __init__(self, processes: int, entry: EntryPoint, setup: WorkerSetup) -> None:
        self.lanes, self.count = setup.lanes, processes * setup.lanes
        self._entry, self._setup = entry, setup
        self._groups: list[_Group] = []
        self._lost: dict[int, Lost] = {}
        self._problem: str | None = None

    def start(self) -> None:
        try:
            self._groups = [self._open_group() for _ in range(self.count // self.lanes)]
        except Exception as error:
            first_line = str(error).splitlines()[0]
            self._problem = f"training cannot start: {type(error).__name__}: {first_line}"

    def _open_group(self) -> _Group:
        sessions: list[Any] = [self._entry.load()(self._setup) for _ in range(self.lanes)]
        group = _Group([], threading.Event(), [None] * self.lanes)
        for lane, session in enumerate(sessions):
            session.ended = group.ended
            ours, theirs = Pipe()
            group.connections.append(ours)
            arguments = (session, theirs, group, lane)
            threading.Thread(target=self._serve, args=arguments, daemon=True).start()
        return group

    def _serve(self, session: Any, connection: Connection, group: _Group, lane: int) -> None:
        try:
            serve(session, connection, self._setup.artifacts)
        except Died as death:
            group.exit_codes[lane] = death.args[0]
        connection.close()

    def takes(self, worker: int) -> bool:
        return True

    def place(self, worker: int) -> None:
        return None

    def recycle(self) -> list[int]:
        return []

    def submit(self, worker: int, request: TrialRequest) -> None:
        self._lost.pop(worker, None)
        self._groups[worker // self.lanes].busy.add(worker)
        self._connection(worker).send(request)

    def reply(self, worker: int, reply: Reply) -> None:
        group = self._groups[worker // self.lanes]
        if worker in group.busy:
            self._connection(worker).send(reply)
            if reply.stop and reply.save_to is None and not reply.checkpoint:
                group.busy.discard(worker)

    def wait(self, timeout_s: float) -> list[tuple[int, Message]]:
        if self._problem is not None:
            raise WorkerError(self._problem)
        if self._lost:
            lost, self._lost = self._lost, {}
            return list(lost.items())
        workers = {self._connection(worker): worker for worker in range(self.count)}
        messages: list[tuple[int, Message]] = []
        for connection in wait(list(workers), timeout_s):
            worker = workers[connection]  # type: ignore[index]
            if connection is self._connection(worker):
                messages.append((worker, self._receive(worker)))
        return messages

    def _receive(self, worker: int) -> Message:
        group = self._groups[worker // self.lanes]
        try:
            message: Message = self._connection(worker).recv()
        except (EOFError, OSError):
            exit_code = group.exit_codes[worker % self.lanes]
            others = len(group.busy - {worker})
            self._replace(worker, exit_code)
            return Lost(exit_code, others)
        if isinstance(message, Saved | Failed | Checkpointed):
            group.busy.discard(worker)
        return message

    def restart(self, worker: int) -> None:
        self._replace(worker, None, restarted=True)

    def _replace(self, worker: int, exit_code: int | None, restarted: bool = False) -> None:
        group = self._groups[worker // self.lanes]
        lost = Lost(exit_code, len(group.busy) - 1, restarted)
        self._lost |= dict.fromkeys(group.busy - {worker}, lost)
        self._abandon(group)
        self._groups[worker // self.lanes] = self._open_group()

    def close(self) -> None:
        for group in self._groups:
            self._abandon(group)
        self._groups = []

    def _abandon(self, group: _Group) -> None:
        group.ended.set()
        for connection in group.connections:
            connection.close()

    def _connection(self, worker: int) -> Connection:
        return self._groups[worker // self.lanes].connections[worker % self.lanes]
