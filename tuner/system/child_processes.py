"""Ending processes together with those that they have started."""

import contextlib
import os
from collections.abc import Iterable

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
