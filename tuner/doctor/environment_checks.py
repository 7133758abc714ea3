"""The machine: cores, memory, and room on its disks.

Python and the libraries: installed, and of versions that tuner works with.

What TensorFlow can train on.
"""

import platform
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from tuner.doctor.findings import Finding, counted, failure, fine, warning
from tuner.system.machine import (
    PROGRAM,
    WITHIN_S,
    WORKER_BYTES,
    DevicesUnknown,
    cores,
    default_workers,
    driver_gpus,
    free_bytes,
    gpus,
    memory_bytes,
    tensorflow_devices,
)

_SHOWN = ("optuna", "keras", "tensorflow", "mlflow", "sqlalchemy")
# TensorFlow without its GPU parts: another distribution of the same module.
_INSTEAD = {"tensorflow": "tensorflow-cpu"}


def python() -> Iterator[Finding]:
    wanted = metadata.metadata("tuner")["Requires-Python"]
    found = f"{platform.python_version()}, {sys.executable}"
    if SpecifierSet(wanted).contains(platform.python_version(), prereleases=True):
        yield fine("python", found)
    else:
        yield failure("python", f"{found}; tuner needs {wanted}", "install it with another Python")


def installed_libraries() -> Iterator[Finding]:
    """One line when all is well, else one for each library that is not."""
    requirements = [Requirement(line) for line in metadata.requires("tuner") or []]
    # Those with a condition belong to extras; the commands that need them say so.
    needed = [requirement for requirement in requirements if requirement.marker is None]
    wrong = [finding for requirement in needed for finding in _wrong(requirement)]
    if _version("tensorflow") and _version("tensorflow-cpu"):
        found = "tensorflow and tensorflow-cpu are both installed, and overwrite each other"
        remedy = "pip uninstall -y tensorflow tensorflow-cpu && pip install tensorflow"
        wrong.append(failure("libraries", found, remedy))
    yield from wrong
    if not wrong:
        yield fine("libraries", ", ".join(f"{name} {_version_of(name)}" for name in _SHOWN))


def _wrong(requirement: Requirement) -> Iterator[Finding]:
    version = _version_of(requirement.name)
    remedy = f"pip install '{requirement}'"
    if version is None:
        yield failure("libraries", f"{requirement.name} is not installed", remedy)
    elif not requirement.specifier.contains(version, prereleases=True):
        found = f"{requirement.name} is {version}, tuner needs {requirement.specifier}"
        yield failure("libraries", found, remedy)


def _version_of(name: str) -> str | None:
    """Its version, or that of the distribution which may stand in for it."""
    return _version(name) or _version(_INSTEAD.get(name, name))


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


_REINSTALL = "python -c 'import tensorflow' shows more; installing it anew may help"
_SLOW = "is the machine busy, or the disk slow? try again"


def tensorflow(arguments: Sequence[str] = PROGRAM, within_s: float = WITHIN_S) -> Iterator[Finding]:
    """`arguments` of Python: a program that prints what it found as its last line."""
    try:
        yield _devices(tensorflow_devices(arguments, within_s))
    except DevicesUnknown as error:
        yield failure("tensorflow", str(error), _REINSTALL if error.in_time else _SLOW)


def _devices(facts: dict[str, Any]) -> Finding:
    versions = f"{facts['tensorflow']} with Keras {facts['keras']}"
    if not facts["works"]:
        return failure("tensorflow", f"{versions} computes wrongly", _REINSTALL)
    usable, shown = len(facts["usable"]), driver_gpus()
    if usable < shown:
        found = f"{versions} can use {usable} of the driver's {counted(shown, 'GPU')}"
        return warning("tensorflow", found, _advice(facts["cuda"]))
    names = ", ".join(sorted({facts["gpus"][index] for index in facts["usable"]}))
    devices = f"{counted(usable, 'GPU')} ({names})" if usable else "the processor's cores"
    return fine("tensorflow", f"{versions} trains on {devices}")


def _advice(built_with_cuda: bool) -> str:
    if not built_with_cuda:
        return "this TensorFlow knows no GPU: pip install 'tuner[gpu]'"
    return "pip install 'tuner[gpu]' brings CUDA's libraries; CUDA_VISIBLE_DEVICES may hide GPUs"


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
