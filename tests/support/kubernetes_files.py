"""What Kubernetes makes of manifests, as far as ours need it: files with the components of a
kustomization, and a container's command line, environment, volumes and probes as a process here.

Volumes are folders below one of the test's, and the paths of mounts lead there. A port is any that
is free. All else is taken as it stands.
"""

import copy
import re
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from fork_server import Forked
from toy_command import start_command
from waiting import wait_until

FOLDER = Path(__file__).parents[2] / "deploy" / "kubernetes"
Resource = dict[str, Any]
Secrets = Mapping[str, Mapping[str, str]]
# Nobody listens there who listens on 127.0.0.1 alone: as a container's own address.
_ADDRESS = "127.0.0.2"


def read_file(file: Path) -> list[Resource]:
    """The documents of a file."""
    return list(yaml.safe_load_all(file.read_text()))


def kustomize(*components: str) -> dict[str, Resource]:
    """What `kubectl apply --kustomize` sends, by kind/name, with these components."""
    resources = {}
    for folder in (FOLDER, *(FOLDER / name for name in components)):
        [rules] = read_file(folder / "kustomization.yaml")
        for name in rules.get("resources", []):
            resources |= {name_of(each): each for each in read_file(folder / name)}
        for patch in rules.get("patches", []):
            [change] = read_file(folder / patch["path"])
            resources[name_of(change)] = merge(resources[name_of(change)], change)
    return resources


def name_of(resource: Resource) -> str:
    return f"{resource['kind']}/{resource['metadata']['name']}"


def merge(base: Any, change: Any) -> Any:
    """A strategic merge patch: lists of objects by name or path, other lists as a whole; null
    takes away."""
    if isinstance(base, dict) and isinstance(change, dict):
        merged = base | {name: merge(base.get(name), value) for name, value in change.items()}
        return {name: value for name, value in merged.items() if value is not None}
    if isinstance(base, list) and isinstance(change, list) and isinstance(change[0], dict):
        key = next(name for name in ("name", "mountPath") if name in change[0])
        own = {each[key]: each for each in base}
        for each in change:
            own[each[key]] = merge(own.get(each[key], {}), each)
        return list(own.values())
    return change


def pods_of(resource: Resource) -> Resource | None:
    """The template of its pods, if it makes pods."""
    template: Resource | None = resource.get("spec", {}).get("template")
    return template


@dataclass
class ProbeFailed(AssertionError):
    """A probe that was answered, but not as it should be, or not in time."""

    reason: str

    def __str__(self) -> str:
        return self.reason


@dataclass
class RunningContainer:
    """The container of a workload as a process. `folder`: what its volumes lie in."""

    resource: Resource
    secrets: Secrets
    folder: Path
    process: Forked = field(init=False)

    def __post_init__(self) -> None:
        template = pods_of(self.resource)
        assert template is not None
        self.pod = copy.deepcopy(template["spec"])
        [self.container] = self.pod["containers"]
        self._folders = dict(self._mounts())
        self._ports = {
            str(port["containerPort"]): str(free_port()) for port in self.container["ports"]
        }

    def start(self) -> None:
        environment = dict(self._environment())
        words = [self._here(word) for word in [*self.container["command"], *self.container["args"]]]
        assert words.pop(0) == "tuner", "what the image has on its PATH"
        working = self._folders[self.container["workingDir"]]
        self.process = start_command(words, working, environment, self.log)

    @property
    def log(self) -> Path:
        return self.folder / "log.txt"

    @property
    def printed(self) -> str:
        return self.log.read_text(errors="replace")

    def stop(self) -> int:
        """As when the pod is deleted; the exit code."""
        self.process.terminate()
        return self.process.wait(self.pod["terminationGracePeriodSeconds"])

    def wait_until_ready(self, most_s: float = 60.0) -> None:
        """Until its startup probe and its readiness probe succeed. Raises ProbeFailed."""
        probe = self.container["startupProbe"]
        most_s = min(most_s, probe["periodSeconds"] * probe["failureThreshold"])
        for name in ("startupProbe", "readinessProbe"):
            try:
                wait_until(lambda name=name: self.succeeds(name), most_s)  # type: ignore[misc]
            except AssertionError as error:
                raise ProbeFailed(f"{name}: {error}; {self.printed}") from error

    def succeeds(self, probe: str) -> bool:
        """Whether a probe succeeds now. Raises ProbeFailed where it never will."""
        if self.process.poll() is not None:
            raise ProbeFailed(f"ended with {self.process.returncode}: {self.printed}")
        wanted = self.container[probe]["httpGet"]
        try:
            self.read(wanted["path"], wanted["port"])
        except urllib.error.HTTPError as error:
            if error.code != 503:
                raise ProbeFailed(f"{probe}: {error.code} of {wanted['path']}") from error
            return False
        except OSError:
            return False
        return True

    def read(self, path: str, port: str | int, token: str = "") -> str:
        """The answer to a request from elsewhere in the cluster, by the pod's address."""
        here = self._ports[str(self.number(port))]
        request = urllib.request.Request(f"http://{_ADDRESS}:{here}{path}")
        if token:
            request.add_header("Authorization", f"Bearer {token}")
        with urllib.request.urlopen(request, timeout=5) as answer:
            text: str = answer.read().decode()
        return text

    def number(self, port: str | int) -> int:
        """A port's number, of its name too."""
        numbers = {each["name"]: each["containerPort"] for each in self.container["ports"]}
        return int(numbers[port] if isinstance(port, str) else port)

    def _environment(self) -> Iterator[tuple[str, str]]:
        for source in self.container.get("envFrom", []):
            yield from self.secrets[source["secretRef"]["name"]].items()
        for variable in self.container["env"]:
            if "valueFrom" not in variable:
                yield variable["name"], self._here(variable["value"])
                continue
            key = variable["valueFrom"]["secretKeyRef"]
            yield variable["name"], self.secrets[key["name"]][key["key"]]

    def _mounts(self) -> Iterator[tuple[str, Path]]:
        volumes = {volume["name"]: volume for volume in self.pod["volumes"]}
        for mount in self.container["volumeMounts"]:
            volume = volumes[mount["name"]]
            folder = self.folder / mount["name"]
            folder.mkdir(exist_ok=True)
            if "secret" in volume:
                for name, text in self.secrets[volume["secret"]["secretName"]].items():
                    (folder / name).write_text(text)
                    (folder / name).chmod(0o600)
            yield mount["mountPath"], folder

    def _here(self, text: str) -> str:
        """A word with the paths of mounts, and ports, as they are on this machine."""
        paths = "|".join(map(re.escape, self._folders))
        moved = re.fullmatch(rf"(@?)({paths})((?:/.*)?)", text)
        if moved:
            return f"{moved[1]}{self._folders[moved[2]]}{moved[3]}"
        return self._ports.get(text, text)


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("", 0))
        return int(found.getsockname()[1])
