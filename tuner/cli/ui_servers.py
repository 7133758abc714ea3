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
from dataclasses import dataclass
from pathlib import Path

from tuner.cli.dashboard import HOST, loopback_hosts
from tuner.cli.output import format_value
from tuner.errors import StudyError, TunerError, UsageError
from tuner.settings import Settings, server_environment
from tuner.storage import Store, exists, open_store
from tuner.storage.studies import (
    StudySummary,
    how_to_create,
    list_studies,
    load_study,
    name_objectives,
)
from tuner.system.logs import without_secrets
from tuner.system.names import command, in_command, printable
from tuner.system.temporary_folders import OwnFolder
from tuner.tracking.links import on_server, server_address
from tuner.tracking.study_pages import find_pages

_START_S = 90.0
_MOST_STUDIES = 5
_LAST_PORT = 65_535
_Children = dict[str, subprocess.Popen[bytes]]


@dataclass(frozen=True)
class _Page:
    """Where a program's pages are. `command`: what serves them; None for a server elsewhere."""

    name: str
    address: str
    command: list[str] | None
    port: int = 0


def serve_pages(
    settings: Settings, mlflow_port: int, dashboard_port: int, say: Callable[[str], None]
) -> None:
    """Serve until Ctrl-C or SIGTERM; MLflow only if it has no server already. Raises TunerError
    when a server does not start."""
    if not exists(settings.storage):
        raise StudyError(f"there is no study to show yet; {how_to_create()}")
    store = open_store(settings.storage)  # Closed when the command ends, after its child processes.
    name_objectives(store)
    pages = _pages(settings, mlflow_port, dashboard_port)
    own = [page for page in pages if page.command is not None]
    environment = server_environment(settings, loopback_hosts(pages[0].port))
    with (
        OwnFolder("tuner-ui-") as folder,
        _children(environment, own, Path(folder)) as children,
        _stoppable(),
    ):
        try:
            say(f"starting {'MLflow and ' * (len(own) > 1)}the Optuna dashboard")
            lines = list(_study_lines(store, settings, *pages))  # while the servers start
            for page in own:
                _await_port(page, children[page.name], Path(folder))
            heads = [f"{page.name:<17} {page.address}" for page in pages]
            end = f"Ctrl-C stops {'both' if len(own) > 1 else 'it'}"
            say("\n".join([*heads, "", *lines, "", end]))
            _watch(children, Path(folder))
        except KeyboardInterrupt:
            say("stopped")


def _watch(children: _Children, logs: Path) -> None:
    """Wait until a server ends. Raises TunerError then."""
    while all(child.poll() is None for child in children.values()):
        time.sleep(0.5)
    ended = next(name for name, child in children.items() if child.poll() is not None)
    raise TunerError(f"{ended} has stopped unexpectedly{_last_line(logs / ended)}")


def _pages(settings: Settings, mlflow_port: int, dashboard_port: int) -> list[_Page]:
    """MLflow and the Optuna dashboard. Raises UsageError, StudyError."""
    address = server_address(settings.tracking_uri)
    if address is None and mlflow_port == dashboard_port != 0:
        raise UsageError(f"--mlflow-port and --dashboard-port must differ, both are {mlflow_port}")
    if address is None:
        port = _free_port(mlflow_port, "--mlflow-port")
        mlflow = _Page("MLflow", f"http://{HOST}:{port}", _mlflow(settings, port), port)
    else:
        mlflow = _Page("MLflow", without_secrets(address), None)
    port = _free_port(dashboard_port, "--dashboard-port")
    return [mlflow, _Page("Optuna dashboard", f"http://{HOST}:{port}", _dashboard(port), port)]


def _study_lines(
    store: Store, settings: Settings, mlflow: _Page, dashboard: _Page
) -> Iterator[str]:
    """The newest studies, each with the addresses of its pages."""
    studies = [study for study in list_studies(store) if study.damage is None]
    newest, problem, pages = studies[:_MOST_STUDIES], None, dict[str, str]()
    try:
        pages = find_pages(store, settings.tracking_uri, [study.name for study in newest])
    except TunerError as error:
        problem = str(error)
    for study in newest:
        name = in_command(study.name)
        yield f"{printable(study.name)}: {_progress(study)}"
        if study.name in pages:
            yield f"  {on_server(mlflow.address, pages[study.name])}"
        elif study.finished and problem is None:
            yield f"  to send it to MLflow: {command('sync', name)}"
        if study.finished:
            study_id = load_study(store, study.name).study_id
            yield f"  {dashboard.address}/dashboard/studies/{study_id}"
    if len(studies) > len(newest):
        yield f"{len(studies) - len(newest):,} older studies: {command('study', 'list')}"
    if problem is not None:
        yield f"the studies' pages in MLflow are unknown: {problem}"


def _progress(study: StudySummary) -> str:
    if not study.finished:
        search = command("optimize", in_command(study.name), "--trials", 100)
        return f"no finished trial yet; next: {search}"
    trials = f"{study.finished:,} finished trial{'s' * (study.finished > 1)}"
    best = "" if study.best is None else f", best {study.metric} {format_value(study.best)}"
    return trials + best


def _mlflow(settings: Settings, port: int) -> list[str]:
    # The URL goes through the environment: other users can read a command line.
    # uvicorn puts the current folder before all libraries, unless it gets another one.
    python = shlex.join(["--app-dir", str(Path(os.__file__).parent)])
    options = ["--host", HOST, "--port", str(port), "--workers", "1", "--uvicorn-opts", python]
    return [sys.executable, "-P", "-m", "mlflow", "server", *options]


def _dashboard(port: int) -> list[str]:
    return [sys.executable, "-P", "-m", "tuner.cli.dashboard", str(port)]


@contextlib.contextmanager
def _children(environment: dict[str, str], pages: list[_Page], logs: Path) -> Iterator[_Children]:
    """Serve the pages; each server writes to the file of its name in the folder `logs`."""
    children = {}
    try:
        for page in pages:
            assert page.command is not None
            with (logs / page.name).open("wb") as log:
                # In a session of its own the child gets no Ctrl-C; it is ended below.
                children[page.name] = subprocess.Popen(
                    page.command,
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


def _free_port(port: int, option: str) -> int:
    """The port, which is free; for 0 any free port. Raises UsageError, StudyError."""
    if not 0 <= port <= _LAST_PORT:
        raise UsageError(f"{option} must be from 0 to {_LAST_PORT}, got {port}")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except PermissionError as error:
            raise StudyError(f"port {port} needs root's rights; choose one above 1023") from error
        except OSError as error:
            any_port = command("ui", option, 0)
            raise StudyError(f"port {port} is in use; to take any free one: {any_port}") from error
        free_port: int = probe.getsockname()[1]
        return free_port


def _await_port(page: _Page, child: subprocess.Popen[bytes], logs: Path) -> None:
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline:
        if child.poll() is not None:
            why = _last_line(logs / page.name)
            raise TunerError(
                f"{page.name} ended with exit code {child.returncode} while it started{why}"
            )
        with socket.socket() as probe:
            if probe.connect_ex((HOST, page.port)) == 0:
                return
        time.sleep(0.1)
    raise TunerError(f"{page.name} did not answer on port {page.port} within {_START_S:.0f} s")


def _last_line(log: Path) -> str:
    """The last line that a server wrote, without passwords."""
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return f": {without_secrets(lines[-1].strip())}" if lines else ""
