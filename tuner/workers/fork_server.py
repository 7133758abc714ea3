"""The server that all processes of local workers are forked from. It has TensorFlow imported.

A command that will need it starts it before it imports anything else itself: this module needs
little of Python and of tuner.
"""

import atexit
import contextlib
import functools
import multiprocessing
import os
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator
from multiprocessing import forkserver, resource_tracker, util
from pathlib import Path
from types import ModuleType
from typing import Any

from tuner.settings import libraries_first, quiet_tensorflow
from tuner.system.redirecting import output_to
from tuner.system.temporary_folders import lock_folder, own_servers_folder
from tuner.workers.base import EntryPoint

# The path of a socket has up to 107 bytes; multiprocessing's own two names take 33 of them.
_MAX_TEMPORARY_PATH_BYTES = 72
_SHORT_FOLDERS = ("/tmp", "/var/tmp", "/dev/shm")
_ENDING_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# Several searches may run in threads of this process. The fork server, the environment, the
# streams and the main module, which change while a process is started, belong to all of them.
STARTING = threading.RLock()
# What the server imports that was started on the chance that it is needed; None once it was.
_early: EntryPoint | None = None


def start_early(entry: EntryPoint) -> None:
    """Start the server before it is known whether the workers will be of this kind. `ensure_server`
    keeps it, or starts another one. It ends with this process if nobody needed it. Where it cannot
    be started now, whoever needs it will say why."""
    global _early
    with STARTING, contextlib.suppress(OSError):
        if not has_server():
            quiet_tensorflow()
            _start_server(entry, None)
            _early = entry
            atexit.register(end_early)


def end_early() -> None:
    """End the server that was started early, unless it was needed. It is killed: in the middle of
    an import it does not notice that nobody holds it any more."""
    global _early
    with STARTING:
        if _early is not None:
            _early = None
            _kill_server()


def _kill_server() -> None:
    server = _server()
    number = server._forkserver_pid
    if number is not None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(number, signal.SIGKILL)
        server._stop()  # waits for it, and forgets it


def ensure_server(entry: EntryPoint, log: Path | None) -> None:
    """A server runs, and has begun its imports. `log`: the file for what it prints. Callers hold
    STARTING. Raises OSError."""
    global _early
    if _early != entry:
        end_early()
    _early = None
    if not has_server():
        _start_server(entry, log)


def has_server() -> bool:
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
    with libraries_first(), output_to(log), no_main_module():
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
    global _early
    _early, server = None, _server()
    if server._forkserver_pid is not None:
        with contextlib.suppress(OSError):
            os.close(server._forkserver_alive_fd)  # the server ends when nobody holds it
        type(server).__init__(server)


os.register_at_fork(after_in_child=_forget_parents_server)


@contextlib.contextmanager
def no_main_module() -> Iterator[None]:
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
