"""What must be so on a node, without a cluster."""

import pickle
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from tuner.errors import WorkerError
from tuner.study.artifacts import FolderArtifacts
from tuner.workers.ray.cluster_address import RayAddress
from tuner.workers.ray.cluster_connection import connect, why_not_connected
from tuner.workers.ray.node_checks import (
    ClusterNode,
    Expected,
    describe_differences,
    own_versions,
    workers_on,
)

HERE = {"python": "3.11.7", "tuner": "0.1.0", "numpy": "2.4.1"}


def test_equal_versions() -> None:
    assert describe_differences(own_versions(), own_versions()) == ""
    assert describe_differences(HERE | {"python": "3.11.9"}, HERE) == ""
    assert describe_differences({}, HERE) == ""


def test_other_versions() -> None:
    theirs = {"python": "3.12.7", "tuner": "none", "numpy": "2.4.0"}
    assert describe_differences(theirs, HERE) == (
        "python 3.12.7 there, 3.11.7 here; tuner is not installed there; "
        "numpy 2.4.0 there, 2.4.1 here"
    )


def test_room() -> None:
    node = ClusterNode("6c41", "host", "10.0.0.2", {"CPU": 4.0, "GPU": 1.0})
    assert node.has_room(4.0, 0.25)
    assert not node.has_room(5.0, 0.0)
    assert not replace(node, room={"CPU": 4.0}).has_room(1.0, 0.25)
    assert node.room_text == "host (10.0.0.2) has 4 CPUs, 1 GPU"


def test_how_many_workers_a_node_has_room_for() -> None:
    assert workers_on({"CPU": 0.3}, 0.1, 0) == 3
    assert workers_on({"CPU": 8.0, "GPU": 1.0}, 1, 0.25) == 4
    assert workers_on({"CPU": 8.0}, 1, 0.25) == 0


def test_storage_that_is_shared_and_that_is_not(tmp_path: Path) -> None:
    artifacts = FolderArtifacts(tmp_path / "shared")
    written = artifacts.put("check/search", b"x")
    expected = Expected(own_versions(), artifacts, written)
    arrived = pickle.loads(pickle.dumps(expected))  # as on a node
    assert arrived.problem_here() == ""
    elsewhere = replace(arrived, artifacts=FolderArtifacts(tmp_path / "own"))
    problem = elsewhere.problem_here()
    assert f"it does not reach the networks and checkpoints in {tmp_path / 'own'}" in problem
    assert "set TUNER_CHECKPOINTS" in problem
    assert not (tmp_path / "own").exists()  # nothing is made where nothing is shared
    other = replace(expected, versions={"numpy": "0.1"})
    assert other.problem_here() == f"numpy {own_versions()['numpy']} there, 0.1 here"


def test_a_cluster_with_another_ray_is_said_in_one_line() -> None:
    ours = own_versions()
    error = RuntimeError(
        "Version mismatch: The cluster was started with:\n    Ray: 2.1.0\n    Python: 3.9.1\n"
        f"This process on Ray Client was started with:\n    Ray: {ours['ray']}\n"
        f"    Python: {ours['python']}\n"
    )
    assert why_not_connected(RayAddress("ray://head:10001", "head:10001"), error) == (
        "the cluster at ray://head:10001 has other versions: "
        f"python 3.9.1 there, {ours['python']} here; ray 2.1.0 there, {ours['ray']} here"
    )
    other = why_not_connected(RayAddress("local"), ValueError("no\n   room"))
    assert other == "Ray cannot start here: no room"


def test_a_server_of_ray_client_that_did_not_start_is_asked_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    said = ["Starting Ray client server failed. See ray_client_server_23000.err"]

    def init(**options: object) -> str:
        if said:
            raise ConnectionAbortedError(said.pop())
        return "connected"

    utils = SimpleNamespace(get_entrypoint_name=lambda: "a command line")
    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(init=init))
    monkeypatch.setitem(sys.modules, "ray._private", SimpleNamespace(utils=utils))
    address = RayAddress("ray://head:10001", "head:10001")
    assert connect(address) == "connected"
    said += ["another failure"]
    with pytest.raises(WorkerError, match="no connection to ray://head:10001: another failure"):
        connect(address)
