"""Users' networks tried in processes of the searches' fork server, which has TensorFlow imported: a
new interpreter imports it for 5 s. With few configurations; `tests/manage` and `tests/networks`
prove what all of them are for."""

import contextlib
import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest

from tuner.manage import own_networks
from tuner.runner import KERAS
from tuner.workers import network_trials
from tuner.workers.process_starts import start_process


def try_quickly(patch: pytest.MonkeyPatch) -> None:
    """Until the patch is undone."""
    patch.setattr(network_trials, "_process", _forked)
    patch.setattr(own_networks, "_MAX_CONFIGURATIONS", 2)
    patch.setattr(own_networks, "_MAX_RANDOM", 2)


class _Process:
    """What `network_trials` uses of a subprocess.Popen."""

    def __init__(self, process: Any) -> None:
        self._process = process
        self.pid: int = process.pid

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode  # type: ignore[no-any-return]

    def wait(self, timeout: float | None = None) -> None:
        self._process.join(timeout)
        if self.returncode is None:
            raise subprocess.TimeoutExpired(f"process {self.pid}", timeout or 0.0)


@contextlib.contextmanager
def _forked(theirs: Connection) -> Iterator[_Process]:
    context = multiprocessing.get_context("forkserver")
    given = (theirs, str(Path.cwd()), dict(os.environ))
    process = context.Process(target=_try, args=given, daemon=True)
    with contextlib.closing(theirs):
        start_process(process, KERAS, None)
    try:
        yield _Process(process)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid or 0, signal.SIGKILL)
        process.kill()  # it may not have its session yet
        process.join()


def _try(connection: Connection, folder: str, environment: Mapping[str, str]) -> None:
    """Be as `python -m tuner.training.try_network FD`."""
    os.setsid()
    os.chdir(folder)
    os.environ.update(environment)
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in range(3):
        os.dup2(nothing, stream)
    sys.argv[1:] = [str(connection.fileno())]
    from tuner.training import try_network

    try_network.main()
