"""Starts one process in namespaces of its own, on a root of overlaid folders: what a container is.

Run by its path, with an order on standard input: a line of JSON, see `containers.py`. It prints the
number of the container's first process, and ends as that does. Linux and root are needed.
"""

import contextlib
import ctypes
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

_NEWNS, _NEWUTS, _NEWIPC, _NEWPID = 0x00020000, 0x04000000, 0x08000000, 0x20000000
_NEWNET = 0x40000000
_READ_ONLY, _NOSUID, _NODEV, _REMOUNT, _BIND = 0x1, 0x2, 0x4, 0x20, 0x1000
_RECURSIVE, _PRIVATE = 0x4000, 0x40000
_DEATH_SIGNAL, _NO_NEW_PRIVILEGES = 1, 38
_libc = ctypes.CDLL(None, use_errno=True)


def call(name: str, *arguments: Any) -> None:
    """A function of the C library. Raises OSError."""
    given = [each.encode() if isinstance(each, str) else each for each in arguments]
    if getattr(_libc, name)(*given):
        number = ctypes.get_errno()
        raise OSError(number, f"{name}{arguments}: {os.strerror(number)}")


def mount(source: str, target: Path, kind: str, flags: int = 0, options: str = "") -> None:
    call("mount", source, str(target), kind, flags, options)


def enter(process: int, kind: str) -> None:
    """The namespace of another process becomes this one's."""
    with Path(f"/proc/{process}/ns/{kind}").open() as namespace:
        call("setns", namespace.fileno(), 0)


def hold(folder: str, address: str) -> None:
    """What all containers of a project share, until standard input ends: a disk in memory, and a
    network with this machine's end at `address`."""
    call("prctl", _DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0)
    call("unshare", _NEWNS | _NEWNET)
    mount("none", Path("/"), "", _RECURSIVE | _PRIVATE)
    mount("tmpfs", Path(folder), "tmpfs", 0, "mode=0755")
    for words in (
        "ip link set lo up",
        "ip link add bridge type bridge",
        f"ip addr add {address}/16 dev bridge",
        "ip link set bridge up",
    ):
        subprocess.run(words.split(), check=True)
    print("ready", flush=True)
    sys.stdin.read()


def join_network(order: dict[str, Any]) -> None:
    """Have a network namespace of this process' own, linked to the project's."""
    holder, outside = order["holder"], f"v{os.getpid()}"
    call("unshare", _NEWNET)
    link = f"ip link add eth0 type veth peer name {outside} netns {holder}"
    up = f"nsenter --target {holder} --net ip link set {outside} master bridge up"
    add = f"ip addr add {order['address']}/16 dev eth0"
    for words in (link, up, add, "ip link set lo up", "ip link set eth0 up"):
        subprocess.run(words.split(), check=True)


def make_root(order: dict[str, Any]) -> Path:
    """The container's files: layers, a layer of its own above them, and what is mounted."""
    own = Path(order["own"])
    root, upper, work = own / "root", own / "upper", own / "work"
    for folder in (root, upper, work):
        folder.mkdir(parents=True, exist_ok=True)
    lower = ":".join(reversed(order["layers"]))
    mount("overlay", root, "overlay", 0, f"lowerdir={lower},upperdir={upper},workdir={work}")
    for source, target, writable in order["binds"]:
        bind(source, mount_point(root, target, Path(source).is_dir()), writable)
    for target in order["tmpfs"]:
        mount("tmpfs", mount_point(root, target, True), "tmpfs", _NOSUID | _NODEV, "mode=1777")
        # The checkout may lie below it.
        for folder in order["lent"]:
            if Path(folder).is_relative_to(target):
                bind(folder, mount_point(root, folder, True), writable=False)
    if order["read_only"]:
        mount("none", root, "", _REMOUNT | _READ_ONLY | _BIND)
    return root


def bind(source: str, place: Path, writable: bool) -> None:
    mount(source, place, "", _BIND | _RECURSIVE)
    if not writable:
        mount("none", place, "", _BIND | _REMOUNT | _READ_ONLY)


def mount_point(root: Path, target: str, is_folder: bool) -> Path:
    # Links inside the container are followed there: /var/run is one.
    place = Path(os.path.realpath(root / target.lstrip("/")))
    if not place.is_relative_to(root):
        place = root / str(place).lstrip("/")
    if is_folder:
        place.mkdir(parents=True, exist_ok=True)
    elif not place.exists():
        place.parent.mkdir(parents=True, exist_ok=True)
        place.touch()
    return place


def run_inside(order: dict[str, Any], root: Path) -> None:
    """Be the container's first process."""
    call("prctl", _DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0)
    call("sethostname", order["hostname"], len(order["hostname"]))
    (root / "proc").mkdir(exist_ok=True)
    mount("proc", root / "proc", "proc")
    os.chroot(root)
    os.chdir(order["folder"])
    if order["cores"]:
        os.sched_setaffinity(0, order["cores"])
    if order["init"]:
        start_behind_init()
    os.setgroups([])
    os.setgid(order["group"])
    os.setuid(order["user"])
    if order["no_new_privileges"]:
        call("prctl", _NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    words = order["words"]
    try:
        os.execvpe(words[0], words, order["environment"])
    except OSError as error:
        print(f"{words[0]}: {error.strerror}", file=sys.stderr, flush=True)
        os._exit(127)


def start_behind_init() -> None:
    """Return in a child. The first process hands signals on, reaps, and ends as the child does."""
    program = os.fork()
    if not program:
        os.setpgid(0, 0)
        return
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, _: os.kill(program, number))
    while True:
        with contextlib.suppress(InterruptedError):
            pid, status = os.wait()
            if pid == program:
                os._exit(exit_code(status))


def exit_code(status: int) -> int:
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def main() -> None:
    if sys.argv[1:]:
        hold(*sys.argv[1:])
        return
    order = json.loads(sys.stdin.readline())
    call("prctl", _DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0)
    enter(order["holder"], "mnt")
    call("unshare", _NEWNS | _NEWUTS | _NEWIPC)
    mount("none", Path("/"), "", _RECURSIVE | _PRIVATE)
    if order["address"]:
        enter(order["holder"], "net")
        join_network(order)
    root = make_root(order)
    call("unshare", _NEWPID)
    first = os.fork()
    if not first:
        run_inside(order, root)
    signal.signal(signal.SIGTERM, lambda number, _: os.kill(first, number))
    os.write(order["report"], f"{first}\n".encode())
    os.close(order["report"])
    os._exit(exit_code(os.waitpid(first, 0)[1]))


if __name__ == "__main__":
    main()
