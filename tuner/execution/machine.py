"""What this machine has to train with, found without importing TensorFlow."""

import os
from pathlib import Path

import psutil


def cores() -> int:
    """The cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def gpus() -> tuple[int, ...]:
    """Indices of the NVIDIA GPUs the driver shows."""
    found = Path("/proc/driver/nvidia/gpus")
    return tuple(range(len(list(found.iterdir())))) if found.is_dir() else ()


def default_workers() -> int:
    """One worker a GPU where there are GPUs, else one a core."""
    return len(gpus()) or cores()


def data_budget_bytes(workers: int) -> float:
    """How much memory a worker's data may take: half of the machine's, shared by all workers."""
    return psutil.virtual_memory().total / 2 / workers
