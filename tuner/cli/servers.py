"""The two web servers of `tuner ui`, as child processes."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

from tuner.errors import StudyError, TunerError
from tuner.settings import Settings, child_environment
from tuner.storage import exists, open_store

_HOST = "127.0.0.1"
_START_S = 90.0


def serve_pages(
    settings: Settings, mlflow_port: int, dashboard_port: int, say: Callable[[str], None]
) -> None:
    """Serve until Ctrl-C or SIGTERM. Raises TunerError when a server does not start."""
    if not exists(settings.storage):
        raise StudyError("there is no study to look at yet; create one with: tuner study create")
    open_store(settings.storage)  # closed when the command ends, after its children
    ports = {"MLflow": _free(mlflow_port), "Optuna dashboard": _free(dashboard_port)}
    commands = {
        "MLflow": _mlflow(settings, ports["MLflow"]),
        "Optuna dashboard": _dashboard(settings, ports["Optuna dashboard"]),
    }
    with _children(settings, commands) as children, _stoppable():
        try:
            for name, child in children.items():
                _await_port(name, child, ports[name])
                say(f"{name:<17} http://{_HOST}:{ports[name]}")
            say("Ctrl-C stops both")
            while all(child.poll() is None for child in children.values()):
                time.sleep(0.5)
            ended = next(name for name, child in children.items() if child.poll() is not None)
            raise TunerError(f"{ended} has stopped by itself")
        except KeyboardInterrupt:
            say("stopped")


def _mlflow(settings: Settings, port: int) -> list[str]:
    if settings.tracking_uri.startswith(("http://", "https://")):
        raise TunerError(f"MLflow is a server already: open {settings.tracking_uri}")
    options = ["--backend-store-uri", settings.tracking_uri, "--host", _HOST, "--port", str(port)]
    return [sys.executable, "-m", "mlflow", "server", *options, "--workers", "1"]


def _dashboard(settings: Settings, port: int) -> list[str]:
    # The URL goes through the environment: a command line shows its passwords to everybody.
    code = (
        "import os; from tuner.storage import open_store; from optuna_dashboard import run_server; "
        "run_server(open_store(os.environ['TUNER_STORAGE']).optuna, "
        f"host={_HOST!r}, port={port})"
    )
    return [sys.executable, "-c", code]


@contextlib.contextmanager
def _children(
    settings: Settings, commands: dict[str, list[str]]
) -> Iterator[dict[str, subprocess.Popen[bytes]]]:
    environment = child_environment(settings)
    children = {
        # A session of its own: Ctrl-C comes to us alone, and we end them in order.
        name: subprocess.Popen(
            command,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        for name, command in commands.items()
    }
    try:
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
            probe.bind((_HOST, port))
        except (OSError, OverflowError) as error:
            raise StudyError(f"port {port} is not free; choose another, or 0 for any") from error
        found: int = probe.getsockname()[1]
        return found


def _await_port(name: str, child: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline:
        if child.poll() is not None:
            raise TunerError(f"{name} ended with exit code {child.returncode} while starting")
        with socket.socket() as probe:
            if probe.connect_ex((_HOST, port)) == 0:
                return
        time.sleep(0.1)
    raise TunerError(f"{name} did not answer on port {port} within {_START_S:.0f} s")
