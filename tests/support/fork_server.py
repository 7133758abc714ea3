"""Processes without a new interpreter for each: a server that has imported what loops and commands
need forks them. It imports for the first of them, and ends with the tests' process."""

import atexit
import contextlib
import gc
import importlib
import io
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO

LOOP = "import toy_study; toy_study.run()"
DAEMON = "import toy_study; toy_study.run_daemon()"
COMMAND = "from tuner.__main__ import main; main()"
TOY_COMMAND = "import toy_command; toy_command.run()"
_MODULE = "import runpy, sys; runpy.run_module(sys.argv.pop(1), run_name='__main__')"
# Sent with an order: where its wait status is written, and its streams.
_FILES = 4
# A pid or a wait status.
_NUMBER = 16
_LARGEST_ORDER = 2**20
# What loops and commands import only once they need it.
_IMPORTED_LATE = (
    "alembic.command",
    "mlflow.store.tracking.sqlalchemy_store",
    "pandas",
    "pyarrow.compute",
    "tuner.cli.commands",
    "mlflow.tracking",
)


class Forked:
    """What the tests use of a subprocess.Popen, for a process that the server has forked."""

    def __init__(self, pid: int, status: int, output: int | None = None) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self.stdin: BinaryIO | None = None
        self._output = output
        self.status, self._printed = status, b""

    def poll(self) -> int | None:
        return self._wait(0.0)

    def wait(self, timeout: float | None = None) -> int:
        if self._wait(timeout) is None:
            raise subprocess.TimeoutExpired(f"process {self.pid}", timeout or 0.0)
        assert self.returncode is not None
        return self.returncode

    def _wait(self, timeout: float | None) -> int | None:
        if self.returncode is None and select.select([self.status], [], [], timeout)[0]:
            self.returncode = os.waitstatus_to_exitcode(int(os.read(self.status, _NUMBER)))
            os.close(self.status)
        return self.returncode

    def communicate(self, timeout: float | None = None) -> tuple[str, None]:
        """What it printed, once neither it nor its workers can print any more."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while self._output is not None:
            left = None if deadline is None else max(deadline - time.monotonic(), 0.0)
            if not select.select([self._output], [], [], left)[0]:
                raise subprocess.TimeoutExpired(f"process {self.pid}", timeout or 0.0)
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


def start_loop(arguments: list[str], environment: Mapping[str, str], code: str = LOOP) -> Forked:
    """Start `toy_study.run` with these arguments, or `code`: that of a daemon."""
    output, printed = os.pipe()
    nothing = os.open(os.devnull, os.O_RDONLY)
    forked = start(code, arguments, Path.cwd(), (nothing, printed, printed), environment)
    os.close(nothing)
    os.close(printed)
    return Forked(forked.pid, forked.status, output)


def run_command(
    words: Sequence[str], folder: Path, *closed: int, stdout: str | int = "", stderr: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run `tuner` as `subprocess.run` would. `closed`: numbers of streams that it does not have.
    `stdout` and `stderr`: a file for what it writes, which is otherwise returned."""
    with tempfile.TemporaryDirectory() as place, contextlib.ExitStack() as stack:
        files = []
        for given in (os.devnull, stdout or f"{place}/1", stderr or f"{place}/2"):
            if isinstance(given, str):
                given = os.open(given, os.O_RDWR | os.O_CREAT)
                stack.callback(os.close, given)
            files.append(given)
        streams = [None if n in closed else file for n, file in enumerate(files)]
        code = start(COMMAND, words, folder, streams).wait(200)
        written = [Path(place, name) for name in ("1", "2")]
        texts = [path.read_text() if path.exists() else "" for path in written]
    return subprocess.CompletedProcess(list(words), code, *texts)


class ForkedPythons:
    """What `tuner.tracking` uses of the module subprocess, for `python -P -m MODULE WORDS`."""

    PIPE, TimeoutExpired = subprocess.PIPE, subprocess.TimeoutExpired
    DEVNULL = subprocess.DEVNULL

    @staticmethod
    def Popen(command: Sequence[str], **given: Any) -> Forked:  # noqa: N802
        stdin, writing = os.pipe()
        streams = (stdin, given["stdout"].fileno(), given["stderr"].fileno())
        forked = start(_MODULE, command[3:], Path.cwd(), streams, given["env"])
        os.close(stdin)
        forked.stdin = os.fdopen(writing, "wb")
        return forked

    @staticmethod
    def run(command: Sequence[str], **given: Any) -> subprocess.CompletedProcess[str]:
        with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
            with Path(os.devnull).open() as nothing:
                streams = (nothing.fileno(), out.fileno(), err.fileno())
                forked = start(_MODULE, command[3:], Path.cwd(), streams, given["env"])
            code = forked.wait(given["timeout"])
            for written in (out, err):
                written.seek(0)
            return subprocess.CompletedProcess(command, code, out.read(), err.read())


def start(
    code: str,
    arguments: Sequence[str],
    folder: Path,
    streams: Sequence[int | None],
    environment: Mapping[str, str] | None = None,
) -> Forked:
    """As `python -c code arguments` in this folder. `streams`: files for stdin, stdout and stderr;
    None for one that is closed."""
    order = {
        "code": code,
        "arguments": list(arguments),
        "environment": dict(os.environ if environment is None else environment),
        "folder": str(folder),
        "streams": [file is not None for file in streams],
    }
    status, ended = os.pipe()
    files = [ended, *(file for file in streams if file is not None)]
    socket.send_fds(start_server(), [json.dumps(order).encode()], files)
    os.close(ended)
    return Forked(int(os.read(status, _NUMBER)), status)


@cache
def start_server() -> socket.socket:
    """Where it takes orders, also of processes that are forked from this one. It ends once they
    all have, whichever way: its socket is closed then."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    here = str(Path(__file__).parent)
    path = os.pathsep.join([here, os.environ.get("PYTHONPATH", "")])
    # Not this file as the script: each worker of a loop would run it anew.
    process = subprocess.Popen(
        [sys.executable, "-c", f"import fork_server; fork_server.serve({theirs.fileno()})"],
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
    orders = socket.socket(fileno=number)
    select.select([orders], [], [])
    import toy_study  # noqa: F401
    from prepared import prepare_loop
    from shared_statements import share_statements

    share_statements()
    for name in _IMPORTED_LATE:
        importlib.import_module(name)
    _compile_statements()

    # Or each process would look through all that was imported, and copy it, as it ends: 0.4 s.
    gc.collect()
    gc.freeze()
    code = _forks(orders)
    if code is not None:
        if code in (LOOP, TOY_COMMAND):
            code = prepare_loop(code)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        exec(code, {"__name__": "__main__"})


def _compile_statements() -> None:
    """What most loops ask of a database: else each of them compiles it, 0.3 s of its 1.7 s."""
    from tracking_helpers import Search, make_spec

    from tuner.storage import open_store
    from tuner.storage.studies import create_study

    with tempfile.TemporaryDirectory() as folder:
        store = open_store(f"sqlite:///{folder}/tuner.db")
        search = Search(store, create_study(store, "first", make_spec()))
        trial = search.start()
        search.train(trial, epochs=2)
        search.complete(trial, 0.5)
        store.close()
    tempfile.tempdir = None  # it is remembered, and what is forked has a folder of its own


def _forks(orders: socket.socket) -> str | None:
    """Fork a process for each order until there are no more. In such a process: its code."""
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
            return None
        pid = os.fork()
        if not pid:
            for file in (reading, writing, orders.detach(), *ended.values()):
                os.close(file)
            return _become(json.loads(message), files)
        ended[pid] = files.pop(0)
        os.write(ended[pid], f"{pid:{_NUMBER}}".encode())
        for file in files:
            os.close(file)


def _report(ended: dict[int, int]) -> None:
    """Write the wait status of each loop that has ended."""
    with contextlib.suppress(ChildProcessError):
        while (found := os.waitpid(-1, os.WNOHANG))[0]:
            file = ended.pop(found[0])
            with contextlib.suppress(BrokenPipeError):
                os.write(file, f"{found[1]:{_NUMBER}}".encode())
            os.close(file)


def _become(order: dict[str, Any], files: list[int]) -> str:
    """Be as a process that was started for this order. Its code."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.close(files.pop(0))
    for number, given in enumerate(order["streams"]):
        if given:
            os.dup2(files[0], number)
            os.close(files.pop(0))
        else:
            os.close(number)
    _open_streams(order["streams"])
    os.chdir(order["folder"])
    os.environ.clear()
    os.environ.update(order["environment"])
    sys.argv[1:] = order["arguments"]
    return str(order["code"])


def _open_streams(given: list[bool]) -> None:
    """As an interpreter finds them: None where there is none."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        was: io.TextIOWrapper = getattr(sys, f"__{name}__")
        mode = "w" if number else "r"
        stream = None
        if given[number]:
            stream = os.fdopen(number, mode, -1, was.encoding, was.errors, closefd=False)
            if number == 2:
                stream.reconfigure(line_buffering=True)
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)
