"""The servers of `tuner ui`, as child processes. Imported only when they start: the databases'
modules, and http.server, would make every command slower."""

import contextlib
import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tuner.cli.dashboard import HOST, loopback_hosts
from tuner.errors import StudyError, TunerError
from tuner.settings import Settings, server_environment
from tuner.storage import exists, open_store
from tuner.storage.studies import how_to_create
from tuner.system.logs import without_secrets
from tuner.system.temporary_folders import OwnFolder

_START_S = 90.0


def serve_pages(
    settings: Settings, mlflow_port: int, dashboard_port: int, say: Callable[[str], None]
) -> None:
    """Serve until Ctrl-C or SIGTERM. Raises TunerError when a server does not start."""
    if not exists(settings.storage):
        raise StudyError(f"there is no study to show yet; {how_to_create()}")
    open_store(settings.storage)  # Closed when the command ends, after its child processes.
    ports = {"MLflow": _free_port(mlflow_port), "Optuna dashboard": _free_port(dashboard_port)}
    commands = {
        "MLflow": _mlflow(settings, ports["MLflow"]),
        "Optuna dashboard": _dashboard(ports["Optuna dashboard"]),
    }
    environment = server_environment(settings, loopback_hosts(ports["MLflow"]))
    with (
        OwnFolder("tuner-ui-") as folder,
        _children(environment, commands, Path(folder)) as children,
        _stoppable(),
    ):
        try:
            for name, child in children.items():
                _await_port(name, child, ports[name], Path(folder))
                say(f"{name:<17} http://{HOST}:{ports[name]}")
            say("Ctrl-C stops both")
            while all(child.poll() is None for child in children.values()):
                time.sleep(0.5)
            ended = next(name for name, child in children.items() if child.poll() is not None)
            raise TunerError(f"{ended} has stopped unexpectedly{_last_line(Path(folder) / ended)}")
        except KeyboardInterrupt:
            say("stopped")


def _mlflow(settings: Settings, port: int) -> list[str]:
    # The URL goes through the environment: other users can read a command line.
    if settings.tracking_uri.startswith(("http://", "https://")):
        url = without_secrets(settings.tracking_uri)
        raise TunerError(f"MLflow runs as a server already: open {url}")
    # uvicorn puts the current folder before all libraries, unless it gets another one.
    python = shlex.join(["--app-dir", str(Path(os.__file__).parent)])
    options = ["--host", HOST, "--port", str(port), "--workers", "1", "--uvicorn-opts", python]
    return [sys.executable, "-P", "-m", "mlflow", "server", *options]


def _dashboard(port: int) -> list[str]:
    return [sys.executable, "-P", "-m", "tuner.cli.dashboard", str(port)]


@contextlib.contextmanager
def _children(
    environment: dict[str, str], commands: dict[str, list[str]], logs: Path
) -> Iterator[dict[str, subprocess.Popen[bytes]]]:
    """Run the commands; each writes to the file of its name in the folder `logs`."""
    children = {}
    try:
        for name, command in commands.items():
            with (logs / name).open("wb") as log:
                # In a session of its own the child gets no Ctrl-C; it is ended below.
                children[name] = subprocess.Popen(
                    command,
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
        yield children
    finally:
        for child in children.values():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGTERM)
        for child in children.values():
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(5)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)


@contextlib.contextmanager
def _stoppable() -> Iterator[None]:
    """Treat SIGTERM as Ctrl-C."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _free_port(port: int) -> int:
    """The port, which is free; for 0 any free port. Raises StudyError."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except (OSError, OverflowError) as error:
            raise StudyError(f"port {port} is in use; choose another one, or 0 for any") from error
        free_port: int = probe.getsockname()[1]
        return free_port


def _await_port(name: str, child: subprocess.Popen[bytes], port: int, logs: Path) -> None:
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline:
        if child.poll() is not None:
            why = _last_line(logs / name)
            raise TunerError(
                f"{name} ended with exit code {child.returncode} while it started{why}"
            )
        with socket.socket() as probe:
            if probe.connect_ex((HOST, port)) == 0:
                return
        time.sleep(0.1)
    raise TunerError(f"{name} did not answer on port {port} within {_START_S:.0f} s")


def _last_line(log: Path) -> str:
    """The last line that a server wrote, without passwords."""
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return f": {without_secrets(lines[-1].strip())}" if lines else ""
