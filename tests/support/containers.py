"""A small stand-in for Docker: builds the image of a Dockerfile, and runs the services of a compose
file, as processes in namespaces of their own (container_process.py). Linux and root are needed.

What is as in Docker: each line is run as it stands, by its user, on a root that may be read-only,
with its environment alone, its volumes, its address, the names of the others, its limits on time;
health checks run inside; who ends is started again if its policy says so. What is not: the base
images. In place of `python` there is this machine with its Python, in place of `postgres` the
PostgreSQL of a package from PyPI (base_images.py). Limits of memory are not set.
"""

import contextlib
import functools
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import base_images
from compose_file import ComposeFile, HealthCheck, Service, Volume
from container_process import enter
from docker_file import Step, allowed_by, read_dockerfile
from pump import pump

_PROCESS = Path(__file__).with_name("container_process.py")
_NETWORK = "172.28.0"
# The address of this machine that others on the network reach.
GATEWAY = f"{_NETWORK}.1"
# Tests share their cores with others.
_PATIENCE_S = 180.0
Answer = TypeVar("Answer")
# Mounts and links that a container needs, tried where nobody else sees them.
_TRIAL = """mount -t tmpfs none /mnt && cd /mnt && mkdir lower upper work root \\
 && mount -t overlay none root -o lowerdir=lower,upperdir=upper,workdir=work \\
 && ip link add bridge type bridge && ip link add eth0 type veth peer name outside"""


def why_no_containers() -> str:
    """What this machine does not allow or have, in a line; "" if containers run here."""
    if sys.platform != "linux" or os.geteuid() != 0 or not shutil.which("ip"):
        return "containers need Linux, root and iproute2"
    words = ["unshare", "--mount", "--net", "--uts", "--ipc", "--pid", "--fork", "sh", "-c", _TRIAL]
    tried = subprocess.run(words, capture_output=True, text=True)
    return f"this machine allows no containers: {tried.stderr.strip()}" if tried.returncode else ""


@dataclass(frozen=True)
class Image:
    """Folders one above the other, and how a container of it starts."""

    layers: tuple[str, ...]
    environment: Mapping[str, str]
    folder: str
    user: tuple[int, int]
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    health: HealthCheck | None = None


@dataclass
class Container:
    """A process of a service. `first`: the number of its first process."""

    service: Service
    image: Image
    order: dict[str, Any]
    log: Path
    process: subprocess.Popen[bytes]
    first: int

    @property
    def address(self) -> str:
        return str(self.order["address"])

    @property
    def has_ended(self) -> bool:
        return self.process.poll() is not None

    @property
    def printed(self) -> str:
        return self.log.read_text(errors="replace")

    def run(self, words: Sequence[str]) -> subprocess.CompletedProcess[str]:
        """As `docker exec`: by its user, with its environment."""
        user, group = self.order["user"], self.order["group"]
        enter = f"nsenter --target {self.first} --mount --uts --ipc --net --pid --root"
        inside = ["sh", "-c", 'cd "$0" && exec "$@"', self.order["folder"]]
        return subprocess.run(
            [*enter.split(), f"--setuid={user}", f"--setgid={group}", "--", *inside, *words],
            cwd="/",
            env=self.order["environment"],
            capture_output=True,
            text=True,
            timeout=60,
        )

    def is_healthy(self) -> bool:
        """Its health check, done once; without one it is healthy while it runs."""
        if self.has_ended:
            return False
        check = self.service.health or (self.image.health if self.service.has_health else None)
        return check is None or self.run(check.test[1:]).returncode == 0

    def programs(self) -> list[int]:
        """The processes of its program, the first one first."""
        children = Path(f"/proc/{self.first}/task/{self.first}/children").read_text().split()
        return [int(child) for child in children] if self.order["init"] else [self.first]


class Project:
    """As `docker compose` for one file. A context: everything ends with it."""

    def __init__(self, folder: Path, repository: Path) -> None:
        self.folder, self.repository = folder, repository
        self.containers: list[Container] = []
        self._layers = folder / "layers"
        self._volumes = folder / "volumes"
        self._numbers = iter(range(2, 250))
        self._listeners: list[socket.socket] = []
        self._images: dict[str, Image] = {}

    def __enter__(self) -> "Project":
        for place in (self._layers, self._volumes, self.folder / "logs"):
            place.mkdir()
        words = [sys.executable, "-I", "-S", str(_PROCESS), str(self._layers), GATEWAY]
        self._holder = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={"PATH": os.environ["PATH"]}
        )
        assert self._holder.stdout is not None
        assert self._holder.stdout.readline() == b"ready\n"
        return self

    def __exit__(self, *_: object) -> None:
        for listener in self._listeners:
            listener.close()
        for container in self.containers:
            self._end(container, signal.SIGKILL, 10)
        self._holder.kill()
        self._holder.wait()

    # Building

    def build(self, dockerfile: str, name: str) -> Image:
        """Run the lines of a Dockerfile."""
        stages = read_dockerfile(dockerfile, base_images.python_environment())
        built: dict[str, tuple[str, ...]] = {}
        for number, stage in enumerate(stages):
            assert base_images.is_python(stage.base), stage.base
            layer = str(self._layers / f"{name}-{number}" / "upper")
            first = Step("RUN", base_images.preparation(), (), "/", stage.environment)
            self._in_layer(first, first.text, (), f"{name}-{number}")
            for step in stage.steps:
                self._run_step(step, built, f"{name}-{number}")
            built[stage.name] = ("/", layer)
        last = stages[-1]
        user, _, group = last.user.partition(":")
        self._images[name] = image = Image(
            layers=built[last.name],
            environment=last.environment,
            folder=last.folder,
            user=(int(user), int(group or user)),
            entrypoint=tuple(last.entrypoint),
            command=tuple(last.command),
            health=HealthCheck(tuple(last.health), 60.0) if last.health else None,
        )
        return image

    def _run_step(self, step: Step, built: Mapping[str, tuple[str, ...]], own: str) -> None:
        script, binds = step.text, list(base_images.CACHES)
        if step.name == "COPY":
            script, binds = self._copying(step, built)
        elif base_images.is_installation(script):
            # What it would install is taken from this machine; then the line itself finds it there.
            planned = self._in_layer(step, base_images.planning(script), binds, own)
            script = f"{base_images.linking(script, planned)}\n{script}"
        self._in_layer(step, script, binds, own)

    def _copying(self, step: Step, built: Mapping[str, tuple[str, ...]]) -> tuple[str, list[Any]]:
        """The script of a COPY, and where it finds the files: of the repository, as far as
        .dockerignore lets them into the build, or of an earlier stage."""
        sources, target = step.text.split()[:-1], step.text.split()[-1]
        if step.options:
            (option,) = step.options
            folder = built[option.removeprefix("--from=")][-1]
        else:
            folder = str(self._context)
        lines = []
        for source in sources:
            place = f"/run/source/{source.lstrip('/')}"
            one = f"test -e {place} && mkdir -p {target} && cp -a {place}"
            lines.append(f"{one}/. {target}" if len(sources) == 1 else f"{one} {target}")
        return "\n".join(lines), [(folder, "/run/source", False)]

    @functools.cached_property
    def _context(self) -> Path:
        """What `docker build` sends: the files that .dockerignore lets in."""
        ignored = (self.repository / ".dockerignore").read_text()
        listing = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
        done = subprocess.run(listing, cwd=self.repository, capture_output=True, check=True)
        context = self.folder / "context"
        for name in done.stdout.decode().splitlines():
            file = self.repository / name
            if allowed_by(ignored, name) and file.is_file():
                (context / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(file, context / name)
        return context

    def _in_layer(self, step: Step, script: str, binds: Sequence[Any], own: str) -> str:
        """Run a script by root, with this machine's network. What it printed."""
        order = self._order(("/",), own) | {
            "address": None,
            "binds": [*_SYSTEM, *binds],
            "environment": {**step.environment, **base_images.registry_environment()},
            "folder": "/",
            "words": ["sh", "-euc", f"mkdir -p {step.folder} && cd {step.folder}\n{script}"],
        }
        log = self.folder / "logs" / f"{own}.txt"
        with log.open("ab") as written:
            before = written.tell()
            process, _ = _start(order, written)
        code = process.wait(300)
        printed = log.read_bytes()[before:].decode(errors="replace")
        assert code == 0, f"{step.name} {step.text} ended with {code}\n{printed}"
        return printed

    def _order(self, layers: Sequence[str], own: str) -> dict[str, Any]:
        return {
            "holder": self._holder.pid,
            "layers": list(layers),
            "own": str(self._layers / own),
            "tmpfs": [],
            "lent": [str(folder) for folder in base_images.lent()],
            "read_only": False,
            "hostname": own,
            "init": False,
            "user": 0,
            "group": 0,
            "no_new_privileges": False,
            "cores": None,
        }

    # Running

    def up(self, file: ComposeFile, scale: Mapping[str, int] | None = None) -> None:
        """Start all services without a profile, each when those that it depends on are as it
        wants, and publish their ports."""
        for name in _in_order(file):
            service = file.services[name]
            if service.profiles:
                continue
            self.wait_for(file, service)
            for _ in range((scale or {}).get(name, service.scale)):
                self.start(service)
            self._publish(service)

    def wait_for(self, file: ComposeFile, service: Service) -> None:
        """Until those that a service depends on are as it wants."""
        for other, condition in service.depends_on.items():
            for container in self.of(other):
                if condition == "service_healthy":
                    self.wait_healthy(container)
                assert not container.has_ended, f"{other} has ended\n{container.printed}"

    def wait_healthy(self, container: Container) -> None:
        check = container.service.health or container.image.health
        assert check is not None, f"{container.service.name} has no health check to wait for"
        deadline = time.monotonic() + max(check.patience_s, _PATIENCE_S)
        while not container.is_healthy():
            words = f"{container.service.name} is not healthy"
            assert not container.has_ended, f"{words}: it has ended\n{container.printed}"
            assert time.monotonic() < deadline, f"{words}\n{container.printed[-3000:]}"
            time.sleep(0.3)

    def of(self, name: str) -> list[Container]:
        """The containers of a service that run."""
        return [
            each for each in self.containers if each.service.name == name and not each.has_ended
        ]

    def start(self, service: Service, words: Sequence[str] = ()) -> Container:
        """One more container of a service. `words`: in place of its command."""
        number = next(self._numbers)
        image = self.image_of(service)
        own = f"{service.name}-{number}"
        entrypoint = image.entrypoint if service.entrypoint is None else service.entrypoint
        command = image.command if service.command is None else service.command
        if service.entrypoint is not None and service.command is None:
            command = ()
        user, group = image.user
        order = self._order(image.layers, own) | {
            "address": f"{_NETWORK}.{number}",
            "binds": [*_SYSTEM, *self._binds(service, image), self._hosts_bind()],
            "tmpfs": list(service.tmpfs),
            "read_only": service.read_only,
            "init": service.init,
            "user": user,
            "group": group,
            "no_new_privileges": service.no_new_privileges,
            "environment": {**image.environment, **service.environment},
            "folder": image.folder,
            "cores": self._cores(service, number),
            "words": [*entrypoint, *(words or command)],
        }
        log = self.folder / "logs" / f"{own}.txt"
        with log.open("wb") as written:
            process, first = _start(order, written)
        container = Container(service, image, order, log, process, first)
        self.containers.append(container)
        self._write_hosts()
        return container

    def run(self, file: ComposeFile, name: str, *words: str) -> str:
        """As `docker compose run --rm NAME WORDS`. What it printed."""
        service = file.services[name]
        self.wait_for(file, service)
        container = self.start(service, words)
        code = container.process.wait(120)
        assert code == 0, f"{' '.join(words)} ended with {code}\n{container.printed}"
        return container.printed

    def restart_ended(self) -> list[Container]:
        """Start those that have ended once more, if their policy says so. The new ones."""
        ended = [each for each in self.containers if each.has_ended and each.service.restarts]
        self.containers = [each for each in self.containers if each not in ended]
        return [self.start(each.service) for each in ended]

    def stop(self, container: Container) -> int:
        """As `docker stop`. Its exit code."""
        return self._end(container, signal.SIGTERM, container.service.stop_grace_s)

    @staticmethod
    def _end(container: Container, number: int, patience_s: float) -> int:
        if not container.has_ended:
            with contextlib.suppress(ProcessLookupError):
                os.kill(container.first, number)
            try:
                return container.process.wait(patience_s)
            except subprocess.TimeoutExpired:
                os.kill(container.first, signal.SIGKILL)
        return container.process.wait(10)

    def image_of(self, service: Service) -> Image:
        if service.is_built:
            return self._images["tuner"]
        if service.image not in self._images:
            text = base_images.STAND_INS[service.image]
            self._images[service.image] = self.build(text, "base")
        return self._images[service.image]

    @staticmethod
    def _cores(service: Service, number: int) -> list[int] | None:
        """A limit of so many cores, as some of this machine's."""
        usable = sorted(os.sched_getaffinity(0))
        if service.cpus is None:
            return None
        return [usable[(number + each) % len(usable)] for each in range(max(1, int(service.cpus)))]

    def _binds(self, service: Service, image: Image) -> Iterator[tuple[str, str, bool]]:
        for volume in service.volumes:
            source = (
                self._volume(volume, image) if volume.is_named else self.repository / volume.source
            )
            assert source.exists(), f"{service.name}: there is no {source}"
            yield str(source), volume.target, volume.writable

    def _volume(self, volume: Volume, image: Image) -> Path:
        """A new volume gets the owner of the image's folder at its place."""
        folder = self._volumes / volume.source
        if not folder.exists():
            folder.mkdir()
            with contextlib.suppress(FileNotFoundError):
                found = self._stat(image, volume.target)
                os.chown(folder, found.st_uid, found.st_gid)
                folder.chmod(found.st_mode & 0o7777)
        return folder

    def _stat(self, image: Image, target: str) -> os.stat_result:
        place = Path(image.layers[-1]) / target.lstrip("/")
        return Path(f"/proc/{self._holder.pid}/root{place}").stat()

    def _hosts_bind(self) -> tuple[str, str, bool]:
        file = self.folder / "hosts"
        file.touch()
        return str(file), "/etc/hosts", False

    def _write_hosts(self) -> None:
        lines = [
            f"{each.address} {each.service.name} {each.order['hostname']}"
            for each in self.containers
        ]
        text = "\n".join(["127.0.0.1 localhost", *lines]) + "\n"
        (self.folder / "hosts").write_text(text)

    # The network

    def ask(self, question: Callable[[], Answer], where: int | None = None) -> Answer:
        """The answer of a function that is run on this machine's end of the network. `where`: a
        process; at its end."""
        answers: list[Answer] = []
        errors: list[BaseException] = []

        def work() -> None:
            try:
                enter(where or self._holder.pid, "net")
                answers.append(question())
            except BaseException as error:
                errors.append(error)

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        if errors:
            raise errors[0]
        return answers[0]

    def _publish(self, service: Service) -> None:
        for port in service.ports:
            place = port.address, port.outside
            listener = self.ask(lambda place=place: socket.create_server(place))  # type: ignore[misc]
            self._listeners.append(listener)
            work = functools.partial(self._forward, listener, service.name, port.inside)
            threading.Thread(target=work, daemon=True).start()

    def _forward(self, listener: socket.socket, name: str, inside: int) -> None:
        enter(self._holder.pid, "net")
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            with contextlib.suppress(OSError, IndexError):
                server = socket.create_connection((self.of(name)[0].address, inside), timeout=60)
                threading.Thread(target=pump, args=(client, server), daemon=True).start()
                threading.Thread(target=pump, args=(server, client), daemon=True).start()
                continue
            client.close()


_SYSTEM = [("/dev", "/dev", True), ("/sys", "/sys", False)]


def _start(order: dict[str, Any], written: Any) -> tuple[subprocess.Popen[bytes], int]:
    """A container's process, and the number of the first one in it."""
    reading, writing = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", str(_PROCESS)],
        stdin=subprocess.PIPE,
        stdout=written,
        stderr=written,
        env={"PATH": os.environ["PATH"]},
        pass_fds=(writing,),
        start_new_session=True,
    )
    os.close(writing)
    assert process.stdin is not None
    process.stdin.write(json.dumps({**order, "report": writing}).encode() + b"\n")
    process.stdin.close()
    with os.fdopen(reading) as told:
        return process, int(told.readline() or 0)


def _in_order(file: ComposeFile) -> list[str]:
    """Those that others depend on come first."""
    ordered: list[str] = []

    def add(name: str) -> None:
        for other in file.services[name].depends_on:
            add(other)
        if name not in ordered:
            ordered.append(name)

    for name in file.services:
        add(name)
    return ordered
