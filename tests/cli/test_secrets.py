"""No password in what a command prints, writes to a log, or is started with."""

import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import doc_runner
import psutil
import pytest
from postgres_server import Postgres

SECRET = "Zq9pa55"
Command = Callable[..., Any]
TUNER = str(Path(sys.executable).with_name("tuner"))
STORAGES = [
    f"postgresql+psycopg://me:{SECRET}@127.0.0.1:1/db",
    f"postgresql://me:{SECRET}%40x@127.0.0.1:1/db",
    f"postgresql://me:x@{SECRET}@127.0.0.1:1/db",
    f"postgresql://me:x/{SECRET}@127.0.0.1:1/db",
    f"postgresql:///db?host=127.0.0.1&port=1&user=me&password={SECRET}",
    f"postgresql://127.0.0.1:1/db?sslpassword={SECRET}&unknown=1",
    f"mysql://me:{SECRET}@127.0.0.1/db",
    f"nonsense://me:{SECRET}@127.0.0.1/db",
    f"postgresql://me:{SECRET}@127.0.0.1:port/db",
]
TRACKING = [
    f"http://me:{SECRET}@127.0.0.1:1",
    f"http://me:x@{SECRET}@127.0.0.1:1/path",
    f"http://me:x/{SECRET}@127.0.0.1:1/path",
    f"https://{SECRET}@127.0.0.1:1",
    f"http://127.0.0.1:1/?token={SECRET}",
    f"postgresql+psycopg://me:{SECRET}@127.0.0.1:1/db",
    f"postgresql+psycopg:///db?host=127.0.0.1&port=1&password={SECRET}",
    f"nonsense://me:{SECRET}@127.0.0.1/db",
]


@pytest.fixture
def study(tuner: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A study, and an MLflow client that gives up at once."""
    assert tuner("study", "create", "s", "--data", "iris").code == 0
    monkeypatch.setattr("mlflow.store.db.utils.MAX_RETRY_COUNT", 0)


@pytest.mark.parametrize("url", STORAGES)
def test_a_database_that_cannot_be_opened(
    url: str, tuner: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TUNER_STORAGE", url)
    done = tuner("--traceback", "study", "list")
    assert done.code == 2
    assert "Traceback" in done.err
    assert SECRET not in done.out + done.err


@pytest.mark.usefixtures("study")
@pytest.mark.parametrize("url", TRACKING)
def test_an_mlflow_that_cannot_be_reached(
    url: str, tuner: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", url)
    done = tuner("--traceback", "sync", "s")
    assert done.code == 1
    assert "Traceback" in done.err
    assert SECRET not in done.out + done.err


@pytest.mark.slow
def test_what_the_doctor_finds(tuner: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNER_STORAGE", STORAGES[0])
    monkeypatch.setenv("MLFLOW_TRACKING_URI", TRACKING[0])
    done = tuner("doctor", "--quick", "--json")
    assert done.code == 1
    assert "://***@127.0.0.1:1" in done.out
    assert SECRET not in done.out + done.err


# It trains by itself: its worker has the same settings and logs, and does not import TensorFlow.
TRAIN = """
def train(params, trial):
    trial.report(1, val_gain=params["optimizer"])
"""
SPACE = "network: mine.py:train\nparameters: {optimizer: {type: float, low: 1, high: 2}}\n"


@pytest.mark.slow
def test_a_search_that_cannot_reach_mlflow(
    postgres: Postgres, tuner: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        uri = f"http://me:{SECRET}@127.0.0.1:{free.getsockname()[1]}"
        storage = f"{postgres.url(postgres.create())}&application_name=x"
        monkeypatch.setenv("TUNER_STORAGE", storage)
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        (tmp_path / "mine.py").write_text(TRAIN)
        (tmp_path / "space.yaml").write_text(SPACE)
        create = ("study", "create", "s", "--space", "space.yaml", "--epochs", "1")
        done = tuner(*create, "--metric", "val_gain", "--direction", "maximize")
        assert done.code == 0, done.err
        process = subprocess.Popen(
            [TUNER, "--traceback", "optimize", "--trials", "2", "--workers", "1"],
            cwd=tmp_path,
            stdout=(tmp_path / "out.log").open("wb"),
            stderr=subprocess.STDOUT,
        )
        seen = ""
        while process.poll() is None:
            seen += _command_lines(process.pid)
            time.sleep(0.2)
    assert "forkserver" in seen
    assert "tuner.tracking" in seen
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {"out.log", "search.log"} <= {path.name for path in written}
    texts = [path.read_bytes().decode(errors="replace") for path in written]
    for secret in (SECRET, "p{a}", "%40s%25"):
        assert secret not in seen
        assert not any(secret in text for text in texts)


def _command_lines(pid: int) -> str:
    lines = ""
    try:
        for child in psutil.Process(pid).children(recursive=True):
            lines += Path(f"/proc/{child.pid}/cmdline").read_bytes().decode()
    except (OSError, psutil.Error):
        pass  # one has just ended
    return lines


# Of those who are told: the path, since it is all that whoever posts there needs, a query, a
# password; and the form that a service reads.
TOLD = [
    f"http://127.0.0.1:1/services/T0/{SECRET}",
    f"slack+http://me:{SECRET}@127.0.0.1:1/hook?key={SECRET}",
    f"smtp://me:{SECRET}@127.0.0.1:1/?to=you@host",
]


def test_who_is_told_is_in_no_output_and_no_log(
    tuner: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The address of a webhook is a secret: nobody answers at these, which is said."""
    with doc_runner.small_searches(toy=True):
        assert tuner("study", "create", "s", "--data", "iris").code == 0
        (tmp_path / "told").write_text("\n".join(TOLD[1:]))
        monkeypatch.setenv("TUNER_NOTIFY", TOLD[0])
        command = ("optimize", "s", "--trials", "2", "--notify", f"@{tmp_path}/told")
        done = tuner("--verbose", "--traceback", *command)
    assert done.code == 0
    assert "cannot reach 127.0.0.1: no connection" in done.err
    assert "cannot reach mail by 127.0.0.1" in done.err
    written = [path for path in tmp_path.rglob("*") if path.is_file() and path.name != "told"]
    assert any(path.name == "search.log" for path in written)
    texts = [done.out, done.err, *(path.read_bytes().decode("latin-1") for path in written)]
    assert not [text for text in texts if SECRET in text]


@pytest.mark.parametrize("url", [f"ftp://h/{SECRET}", f"http://h:x/{SECRET}", f"{SECRET}"])
def test_a_wrong_address_is_refused_before_anything_is_opened(url: str, tuner: Command) -> None:
    for command in (("optimize", "s", "--trials", "1"), ("worker",)):
        done = tuner("--traceback", *command, "--notify", url)
        assert done.code == 2
        assert "--notify" in done.err
        if url != SECRET:  # a word alone is masked nowhere: it is no address
            assert SECRET not in done.out + done.err
