"""The machine: cores, memory, and room on its disks."""

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import psutil

from tuner.doctor.finding import Finding, counted, failure, fine, warning
from tuner.execution.machine import (
    WORKER_BYTES,
    cores,
    default_workers,
    driver_gpus,
    free_bytes,
    gpus,
    memory_bytes,
)

_GIB = 2**30
_LITTLE_ROOM = 2 * _GIB
_NO_ROOM = 200 * 2**20
# Where SQLite's locks and shared memory cannot be trusted.
_NETWORK = (
    "nfs", "cifs", "smb", "9p", "afs", "ceph", "gpfs", "lustre", "beegfs", "glusterfs",
    "fuse.sshfs", "fuse.s3fs", "fuse.gcsfuse", "fuse.rclone", "fuse.glusterfs", "fuse.ceph",
)  # fmt: skip


def processors(quick: bool = False) -> Iterator[Finding]:
    """`quick`: TensorFlow is not asked which GPUs it can use."""
    shown = driver_gpus()
    found = counted(cores(), "core")
    if shown:
        usable = "not asked whether TensorFlow can use them" if quick else f"{len(gpus())} usable"
        found += f", {counted(shown, 'GPU')} ({usable})"
    yield fine("cores", f"{found}: {counted(_workers(quick), 'worker')} by default")


def memory(quick: bool = False) -> Iterator[Finding]:
    total, free, workers = memory_bytes(), free_bytes(), _workers(quick)
    found = f"{gib(free)} free of {gib(total)}, for {counted(workers, 'worker')} by default"
    if free >= workers * WORKER_BYTES:
        yield fine("memory", found)
        return
    fitting = free // WORKER_BYTES
    less = f", or search with --workers {fitting}" if fitting else ""
    advice = f"a worker takes about 1 GiB; end other programs{less}"
    yield warning("memory", found, advice)


def _workers(quick: bool) -> int:
    return default_workers(driver_gpus() if quick else None)


def disks(folders: Mapping[str, Path]) -> Iterator[Finding]:
    """`folders`: by what they hold; of those that are still to be made, the disk they will be
    on."""
    by_disk: dict[int, list[str]] = {}
    for holds, folder in folders.items():
        by_disk.setdefault(_existing(folder).stat().st_dev, []).append(holds)
    for together in by_disk.values():
        yield _disk(_existing(folders[together[0]]), together)


def _disk(folder: Path, holds: list[str]) -> Finding:
    free = shutil.disk_usage(folder).free
    found = f"{gib(free)} free at {folder} for {', '.join(holds)}"
    advice = f"make room there, or use another place: {_ELSEWHERE}"
    if free < _NO_ROOM:
        return failure("disk space", found, advice)
    return (
        warning("disk space", found, advice) if free < _LITTLE_ROOM else fine("disk space", found)
    )


_ELSEWHERE = "TUNER_STORAGE, TUNER_CHECKPOINTS, TUNER_SCRATCH, MLFLOW_TRACKING_URI, TMPDIR"


def writable(folders: Mapping[str, Path]) -> Iterator[Finding]:
    """Whether files can be made there."""
    wrong = {holds: complaint for holds, f in folders.items() if (complaint := refusal(f))}
    for holds, complaint in wrong.items():
        advice = f"set the folder's rights, or use another one: {_ELSEWHERE}"
        yield failure("folders", f"{holds}: {complaint}", advice)
    if not wrong:
        yield fine("folders", f"can be written: {', '.join(folders)}")


def refusal(folder: Path) -> str | None:
    """Why no file can be written in a folder, or in the one that it will be made in; or None."""
    place = _existing(folder)
    try:
        with tempfile.TemporaryFile(dir=place) as file:
            file.write(bytes(2**16))
            file.flush()
    except OSError as error:
        return f"{place} cannot be written ({error.strerror or error})"
    return None


def network_file_system(path: Path) -> str | None:
    """Its kind, where the path lies on one."""
    resolved = path.resolve()
    mounts = [
        mount
        for mount in psutil.disk_partitions(all=True)
        if resolved.is_relative_to(mount.mountpoint)
    ]
    kind = max(mounts, key=lambda mount: len(mount.mountpoint)).fstype if mounts else ""
    return kind if kind.startswith(_NETWORK) else None


def gib(size: float) -> str:
    return f"{size / _GIB:.1f} GiB" if size >= _GIB / 10 else f"{size / 2**20:.0f} MiB"


def _existing(folder: Path) -> Path:
    absolute = folder.absolute()
    return next(place for place in (absolute, *absolute.parents) if place.exists())
