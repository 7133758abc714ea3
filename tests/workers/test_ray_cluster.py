"""How a process connects to a cluster, and leaves it as it was. Real clusters: tests/ray."""

import os
import signal
import threading
from pathlib import Path

import pytest
from fake_ray import FakeRay, fake_ray

from tuner.errors import UsageError, WorkerError
from tuner.workers.ray import cluster_connection
from tuner.workers.ray.cluster_address import RayAddress

__all__ = ["fake_ray"]
RAY_VARIABLES = ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_USAGE_STATS_ENABLED")
HEAD = RayAddress("head:6379", "head:6379")


@pytest.fixture(autouse=True)
def surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*RAY_VARIABLES, "RAY_ADDRESS", "RAY_USE_TLS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "token"))
    (tmp_path / "token").write_text("the-token-of-the-team")


class Told:
    """What the user is told, and warned of."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.warnings: list[str] = []

    def connect(
        self, on: str = "ray"
    ) -> "cluster_connection.contextlib.AbstractContextManager[None]":
        return cluster_connection._connection(on, self.lines.append, self.warnings.append)


@pytest.fixture
def told(fake_ray: FakeRay) -> Told:
    return Told()


@pytest.fixture
def team(monkeypatch: pytest.MonkeyPatch) -> None:
    """A cluster at an address, which asks for a token."""
    monkeypatch.setattr(cluster_connection, "find_address", lambda on, login: HEAD)
    monkeypatch.setattr(cluster_connection, "check_cluster", lambda address, login: True)


def ray_variables() -> dict[str, str]:
    return {name: os.environ[name] for name in RAY_VARIABLES if name in os.environ}


def test_a_cluster_of_its_own_is_closed_to_others_and_ends(
    told: Told, fake_ray: FakeRay, tmp_path: Path
) -> None:
    before = dict(os.environ)
    (tmp_path / "session_1" / "logs").mkdir(parents=True)
    (tmp_path / "session_latest").symlink_to(tmp_path / "session_1")
    fake_ray.session = str(tmp_path / "session_1")
    seen: list[dict[str, str]] = []
    fake_ray.connecting = lambda: seen.append(ray_variables())
    for _ in range(2):
        with told.connect():
            assert fake_ray.is_connected
        assert not fake_ray.is_connected
    assert dict(os.environ) == before
    assert not list(tmp_path.glob("session_*"))
    [options, _] = fake_ray.called("init")
    assert options["address"] == "local"
    assert (options["include_dashboard"], options["_node_ip_address"]) == (False, "127.0.0.1")
    assert {each["RAY_AUTH_MODE"] for each in seen} == {"token"}
    tokens = {each["RAY_AUTH_TOKEN"] for each in seen}
    assert [len(token) for token in tokens] == [64, 64]  # a new one each time
    assert told.lines[0] == "starting Ray on this machine"
    assert told.warnings == []


def test_what_a_cluster_of_its_own_wrote_is_removed(
    told: Told, fake_ray: FakeRay, tmp_path: Path
) -> None:
    for name in ("session_ours", "session_other"):
        (tmp_path / "ray" / name / "logs").mkdir(parents=True)
    (tmp_path / "ray" / "session_latest").symlink_to(tmp_path / "ray" / "session_ours")
    fake_ray.session = tmp_path / "ray" / "session_ours"
    with told.connect():
        assert fake_ray.session.exists()
    assert [path.name for path in (tmp_path / "ray").iterdir()] == ["session_other"]


def test_what_a_teams_cluster_wrote_stays(
    told: Told, fake_ray: FakeRay, team: None, tmp_path: Path
) -> None:
    fake_ray.session = tmp_path / "session"
    fake_ray.session.mkdir()
    with told.connect("head:6379"):
        pass
    assert fake_ray.session.exists()


def test_the_command_line_is_not_shown_to_the_cluster(
    told: Told, fake_ray: FakeRay, team: None
) -> None:
    """It may name an address for notices, which is a secret."""
    utils = vars(fake_ray)["_private"].utils
    before, seen = utils.get_entrypoint_name, []
    fake_ray.connecting = lambda: seen.append(utils.get_entrypoint_name())
    with told.connect("head:6379"):
        pass
    assert seen == ["tuner"]
    assert utils.get_entrypoint_name is before


def test_the_teams_token_is_used_while_it_is_connected(
    told: Told, fake_ray: FakeRay, team: None
) -> None:
    with told.connect("head:6379"):
        assert ray_variables() == {
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": "the-token-of-the-team",
            "RAY_USAGE_STATS_ENABLED": "0",
        }
    assert ray_variables() == {}
    assert [each["address"] for each in fake_ray.called("init")] == ["head:6379"]
    assert "include_dashboard" not in fake_ray.called("init")[0]  # Ray refuses it there
    assert told.lines == ["connecting to the Ray cluster at head:6379"]
    assert told.warnings == []


def test_a_cluster_without_a_token_gets_none_and_is_warned_of(
    told: Told, fake_ray: FakeRay, team: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster_connection, "check_cluster", lambda address, login: False)
    with told.connect("head:6379"):
        assert ray_variables()["RAY_AUTH_MODE"] == "disabled"
        assert "RAY_AUTH_TOKEN" not in os.environ
    [warning] = told.warnings
    assert "the cluster at head:6379 asks for no token" in warning
    assert "RAY_AUTH_MODE=token" in warning


def test_searches_of_a_process_share_a_connection(
    told: Told, fake_ray: FakeRay, team: None
) -> None:
    with told.connect("head:6379"):
        with told.connect("head:6379"):
            pass
        assert fake_ray.is_connected
        with pytest.raises(UsageError, match="trains on head:6379 already, and can use one"):
            told.connect("other:6379").__enter__()
        assert fake_ray.is_connected
    assert not fake_ray.is_connected
    assert [name for name, _ in fake_ray.calls] == ["init", "shutdown"]


def test_a_connection_of_the_callers_own_stays_open(told: Told, fake_ray: FakeRay) -> None:
    fake_ray.is_connected = True
    with told.connect():
        pass
    with pytest.raises(UsageError, match="this process has connected Ray itself: give on='ray'"):
        told.connect("head:6379").__enter__()
    assert fake_ray.calls == []


def test_a_connection_that_fails_is_said_in_a_line_and_leaves_nothing(
    told: Told, fake_ray: FakeRay, team: None
) -> None:
    def fail() -> None:
        raise ConnectionError("no\n  raylet, token the-token-of-the-team")

    fake_ray.connecting = fail
    with pytest.raises(WorkerError) as raised:
        told.connect("head:6379").__enter__()
    assert str(raised.value) == "no connection to head:6379: no raylet, token ***"
    assert ray_variables() == {}
    fake_ray.connecting = lambda: None
    with told.connect("other:6379"):  # nothing is left of the first one
        assert fake_ray.is_connected


def test_a_cluster_that_is_gone_can_be_left(told: Told, fake_ray: FakeRay, team: None) -> None:
    def fail() -> None:
        raise ConnectionError

    with told.connect("head:6379"):
        fake_ray.shutdown = fail  # type: ignore[method-assign]
    assert ray_variables() == {}


def test_sigterm_stays_with_the_search(told: Told, fake_ray: FakeRay) -> None:
    assert threading.current_thread() is threading.main_thread()
    mine = signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        ours = signal.getsignal(signal.SIGTERM)
        fake_ray.connecting = lambda: signal.signal(signal.SIGTERM, signal.SIG_IGN)
        with told.connect():
            assert signal.getsignal(signal.SIGTERM) is ours
    finally:
        signal.signal(signal.SIGTERM, mine)
