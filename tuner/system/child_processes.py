"""Ending processes together with those that they have started."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterable, Sequence
from typing import Any

import psutil


def end_with_children(pids: Iterable[int]) -> None:
    """Kill these processes and all that they have started, such as a pool of a user's function:
    such processes would wait for their parent for ever, or until they give up. Processes that have
    ended are left out, and the calling one is killed last."""
    ending = set(pids)
    children: dict[int, list[psutil.Process]] = {}
    doomed: list[psutil.Process] = []
    for process in psutil.process_iter():  # one look for all of them: it reads every process
        with contextlib.suppress(psutil.Error):
            children.setdefault(process.ppid(), []).append(process)
        if process.pid in ending:
            doomed.append(process)
    for process in doomed:  # it grows: whoever is in it is followed by its children
        doomed += [each for each in children.get(process.pid, []) if each.pid not in ending]
    for process in sorted(doomed, key=lambda process: process.pid == os.getpid()):
        with contextlib.suppress(psutil.Error):
            process.kill()


def end_groups(processes: "Sequence[subprocess.Popen[Any]]", within_s: float) -> None:
    """End processes that each began a session of its own, with all that they have started there:
    by SIGTERM, and what is left after `within_s` seconds by SIGKILL. Waits until they have ended.
    """
    for process in processes:
        signal_group(process, signal.SIGTERM)
    until = time.monotonic() + within_s
    for process in processes:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(max(0.0, until - time.monotonic()))
    for process in processes:
        signal_group(process, signal.SIGKILL)
        process.wait()


def signal_group(process: "subprocess.Popen[Any]", number: int) -> None:
    """Send a signal to such a process and what it has started; those that have ended hear none."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)
