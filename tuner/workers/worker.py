"""What a worker does: it runs trials, sends events and obeys replies.

`serve` needs a session and a connection, so other back ends can use it; `worker_main` is the main
function of a local worker process.
"""

import contextlib
import functools
import os
import signal
import sys
import threading
import time
import traceback
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Protocol

import psutil

from tuner.settings import load_settings
from tuner.study.artifacts import Artifacts, patiently
from tuner.study.messages import (
    OUT_OF_MEMORY,
    Checkpointed,
    Event,
    Opened,
    Reply,
    Saved,
    WorkerSetup,
)
from tuner.system.child_processes import end_with_children
from tuner.system.logs import log_into_file_on_stderr, logging_about, set_log_format
from tuner.system.redirecting import move_output_to
from tuner.system.secret_masking import mask_output
from tuner.workers.base import EntryPoint, Session

_LOOK_S = 0.05


# What both methods of a Channel raise once the other end is closed. A connection is reset where it
# was closed with something unread in it.
_CLOSED = (EOFError, ConnectionError)


class Channel(Protocol):
    """One end of a conversation, such as a Connection of `multiprocessing`. Both methods raise one
    of `_CLOSED` once the other end is closed."""

    def send(self, message: Any, /) -> None: ...

    def recv(self) -> Any: ...


class _ChannelClosed(BaseException):
    """The other end is closed while a trial runs. No EOFError or BrokenPipeError: those may be
    the user's own, as of `input()`, and are failures of the trial."""


def serve(session: Session, channel: Channel, artifacts: Artifacts | None) -> None:
    """Run the trials that come from the channel, until it is closed or gives None. `artifacts`:
    where networks are saved."""
    # Nobody is left to work for.
    with contextlib.suppress(*_CLOSED, _ChannelClosed):
        while (request := channel.recv()) is not None:
            _run_trial(session, request, channel, artifacts)


def _run_trial(
    session: Session, request: Any, channel: Channel, artifacts: Artifacts | None
) -> None:
    def tell(event: Event) -> Reply:
        try:
            channel.send(event)
            reply: Reply = channel.recv()
        except _CLOSED as error:
            raise _ChannelClosed from error
        if reply.save_to is not None:
            assert artifacts is not None, "the setup says nowhere to save a network"
            # The checksum is computed here: the loop must not be held up by large files.
            name = reply.save_to
            channel.send(Saved(patiently(lambda: artifacts.put(name, session.save))))
        if reply.checkpoint:
            _write_checkpoint(session)
            channel.send(Checkpointed())
        return reply

    try:
        with logging_about(trial=getattr(request, "number", None)):
            session.run(request, tell)
    except Exception as error:
        channel.send(session.failure(error))


def _write_checkpoint(session: Session) -> None:
    try:
        session.checkpoint()
    except Exception:
        # The trial goes on from an earlier one: it was interrupted through no fault of its own.
        traceback.print_exc()


def worker_main(
    entry: EntryPoint,
    setup: WorkerSetup,
    connections: list[Connection],
    lifeline: Connection,
    log: Path | None = None,
) -> None:
    """Serve each of the connections, one a lane, until the loop is gone. The limit of memory is for
    the whole process, however many trials it trains. `log`: the file for what it prints; without
    one it goes where the fork server's goes, which several searches may share."""
    _outlive(lifeline)
    _serve_all(entry, setup, connections, log)


def ready_main(entry: EntryPoint, connection: Connection, lifeline: Connection) -> None:
    """Warm up, then wait to become a worker: the connection brings the setup and the log."""
    _outlive(lifeline)
    with contextlib.suppress(Exception):  # where it fails, the session says why
        entry.load_warm_up()()
    with contextlib.suppress(*_CLOSED):
        setup, log = connection.recv()
        _serve_all(entry, setup, [connection], log)


def _outlive(lifeline: Connection) -> None:
    """End with the loop, and only with it."""
    _outlive_signals()
    _start_thread(_end_with_loop, lifeline)


def _serve_all(
    entry: EntryPoint, setup: WorkerSetup, connections: list[Connection], log: Path | None
) -> None:
    if log is not None:
        move_output_to(log)
    load_settings()  # the environment's passwords are known from here on
    mask_output()  # a network of the user's may print
    set_log_format(setup.log_format)
    log_into_file_on_stderr()
    with contextlib.suppress(AttributeError, ValueError):
        sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    with contextlib.suppress(*_CLOSED):  # the loop has closed its end
        sessions = _open_sessions(entry, setup, connections)
        if setup.memory_bytes is not None and sessions:
            _start_thread(_end_over_limit, setup.memory_bytes)
        # The first one is served in the main thread.
        for session, connection in list(zip(sessions, connections, strict=False))[1:]:
            _start_thread(_serve_beside, session, connection, setup.artifacts)
        for session in sessions[:1]:
            serve(session, connections[0], setup.artifacts)


def _outlive_signals() -> None:
    """Signals may reach the whole process group; what becomes of a trial is the loop's decision."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    # Processes inherit what is ignored and blocked, and `terminate` must end those that a user's
    # function starts. Programs that they run get no handler of ours.
    signal.signal(signal.SIGTERM, lambda number, frame: None)
    block = functools.partial(signal.pthread_sigmask, signal.SIG_BLOCK, [signal.SIGTERM])
    unblock = functools.partial(signal.pthread_sigmask, signal.SIG_UNBLOCK, [signal.SIGTERM])

    def end_by_it() -> None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        unblock()

    # Blocked meanwhile: a process that is ended at once must not meet our handler.
    os.register_at_fork(before=block, after_in_parent=unblock, after_in_child=end_by_it)
    unblock()


def _start_thread(function: Any, *arguments: object) -> None:
    threading.Thread(target=functools.partial(function, *arguments), daemon=True).start()


def _serve_beside(session: Session, channel: Channel, artifacts: Artifacts | None) -> None:
    try:
        serve(session, channel, artifacts)
    except BaseException:
        # A process that serves all of its connections but one would never be replaced.
        traceback.print_exc()
        os._exit(1)


def _open_sessions(
    entry: EntryPoint, setup: WorkerSetup, connections: list[Connection]
) -> list[Session]:
    """A session for each connection; none where that fails, and the loop is told why."""
    try:
        sessions = [entry.load()(setup)]
        sessions += [sessions[0].beside() for _ in connections[1:]]
        _check_memory(setup.memory_bytes)
    except Exception as error:
        traceback.print_exc()
        first_line = (str(error).strip().splitlines() or [""])[0]
        connections[0].send(Opened(f"{type(error).__name__}: {first_line}"))
        return []
    connections[0].send(Opened())
    return sessions


def _check_memory(limit_bytes: float | None) -> None:
    used_bytes = psutil.Process().memory_info().rss
    if limit_bytes is not None and used_bytes > limit_bytes:
        raise MemoryError(
            f"a worker holds {used_bytes / 2**20:.0f} MiB before it trains anything; "
            f"the limit of {limit_bytes / 2**20:.0f} MiB for a trial must be above that"
        )


def _end_over_limit(limit_bytes: float) -> None:
    # Not by RLIMIT: an allocation that fails inside XLA is a SIGSEGV, which looks like any crash.
    process = psutil.Process()
    while process.memory_info().rss <= limit_bytes:
        time.sleep(_LOOK_S)
    os._exit(OUT_OF_MEMORY)


def _end_with_loop(lifeline: Connection) -> None:
    # A worker's parent is the fork server, so the loop's death sends no signal; but it closes the
    # other end of this pipe, however the loop died.
    try:
        lifeline.recv_bytes()
    except (EOFError, OSError):
        end_with_children([os.getpid()])
