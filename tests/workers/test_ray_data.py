"""Data on a node: sent once in pieces, unpacked once, removed by the last one who leaves."""

import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from fake_ray import FakeRay, fake_ray

from tuner.workers.ray import node_data
from tuner.workers.ray.node_data import NodeFolder, SentData, SentFile, send_folder, worker_log

__all__ = ["fake_ray"]
LITTLE = SentData((SentFile("empty", 0, ()),))
FILES = {"a.npy": 700, "part/b.npy": 600, "part/empty": 0}


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The node's temporary folder."""
    folder = tmp_path / "node"
    folder.mkdir()
    monkeypatch.setattr(node_data.tempfile, "gettempdir", lambda: str(folder))
    return folder


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for name, size in FILES.items():
        (tmp_path / "data" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "data" / name).write_bytes(np.random.default_rng(size).bytes(size))
    return tmp_path / "data"


@pytest.fixture
def sent(data: Path, fake_ray: FakeRay, monkeypatch: pytest.MonkeyPatch) -> SentData:
    monkeypatch.setattr(node_data, "PIECE_BYTES", 300)
    return send_folder(data)


def contents(folder: Path) -> dict[str, bytes]:
    files = [file for file in folder.rglob("*") if file.is_file()]
    return {str(file.relative_to(folder)): file.read_bytes() for file in files}


def test_it_goes_in_pieces(sent: SentData, fake_ray: FakeRay) -> None:
    assert [(file.name, file.size, len(file.pieces)) for file in sent.files] == [
        ("a.npy", 700, 3), ("part/b.npy", 600, 2), ("part/empty", 0, 0),
    ]  # fmt: skip
    assert sent.size == 1300
    assert [piece.size for piece in fake_ray.called("put")] == [300, 300, 100, 300, 300]


def test_actors_of_a_node_unpack_once_and_the_last_one_removes_it(
    sent: SentData, data: Path, node: Path, fake_ray: FakeRay
) -> None:
    folders = [NodeFolder("search", "f" * 56) for _ in range(3)]
    with ThreadPoolExecutor(3) as threads:
        places = set(threads.map(lambda folder: folder.unpack(sent), folders))
    [place] = places
    assert contents(place) == contents(data)
    assert len(fake_ray.called("get")) == 5
    assert place.parents[0].stat().st_mode & 0o077 == 0
    for folder in folders[:2]:
        folder.leave()
        assert contents(place) == contents(data)
    folders[2].leave()
    folders[2].leave()
    assert list(node.iterdir()) == []


def test_what_a_killed_unpacking_left_is_not_taken_for_the_data(
    sent: SentData, data: Path, node: Path
) -> None:
    place = node / "tuner-ray-search-node"
    (place / "unfinished").mkdir(parents=True)
    (place / "unfinished" / "old.npy").write_bytes(b"half")
    folder = NodeFolder("search", "node")
    assert contents(folder.unpack(sent)) == contents(data)
    folder.leave()


def test_searches_and_nodes_of_a_machine_have_folders_of_their_own(
    node: Path, fake_ray: FakeRay
) -> None:
    named = [("one", "a" * 56), ("two", "a" * 56), ("one", "b" * 56)]
    folders = [NodeFolder(*names) for names in named]
    assert list(node.iterdir()) == []  # one that is killed as it starts leaves nothing
    assert len({folder.unpack(LITTLE) for folder in folders}) == 3
    for folder in folders:
        folder.leave()


def test_what_killed_actors_left_is_removed_by_later_ones(node: Path, fake_ray: FakeRay) -> None:
    left, used = NodeFolder("left", "node"), NodeFolder("used", "node")
    for folder in (left, used):
        folder.unpack(LITTLE)
    os.close(left._owner)  # as the system does when a process is killed
    NodeFolder("later", "node")
    assert [path.name for path in node.iterdir()] == ["tuner-ray-used-node"]
    used.leave()


def test_logs_stay_for_a_week(node: Path) -> None:
    old, used = worker_log("old", 0), worker_log("used", 1)
    for log in (old, used):
        log.write_text("printed")
    past = time.time() - 8 * 86_400
    os.utime(old.parent, (past, past))
    new = worker_log("new", 2)
    assert new.name == "worker-2.log"
    assert new.parent.is_dir()
    assert new.parents[1].stat().st_mode & 0o077 == 0
    assert not old.exists()
    assert used.read_text() == "printed"


def test_logs_do_not_go_to_a_folder_of_another_user(
    node: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = worker_log("search", 0).parents[1]
    user = os.getuid()
    monkeypatch.setattr(node_data.os, "getuid", lambda: user + 1)
    theirs.rename(node / f"tuner-logs-{user + 1}")
    log = worker_log("search", 0)
    assert log.parents[1].name != f"tuner-logs-{user + 1}"
    assert log.parent.is_dir()
