"""Stored files: whole or not there, found by name, size and checksum."""

import errno
import hashlib
import os
import pickle
from pathlib import Path
from typing import Any

import pytest

from tuner.errors import ArtifactError
from tuner.settings import load_settings
from tuner.study.artifacts import (
    CHECKPOINT_PATTERNS,
    Artifact,
    Artifacts,
    FolderArtifacts,
    open_artifacts,
)

NAME = "study/trial-0/attempt-1.keras"


@pytest.fixture
def artifacts(tmp_path: Path) -> FolderArtifacts:
    return FolderArtifacts(tmp_path / "store")


def files(artifacts: FolderArtifacts) -> list[str]:
    return [name for name in artifacts.names("**/*") if (artifacts.root / name).is_file()]


def test_what_was_put_is_found_by_any_copy_of_the_store(artifacts: FolderArtifacts) -> None:
    stored = artifacts.put(NAME, b"weights")
    assert stored == Artifact(NAME, 7, hashlib.sha256(b"weights").hexdigest())
    other: Artifacts = pickle.loads(pickle.dumps(artifacts))
    assert other.get(stored).read_bytes() == b"weights"
    assert other.exists(NAME)
    assert files(artifacts) == [NAME]


def test_content_is_bytes_a_file_or_written_by_a_function(
    artifacts: FolderArtifacts, tmp_path: Path
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
    artifacts: FolderArtifacts, monkeypatch: pytest.MonkeyPatch, failing: str | None
) -> None:
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


@pytest.mark.parametrize(
    ("artifact", "message"),
    [
        (Artifact("missing.keras"), "is no file"),
        (Artifact("missing.keras", 3), "No such file"),
        (Artifact("folder"), "is no file"),
        (Artifact("here.keras", 3), "another size"),
        (Artifact("here.keras", 4, "0" * 64), "another checksum"),
        (Artifact("../here.keras"), "does not lie in this project"),
        (Artifact("/etc/passwd"), "does not lie in this project"),
        (Artifact(""), "does not lie in this project"),
        (Artifact("out/here.keras"), "leads out of this project"),
    ],
)
def test_other_files_are_refused_in_a_line(
    artifacts: FolderArtifacts, tmp_path: Path, artifact: Artifact, message: str
) -> None:
    artifacts.put("here.keras", b"1234")
    artifacts.put("folder/other.keras", b"1234")
    (artifacts.root / "out").symlink_to(tmp_path)
    with pytest.raises(ArtifactError, match=message) as refused:
        artifacts.get(artifact)
    assert "\n" not in str(refused.value)
    assert artifacts.get(Artifact("here.keras")).read_bytes() == b"1234"


def test_a_copy_outlives_its_original(artifacts: FolderArtifacts) -> None:
    stored = artifacts.put(NAME, b"weights")
    artifacts.copy(NAME, "other/network.keras")
    artifacts.put(NAME, b"new")
    copied = Artifact("other/network.keras", stored.size, stored.sha256)
    assert artifacts.get(copied).read_bytes() == b"weights"
    artifacts.delete(NAME)
    artifacts.delete(NAME)
    assert files(artifacts) == ["other/network.keras"]


def test_a_part_of_a_store_is_one(artifacts: FolderArtifacts) -> None:
    part = artifacts.below("study/trial-0")
    assert part.put("attempt-1.keras", b"weights").path == "attempt-1.keras"
    assert artifacts.exists(NAME)
    with pytest.raises(ArtifactError):
        part.exists("../trial-1")


def test_what_is_swept(artifacts: FolderArtifacts) -> None:
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
    assert not (artifacts.root / "a" / "trial-1").exists()
    artifacts.sweep("a", ["trial-*/*.ckpt"])
    assert files(artifacts) == [names[1], names[4]]
    artifacts.sweep("a")
    assert files(artifacts) == [names[4]]
    artifacts.sweep("nowhere")


def test_a_project_has_its_store_beside_its_database(tmp_path: Path) -> None:
    settings = load_settings(f"sqlite:///{tmp_path}/tuner.db")
    assert str(open_artifacts(settings)) == str(tmp_path / ".tuner" / "checkpoints")


def test_deleting_removes_what_a_killed_put_left(artifacts: FolderArtifacts) -> None:
    partials: list[Path] = []

    def write(path: Path) -> None:
        path.write_bytes(b"half")
        partials.append(path)

    artifacts.put(NAME, write)
    partials[0].write_bytes(b"half")  # as a process that is killed leaves it
    artifacts.delete(NAME)
    assert files(artifacts) == []
