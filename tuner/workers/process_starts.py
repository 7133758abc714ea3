"""How the processes of local workers begin: all are forked by one server, which has TensorFlow
imported. Some may wait for a setup, warmed up."""

import contextlib
import errno
import functools
import multiprocessing
import os
import shutil
import signal
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing import forkserver, resource_tracker, util
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from types import ModuleType
from typing import Any

from tuner.errors import WorkerError
from tuner.settings import libraries_first
from tuner.system.machine import gpus
from tuner.system.redirecting import output_to
from tuner.system.temporary_folders import lock_folder, own_servers_folder
from tuner.workers.base import EntryPoint
from tuner.workers.worker import ready_main

# The path of a socket has up to 107 bytes; multiprocessing's own two names take 33 of them.
_MAX_TEMPORARY_PATH_BYTES = 72
_SHORT_FOLDERS = ("/tmp", "/var/tmp", "/dev/shm")
_ENDING_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# Several searches may run in threads of this process. The fork server, the environment, the
# streams and the main module, which change while a process is started, belong to all of them.
STARTING = threading.RLock()


def warm(entry: EntryPoint, log: Path | None = None) -> None:
    """Start the fork server, which begins its imports. See `base.BackEnd.warm`."""
    try:
        with STARTING:
            if not _has_server():
                _start_server(entry, log)
    except OSError as error:
        raise WorkerError(why_not_started(error)) from error


def _has_server() -> bool:
    number = _server()._forkserver_pid
    if number is None:
        return False
    with contextlib.suppress(ChildProcessError):
        # WNOWAIT: multiprocessing waits for it too, and starts another one.
        ended = os.waitid(os.P_PID, number, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        return ended is None
    return False


def _server() -> Any:
    return forkserver._forkserver


def _start_server(entry: EntryPoint, log: Path | None) -> None:
    multiprocessing.get_context("forkserver").set_forkserver_preload(list(entry.preload))
    with libraries_first(), output_to(log), _no_main_module():
        _shorten_socket_paths()
        own_servers_folder()
        # Before the signals are blocked: when it starts, it unblocks SIGINT and SIGTERM.
        resource_tracker.ensure_running()
        with _ending_signals_blocked():
            forkserver.ensure_running()


@contextlib.contextmanager
def _ending_signals_blocked() -> Iterator[None]:
    """What ends a search must not end the fork server in the middle of an import. The server
    inherits that the signals are blocked; ignoring them here would lose those that arrive now."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _forget_parents_server() -> None:
    """In a forked process: the fork server is its parent's, and is no child of this one."""
    server = _server()
    if server._forkserver_pid is not None:
        with contextlib.suppress(OSError):
            os.close(server._forkserver_alive_fd)  # the server ends when nobody holds it
        type(server).__init__(server)


os.register_at_fork(after_in_child=_forget_parents_server)


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
        if not _has_server():
            _start_server(entry, log)
        with libraries_first(), _no_main_module():
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


@contextlib.contextmanager
def _no_main_module() -> Iterator[None]:
    """Inside, multiprocessing does not have the processes that it starts run this one's main module
    again: workers need nothing of it, and a user's script would start searches in each of them."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def _shorten_socket_paths() -> None:
    """The fork server's socket lies in the temporary folder. Where that path is too long for one,
    have multiprocessing use a folder elsewhere, made as it makes its own."""
    config = multiprocessing.current_process()._config  # type: ignore[attr-defined]
    length = len(os.fsencode(tempfile.gettempdir()))
    if config.get("tempdir") or length <= _MAX_TEMPORARY_PATH_BYTES:
        return
    for base in _SHORT_FOLDERS:
        with contextlib.suppress(OSError):
            config["tempdir"] = tempfile.mkdtemp(prefix="pymp-", dir=base)
            remove = functools.partial(shutil.rmtree, ignore_errors=True)
            # The priority of multiprocessing's own folder: after all that may use it.
            util.Finalize(None, remove, args=(config["tempdir"],), exitpriority=-100)
            lock_folder(Path(config["tempdir"]))
            return


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
