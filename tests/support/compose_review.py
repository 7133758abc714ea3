"""Whether the parts of docker-compose.yml and of the Dockerfile fit together: each command is
parsed by its own program, and what a service is told of another one is what that one offers. It
starts nothing, so it can be asked of many broken files."""

import contextlib
import io
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from configparser import ConfigParser
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any
from unittest import mock
from urllib.parse import urlsplit

import base_images
from compose_file import ComposeFile, Service, Volume, read_compose
from docker_file import Stage, read_dockerfile
from sqlalchemy import URL, make_url

from tuner.service.daemon_start import WorkerWanted
from tuner.settings import Settings, mlflow_login
from tuner.web.serving import PageWanted

ROOT = Path(__file__).parents[2]
SECRETS = {
    "POSTGRES_PASSWORD": "postgres-secret",
    "TUNER_DB_PASSWORD": "tuner-db-secret",
    "MLFLOW_DB_PASSWORD": "mlflow-db-secret",
    "MLFLOW_ADMIN_PASSWORD": "mlflow-admin-secret",
    "MLFLOW_SECRET_KEY": "mlflow-form-secret",
    "TUNER_UI_TOKEN": "page-token-secret",
}
BUCKET = {
    "TUNER_CHECKPOINTS": "s3://bucket/tuner",
    "AWS_ENDPOINT_URL": "http://s3.example.com",
    "AWS_DEFAULT_REGION": "here",
    "AWS_ACCESS_KEY_ID": "key-of-the-bucket",
    "AWS_SECRET_ACCESS_KEY": "secret-of-the-bucket",
}
# As somebody sets them who opens the server to others, and has checkpoints in a bucket.
OPEN = {
    "TUNER_BIND": "192.168.1.5",
    "TUNER_HOST": "tuner.example.com",
    "TUNER_WORKERS": "4",
    "TUNER_WORKER_CPUS": "2",
    **BUCKET,
}
_INITIAL = "/docker-entrypoint-initdb.d/"


class Misfit(Exception):
    """What does not fit, in one line."""


def demand(condition: object, problem: str) -> None:
    if not condition:
        raise Misfit(problem)


@dataclass(frozen=True)
class Started:
    """A service as it would start. `words`: of its command line."""

    service: Service
    words: Sequence[str]
    environment: Mapping[str, str]

    def mount(self, target: str) -> Volume:
        for volume in self.service.volumes:
            if target == volume.target or target.startswith(f"{volume.target.rstrip('/')}/"):
                return volume
        raise Misfit(f"{self.service.name}: nothing is mounted at {target}")

    def read_mounted(self, target: str) -> str:
        """The text of a file of ours that is mounted."""
        file = ROOT / self.mount(target).source
        demand(file.is_file(), f"{self.service.name}: there is no {file}")
        return file.read_text(encoding="utf-8")

    def secret(self, name: str) -> str:
        value = self.environment.get(name, "")
        demand(value in SECRETS.values(), f"{self.service.name}: {name} is no secret of .env")
        return value


def review(compose: str, dockerfile: str) -> None:
    """Raises an error for what does not fit together."""
    *_, image = read_dockerfile(dockerfile, base_images.python_environment())
    demand(image.user == "10001:10001", "the image must not run as root")
    demand(base_images.is_python(image.base), "the base image must be pinned by its tag")
    demand("pip install --target /opt/uv --require-hashes" in dockerfile, "uv's hash is not asked")
    _review_image_alone(image)
    for variables in (SECRETS, SECRETS | OPEN):
        _review_services(read_compose(compose, variables), image, variables)


def _review_services(file: ComposeFile, image: Stage, variables: Mapping[str, str]) -> None:
    services = {name: _started(service, image) for name, service in file.services.items()}
    for name, started in services.items():
        _review_safety(started)
        _review_health(started, image, _port(name))
    database = _Database(services["database"])
    mlflow = _Mlflow(services["mlflow"], database, variables)
    _review_page(services["page"], variables)
    worker = _run(services["worker"])
    demand(isinstance(worker, WorkerWanted), "worker: its command starts no worker")
    demand(worker.health_port == _port("worker"), "worker: its health check asks another port")
    for name in ("page", "worker", "tuner"):
        _review_client(services[name], database, mlflow)
        _review_checkpoints(services[name], variables)
    for name in ("worker", "tuner"):
        folder = services[name].environment["TUNER_DATA_HOME"]
        demand(not services[name].mount(folder).writable, f"{name}: data sets can be written")
    _review_worker(services["worker"].service, variables)
    _review_what_is_shared(services)


def _review_worker(service: Service, variables: Mapping[str, str]) -> None:
    demand(service.stop_grace_s >= 60, "worker: no time for checkpoints")
    for name, value in (("TUNER_WORKERS", service.scale), ("TUNER_WORKER_CPUS", service.cpus)):
        demand(value == int(variables.get(name, 1)), f"worker: {name} is not heard")


def _review_what_is_shared(services: Mapping[str, Started]) -> None:
    """All that is built is one image, and all of tuner has one folder of networks and users."""
    built = {each.service.image for each in services.values() if each.service.is_built}
    demand(len(built) == 1, f"there are several images: {built}")
    homes = {services[name].mount("/data").source for name in ("page", "worker", "tuner")}
    demand(len(homes) == 1, f"page, workers and commands have different folders: {homes}")


def _port(name: str) -> int:
    """What each service listens on inside."""
    return {"database": 5432, "mlflow": 5000, "page": 8080, "worker": 9108}.get(name, 0)


def _started(service: Service, image: Stage) -> Started:
    if not service.is_built:
        demand(service.image in base_images.STAND_INS, f"{service.image} is not known here")
        return Started(service, service.command or ("postgres",), service.environment)
    entrypoint = image.entrypoint if service.entrypoint is None else service.entrypoint
    command = image.command if service.command is None else service.command
    if service.entrypoint is not None and service.command is None:
        command = ()
    return Started(service, (*entrypoint, *command), image.environment | service.environment)


def _review_image_alone(image: Stage) -> None:
    home = image.environment.get("HOME")
    demand(home == image.folder == "/data", "the image's folder and home must be its volume")
    path = image.environment["PATH"].split(":")
    demand(path[0] == "/opt/tuner/bin", "the image does not find its programs")


def _review_safety(started: Started) -> None:
    """What holds for every service."""
    service, name = started.service, started.service.name
    demand(service.read_only and "/tmp" in service.tmpfs, f"{name}: its files can be written")
    demand(service.no_new_privileges, f"{name}: it may get new privileges")
    demand(service.init, f"{name}: nobody reaps its processes")
    demand(service.restarts != bool(service.profiles), f"{name}: its restarts are wrong")
    demand(not service.is_built or service.cap_drop == ("ALL",), f"{name}: it has capabilities")
    for volume in service.volumes:
        is_ours = not volume.is_named and volume.source.startswith("./deploy/")
        demand(not (is_ours and volume.writable), f"{name}: it can change {volume.source}")
    for word in (*started.words, *(service.health.test if service.health else ())):
        demand(not any(secret in word for secret in SECRETS.values()), f"{name}: a secret shows")
    database = service.depends_on.get("database")
    demand(name == "database" or database == "service_healthy", f"{name}: it waits for no database")


def _review_health(started: Started, image: Stage, port: int) -> None:
    """Its check is done as it stands, where nothing listens: it must fail, and have asked the
    address that the service listens on."""
    service, name = started.service, started.service.name
    if not service.has_health:
        demand(service.profiles, f"{name}: it has no health check")
        return
    test = tuple(service.health.test if service.health else image.health)
    demand(test, f"{name}: it has no health check")
    if test[1] == "pg_isready":
        done = subprocess.run(test[1:], env=_postgres_path(), capture_output=True, text=True)
        demand(done.stdout == f"127.0.0.1:{port} - no response\n", f"{name}: {done}")
        demand(test[-2:] == ("--username", "postgres"), f"{name}: it asks as a stranger")
        demand(service.health and service.health.patience_s >= 60, f"{name}: no time to begin")
        return
    demand(test[1:4] == ("python", "-I", "-c") and len(test) == 5, f"{name}: {test}")
    asked: list[str] = []

    def refuse(url: str, timeout: float) -> None:
        asked.append(url)
        raise ConnectionRefusedError

    with mock.patch("urllib.request.urlopen", refuse), contextlib.suppress(ConnectionRefusedError):
        exec(test[4], {})
        raise Misfit(f"{name}: its health check passes where nothing listens")
    demand(asked == [f"http://127.0.0.1:{port}/health"], f"{name}: it asks {asked}")


def _postgres_path() -> dict[str, str]:
    return {"PATH": str(base_images.postgres_programs()), "PGCONNECT_TIMEOUT": "1"}


class _Database:
    """The users and databases that databases.sql makes."""

    def __init__(self, started: Started) -> None:
        sql = started.read_mounted(f"{_INITIAL}databases.sql")
        started.secret("POSTGRES_PASSWORD")
        demand(started.mount("/var/lib/postgresql").is_named, "database: its volume is not kept")
        demand("/run/postgresql" in started.service.tmpfs, "database: no place for its socket")
        variables = dict(re.findall(r"\\getenv (\w+) (\w+)", sql))
        roles = re.findall(r"CREATE ROLE (\w+) LOGIN PASSWORD :'(\w+)'", sql)
        self.passwords = {role: started.secret(variables[name]) for role, name in roles}
        self.owners = dict(re.findall(r"CREATE DATABASE (\w+) OWNER (\w+)", sql))
        demand(len(set(self.passwords.values())) == 2, "database: two users share a password")
        self._name = started.service.name

    def check_url(self, who: str, text: str, password: str | None) -> None:
        """Whether a client gets in, and owns its database."""
        url: URL = make_url(text)
        demand(url.drivername == "postgresql+psycopg", f"{who}: it has no driver for {text}")
        demand((url.host, url.port) == (self._name, _port(self._name)), f"{who}: {text} is nobody")
        demand(url.password is None, f"{who}: a password in a URL")
        demand(self.owners.get(url.database or "") == url.username, f"{who}: {text} is not its own")
        demand(self.passwords[str(url.username)] == password, f"{who}: its password is wrong")


class _Mlflow:
    """The server: what its command line and its environment make of it."""

    def __init__(self, started: Started, database: _Database, variables: Mapping[str, str]) -> None:
        self.options = options = _mlflow_options(started)
        password = started.environment.get("PGPASSWORD")
        database.check_url("mlflow", options["backend_store_uri"] or "sqlite://", password)
        accounts = ConfigParser()
        accounts.read_string(started.read_mounted(started.environment["MLFLOW_AUTH_CONFIG_PATH"]))
        database.check_url("mlflow", accounts["mlflow"]["database_uri"], password)
        started.secret("MLFLOW_FLASK_SERVER_SECRET_KEY")
        self.login = (
            accounts["mlflow"]["admin_username"],
            started.secret("MLFLOW_AUTH_ADMIN_PASSWORD"),
        )
        demand(options["app_name"] == "basic-auth", "mlflow: it asks for no login")
        artifacts = started.mount(options["artifacts_destination"])
        demand(artifacts.is_named and artifacts.writable, "mlflow: its artifacts are not kept")
        jobs = started.environment.get("MLFLOW_SERVER_ENABLE_JOB_EXECUTION")
        demand(jobs == "false", "mlflow: it starts processes for jobs")
        self._check_names(started.service, variables)

    def _check_names(self, service: Service, variables: Mapping[str, str]) -> None:
        """It listens on its port for others, and accepts each name that it is called by."""
        demand(self.options["host"] == "0.0.0.0", "mlflow: others cannot reach it")
        demand(self.options["port"] == _port("mlflow"), "mlflow: it listens on another port")
        published = _published(service, variables)
        names = {f"mlflow:{_port('mlflow')}", f"localhost:{published}", f"127.0.0.1:{published}"}
        origins = set()
        if address := variables.get("TUNER_BIND"):
            host = variables["TUNER_HOST"]
            names |= {f"{address}:{published}", host, f"{host}:{published}"}
            origins = {f"http://{name}:{published}" for name in (address, host)}
            origins |= {f"https://{host}", f"https://{host}:8443"}
        for given, wanted in (("allowed_hosts", names), ("cors_allowed_origins", origins)):
            patterns = self.options[given].split(",")
            demand("*" not in patterns, f"mlflow: {given} is open")
            for name in wanted:
                demand(any(fnmatch(name, each) for each in patterns), f"mlflow: {given}: {name}")
            known = {*variables.values(), "localhost", "127.0.0.1", "mlflow:5000"}
            for pattern in patterns:
                bare = re.sub(r"^https?://|:\*$", "", pattern)
                demand(bare in known, f"mlflow: {given} has {pattern}, for nobody")


def _published(service: Service, variables: Mapping[str, str]) -> int:
    """The port outside, on the address that .env names."""
    (port,) = service.ports
    demand(port.inside == _port(service.name), f"{service.name}: a port that nobody listens on")
    address = variables.get("TUNER_BIND", "127.0.0.1")
    demand(port.address == address, f"{service.name} is published on {port.address}")
    return port.outside


def _mlflow_options(started: Started) -> dict[str, Any]:
    from mlflow.cli import server

    demand(tuple(started.words[:2]) == ("mlflow", "server"), f"mlflow: {started.words}")
    with _environment(started):
        return dict(server.make_context("server", list(started.words[2:])).params)


def _review_page(started: Started, variables: Mapping[str, str]) -> None:
    wanted = _run(started)
    demand(isinstance(wanted, PageWanted), "page: its command serves no page")
    demand(wanted.host == "0.0.0.0", "page: others cannot reach it")
    demand(wanted.port == _port("page"), "page: it listens on another port")
    demand(started.secret("TUNER_UI_TOKEN"), "page: it asks for no login")
    names = (variables.get("TUNER_BIND", "127.0.0.1"), variables.get("TUNER_HOST", "localhost"))
    demand(wanted.names == names, f"page: it is called {names}")
    _published(started.service, variables)


def _review_client(started: Started, database: _Database, mlflow: _Mlflow) -> None:
    """What a process of tuner is told of the others."""
    name = started.service.name
    with _environment(started):
        from tuner.settings import load_settings

        settings: Settings = load_settings()
        login = mlflow_login(settings.tracking_uri)
    database.check_url(name, settings.storage, started.environment.get("PGPASSWORD"))
    address = urlsplit(settings.tracking_uri)
    demand(address.netloc == f"mlflow:{mlflow.options['port']}", f"{name}: it finds no MLflow")
    demand(address.scheme == "http", f"{name}: MLflow speaks no {address.scheme}")
    demand((login.username, login.password) == mlflow.login, f"{name}: MLflow refuses its login")
    demand(started.mount(started.environment["HOME"]).writable, f"{name}: it has no home")


def _review_checkpoints(started: Started, variables: Mapping[str, str]) -> None:
    """They are in a volume, or in the bucket that .env names."""
    name, place = started.service.name, started.environment["TUNER_CHECKPOINTS"]
    if "TUNER_CHECKPOINTS" in variables:
        for key in BUCKET:
            demand(started.environment.get(key) == variables[key], f"{name}: it lacks {key}")
        return
    volume = started.mount(place)
    demand(volume.is_named and volume.writable, f"{name}: checkpoints are not kept")


def _run(started: Started) -> Any:
    """What a command of tuner would serve or run."""
    from tuner.cli import commands

    demand(started.words[0] == "tuner", f"{started.service.name}: {started.words}")
    reached: list[Any] = []

    def reach(_: Settings, second: Any, *rest: Any) -> None:
        reached.extend(
            each for each in (second, *rest) if isinstance(each, (PageWanted, WorkerWanted))
        )

    with (
        _environment(started),
        mock.patch("tuner.web.serving.serve", reach),
        mock.patch("tuner.service.daemon_start.run_worker", reach),
        mock.patch("tuner.cli.database_access.open_database"),
        mock.patch.object(sys, "argv", list(started.words)),
        contextlib.redirect_stdout(io.StringIO()),
    ):
        commands.app(standalone_mode=False)
    demand(reached, f"{started.service.name}: {started.words} serves nothing")
    return reached[0]


@contextlib.contextmanager
def _environment(started: Started) -> Iterator[None]:
    with mock.patch.dict(os.environ, started.environment, clear=True):
        yield


def is_refused(compose: str, dockerfile: str) -> bool:
    """Whether something does not fit together: the error is any program's own."""
    try:
        review(compose, dockerfile)
    except Exception:
        return True
    return False
