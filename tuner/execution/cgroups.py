"""What a container or a batch system lets this process have of the machine: Linux's control groups,
of both versions."""

from collections.abc import Iterator
from pathlib import Path

_MOUNT = Path("/sys/fs/cgroup")
_SELF = Path("/proc/self/cgroup")


def core_limit(mount: Path = _MOUNT, own: Path = _SELF) -> float | None:
    """How many cores may be busy at once; None without such a limit."""
    limits = [_quota(folder) for folder in _groups("cpu", mount, own)]
    return min((limit for limit in limits if limit is not None), default=None)


def memory_limit(mount: Path = _MOUNT, own: Path = _SELF) -> tuple[int, int] | None:
    """The narrowest limit in bytes, and how much of it is taken; None without such a limit."""
    found = []
    for folder in _groups("memory", mount, own):
        limit = _number(folder, "memory.max", "memory.limit_in_bytes")
        used = _number(folder, "memory.current", "memory.usage_in_bytes")
        if limit is not None and limit < 2**62:  # version 1 writes a huge number for none
            found.append((limit, max(0, (used or 0) - _cache(folder))))
    return min(found, default=None)


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
        # Version 1 has a folder for each controller, or one that has the names of several.
        for root in {mount / controller, mount / names} if names else {mount}:
            group = root / path.strip("/")
            # Inside a container the path may be the host's, and only the root is to be seen.
            yield from (f for f in (group, *group.parents) if f.is_relative_to(root))


def _quota(folder: Path) -> float | None:
    limit, _, period = _read(folder, "cpu.max").partition(" ")
    if not limit:
        limit, period = _read(folder, "cpu.cfs_quota_us"), _read(folder, "cpu.cfs_period_us")
    if not limit.isdigit() or not period.isdigit() or int(period) == 0:
        return None  # "max", or -1
    return int(limit) / int(period)


def _cache(folder: Path) -> int:
    """Bytes of files that are only kept until something else needs the room."""
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
