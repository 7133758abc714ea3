"""`tuner ui` for real: what its processes are told, what they import, and what they let in."""

import http.client
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from fork_server import run_command
from postgres_server import PASSWORD, Postgres

MODULES = ("mlflow", "optuna_dashboard", "bottle", "uvicorn", "random", "queue", "json", "token")
TUNER = str(Path(sys.executable).with_name("tuner"))
SHOWN_PASSWORD = ("p{a}", "%40s%25", "s%/s")


@dataclass
class Ui:
    folder: Path
    mlflow: int
    dashboard: int
    command_lines: list[str]


@pytest.fixture(scope="module")
def ui(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ui]:
    folder = tmp_path_factory.mktemp("ui")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TUNER_STORAGE", postgres.url(postgres.create()))
        patch.setenv("MLFLOW_TRACKING_URI", postgres.url(postgres.create()))
        # Meant for other servers of the user's: ours must not open up by them.
        patch.setenv("MLFLOW_SERVER_DISABLE_SECURITY_MIDDLEWARE", "true")
        patch.setenv("MLFLOW_SERVER_ALLOWED_HOSTS", "*")
        patch.setenv("MLFLOW_SERVER_CORS_ALLOWED_ORIGINS", "*")
        patch.setenv("PYTHONPATH", os.pathsep.join(["", os.environ.get("PYTHONPATH", "")]))
        words = ("study", "create", "s", "--data", "iris")
        assert run_command(words, folder).returncode == 0
        for name in MODULES:
            text = f"open({str(folder / 'ran')!r}, 'a').write({name!r})\nraise OSError('mine')\n"
            (folder / f"{name}.py").write_text(text)
        log = (folder / "ui.log").open("w")
        ports = ("--mlflow-port", "0", "--dashboard-port", "0")
        process = subprocess.Popen([TUNER, "ui", *ports], cwd=folder, stdout=log, stderr=log)
    try:
        yield running(folder, process)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def running(folder: Path, process: subprocess.Popen[bytes]) -> Ui:
    deadline = time.monotonic() + 200
    seen: set[str] = set()
    while "Ctrl-C" not in (text := (folder / "ui.log").read_text()):
        assert time.monotonic() < deadline and process.poll() is None, text
        seen |= command_lines(process.pid)
        time.sleep(0.1)
    seen |= command_lines(process.pid)
    mlflow, dashboard = map(int, re.findall(r"127\.0\.0\.1:(\d+)", text))
    return Ui(folder, mlflow, dashboard, sorted(seen))


def command_lines(pid: int) -> set[str]:
    lines = set()
    for child in psutil.Process(pid).children(recursive=True):
        try:
            lines.add(Path(f"/proc/{child.pid}/cmdline").read_bytes().decode())
        except OSError:
            continue  # it has just ended
    return lines


def status(port: int, method: str, path: str, host: str, origin: str | None = None) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    headers = {"Host": host, "Content-Type": "text/plain"}
    headers |= {} if origin is None else {"Origin": origin}
    connection.request(method, path, b'{"name": "x"}' if method == "POST" else None, headers)
    found = connection.getresponse().status
    connection.close()
    return found


@pytest.mark.slow
def test_no_command_line_holds_a_password(ui: Ui) -> None:
    assert len(ui.command_lines) >= 3  # MLflow, its uvicorn, the dashboard
    assert PASSWORD not in "".join(ui.command_lines)
    assert not any(part in line for part in SHOWN_PASSWORD for line in ui.command_lines)


@pytest.mark.slow
def test_nothing_of_the_folder_is_imported(ui: Ui) -> None:
    assert not (ui.folder / "ran").exists()


@pytest.mark.slow
def test_the_dashboard_lets_only_this_machine_in(ui: Ui) -> None:
    own = f"localhost:{ui.dashboard}"
    assert status(ui.dashboard, "GET", "/api/studies", own) == 200
    assert status(ui.dashboard, "GET", "/dashboard", own) == 200
    for host in ("evil.example", f"evil.example:{ui.dashboard}", "localhost:1"):
        assert status(ui.dashboard, "GET", "/api/studies", host) == 403
        assert status(ui.dashboard, "DELETE", "/api/studies/1", host) == 403
    for origin in ("http://evil.example", "null", "http://localhost:1"):
        assert status(ui.dashboard, "DELETE", "/api/studies/1", own, origin) == 403
        assert status(ui.dashboard, "POST", "/api/studies", own, origin) == 403
        assert status(ui.dashboard, "OPTIONS", "/api/studies/1", own, origin) == 403
    assert status(ui.dashboard, "DELETE", "/api/studies/1", own, f"http://{own}") != 403


@pytest.mark.slow
def test_mlflow_lets_only_this_machine_in(ui: Ui) -> None:
    own, search = f"localhost:{ui.mlflow}", "/api/2.0/mlflow/experiments/search?max_results=1"
    assert status(ui.mlflow, "GET", search, own) == 200
    for host in ("evil.example", "10.evil.example", f"192.168.evil.example:{ui.mlflow}"):
        assert status(ui.mlflow, "GET", search, host) == 403
    create = "/api/2.0/mlflow/experiments/create"
    for origin in ("http://evil.example", "null"):
        assert status(ui.mlflow, "POST", create, own, origin) == 403
