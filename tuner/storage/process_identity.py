"""Who is who among processes: so that a loop on this machine that has died is known at once,
without waiting for its lease to expire."""

import contextlib
import json
import os
import platform
import pwd
import uuid
from functools import cache
from pathlib import Path

import psutil

from tuner.storage.damage import MISREAD, json_object


@cache
def machine() -> str:
    """This start of this machine, and this container of it: where a process number means one
    process."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}/{Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return f"{os.uname().nodename}/{psutil.boot_time():.0f}"


@cache
def machine_id() -> str:
    """This machine, the same after each start: what its system calls it, or else its name and
    network address. Of a container it is the container's where that has an id of its own."""
    for path in ("/etc/machine-id", "/var/lib/dbus/machine-id"):
        with contextlib.suppress(OSError, UnicodeDecodeError):
            if found := Path(path).read_text().strip():
                return found[:64]
    return f"{platform.node()[:48]}-{uuid.getnode():012x}"


def user() -> str:
    """The name of who runs this process; the number of a user without a name."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # as in containers
        return str(os.getuid())


def identity() -> str:
    """This process, told apart from any other that has had or will have its number."""
    return json.dumps({"machine": machine(), "pid": os.getpid(), "started": _started(os.getpid())})


def is_dead(identity: str | None) -> bool:
    """Whether that process is certainly gone. Nothing is known of one on another machine, or of
    one whose row is damaged."""
    if identity is None:
        return False
    try:
        known = json_object(identity)
        return bool(known["machine"] == machine() and _started(known["pid"]) != known["started"])
    except MISREAD:
        return False


def _started(pid: int) -> str | None:
    """When a process began, in the kernel's own ticks; None for one that is gone."""
    try:
        # Behind the command's name, which may hold spaces: state is the first, start the 20th.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return None if fields[0] == "Z" else fields[19]
    except OSError:
        pass
    try:
        process = psutil.Process(pid)
        zombie = process.status() == psutil.STATUS_ZOMBIE
        return None if zombie else f"{process.create_time():.2f}"
    except psutil.Error:
        return None
