"""What this machine has to train with: cores, memory, and GPUs that TensorFlow can use.

In a container or under a batch system that is the part of the machine that the process may use, by
Linux's control groups of both versions. TensorFlow is not imported here; it is asked in a process
of its own.
"""

import functools
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil

from tuner.settings import python_environment, quiet_tensorflow

_MOUNT = Path("/sys/fs/cgroup")
_SELF = Path("/proc/self/cgroup")


def core_limit(mount: Path = _MOUNT, own: Path = _SELF) -> float | None:
    """How many cores may be busy at once; None if there is no limit."""
    limits = [_quota(folder) for folder in _groups("cpu", mount, own)]
    return min((limit for limit in limits if limit is not None), default=None)


def memory_limit(mount: Path = _MOUNT, own: Path = _SELF) -> tuple[int, int] | None:
    """The lowest limit in bytes, and how much of it is used; None if there is no limit."""
    limits = []
    for folder in _groups("memory", mount, own):
        limit = _number(folder, "memory.max", "memory.limit_in_bytes")
        used = _number(folder, "memory.current", "memory.usage_in_bytes")
        if limit is not None and limit < 2**62:  # version 1 writes a huge number for none
            limits.append((limit, max(0, (used or 0) - _cache(folder))))
    return min(limits, default=None)


def _groups(controller: str, mount: Path, own: Path) -> Iterator[Path]:
    """The folders of this process's group and of those around it."""
    try:
        lines = own.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, names, path = line.split(":", 2)
        if names and controller not in names.split(","):
            continue
        # Version 1 has a folder for each controller, or one named after several.
        for root in {mount / controller, mount / names} if names else {mount}:
            group = root / path.strip("/")
            # Inside a container the path may be the host's: then only the root exists.
            yield from (f for f in (group, *group.parents) if f.is_relative_to(root))


def _quota(folder: Path) -> float | None:
    limit, _, period = _read(folder, "cpu.max").partition(" ")
    if not limit:
        limit, period = _read(folder, "cpu.cfs_quota_us"), _read(folder, "cpu.cfs_period_us")
    if not limit.isdigit() or not period.isdigit() or int(period) == 0:
        return None  # "max", or -1
    return int(limit) / int(period)


def _cache(folder: Path) -> int:
    """Bytes of cached files, which the kernel drops when something else needs the memory."""
    lines = _read(folder, "memory.stat").splitlines()
    words = dict(line.split(" ", 1) for line in lines if " " in line)
    return int(words.get("total_inactive_file", words.get("inactive_file", "0")))


def _number(folder: Path, *names: str) -> int | None:
    texts = [_read(folder, name) for name in names]
    return next((int(text) for text in texts if text.isdigit()), None)


def _read(folder: Path, name: str) -> str:
    try:
        return (folder / name).read_text().strip()
    except OSError:
        return ""


PROGRAM = ("-P", "-m", "tuner.training.devices")
WITHIN_S = 120.0


class DevicesUnknown(Exception):
    """TensorFlow could not say; the message is one line."""

    def __init__(self, message: str, in_time: bool = True) -> None:
        super().__init__(message)
        self.in_time = in_time


@functools.cache
def tensorflow_devices(
    arguments: Sequence[str] = PROGRAM, within_s: float = WITHIN_S
) -> dict[str, Any]:
    """The JSON object that `tuner.training.devices` writes. `arguments`: of Python, to run another
    program. Raises DevicesUnknown when it fails, or does not end in time."""
    quiet_tensorflow()
    try:
        done = subprocess.run(
            [sys.executable, *arguments],
            env=python_environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=within_s,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise DevicesUnknown(f"did not start within {within_s:.0f} s", in_time=False) from error
    if done.returncode != 0:
        raise DevicesUnknown(_last_words(done))
    facts: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return facts


def _last_words(done: subprocess.CompletedProcess[str]) -> str:
    if done.returncode == -signal.SIGILL:
        return "needs instructions (AVX) that this processor lacks"
    if done.returncode < 0:
        return f"died of {signal.Signals(-done.returncode).name}"
    return (done.stderr.strip().splitlines() or [f"ended with {done.returncode}"])[-1]


# Enough for a worker with TensorFlow and a small network.
WORKER_BYTES = 2**30
_DRIVER = Path("/proc/driver/nvidia/gpus")


def cores() -> int:
    """The cores that this process may keep busy; a container's limit of 1.5 counts as one."""
    limit = core_limit()
    usable = scheduled_cores()
    return usable if limit is None else max(1, min(usable, int(limit)))


def scheduled_cores() -> int:
    """The cores that the scheduler may use for this process, whatever a container's limit is."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def memory_bytes() -> int:
    """The memory of the machine, or of the container if that has less."""
    total, limit = psutil.virtual_memory().total, memory_limit()
    return int(total if limit is None else min(total, limit[0]))


def free_bytes() -> int:
    """How much of it is free."""
    free, limit = psutil.virtual_memory().available, memory_limit()
    return int(free if limit is None else max(0, min(free, limit[0] - limit[1])))


def driver_gpus() -> int:
    """How many NVIDIA GPUs the driver shows. TensorFlow may be able to use fewer."""
    return len(list(_DRIVER.iterdir())) if _DRIVER.is_dir() else 0


@functools.cache
def gpus() -> tuple[int, ...]:
    """Indices, as TensorFlow counts, of the GPUs that it can train on. Asking takes seconds the
    first time, and nothing where the driver shows no GPU."""
    if not driver_gpus():
        return ()
    try:
        return tuple(tensorflow_devices()["usable"])
    except DevicesUnknown:
        return ()  # a worker that starts will say what is wrong with TensorFlow


def default_workers(gpu_count: int | None = None) -> int:
    """One worker for each GPU, without GPUs one for each core; no more than fit into the memory.
    `gpu_count`: how many GPUs there are, if that is known."""
    wanted = (len(gpus()) if gpu_count is None else gpu_count) or cores()
    return max(1, min(wanted, memory_bytes() // WORKER_BYTES))


def threads_a_worker(workers: int) -> int:
    """How many threads the CPU side of a worker that trains on a GPU may have."""
    return max(1, cores() // workers)


def data_budget_bytes(workers: int) -> float:
    """How much memory the data of one of `workers` may take: all together half of the machine's."""
    return memory_bytes() / 2 / workers
