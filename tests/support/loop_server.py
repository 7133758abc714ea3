"""Loops in processes of their own, without a new interpreter for each: a server that has imported
what a loop needs forks them. It starts with the first loop, and ends with the tests' process."""

import atexit
import contextlib
import importlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from functools import cache
from pathlib import Path

# Sent with an order: where a loop prints, and where its wait status is written.
_FILES = 2
_LARGEST_ORDER = 2**20
# What a loop imports only once it needs it.
_IMPORTED_LATE = ("alembic.command", "pandas", "pyarrow.compute")


class ForkedLoop:
    """What the tests use of a subprocess.Popen, for a process that the server has forked."""

    def __init__(self, pid: int, output: int, status: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._output: int | None = output
        self._status, self._printed = status, b""

    def poll(self) -> int | None:
        return self._wait(0.0)

    def wait(self, timeout: float | None = None) -> int:
        if self._wait(timeout) is None:
            raise subprocess.TimeoutExpired(f"loop {self.pid}", timeout or 0.0)
        assert self.returncode is not None
        return self.returncode

    def _wait(self, timeout: float | None) -> int | None:
        if self.returncode is None and select.select([self._status], [], [], timeout)[0]:
            self.returncode = os.waitstatus_to_exitcode(int(os.read(self._status, 32)))
            os.close(self._status)
        return self.returncode

    def communicate(self, timeout: float | None = None) -> tuple[str, None]:
        """What it printed, once neither it nor its workers can print any more."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while self._output is not None:
            left = None if deadline is None else max(deadline - time.monotonic(), 0.0)
            if not select.select([self._output], [], [], left)[0]:
                raise subprocess.TimeoutExpired(f"loop {self.pid}", timeout or 0.0)
            if part := os.read(self._output, 2**16):
                self._printed += part
            else:
                os.close(self._output)
                self._output = None
        self.wait(None if deadline is None else max(deadline - time.monotonic(), 0.0))
        return self._printed.decode(), None

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)


def start_loop(arguments: list[str], environment: Mapping[str, str]) -> ForkedLoop:
    """Start `toy_study.run` with these arguments."""
    order = {"arguments": arguments, "environment": dict(environment), "folder": str(Path.cwd())}
    output, printed = os.pipe()
    status, ended = os.pipe()
    server = _server()
    socket.send_fds(server, [json.dumps(order).encode()], [printed, ended])
    pid = int(server.recv(32))
    os.close(printed)
    os.close(ended)
    return ForkedLoop(pid, output, status)


@cache
def _server() -> socket.socket:
    """It ends when this process does, whichever way: its socket is closed then."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    here = str(Path(__file__).parent)
    path = os.pathsep.join([here, os.environ.get("PYTHONPATH", "")])
    # Not this file as the script: each worker of a loop would run it anew.
    process = subprocess.Popen(
        [sys.executable, "-c", f"import loop_server; loop_server.serve({theirs.fileno()})"],
        env=os.environ | {"PYTHONPATH": path},
        pass_fds=[theirs.fileno()],
    )
    theirs.close()

    def end() -> None:
        ours.close()
        process.wait()

    atexit.register(end)
    return ours


def serve(number: int) -> None:
    """The server's process; it returns in each loop's own, once that has ended."""
    # Ctrl-C at the tests is for the loops. Blocked: a loop gets what it was sent early.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    import toy_study

    for name in _IMPORTED_LATE:
        importlib.import_module(name)

    if _forks(socket.socket(fileno=number)):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        toy_study.run()


def _forks(orders: socket.socket) -> bool:
    """Fork a process for each order until there are no more. True in such a process."""
    reading, writing = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(writing)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    ended: dict[int, int] = {}
    while True:
        if reading in select.select([orders, reading], [], [])[0]:
            os.read(reading, 2**16)
            _report(ended)
            continue
        message, files, _, _ = socket.recv_fds(orders, _LARGEST_ORDER, _FILES)
        if not message:
            return False
        pid = os.fork()
        if not pid:
            for file in (reading, writing, orders.detach(), *ended.values()):
                os.close(file)
            _become(json.loads(message), *files)
            return True
        ended[pid] = files[1]
        os.close(files[0])
        orders.send(str(pid).encode())


def _report(ended: dict[int, int]) -> None:
    """Write the wait status of each loop that has ended."""
    with contextlib.suppress(ChildProcessError):
        while (found := os.waitpid(-1, os.WNOHANG))[0]:
            file = ended.pop(found[0])
            with contextlib.suppress(BrokenPipeError):
                os.write(file, str(found[1]).encode())
            os.close(file)


def _become(order: dict[str, object], output: int, status: int) -> None:
    """Be as a process that was started for this order."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.close(status)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.close(output)
    os.chdir(str(order["folder"]))
    os.environ.clear()
    os.environ.update(order["environment"])  # type: ignore[call-overload]
    sys.argv[1:] = order["arguments"]  # type: ignore[assignment]
