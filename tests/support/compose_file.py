"""Reads docker-compose.yml as `docker compose` does, as far as ours uses it. A key that is not
known here is an error: nothing in the file goes unread."""

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

# Read, and left to Docker: what they say cannot be shown without it.
_FOR_DOCKER = {"logging", "mem_limit", "shm_size"}
_READ = {
    "image",
    "cpus",
    "security_opt",
    "build",
    "entrypoint",
    "command",
    "environment",
    "volumes",
    "tmpfs",
    "ports",
    "cap_drop",
    "scale",
}
_READ |= {"healthcheck", "depends_on", "restart", "init", "read_only", "stop_grace_period"}
_READ |= {"profiles"}
_HEALTH = {"test", "interval", "timeout", "retries", "start_period", "disable"}
_VARIABLE = re.compile(r"\$\$|\$\{(\w+)(?:(:?[-?+])([^}]*))?\}|\$(\w+)")
_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}
CONDITIONS = ("service_started", "service_healthy")


class ComposeError(AssertionError):
    """A file that `docker compose` would refuse."""


@dataclass(frozen=True)
class Volume:
    """`source`: a folder or file, from the file's folder, or the name of a volume."""

    source: str
    target: str
    writable: bool = True

    @property
    def is_named(self) -> bool:
        return "/" not in self.source


@dataclass(frozen=True)
class Port:
    address: str
    outside: int
    inside: int


@dataclass(frozen=True)
class HealthCheck:
    """`patience_s`: after so long without a success, a container is unhealthy."""

    test: tuple[str, ...]
    patience_s: float


@dataclass(frozen=True)
class Service:
    """`entrypoint`, `command` and `health`: None for those of the image."""

    name: str
    image: str
    is_built: bool
    entrypoint: tuple[str, ...] | None
    command: tuple[str, ...] | None
    environment: Mapping[str, str]
    volumes: tuple[Volume, ...]
    tmpfs: tuple[str, ...]
    ports: tuple[Port, ...]
    health: HealthCheck | None
    has_health: bool
    depends_on: Mapping[str, str]
    restarts: bool
    init: bool
    read_only: bool
    no_new_privileges: bool
    cap_drop: tuple[str, ...]
    stop_grace_s: float
    profiles: tuple[str, ...]
    cpus: float | None
    scale: int


@dataclass(frozen=True)
class ComposeFile:
    services: Mapping[str, Service]
    volumes: tuple[str, ...] = field(default=())


def read_environment(text: str) -> dict[str, str]:
    """The variables of .env."""
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)


def read_compose(text: str, variables: Mapping[str, str], *overrides: str) -> ComposeFile:
    """Raises ComposeError. `overrides`: further files, which add ports."""
    content = _interpolated(yaml.safe_load(text), variables)
    _check_keys("the file", {key for key in content if not key.startswith("x-")}, _TOP)
    volumes = tuple(content["volumes"])
    for name, values in content["services"].items():
        for override in overrides:
            more = _interpolated(yaml.safe_load(override), variables)["services"].get(name, {})
            _check_keys(name, set(more), {"ports"})
            values["ports"] = [*values.get("ports", []), *more.get("ports", [])]
    services = {
        name: _service(name, values, variables) for name, values in content["services"].items()
    }
    for service in services.values():
        _check_references(service, services, volumes)
    return ComposeFile(services, volumes)


_TOP = {"services", "volumes"}


def _check_keys(where: str, keys: set[str], known: set[str]) -> None:
    if unknown := keys - known:
        raise ComposeError(f"{where}: the interpreter does not know {', '.join(sorted(unknown))}")


def _check_references(
    service: Service, services: Mapping[str, Service], volumes: tuple[str, ...]
) -> None:
    for name, condition in service.depends_on.items():
        if name not in services or condition not in CONDITIONS:
            raise ComposeError(f"{service.name} depends on {name}: {condition}")
    for volume in service.volumes:
        if volume.is_named and volume.source not in volumes:
            raise ComposeError(f"{service.name} mounts volume {volume.source}, which is undefined")


def _interpolated(value: Any, variables: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        return {key: _interpolated(each, variables) for key, each in value.items()}
    if isinstance(value, list):
        return [_interpolated(each, variables) for each in value]
    if isinstance(value, str):
        return _VARIABLE.sub(lambda match: _replaced(match, variables), value)
    return value


def _replaced(match: re.Match[str], variables: Mapping[str, str]) -> str:
    if match[0] == "$$":
        return "$"
    name, operator, word = match[1] or match[4], match[2] or "", match[3] or ""
    value = variables.get(name)
    is_set = bool(value) if operator.startswith(":") else value is not None
    if operator.endswith("?") and not is_set:
        raise ComposeError(f"required variable {name} is missing a value: {word}")
    if operator.endswith("+"):
        return word if is_set else ""
    return value if is_set and value is not None else word


def _service(name: str, values: Mapping[str, Any], variables: Mapping[str, str]) -> Service:
    _check_keys(name, set(values), _READ | _FOR_DOCKER)
    health = values.get("healthcheck", {})
    return Service(
        name=name,
        image=values["image"],
        is_built="build" in values,
        entrypoint=_words(values.get("entrypoint")),
        command=_words(values.get("command")),
        environment=_environment(name, values.get("environment", {}), variables),
        volumes=tuple(_volume(each) for each in values.get("volumes", [])),
        tmpfs=tuple(values.get("tmpfs", [])),
        ports=tuple(_port(each) for each in values.get("ports", [])),
        health=_health(health),
        has_health=not health.get("disable", False),
        depends_on={key: each["condition"] for key, each in values.get("depends_on", {}).items()},
        restarts=_restarts(name, values.get("restart", "no")),
        init=values.get("init", False),
        read_only=values.get("read_only", False),
        no_new_privileges="no-new-privileges:true" in values.get("security_opt", []),
        cap_drop=tuple(values.get("cap_drop", [])),
        stop_grace_s=_seconds(values.get("stop_grace_period", "10s")),
        profiles=tuple(values.get("profiles", [])),
        cpus=float(values["cpus"]) if "cpus" in values else None,
        scale=int(values.get("scale", 1)),
    )


def _words(value: str | list[str] | None) -> tuple[str, ...] | None:
    return None if value is None else tuple(shlex.split(value) if isinstance(value, str) else value)


def _environment(
    name: str, values: Mapping[str, Any], variables: Mapping[str, str]
) -> dict[str, str]:
    environment: dict[str, str] = {}
    for key, value in values.items():
        if isinstance(value, bool):
            raise ComposeError(f"{name}: {key} must be a string, not {value}")
        if value is not None:
            environment[key] = str(value)
        elif key in variables:
            environment[key] = variables[key]
    return environment


def _volume(text: str) -> Volume:
    source, target, *mode = text.split(":")
    if mode not in ([], ["ro"], ["rw"]) or not target.startswith("/"):
        raise ComposeError(f"no volume: {text}")
    return Volume(source, target, mode != ["ro"])


def _port(text: str) -> Port:
    """Ours all say on which address: without one, a port is open to everybody."""
    address, outside, inside = text.rsplit(":", 2)
    if not re.fullmatch(r"\d+\.\d+\.\d+\.\d+", address):
        raise ComposeError(f"a port is published on no address: {text}")
    return Port(address, int(outside), int(inside))


def _restarts(name: str, policy: str) -> bool:
    if policy not in ("no", "always", "on-failure", "unless-stopped"):
        raise ComposeError(f"{name}: restart cannot be {policy}")
    return policy != "no"


def _health(values: Mapping[str, Any]) -> HealthCheck | None:
    _check_keys("healthcheck", set(values), _HEALTH)
    if "test" not in values:
        return None
    test = tuple(values["test"])
    if not test or test[0] != "CMD":
        raise ComposeError(f"healthcheck.test must begin with CMD: {test}")
    interval = _seconds(values.get("interval", "30s"))
    patience = _seconds(values.get("start_period", "0s")) + interval * values.get("retries", 3)
    return HealthCheck(test, patience)


def _seconds(text: str) -> float:
    if not (match := re.fullmatch(r"(\d+)([smh])", text)):
        raise ComposeError(f"no time: {text}")
    return int(match[1]) * _UNITS[match[2]]
