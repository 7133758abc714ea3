"""The two web servers of `tuner ui`, as child processes.

`tuner ui`: MLflow's pages and Optuna's dashboard on loopback.
"""

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
from typing import Annotated

import typer

from tuner.cli.app import settings_of
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
        raise StudyError(f"there is no study to look at yet; {how_to_create()}")
    open_store(settings.storage)  # closed when the command ends, after its children
    ports = {"MLflow": _free(mlflow_port), "Optuna dashboard": _free(dashboard_port)}
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
            raise TunerError(f"{ended} has stopped by itself{_last_words(Path(folder) / ended)}")
        except KeyboardInterrupt:
            say("stopped")


def _mlflow(settings: Settings, port: int) -> list[str]:
    # The store is in the environment: a command line shows its passwords to everybody.
    if settings.tracking_uri.startswith(("http://", "https://")):
        shown = without_secrets(settings.tracking_uri)
        raise TunerError(f"MLflow is a server already: open {shown}")
    # uvicorn puts the current folder before all libraries, unless it is given another one.
    python = shlex.join(["--app-dir", str(Path(os.__file__).parent)])
    options = ["--host", HOST, "--port", str(port), "--workers", "1", "--uvicorn-opts", python]
    return [sys.executable, "-P", "-m", "mlflow", "server", *options]


def _dashboard(port: int) -> list[str]:
    return [sys.executable, "-P", "-m", "tuner.cli.dashboard", str(port)]


@contextlib.contextmanager
def _children(
    environment: dict[str, str], commands: dict[str, list[str]], logs: Path
) -> Iterator[dict[str, subprocess.Popen[bytes]]]:
    """The running commands; each writes to a file of its name in `logs`."""
    children = {}
    try:
        for name, command in commands.items():
            with (logs / name).open("wb") as log:
                # A session of its own: Ctrl-C comes to us alone, and we end them in order.
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
    """SIGTERM as Ctrl-C."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _free(port: int) -> int:
    """`port`, checked to be free; for 0 any free one."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except (OSError, OverflowError) as error:
            raise StudyError(f"port {port} is not free; choose another, or 0 for any") from error
        found: int = probe.getsockname()[1]
        return found


def _await_port(name: str, child: subprocess.Popen[bytes], port: int, logs: Path) -> None:
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline:
        if child.poll() is not None:
            why = _last_words(logs / name)
            raise TunerError(f"{name} ended with exit code {child.returncode} as it started{why}")
        with socket.socket() as probe:
            if probe.connect_ex((HOST, port)) == 0:
                return
        time.sleep(0.1)
    raise TunerError(f"{name} did not answer on port {port} within {_START_S:.0f} s")


def _last_words(log: Path) -> str:
    """What a server that has ended said last, without passwords."""
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return f": {without_secrets(lines[-1].strip())}" if lines else ""


def ui(
    context: typer.Context,
    mlflow_port: Annotated[int, typer.Option(help="0 takes any free one.")] = 5000,
    dashboard_port: Annotated[int, typer.Option(help="0 takes any free one.")] = 8080,
) -> None:
    """Open MLflow's UI and the Optuna dashboard on this machine; Ctrl-C stops both.

    Example: tuner ui
    """
    from tuner.cli.output import say

    serve_pages(settings_of(context), mlflow_port, dashboard_port, say)
