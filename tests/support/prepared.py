"""Children that a loop has from its start, with all imports done: they wait, and become its tracker
and its fork server. New interpreters would import for 3 s and for 1 s."""

import fcntl
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from multiprocessing import util
from pathlib import Path
from typing import Any, BinaryIO

from tuner.tracking import process

TRACKER = "import sys; from tuner.tracking.__main__ import main; sys.exit(main())"
_FILES = 3
_LARGEST_ORDER = 2**20
# Above all numbers of files that a loop has.
_FREE = 500


def prepare(code: str) -> str:
    """Have both children, and use them. In each of them: the code that it is to run, which is
    `code` here."""
    children = []
    for _ in range(2):
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        pid = os.fork()
        if not pid:
            for child in children:
                child.orders.close()
            ours.close()
            return _wait(theirs)
        theirs.close()
        children.append(_Child(pid, ours))
    tracker, server = children
    _start_tracker_in(tracker)
    _start_fork_server_in(server)
    return code


class _Child:
    """A child that waits. `orders`: the socket that it reads."""

    def __init__(self, pid: int, orders: socket.socket) -> None:
        self.pid, self.orders = pid, orders
        self.used = False

    def become(
        self, code: str, files: Mapping[int, int], environment: Mapping[str, str], session: bool
    ) -> None:
        """`files`: this process's own, by the number that they have in the child."""
        order = {
            "code": code,
            "numbers": list(files),
            "environment": dict(environment),
            "session": session,
            "folder": str(Path.cwd()),
            "file_bytes": resource.getrlimit(resource.RLIMIT_FSIZE),
        }
        socket.send_fds(self.orders, [json.dumps(order).encode()], list(files.values()))
        self.orders.close()
        self.used = True


class _Popen:
    """What TrackerProcess uses of a subprocess.Popen."""

    def __init__(self, pid: int, stdin: BinaryIO) -> None:
        self.pid, self.stdin = pid, stdin
        self.returncode: int | None = None

    def poll(self) -> int | None:
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def wait(self) -> int:
        while (code := self.poll()) is None:
            time.sleep(0.005)
        return code

    def kill(self) -> None:
        if self.poll() is None:
            os.kill(self.pid, signal.SIGKILL)


class _Subprocess:
    """The module subprocess, as TrackerProcess sees it."""

    PIPE = subprocess.PIPE

    def __init__(self, child: _Child) -> None:
        self._child = child

    def Popen(self, command: Sequence[str], **given: Any) -> Any:  # noqa: N802
        if self._child.used:
            return subprocess.Popen(command, **given)
        stdin, writing = os.pipe()
        files = {0: stdin, 1: given["stdout"].fileno(), 2: given["stderr"].fileno()}
        self._child.become(TRACKER, files, given["env"], given["start_new_session"])
        os.close(stdin)
        return _Popen(self._child.pid, os.fdopen(writing, "wb"))


def _start_tracker_in(child: _Child) -> None:
    process.subprocess = _Subprocess(child)  # type: ignore[assignment]


def _start_fork_server_in(child: _Child) -> None:
    real = util.spawnv_passfds  # type: ignore[attr-defined]

    def spawn(path: str, arguments: Sequence[Any], files: Sequence[int]) -> int:
        code = os.fsdecode(arguments[-1])
        if child.used or "multiprocessing.forkserver" not in code:
            return int(real(path, arguments, files))
        child.become(code, {file: file for file in files}, os.environ, session=False)
        return child.pid

    util.spawnv_passfds = spawn  # type: ignore[attr-defined]


def _wait(orders: socket.socket) -> str:
    """The code to run, once this child is to run it. It ends with its loop before."""
    message, files, _, _ = socket.recv_fds(orders, _LARGEST_ORDER, _FILES)
    orders.close()
    if not message:
        os._exit(0)
    order = json.loads(message)
    moved = [fcntl.fcntl(file, fcntl.F_DUPFD, _FREE) for file in files]
    for file in files:
        os.close(file)
    for file, number in zip(moved, order["numbers"], strict=True):
        os.dup2(file, number)
        os.close(file)
    if order["session"]:
        os.setsid()
    os.chdir(order["folder"])
    os.environ.clear()
    os.environ.update(order["environment"])
    resource.setrlimit(resource.RLIMIT_FSIZE, tuple(order["file_bytes"]))
    del sys.argv[1:]
    return str(order["code"])
