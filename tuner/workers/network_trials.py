"""A user's own network tried in a process of its own, before a study is created with it: an error,
a hang, a crash or too much memory ends that process and becomes one line."""

import contextlib
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection

import psutil

from tuner.errors import NetworkError
from tuner.settings import python_environment
from tuner.system.machine import default_workers, driver_gpus, free_bytes, memory_bytes
from tuner.training.trial_builds import Answer, Refused, Step, TrialBuilds, Tried

# Named by string: nothing here imports TensorFlow.
MODULE = "tuner.training.try_network"
_POLL_S = 0.05
# TensorFlow alone takes 0.8 GB.
_MIN_BYTES = 2 * 2**30
_SHARE_OF_FREE = 0.8
# Importing TensorFlow, on a machine that is busy.
_START_S = 120.0
_END_S = 5.0


@dataclass(frozen=True)
class BuildLimits:
    """`silent_s`: how long one step may take: building a configuration, training a batch, saving.
    `memory_bytes`: the memory that the process may use; None: a worker's share, as far as that is
    free."""

    silent_s: float = 60.0
    memory_bytes: float | None = None


def try_network(request: TrialBuilds, limits: BuildLimits | None = None) -> Tried:
    """Raises NetworkError, in one line, for a network that a search could not train."""
    limits = limits or BuildLimits()
    where = ":".join(request.code[:2])
    ours, theirs = multiprocessing.Pipe()
    with contextlib.closing(ours), _process(theirs) as process:
        try:
            ours.send(request)
            return _Watch(where, process, ours, limits).result()
        except BrokenPipeError:
            raise _ended(where, process, "") from None


@contextlib.contextmanager
def _process(theirs: Connection) -> Iterator[subprocess.Popen[bytes]]:
    environment = python_environment() | {
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "CUDA_VISIBLE_DEVICES": "-1",  # a search may be using them
    }
    with contextlib.closing(theirs):
        # A session of its own, so that the processes it starts end with it. -P: a file in the
        # user's folder must not be imported in place of a module.
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", MODULE, str(theirs.fileno())],
            env=environment,
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


class _Watch:
    def __init__(
        self,
        where: str,
        process: subprocess.Popen[bytes],
        connection: Connection,
        limits: BuildLimits,
    ) -> None:
        self._where, self._process, self._connection = where, process, connection
        self._silent_s = limits.silent_s
        self._memory_bytes = limits.memory_bytes or _share_bytes()
        self._doing = ""

    def result(self) -> Tried:
        heard = time.monotonic()
        while True:
            if self._connection.poll(_POLL_S):
                match self._receive():
                    case Step(text):
                        self._doing, heard = text, time.monotonic()
                    case Refused(text):
                        raise NetworkError(text)
                    case Tried() as tried:
                        return tried
            elif time.monotonic() - heard > (self._silent_s if self._doing else _START_S):
                raise NetworkError(
                    f"{self._where}: did not end within {self._silent_s:.0f} s while tuner "
                    f"{self._words()}; if it loads something large, run it once by itself first"
                )
            self._check_memory()

    def _receive(self) -> Answer:
        try:
            answer: Answer = self._connection.recv()
        except (EOFError, OSError):
            raise _ended(self._where, self._process, self._words()) from None
        return answer

    def _words(self) -> str:
        return self._doing or "starts"

    def _check_memory(self) -> None:
        if _used_bytes(self._process.pid) > self._memory_bytes:
            raise NetworkError(
                f"{self._where}: took more than {self._memory_bytes / 2**30:.1f} GiB of memory "
                f"while tuner {self._words()}; make the largest values of the space smaller"
            )


def _share_bytes() -> float:
    share = memory_bytes() / default_workers(driver_gpus())
    return max(_MIN_BYTES, min(share, _SHARE_OF_FREE * free_bytes()))


def _ended(where: str, process: subprocess.Popen[bytes], doing: str) -> NetworkError:
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_END_S)
    code = process.returncode or 0
    how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
    return NetworkError(f"{where}: ended its process ({how}) while tuner {doing or 'starts'}")


def _used_bytes(pid: int) -> int:
    """The memory of the process and of those that it has started."""
    used = 0
    with contextlib.suppress(psutil.Error):
        process = psutil.Process(pid)
        for each in [process, *process.children(recursive=True)]:
            with contextlib.suppress(psutil.Error):
                used += each.memory_info().rss
    return used
