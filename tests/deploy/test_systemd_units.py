"""The units of deploy/systemd: systemd reads them, and their commands run as they stand."""

import configparser
import os
import shlex
import shutil
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from waiting import wait_until

from tuner.storage import open_store
from tuner.web.security.accounts import Accounts, Role

UNITS = sorted((Path(__file__).parents[2] / "deploy" / "systemd").glob("*.service"))
# What somebody writes into the files that the units name.
FILES = {
    "worker.env": "TUNER_STORAGE=sqlite:///team.db\n",
    "mlflow.env": "",
}
NAMES = ["tuner-mlflow", "tuner-ui", "tuner-worker"]
PORTS = ("--port", "--health-port")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home as the units expect it, with this environment as the project's."""
    (tmp_path / "project" / ".venv").mkdir(parents=True)
    (tmp_path / "project" / ".venv" / "bin").symlink_to(Path(sys.executable).parent)
    (tmp_path / "mlflow").mkdir()
    configuration = tmp_path / ".config" / "tuner"
    configuration.mkdir(parents=True)
    for name, text in FILES.items():
        (configuration / name).write_text(text)
    open_store(f"sqlite:///{tmp_path}/project/team.db").close()
    Accounts(tmp_path / "project" / ".tuner" / "users.json").put("ada", "a password", Role.OPERATOR)
    return tmp_path


def service_of(unit: Path, home: Path) -> dict[str, str]:
    """The keys of [Service], where %h is the home. No key may be there twice."""
    text = unit.read_text().replace("%h", str(home))
    assert "%" not in text, "another specifier than %h"
    parser = configparser.RawConfigParser()
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read_string(text)
    return dict(parser["Service"])


def environment_of(service: dict[str, str], home: Path) -> dict[str, str]:
    lines = [service.get("Environment", "")]
    lines += Path(service["EnvironmentFile"].removeprefix("-")).read_text().splitlines()
    pairs = (line.partition("=") for line in lines if line)
    return {"HOME": str(home), "PATH": os.environ["PATH"]} | {
        name: value for name, _, value in pairs
    }


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@contextmanager
def started(unit: Path, home: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """The unit's command in its folder and environment, on another port; ended as systemd does."""
    service = service_of(unit, home)
    words = shlex.split(service["ExecStart"])
    words[next(at for at, word in enumerate(words) if word in PORTS) + 1] = str(port)
    with (home / "log.txt").open("wb") as log:
        process = subprocess.Popen(
            words,
            cwd=service["WorkingDirectory"],
            env=environment_of(service, home),
            stdout=log,
            stderr=log,
        )
    try:
        yield process
    finally:
        process.terminate()
        process.wait(float(service["TimeoutStopSec"]))


def test_there_is_a_unit_for_each_service() -> None:
    assert [unit.stem for unit in UNITS] == NAMES


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
@pytest.mark.parametrize("unit", UNITS, ids=NAMES)
def test_systemd_has_nothing_to_say(unit: Path, home: Path) -> None:
    done = subprocess.run(
        ["systemd-analyze", "--user", "--man=no", "--generators=no", "verify", unit],
        env={"HOME": str(home), "XDG_RUNTIME_DIR": str(home), "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_mlflow_takes_its_command(home: Path) -> None:
    """It is not started, which takes 9 s of CPU: the test of docker-compose.yml does."""
    from mlflow.cli import cli

    (unit,) = [unit for unit in UNITS if unit.stem == "tuner-mlflow"]
    _, server, *words = shlex.split(service_of(unit, home)["ExecStart"])
    command = cli.commands[server].make_context(server, words)
    assert (command.params["host"], command.params["app_name"]) == ("127.0.0.1", "basic-auth")


@pytest.mark.parametrize(
    "unit", [unit for unit in UNITS if unit.stem != "tuner-mlflow"], ids=NAMES[1:]
)
def test_its_command_answers_and_ends_in_time(unit: Path, home: Path) -> None:
    port = free_port()

    def answers() -> bool:
        assert process.poll() is None, (home / "log.txt").read_text()
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    with started(unit, home, port) as process:
        wait_until(answers, timeout_s=60)
    assert process.returncode in (0, -15), (home / "log.txt").read_text()
