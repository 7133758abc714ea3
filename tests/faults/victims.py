"""Processes of a running search: finding them, ending them, waiting for them."""

import random
import signal
import subprocess
import time

import psutil
from toy_study import Bench, Loop

# Workers that end as they begin, several in a row, end the search: they are another fault.
_GROWN_S = 2.5


def family(loop: Loop) -> list[psutil.Process]:
    """All processes that a loop has started: the fork server, workers, the tracker."""
    try:
        return psutil.Process(loop.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def workers(loop: Loop) -> list[psutil.Process]:
    """The loop's worker processes: what its fork server has forked."""
    try:
        children = psutil.Process(loop.pid).children()
        return [worker for child in children for worker in child.children()]
    except psutil.NoSuchProcess:
        return []


def gone(processes: list[psutil.Process]) -> bool:
    return not any(is_alive(process) for process in processes)


def is_alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def kill_a_worker(loop: Loop, chance: random.Random) -> bool:
    """Whether there was one to kill, that is old enough to train."""
    found = [worker for worker in workers(loop) if time.time() - worker.create_time() > _GROWN_S]
    if found:
        chance.choice(found).send_signal(signal.SIGKILL)
    return bool(found)


def running(bench: Bench) -> int:
    """How many trials are being trained now."""
    return sum(t.state == "RUNNING" and t.end is None for t in bench.trials)


def finish(loop: Loop, timeout_s: float = 120.0) -> str:
    """Wait for the loop's end; what it said. A test must not leave it behind."""
    try:
        said, _ = loop.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        loop.kill()
        said, _ = loop.communicate()
        raise AssertionError(f"the loop does not end; it said: {said}") from None
    return said
