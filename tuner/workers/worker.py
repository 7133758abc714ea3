"""The main function of a local worker process: run plans, send events, obey replies."""

import contextlib
import importlib
import os
import signal
import sys
import threading
import time
import traceback
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import psutil

from tuner.settings import load_settings
from tuner.study.artifacts import Artifact
from tuner.study.messages import (
    OUT_OF_MEMORY,
    Checkpointed,
    Opened,
    Reply,
    Saved,
    Session,
    WorkerSetup,
)
from tuner.system.logs import mask_output

_LOOK_S = 0.05


def worker_main(
    entry: str, setup: WorkerSetup, connections: list[Connection], lifeline: Connection
) -> None:
    """Serve plans from each of the connections, which are as many as the setup's population, until
    the loop is gone. A limit of memory is the process', whatever number of trials it trains."""
    # These may reach the whole process group; what becomes of a trial is the loop's decision.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_end_with_loop, args=(lifeline,), daemon=True).start()
    load_settings()  # the environment's passwords are known from here on
    mask_output()  # a network of the user's may print: into the log, as it goes on
    with contextlib.suppress(AttributeError, ValueError):
        sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    try:
        sessions = _open(entry, setup, connections)
        if sessions and setup.memory_bytes is not None:
            limit = setup.memory_bytes
            threading.Thread(target=_end_over_limit, args=(limit,), daemon=True).start()
        for beside in list(zip(sessions, connections, strict=False))[1:]:
            threading.Thread(target=_work_beside, args=beside, daemon=True).start()
        if sessions:
            _work(sessions[0], connections[0])
    except (EOFError, BrokenPipeError):
        return  # the loop closed its end: there is nobody to work for


def _work(session: Session, connection: Connection) -> None:
    while (request := connection.recv()) is not None:
        _serve(session, request, connection)


def _work_beside(session: Session, connection: Connection) -> None:
    try:
        _work(session, connection)
    except (EOFError, BrokenPipeError):
        return
    except BaseException:
        # A process that serves all of its connections but one would never be replaced.
        traceback.print_exc()
        os._exit(1)


def _open(entry: str, setup: WorkerSetup, connections: list[Connection]) -> list[Session]:
    module, _, name = entry.partition(":")
    try:
        sessions: list[Session] = [getattr(importlib.import_module(module), name)(setup)]
        sessions += [sessions[0].beside() for _ in connections[1:]]
        _check_limit(setup.memory_bytes)
    except Exception as error:
        traceback.print_exc()
        first_line = (str(error).strip().splitlines() or [""])[0]
        connections[0].send(Opened(f"{type(error).__name__}: {first_line}"))
        return []
    connections[0].send(Opened())
    return sessions


def _check_limit(limit_bytes: float | None) -> None:
    held = psutil.Process().memory_info().rss
    if limit_bytes is not None and held > limit_bytes:
        raise MemoryError(
            f"a worker holds {held / 2**20:.0f} MiB before it trains anything; "
            f"the limit of {limit_bytes / 2**20:.0f} MiB for a trial must be above that"
        )


def _end_over_limit(limit_bytes: float) -> None:
    # Not by RLIMIT: an allocation that fails inside XLA is a SIGSEGV, which looks like any crash.
    process = psutil.Process()
    while process.memory_info().rss <= limit_bytes:
        time.sleep(_LOOK_S)
    os._exit(OUT_OF_MEMORY)


def _end_with_loop(lifeline: Connection) -> None:
    # A worker's parent is the fork server, so the loop's death sends no signal: but it closes
    # the other end of this pipe, however it died.
    try:
        lifeline.recv_bytes()
    except (EOFError, OSError):
        os._exit(0)


def _saved(path: Path) -> Saved:
    # Here, since the loop must not be held up by reading large files.
    artifact = Artifact.measured(path.name, path)
    assert artifact.size is not None
    assert artifact.sha256 is not None
    return Saved(path, artifact.size, artifact.sha256)


def _write_checkpoint(session: Session) -> None:
    try:
        session.checkpoint()
    except Exception:
        # The trial goes on from an earlier one: that it was interrupted is no fault of its own.
        traceback.print_exc()


def _serve(session: Session, request: Any, connection: Connection) -> None:
    try:
        events = session.run(request)
        for event in events:
            connection.send(event)
            reply: Reply = connection.recv()
            if reply.save_to is not None:
                session.save(reply.save_to)
                connection.send(_saved(reply.save_to))
            if reply.checkpoint:
                _write_checkpoint(session)
                connection.send(Checkpointed())
            if reply.stop:
                break
    except (EOFError, BrokenPipeError):
        raise
    except Exception as error:
        connection.send(session.failure(error))
