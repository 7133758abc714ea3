"""The login that the page sends to MLflow, and servers of this machine that do not start."""

import asyncio
import os
from pathlib import Path

import pytest
from waiting import wait_until

from tuner.settings import mlflow_login
from tuner.web import tool_servers
from tuner.web.tool_servers import LocalServer, NotReady

LOGIN = ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN")


@pytest.fixture(autouse=True)
def no_login(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in LOGIN:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))


def authorization(address: str) -> str | None:
    return tool_servers._authorization(mlflow_login(address))


def test_the_login_is_that_of_mlflows_client(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = "https://mlflow.example/base"
    assert authorization(here) is None
    file = tmp_path / ".mlflow" / "credentials"
    file.parent.mkdir()
    file.write_text("[mlflow]\nmlflow_tracking_username = f\nmlflow_tracking_password = 50%\n")
    assert authorization(here) == "Basic Zjo1MCU="  # f:50%
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "e")
    assert authorization(here) == "Basic ZTo1MCU="  # e:50%
    assert authorization("https://u:a%2Fb@mlflow.example") == "Basic dTphL2I="  # u:a/b
    file.write_text("not an INI file")
    assert authorization(here) is None
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "t0ken")
    assert authorization(here) == "Bearer t0ken"


def test_a_server_that_ends_says_why(tmp_path: Path) -> None:
    environment = os.environ | {"TUNER_STORAGE": "nonsense://x"}
    server = LocalServer("the Optuna dashboard", "dashboard", environment, tmp_path)
    first = server.open()
    assert isinstance(first, NotReady) and first.is_starting
    assert first.line.startswith("the Optuna dashboard is starting")
    problems: list[NotReady] = []

    def has_ended() -> bool:
        answer = server.open()
        assert isinstance(answer, NotReady)
        problems.append(answer)
        return not answer.is_starting

    wait_until(has_ended, 60)
    assert "the Optuna dashboard has ended: " in problems[-1].line
    assert "nonsense" in problems[-1].line
    asyncio.run(server.close())


def test_a_folder_too_deep_for_a_socket(tmp_path: Path) -> None:
    folder = tmp_path / ("x" * 100)
    folder.mkdir()
    server = LocalServer("MLflow", "mlflow", dict(os.environ), folder)
    answer = server.open()
    assert isinstance(answer, NotReady)
    assert "TMPDIR" in answer.line


def test_certificates_that_cannot_be_read() -> None:
    login = mlflow_login("https://mlflow.example")
    broken = tool_servers.RemoteServer(
        tool_servers.httpx.URL("https://mlflow.example"),
        type(login)(server_certificate="/no/such/file"),
    )
    answer = broken.open()
    assert isinstance(answer, NotReady)
    assert "certificates" in answer.line
