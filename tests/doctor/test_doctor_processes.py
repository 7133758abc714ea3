"""MLflow and TensorFlow, asked in processes of their own."""

import socket
import time
from pathlib import Path
from typing import Any

import pytest
from doctor_helpers import settings_for

from tuner.doctor import Finding, environment_checks, search_checks
from tuner.doctor.environment_checks import check_tensorflow
from tuner.system.machine import tensorflow_devices
from tuner.tracking.client import open_client


def mlflow_at(uri: str, folder: Path) -> Finding:
    (finding,) = search_checks.check_mlflow(settings_for("sqlite:///none.db", folder, uri))
    return finding


def test_mlflow_down_is_a_warning(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        began = time.monotonic()
        told = mlflow_at(f"http://me:s3cret@127.0.0.1:{free.getsockname()[1]}", tmp_path)
        assert time.monotonic() - began < 30
    assert told.state == "warn"
    assert "does not answer (Connection refused)" in told.message
    assert "s3cret" not in told.message
    assert told.advice == "searches work without it; to send their trials later: tuner sync --all"


def test_a_silent_mlflow_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hurried = search_checks.probe_server
    monkeypatch.setattr(
        search_checks, "probe_server", lambda settings: hurried(settings, within_s=0.5)
    )
    with socket.create_server(("127.0.0.1", 0)) as silent:
        began = time.monotonic()
        told = mlflow_at(f"http://127.0.0.1:{silent.getsockname()[1]}", tmp_path)
        assert time.monotonic() - began < 30
    assert told.state == "warn"
    assert "does not answer within 0 s" in told.message


def test_a_store_of_mlflow_answers(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    open_client(uri).search_experiments()
    assert mlflow_at(uri, tmp_path) == Finding("mlflow", "ok", f"{uri} answers")


def fake(program: str, within_s: float = 60) -> Finding:
    tensorflow_devices.cache_clear()
    (finding,) = check_tensorflow(("-c", program), within_s)
    return finding


def prints(**facts: Any) -> Finding:
    known = {"tensorflow": "2.21", "keras": "3.15", "gpus": [], "cuda": True, "works": True}
    known |= {"usable": list(range(len(facts.get("gpus", []))))} | facts
    return fake(f"import json; print('noise'); print(json.dumps({known!r}))")


def test_tensorflow_s_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment_checks, "driver_gpus", lambda: 0)
    assert prints().message == "2.21 with Keras 3.15 trains on the processor's cores"
    monkeypatch.setattr(environment_checks, "driver_gpus", lambda: 2)
    assert prints(gpus=["H100", "H100"]).message.endswith("trains on 2 GPUs (H100)")


def test_a_gpu_that_tensorflow_does_not_see(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment_checks, "driver_gpus", lambda: 2)
    for facts in ({"gpus": ["H100"]}, {"gpus": ["H100", "K80"], "usable": [0]}):
        told = prints(**facts)
        assert (told.state, told.message) == (
            "warn",
            "2.21 with Keras 3.15 can use 1 of the driver's 2 GPUs",
        )
    assert "CUDA_VISIBLE_DEVICES" in str(told.advice)
    assert "built without GPU support" in str(prints(cuda=False).advice)


@pytest.mark.parametrize(
    ("program", "words"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGILL)", "AVX"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "died of SIGSEGV"),
        ("raise ImportError('no libfoo')", "ImportError: no libfoo"),
        ("raise SystemExit(3)", "ended with 3"),
    ],
)
def test_a_tensorflow_that_does_not_start(program: str, words: str) -> None:
    told = fake(program)
    assert told.state == "fail"
    assert words in told.message


def test_a_tensorflow_that_hangs() -> None:
    told = fake("import time; time.sleep(60)", within_s=0.2)
    assert (told.state, told.message) == ("fail", "did not start within 0 s")


@pytest.mark.tensorflow
def test_the_real_tensorflow() -> None:
    (told,) = check_tensorflow()
    assert told.state == "ok", told
    assert "trains on" in told.message
