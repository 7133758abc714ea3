"""The machine: cores, memory, and room on its disks."""

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import psutil

from tuner.doctor.cgroups import core_limit, memory_limit
from tuner.doctor.finding import Finding, counted, failure, fine, warning
from tuner.execution.machine import cores, default_workers, gpus

_GIB = 2**30
# A worker holds TensorFlow and a small network in that.
_WORKER_BYTES = 1 * _GIB
_LITTLE_ROOM = 2 * _GIB
_NO_ROOM = 200 * 2**20
# Where SQLite's locks and shared memory cannot be trusted.
_NETWORK = (
    "nfs", "cifs", "smb", "9p", "afs", "ceph", "gpfs", "lustre", "beegfs", "glusterfs",
    "fuse.sshfs", "fuse.s3fs", "fuse.gcsfuse", "fuse.rclone", "fuse.glusterfs", "fuse.ceph",
)  # fmt: skip


def processors() -> Iterator[Finding]:
    shown = f", {counted(len(gpus()), 'GPU')}" if gpus() else ""
    workers = default_workers()
    found = f"{counted(cores(), 'core')}{shown}: {counted(workers, 'worker')} by default"
    limit = core_limit()
    if limit is not None and limit < workers and not gpus():
        advice = f"tuner optimize --workers {max(1, int(limit))}"
        yield warning("cores", f"{found}, but a limit of {limit:g} cores at a time", advice)
    else:
        yield fine("cores", found)


def memory() -> Iterator[Finding]:
    machine = psutil.virtual_memory()
    total, free = machine.total, machine.available
    limit = memory_limit()
    if limit is not None:
        total, free = min(total, limit[0]), min(free, limit[0] - limit[1])
    workers = default_workers()
    found = f"{gib(free)} free of {gib(total)}, for {counted(workers, 'worker')} by default"
    if free >= workers * _WORKER_BYTES:
        yield fine("memory", found)
        return
    fitting = free // _WORKER_BYTES
    less = f", or: tuner optimize --workers {fitting}" if fitting else ""
    advice = f"a worker takes about 1 GiB; end other programs{less}"
    yield warning("memory", found, advice)


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
