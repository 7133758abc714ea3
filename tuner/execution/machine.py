"""What this machine has to train with, found without importing TensorFlow: in a container, the
part of it that the container may use."""

import functools
import os
from pathlib import Path

import psutil

from tuner.execution import cgroups, devices

# A worker holds TensorFlow and a small network in that.
WORKER_BYTES = 2**30
_DRIVER = Path("/proc/driver/nvidia/gpus")


def cores() -> int:
    """The cores that this process may keep busy: a container's limit of 1.5 is one."""
    limit = cgroups.core_limit()
    usable = _affinity()
    return usable if limit is None else max(1, min(usable, int(limit)))


def _affinity() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def memory_bytes() -> int:
    """The memory of the machine, or of the container where it may have less."""
    total, limit = psutil.virtual_memory().total, cgroups.memory_limit()
    return int(total if limit is None else min(total, limit[0]))


def free_bytes() -> int:
    """How much of it is free."""
    free, limit = psutil.virtual_memory().available, cgroups.memory_limit()
    return int(free if limit is None else max(0, min(free, limit[0] - limit[1])))


def driver_gpus() -> int:
    """How many NVIDIA GPUs the driver shows. TensorFlow may be able to use fewer."""
    return len(list(_DRIVER.iterdir())) if _DRIVER.is_dir() else 0


@functools.cache
def gpus() -> tuple[int, ...]:
    """Indices, as TensorFlow counts, of the GPUs that it can train on. Asking takes some seconds,
    once; nothing where the driver shows none."""
    if not driver_gpus():
        return ()
    try:
        return tuple(devices.tensorflow_devices()["usable"])
    except devices.DevicesUnknown:
        return ()  # the workers will say what is wrong with TensorFlow


def default_workers(gpu_count: int | None = None) -> int:
    """One worker a GPU where there are GPUs, else one a core, and no more than have room in the
    memory. `gpu_count`: instead of asking which there are."""
    wanted = (len(gpus()) if gpu_count is None else gpu_count) or cores()
    return max(1, min(wanted, memory_bytes() // WORKER_BYTES))


def threads_a_worker(workers: int) -> int:
    """How many threads the CPU side of a worker that trains on a GPU may have."""
    return max(1, cores() // workers)


def data_budget_bytes(workers: int) -> float:
    """How much memory a worker's data may take: half of the machine's, shared by all workers."""
    return memory_bytes() / 2 / workers
