"""Children that a process has from its start, with all imports done: they wait, and become its
tracker and its fork servers. New interpreters import for 3 s, and TensorFlow for 5 s."""

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
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, BinaryIO

from tuner.tracking import process

TRACKER = "import runpy; runpy.run_module('tuner.tracking', run_name='__main__')"
_FILES = 8
_LARGEST_ORDER = 2**20
# Above all numbers of files that a loop has.
_FREE = 500


def prepare_loop(code: str) -> str:
    """Have a tracker and a fork server. In each of them: the code that it is to run, which is
    `code` here."""
    tracker = _Child()
    if tracker.code is not None:
        return tracker.code
    server = _Child(tracker.orders)
    if server.code is not None:
        return server.code
    process.subprocess = _Subprocess(tracker)  # type: ignore[assignment]
    _use_fork_servers([server], "multiprocessing.forkserver")
    return code


def prepare_fork_servers(count: int, parent: Connection) -> None:
    """Have fork servers for searches of this process that train with TensorFlow, which it has
    imported and not used. `parent`: what they are not to keep open."""
    children: list[_Child] = []
    for _ in range(count):
        child = _Child(parent, *(other.orders for other in children))
        if child.code is not None:
            try:
                exec(child.code, {"__name__": "__main__"})
            finally:
                os._exit(0)
        children.append(child)
    _use_fork_servers(children, "tuner.training.session")


class _Child:
    """A child that waits. `orders`: the socket that it reads. In the child itself, once it has its
    order, `code` is what it is to run. `closed`: what it does not keep open."""

    def __init__(self, *closed: socket.socket | Connection) -> None:
        self.used = False
        self.code: str | None = None
        self.orders, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.pid = os.fork()
        if self.pid:
            theirs.close()
        else:
            for each in (self.orders, *closed):
                each.close()
            self.code = _wait(theirs)

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


def _use_fork_servers(children: list[_Child], word: str) -> None:
    """In turn, for those whose code has this word."""
    real = util.spawnv_passfds  # type: ignore[attr-defined]

    def spawn(path: str, arguments: Sequence[Any], files: Sequence[int]) -> int:
        code = os.fsdecode(arguments[-1])
        if not children or "multiprocessing.forkserver" not in code or word not in code:
            return int(real(path, arguments, files))
        child = children.pop()
        inherited = {file: file for file in (0, 1, 2, *files)}
        child.become(code, inherited, os.environ, session=False)
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
