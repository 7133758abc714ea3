"""Checks of the machine: Python, libraries, TensorFlow's devices, cores, memory, folders, disks."""

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
from tuner.errors import TunerError
from tuner.study.artifacts import Artifacts, check_store
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
from tuner.system.names import install_command

_NAMED_LIBRARIES = ("optuna", "keras", "tensorflow", "mlflow", "sqlalchemy")
# Another distribution of the same module, without GPU support.
_SUBSTITUTES = {"tensorflow": "tensorflow-cpu"}
_REINSTALL = "python -c 'import tensorflow' shows more; reinstalling it may help"
_SLOW = "the machine may be busy or the disk slow: try again"
_GIB = 2**30
_LITTLE_SPACE = 2 * _GIB
_NO_SPACE = 200 * 2**20
# Where SQLite's locks and shared memory cannot be trusted.
_NETWORK = (
    "nfs", "cifs", "smb", "9p", "afs", "ceph", "gpfs", "lustre", "beegfs", "glusterfs",
    "fuse.sshfs", "fuse.s3fs", "fuse.gcsfuse", "fuse.rclone", "fuse.glusterfs", "fuse.ceph",
)  # fmt: skip
_ELSEWHERE = "TUNER_STORAGE, TUNER_CHECKPOINTS, TUNER_SCRATCH, MLFLOW_TRACKING_URI, TMPDIR"


def check_python() -> Iterator[Finding]:
    wanted = metadata.metadata("tuner")["Requires-Python"]
    message = f"{platform.python_version()}, {sys.executable}"
    if SpecifierSet(wanted).contains(platform.python_version(), prereleases=True):
        yield fine("python", message)
    else:
        yield failure(
            "python", f"{message}; tuner needs {wanted}", "install it with another Python"
        )


def check_libraries() -> Iterator[Finding]:
    """One finding if all libraries fit, else one for each that does not."""
    requirements = [Requirement(line) for line in metadata.requires("tuner") or []]
    # A requirement with a marker belongs to an extra; the commands that need it say so.
    needed = [requirement for requirement in requirements if requirement.marker is None]
    wrong = [finding for requirement in needed for finding in _misfits(requirement)]
    if _version("tensorflow") and _version("tensorflow-cpu"):
        message = "tensorflow and tensorflow-cpu are both installed, and overwrite each other"
        remedy = f"pip uninstall -y tensorflow tensorflow-cpu && {install_command('tensorflow')}"
        wrong.append(failure("libraries", message, remedy))
    yield from wrong
    if not wrong:
        yield fine(
            "libraries", ", ".join(f"{name} {_version_of(name)}" for name in _NAMED_LIBRARIES)
        )


def _misfits(requirement: Requirement) -> Iterator[Finding]:
    version = _version_of(requirement.name)
    remedy = install_command(str(requirement))
    if version is None:
        yield failure("libraries", f"{requirement.name} is not installed", remedy)
    elif not requirement.specifier.contains(version, prereleases=True):
        message = f"{requirement.name} is {version}, tuner needs {requirement.specifier}"
        yield failure("libraries", message, remedy)


def _version_of(name: str) -> str | None:
    """The installed version of a library, or of its substitute."""
    return _version(name) or _version(_SUBSTITUTES.get(name, name))


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def check_tensorflow(
    arguments: Sequence[str] = PROGRAM, within_s: float = WITHIN_S
) -> Iterator[Finding]:
    """`arguments` of Python: a program whose last line of output describes the devices."""
    try:
        yield _devices_finding(tensorflow_devices(arguments, within_s))
    except DevicesUnknown as error:
        yield failure("tensorflow", str(error), _REINSTALL if error.in_time else _SLOW)


def _devices_finding(facts: dict[str, Any]) -> Finding:
    versions = f"{facts['tensorflow']} with Keras {facts['keras']}"
    if not facts["works"]:
        return failure("tensorflow", f"{versions} computes wrongly", _REINSTALL)
    usable, shown = len(facts["usable"]), driver_gpus()
    if usable < shown:
        message = f"{versions} can use {usable} of the driver's {counted(shown, 'GPU')}"
        return warning("tensorflow", message, _gpu_advice(facts["cuda"]))
    names = ", ".join(sorted({facts["gpus"][index] for index in facts["usable"]}))
    devices = f"{counted(usable, 'GPU')} ({names})" if usable else "the processor's cores"
    return fine("tensorflow", f"{versions} trains on {devices}")


def _gpu_advice(built_with_cuda: bool) -> str:
    brings_cuda = install_command("tensorflow[and-cuda]")
    if not built_with_cuda:
        return f"this TensorFlow was built without GPU support: {brings_cuda}"
    return f"{brings_cuda} brings CUDA's libraries; CUDA_VISIBLE_DEVICES may hide GPUs"


def check_cores(quick: bool = False) -> Iterator[Finding]:
    """`quick`: do not ask TensorFlow which GPUs it can use."""
    shown = driver_gpus()
    message = counted(cores(), "core")
    if shown:
        usable = "not asked whether TensorFlow can use them" if quick else f"{len(gpus())} usable"
        message += f", {counted(shown, 'GPU')} ({usable})"
    yield fine("cores", f"{message}: {counted(_worker_count(quick), 'worker')} by default")


def check_memory(quick: bool = False) -> Iterator[Finding]:
    total, free, workers = memory_bytes(), free_bytes(), _worker_count(quick)
    needed_for = f"for {counted(workers, 'worker')} by default"
    message = f"{format_size(free)} free of {format_size(total)}, {needed_for}"
    if free >= workers * WORKER_BYTES:
        yield fine("memory", message)
        return
    fitting = free // WORKER_BYTES
    less = f", or search with --workers {fitting}" if fitting else ""
    advice = f"a worker takes about 1 GiB; end other programs{less}"
    yield warning("memory", message, advice)


def _worker_count(quick: bool) -> int:
    return default_workers(driver_gpus() if quick else None)


def check_disks(folders: Mapping[str, Path]) -> Iterator[Finding]:
    """One finding per disk. `folders`: under the names of their contents; they need not exist."""
    by_disk: dict[int, list[str]] = {}
    for content, folder in folders.items():
        by_disk.setdefault(_existing(folder).stat().st_dev, []).append(content)
    for contents in by_disk.values():
        yield _disk_finding(_existing(folders[contents[0]]), contents)


def _disk_finding(folder: Path, contents: list[str]) -> Finding:
    free = shutil.disk_usage(folder).free
    message = f"{format_size(free)} free at {folder} for {', '.join(contents)}"
    advice = f"free some space there, or use another folder: {_ELSEWHERE}"
    if free < _NO_SPACE:
        return failure("disk space", message, advice)
    return (
        warning("disk space", message, advice)
        if free < _LITTLE_SPACE
        else fine("disk space", message)
    )


def check_folders(folders: Mapping[str, Path]) -> Iterator[Finding]:
    """Whether files can be created in each folder."""
    reasons = {content: folder_problem(folder) for content, folder in folders.items()}
    refused = {content: reason for content, reason in reasons.items() if reason}
    for content, reason in refused.items():
        advice = f"set the folder's rights, or use another one: {_ELSEWHERE}"
        yield failure("folders", f"{content}: {reason}", advice)
    if not refused:
        yield fine("folders", f"can be written: {', '.join(folders)}")


def check_networks(artifacts: Artifacts) -> Iterator[Finding]:
    """Whether files can be written, read and deleted in the store of networks."""
    try:
        check_store(artifacts)
    except (TunerError, OSError) as error:
        advice = "check TUNER_CHECKPOINTS and this machine's credentials for the store"
        yield failure("networks", str(error), advice)
    else:
        yield fine("networks", f"can be written and read: {artifacts}")


def folder_problem(folder: Path) -> str | None:
    """Why no file can be written in the folder, or its nearest existing parent; None if one can."""
    existing = _existing(folder)
    try:
        with tempfile.TemporaryFile(dir=existing) as file:
            file.write(bytes(2**16))
            file.flush()
    except OSError as error:
        return f"{existing} cannot be written ({error.strerror or error})"
    return None


def network_file_system(path: Path) -> str | None:
    """The kind of the network file system that holds the path; None for a local disk."""
    resolved = path.resolve()
    mounts = [
        mount
        for mount in psutil.disk_partitions(all=True)
        if resolved.is_relative_to(mount.mountpoint)
    ]
    kind = max(mounts, key=lambda mount: len(mount.mountpoint)).fstype if mounts else ""
    return kind if kind.startswith(_NETWORK) else None


def format_size(size: float) -> str:
    return f"{size / _GIB:.1f} GiB" if size >= _GIB / 10 else f"{size / 2**20:.0f} MiB"


def _existing(folder: Path) -> Path:
    absolute = folder.absolute()
    return next(path for path in (absolute, *absolute.parents) if path.exists())
