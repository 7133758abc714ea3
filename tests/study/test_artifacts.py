"""Stored files: whole or not there, found by name, size and checksum. Both kinds of stores do it
all: folders, and s3://."""

import errno
import hashlib
import os
import pickle
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from s3_server import s3

from tuner.errors import ArtifactError
from tuner.settings import load_settings
from tuner.study.artifacts import (
    CHECKPOINT_PATTERNS,
    Artifact,
    Artifacts,
    FolderArtifacts,
    artifacts_at,
    check_store,
    open_artifacts,
)

__all__ = ["s3"]
NAME = "study/trial-0/attempt-1.keras"


@pytest.fixture(params=["folder", "s3"])
def artifacts(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Artifacts]:
    if request.param == "folder":
        yield FolderArtifacts(tmp_path / "store")
        return
    server = request.getfixturevalue("s3")
    with server.machine(tmp_path / "home"):
        yield artifacts_at(server.url(request.node.name))


@pytest.fixture
def folder(tmp_path: Path) -> FolderArtifacts:
    return FolderArtifacts(tmp_path / "store")


def files(artifacts: Artifacts) -> list[str]:
    return [file.name for file in artifacts.files("**/*")]


def test_what_was_put_is_found_by_any_copy_of_the_store(artifacts: Artifacts) -> None:
    stored = artifacts.put(NAME, b"weights")
    assert stored == Artifact(NAME, 7, hashlib.sha256(b"weights").hexdigest())
    other: Artifacts = pickle.loads(pickle.dumps(artifacts))
    assert other.get(stored).read_bytes() == b"weights"
    assert other.exists(NAME)
    assert files(artifacts) == [NAME]


def test_content_is_bytes_a_file_or_written_by_a_function(
    artifacts: Artifacts, tmp_path: Path
) -> None:
    (tmp_path / "file").write_bytes(b"weights")

    def write(path: Path) -> None:
        assert path.suffix == ".keras"  # Keras decides by it what it writes
        path.write_bytes(b"weights")

    stored = {artifacts.put(NAME, content) for content in (b"weights", tmp_path / "file", write)}
    assert len(stored) == 1
    assert artifacts.put(NAME, b"new", checksum=False) == Artifact(NAME, 3)


@pytest.mark.parametrize("failing", ["os.fsync", "pathlib.Path.replace", None])
def test_a_put_that_fails_changes_nothing(
    folder: FolderArtifacts, monkeypatch: pytest.MonkeyPatch, failing: str | None
) -> None:
    artifacts = folder

    def no_space(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def half(path: Path) -> None:
        path.write_bytes(b"ha")
        if failing is None:
            no_space()

    stored = artifacts.put(NAME, b"before")
    with monkeypatch.context() as patch:
        if failing is not None:
            patch.setattr(failing, no_space)
        with pytest.raises(OSError, match="No space"):
            artifacts.put(NAME, half)
    assert artifacts.get(stored).read_bytes() == b"before"
    assert files(artifacts) == [NAME]


def test_content_that_cannot_be_written_changes_nothing(artifacts: Artifacts) -> None:
    def half(path: Path) -> None:
        path.write_bytes(b"ha")
        raise ValueError("the network cannot be saved")

    stored = artifacts.put(NAME, b"before")
    with pytest.raises(ValueError, match="cannot be saved"):
        artifacts.put(NAME, half)
    assert artifacts.get(stored).read_bytes() == b"before"
    assert files(artifacts) == [NAME]


@pytest.mark.parametrize(
    ("artifact", "message"),
    [
        (Artifact("missing.keras"), "is no file"),
        (Artifact("missing.keras", 3), "No such file|is no file"),
        (Artifact("folder"), "is no file"),
        (Artifact("here.keras", 3), "another size"),
        (Artifact("here.keras", 4, "0" * 64), "another checksum"),
        (Artifact("../here.keras"), "does not lie in this project"),
        (Artifact("/etc/passwd"), "does not lie in this project"),
        (Artifact(""), "does not lie in this project"),
    ],
)
def test_other_files_are_refused_in_a_line(
    artifacts: Artifacts, artifact: Artifact, message: str
) -> None:
    artifacts.put("here.keras", b"1234")
    artifacts.put("folder/other.keras", b"1234")
    with pytest.raises(ArtifactError, match=message) as refused:
        artifacts.get(artifact)
    assert "\n" not in str(refused.value)
    assert artifacts.get(Artifact("here.keras")).read_bytes() == b"1234"


def test_links_do_not_lead_out_of_a_folder(folder: FolderArtifacts, tmp_path: Path) -> None:
    folder.put("here.keras", b"1234")
    (tmp_path / "out.keras").write_bytes(b"1234")
    (folder.root / "out").symlink_to(tmp_path)
    with pytest.raises(ArtifactError, match="leads out of this project"):
        folder.get(Artifact("out/out.keras"))
    assert [file.name for file in folder.files("*/*")] == []


def test_a_copy_outlives_its_original(artifacts: Artifacts) -> None:
    stored = artifacts.put(NAME, b"weights")
    artifacts.copy(NAME, "other/network.keras")
    artifacts.put(NAME, b"new")
    copied = Artifact("other/network.keras", stored.size, stored.sha256)
    assert artifacts.get(copied).read_bytes() == b"weights"
    artifacts.delete(NAME)
    artifacts.delete(NAME)
    assert files(artifacts) == ["other/network.keras"]


def test_a_part_of_a_store_is_one(artifacts: Artifacts) -> None:
    part = artifacts.below("study/trial-0")
    assert part.put("attempt-1.keras", b"weights").path == "attempt-1.keras"
    assert artifacts.exists(NAME)
    with pytest.raises(ArtifactError):
        part.exists("../trial-1")


def test_what_is_swept(artifacts: Artifacts) -> None:
    names = [
        "a/trial-0/attempt-1.ckpt",
        "a/trial-0/attempt-1.keras",
        "a/trial-1/attempt-1.ckpt",
        "a/trial-1/attempt-2.part",
        "b/trial-0/attempt-1.ckpt",
    ]
    for name in names:
        artifacts.put(name, b"")
    artifacts.sweep("a/trial-1", CHECKPOINT_PATTERNS)
    assert files(artifacts) == [names[0], names[1], names[4]]
    assert artifacts.names("a/trial-1") == []
    artifacts.sweep("a", ["trial-*/*.ckpt"])
    assert files(artifacts) == [names[1], names[4]]
    artifacts.sweep("a")
    assert files(artifacts) == [names[4]]
    artifacts.sweep("nowhere")


def test_a_project_has_its_store_beside_its_database(tmp_path: Path) -> None:
    settings = load_settings(f"sqlite:///{tmp_path}/tuner.db")
    assert str(open_artifacts(settings)) == str(tmp_path / ".tuner" / "checkpoints")


def test_deleting_removes_what_a_killed_put_left(folder: FolderArtifacts) -> None:
    artifacts = folder
    partials: list[Path] = []

    def write(path: Path) -> None:
        path.write_bytes(b"half")
        partials.append(path)

    artifacts.put(NAME, write)
    partials[0].write_bytes(b"half")  # as a process that is killed leaves it
    artifacts.delete(NAME)
    assert files(artifacts) == []


def test_names_are_of_files_and_folders(artifacts: Artifacts) -> None:
    for name in ("a/trial-0/x.ckpt", "a/trial-10/saved/y.keras", "b/database"):
        artifacts.put(name, b"12")
    assert artifacts.names("*") == ["a", "b"]
    assert artifacts.names("a/trial-*") == ["a/trial-0", "a/trial-10"]
    assert artifacts.names("a/trial-*/*") == ["a/trial-0/x.ckpt", "a/trial-10/saved"]
    assert [file.name for file in artifacts.files("a/trial-*/*")] == ["a/trial-0/x.ckpt"]
    assert artifacts.names("b/database") == ["b/database"]
    assert artifacts.names("c/*") == artifacts.names("b/data") == []


def test_facts_say_how_large_and_how_old_a_file_is(artifacts: Artifacts) -> None:
    before = time.time()
    artifacts.put(NAME, b"weights")
    facts = artifacts.facts(NAME)
    assert facts is not None
    assert (facts.name, facts.size) == (NAME, 7)
    assert before - 2 < facts.written_at < time.time() + 2  # stores count whole seconds
    assert artifacts.files("study/*/*") == [facts]
    assert artifacts.facts("study/trial-0") is artifacts.facts("missing") is None


def test_what_is_kept_of_a_folder_is_there_next_time(artifacts: Artifacts) -> None:
    first = artifacts.folder("study/trial-0/directory")
    (first.path / "part").mkdir()
    (first.path / "part" / "notes.txt").write_text("epoch 1")
    (first.path / "old").write_text("")
    first.keep()
    (first.path / "old").unlink()
    first.keep()
    first.close()
    second = artifacts.folder("study/trial-0/directory")
    assert [path.name for path in second.path.rglob("*")] == ["part", "notes.txt"]
    assert (second.path / "part" / "notes.txt").read_text() == "epoch 1"
    second.close()
    artifacts.sweep("study/trial-0/directory")
    third = artifacts.folder("study/trial-0/directory")
    assert list(third.path.iterdir()) == []
    third.close()


def test_a_store_is_tried_out_and_left_as_it_was(artifacts: Artifacts) -> None:
    artifacts.put(NAME, b"weights")
    check_store(artifacts)
    assert files(artifacts) == [NAME]
