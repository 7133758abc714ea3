"""Which cluster `--on` names, and which it does not. Real clusters: tests/ray."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest

from tuner.errors import UsageError, WorkerError
from tuner.settings import ray_environment, ray_login
from tuner.system.secret_masking import without_secrets
from tuner.workers.ray import cluster_address
from tuner.workers.ray.cluster_address import check_address, check_cluster, find_address


@pytest.fixture(autouse=True)
def ray_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where Ray keeps what runs on this machine."""
    for name in ("RAY_ADDRESS", "RAY_AUTH_TOKEN", "RAY_AUTH_MODE", "RAY_USE_TLS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "token"))
    folder = tmp_path / "ray"
    folder.mkdir()
    return folder


NO_ADDRESSES = (
    "", "local", "auto", "ray://", "ray://head", "head", "head:", "head:0", "head:65536",
    "ray:// h:1", "http://head:8265", "ray://a:1/b", "ray://user:word@head:1", None, 7,
)  # fmt: skip


@pytest.mark.parametrize("on", NO_ADDRESSES)
def test_no_address(on: object) -> None:
    with pytest.raises(UsageError, match="--on must be ray, ray://HOST:10001 or HOST:6379"):
        check_address(on)


def test_the_variable_goes_first(monkeypatch: pytest.MonkeyPatch, ray_folder: Path) -> None:
    (ray_folder / "ray_current_cluster").write_text("127.0.0.1:1")
    monkeypatch.setenv("RAY_ADDRESS", "ray://head:10001")
    found = find_address("ray", ray_login())
    assert (found.text, found.server, found.is_client) == ("ray://head:10001", "head:10001", True)
    assert find_address("other:6379", ray_login()).text == "other:6379"


@pytest.mark.parametrize("named", ["http://head", "ray"])
def test_a_variable_that_names_none(monkeypatch: pytest.MonkeyPatch, named: str) -> None:
    monkeypatch.setenv("RAY_ADDRESS", named)
    with pytest.raises(UsageError, match="RAY_ADDRESS must be ray://HOST:10001 or HOST:6379"):
        find_address("ray", ray_login())


def test_a_variable_for_the_one_that_runs_here(
    monkeypatch: pytest.MonkeyPatch, ray_folder: Path
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "auto")
    with pytest.raises(WorkerError, match="RAY_ADDRESS is auto, and no Ray cluster runs"):
        find_address("ray", ray_login())
    (ray_folder / "ray_current_cluster").write_text("127.0.0.1:1")
    monkeypatch.setattr(cluster_address, "_answers", lambda *_, **__: True)
    assert find_address("ray", ray_login()).text == "127.0.0.1:1"


def test_a_proxy_for_the_web_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would see the token."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")  # nobody listens on it
    server = grpc.server(ThreadPoolExecutor(1))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        with pytest.raises(WorkerError, match="is not the head of a Ray cluster"):
            check_cluster(find_address(f"127.0.0.1:{port}", ray_login()), ray_login())
    finally:
        server.stop(None)


def test_one_is_started_where_none_runs(ray_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_address("ray", ray_login()).text == "local"
    (ray_folder / "ray_current_cluster").write_text("127.0.0.1:1")  # it ended untidily
    assert find_address("ray", ray_login()).text == "local"
    monkeypatch.setattr(cluster_address, "_answers", lambda *_, **__: True)
    assert find_address("ray", ray_login()).text == "127.0.0.1:1"
    monkeypatch.setenv("RAY_ADDRESS", "local")
    assert find_address("ray", ray_login()).text == "local"


def test_what_another_user_has_written_is_not_followed(
    ray_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = ray_folder / "ray_current_cluster"
    file.write_text("127.0.0.1:1")
    monkeypatch.setattr(cluster_address, "_answers", lambda *_, **__: True)
    monkeypatch.setattr(os, "getuid", lambda: 4242)
    if file.stat().st_uid == 0:  # the tests' user is root, whose files are followed
        os.chown(file, 4711, -1)
    assert find_address("ray", ray_login()).text == "local"


def test_ray_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster_address, "find_spec", lambda name: None)
    with pytest.raises(
        WorkerError, match=r"Ray is not installed here: pip install 'ray\[client\]'"
    ):
        find_address("ray", ray_login())


def test_where_the_token_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert ray_login().token is None
    (tmp_path / "token").write_text("from-the-file-0123456789\n")
    login = ray_login()
    assert (login.token, login.source) == ("from-the-file-0123456789", str(tmp_path / "token"))
    monkeypatch.setenv("RAY_AUTH_TOKEN", "from-the-variable-0123456789")
    login = ray_login()
    assert (login.token, login.source) == ("from-the-variable-0123456789", "RAY_AUTH_TOKEN")
    assert "from-the" not in repr(login)
    assert without_secrets("Bearer from-the-variable-0123456789") == "Bearer ***"


def test_the_environment_is_restored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "1")
    before = dict(os.environ)
    with ray_environment("a-token"):
        assert (os.environ["RAY_AUTH_MODE"], os.environ["RAY_AUTH_TOKEN"]) == ("token", "a-token")
        assert os.environ["RAY_USAGE_STATS_ENABLED"] == "0"
    assert dict(os.environ) == before
    with ray_environment(None):
        assert os.environ["RAY_AUTH_MODE"] == "disabled"
