"""Networks in a store that many machines reach: what differs from a folder."""

import errno
import os
import pickle
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from s3_server import BUCKET, S3Server, s3, surroundings

from tuner.errors import ArtifactError, ArtifactsUnavailable, UsageError
from tuner.functions.trial_files import OwnFiles
from tuner.settings import load_settings
from tuner.study import artifacts as artifacts_module
from tuner.study import download_cache
from tuner.study.artifacts import Artifact, Artifacts, artifacts_at, open_artifacts, patiently
from tuner.study.messages import Checkpoints
from tuner.study.remote_artifacts import RemoteArtifacts, _open_client
from tuner.system.store_urls import SCHEMES

__all__ = ["s3"]
NAME = "study/trial-0/attempt-1.keras"


@pytest.fixture
def artifacts(
    s3: S3Server, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[RemoteArtifacts]:
    with s3.machine(tmp_path / "home"):
        store = artifacts_at(s3.url(request.node.name))
        assert isinstance(store, RemoteArtifacts)
        yield store


@pytest.fixture
def downloads(artifacts: RemoteArtifacts, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that are downloaded from now on."""
    client, names = artifacts._files(), []
    download = client.get_file

    def counted(key: str, target: str) -> None:
        names.append(key.rpartition("/")[2])
        download(key, target)

    monkeypatch.setattr(client, "get_file", counted)
    return names


def test_only_the_url_is_pickled(artifacts: RemoteArtifacts) -> None:
    artifacts.put(NAME, b"weights")
    pickled = pickle.dumps(Checkpoints(artifacts.below("study"), 1))
    assert b"testing" not in pickled
    other: Artifacts = pickle.loads(pickled).artifacts
    assert other.get(Artifact("trial-0/attempt-1.keras")).read_bytes() == b"weights"


def test_a_file_is_downloaded_once_a_machine(
    artifacts: RemoteArtifacts, downloads: list[str], tmp_path: Path
) -> None:
    stored = artifacts.put(NAME, b"weights")
    paths = {artifacts.get(stored) for _ in range(3)}
    assert [path.read_bytes() for path in paths] == [b"weights"]
    assert downloads == ["attempt-1.keras"]
    with surroundings({"HOME": str(tmp_path / "another machine")}):
        assert artifacts.get(stored).read_bytes() == b"weights"
    assert len(downloads) == 2


def test_a_copy_is_never_stale(artifacts: RemoteArtifacts) -> None:
    """Also of a file whose checksum was not recorded, such as a checkpoint."""
    for content in (b"epoch 1", b"epoch 2"):
        artifacts.put("attempt-1.ckpt", content, checksum=False)
        assert artifacts.get(Artifact("attempt-1.ckpt")).read_bytes() == content


def test_a_damaged_copy_is_downloaded_again(
    artifacts: RemoteArtifacts, downloads: list[str]
) -> None:
    stored = artifacts.put(NAME, b"weights")
    artifacts.get(stored).write_bytes(b"wrights")
    assert artifacts.get(stored).read_bytes() == b"weights"
    assert len(downloads) == 2


def test_a_file_that_was_changed_in_the_store_is_refused(artifacts: RemoteArtifacts) -> None:
    stored = artifacts.put(NAME, b"weights")
    artifacts.put(NAME, b"wrights")
    with pytest.raises(ArtifactError, match=rf"^s3://.*{NAME} is not the file .*checksum"):
        artifacts.get(stored)


def test_copies_are_removed_a_day_after_their_last_use(artifacts: RemoteArtifacts) -> None:
    old, used = (artifacts.get(artifacts.put(name, name.encode())) for name in ("old", "used"))
    two_days_ago = time.time() - 2 * 86_400
    for file in (old, used):
        os.utime(file.parent, (two_days_ago, two_days_ago))
    artifacts.get(Artifact("used", 4, used.parent.name))  # is used again
    artifacts.get(artifacts.put("new", b"new"))
    assert not old.exists()
    assert used.exists()


def test_one_content_under_two_names(artifacts: RemoteArtifacts) -> None:
    names = ("trial-3/attempt-1.pkl", "trial-5/attempt-2.pkl")
    files = [artifacts.get(artifacts.put(name, b"the same weights")) for name in names]
    assert [file.read_bytes() for file in files] == [b"the same weights"] * 2
    assert [file.name for file in files] == ["attempt-1.pkl", "attempt-2.pkl"]


def test_a_copy_that_was_swept_just_now_is_downloaded_again(
    artifacts: RemoteArtifacts, downloads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = artifacts.put(NAME, b"weights")
    swept = artifacts.get(stored)
    cached, answers = download_cache.cached, [swept]
    swept.unlink()
    monkeypatch.setattr(
        download_cache, "cached", lambda *wanted: answers.pop() if answers else cached(*wanted)
    )
    assert artifacts.get(stored).read_bytes() == b"weights"
    assert len(downloads) == 2


def test_a_full_disk_here_is_not_blamed_on_the_store(
    artifacts: RemoteArtifacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = artifacts.put(NAME, b"weights")

    def fill(key: str, target: str) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", target)

    monkeypatch.setattr(artifacts._files(), "get_file", fill)
    with pytest.raises(ArtifactsUnavailable, match=rf"^/.*: no copy of s3:.*{NAME} .*No space"):
        artifacts.get(stored)


def test_copies_are_for_this_user_alone(artifacts: RemoteArtifacts) -> None:
    file = artifacts.get(artifacts.put(NAME, b"weights"))
    assert file.parents[1].stat().st_mode & 0o077 == 0


def test_an_upload_that_was_killed_is_not_seen(artifacts: RemoteArtifacts) -> None:
    import boto3

    stored = artifacts.put(NAME, b"before")
    key = f"{artifacts.url.removeprefix(f's3://{BUCKET}/')}/{NAME}"
    client = boto3.client("s3")
    upload = client.create_multipart_upload(Bucket=BUCKET, Key=key)["UploadId"]
    client.upload_part(Bucket=BUCKET, Key=key, UploadId=upload, PartNumber=1, Body=b"half")
    assert artifacts.get(stored).read_bytes() == b"before"
    assert [file.name for file in artifacts.files("**/*")] == [NAME]


def test_a_function_finds_its_folder_on_another_machine(
    artifacts: RemoteArtifacts, tmp_path: Path
) -> None:
    clock = [0.0]
    first = OwnFiles(Checkpoints(artifacts, 1, every_s=4.0), clock=lambda: clock[0])
    (first.directory() / "weights").write_text("epoch 1")
    (first.directory() / "out").symlink_to("/etc/passwd")
    first.remember(1, 0.5)
    clock[0] = 5.0
    first.remember(2, 0.6)  # long enough after the start: all is kept
    first.remember(3, 0.7)
    (first.directory() / "weights").write_text("epoch 3")  # the machine is lost
    with surroundings({"HOME": str(tmp_path / "another machine")}):
        second = OwnFiles(Checkpoints(artifacts, 2))
        assert [file.name for file in second.directory().iterdir()] == ["weights"]
        assert (second.directory() / "weights").read_text() == "epoch 1"
        assert second.reports(before=9) == [(1, 0.5), (2, 0.6)]
        first.close()
        second.close()


CALLS: dict[str, Any] = {
    "put": lambda store: store.put(NAME, b""),
    "get": lambda store: store.get(Artifact(NAME)),
    "exists": lambda store: store.exists(NAME),
    "copy": lambda store: store.copy(NAME, "other"),
    "names": lambda store: store.names("*"),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_a_bucket_that_does_not_exist_is_said_in_a_line(
    s3: S3Server, tmp_path: Path, call: Any
) -> None:
    with s3.machine(tmp_path), pytest.raises(ArtifactsUnavailable) as refused:
        call(artifacts_at("s3://no-such-bucket/project"))
    assert str(refused.value).endswith(": there is no such bucket")
    assert not refused.value.may_pass


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_a_store_that_cannot_be_reached_is_given_up_soon(
    s3: S3Server, artifacts: RemoteArtifacts, call: Any
) -> None:
    s3.stop()
    try:
        began = time.monotonic()
        with pytest.raises(ArtifactsUnavailable, match="cannot be reached at http") as refused:
            call(artifacts)
        assert time.monotonic() - began < 60  # a store that retries for long takes minutes
        assert refused.value.may_pass
        artifacts.sweep("study")  # raises nothing
    finally:
        s3.start()


def test_a_store_that_is_silent_is_given_up(
    artifacts: RemoteArtifacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each layer of its client would ask again by itself."""
    times: dict[str, Any] = SCHEMES["s3"].options["config_kwargs"]
    monkeypatch.setitem(times, "read_timeout", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent, ThreadPoolExecutor(1) as threads:
        asked = threads.submit(_count_connections, silent)
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
        _open_client.cache_clear()
        with (
            surroundings({"AWS_ENDPOINT_URL": endpoint}),
            pytest.raises(ArtifactsUnavailable, match=f"cannot be reached at {endpoint}"),
        ):
            artifacts.exists(NAME)
        silent.shutdown(socket.SHUT_RDWR)
        _open_client.cache_clear()
        assert asked.result() == times["retries"]["total_max_attempts"]


def _count_connections(silent: socket.socket) -> int:
    connections = []
    with suppress(OSError):
        while True:
            connections.append(silent.accept()[0])
    for connection in connections:
        connection.close()
    return len(connections)


def test_a_network_waits_for_a_store_that_comes_back(
    s3: S3Server, artifacts: RemoteArtifacts
) -> None:
    s3.stop()
    timer = threading.Timer(0.5, s3.start)
    timer.start()
    stored = patiently(lambda: artifacts.put(NAME, b"weights"))
    timer.join()
    assert artifacts.get(stored).read_bytes() == b"weights"


def test_patience_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(artifacts_module, "_PATIENCE_S", 0.6)
    tries = []

    def fail(may_pass: bool) -> None:
        tries.append(may_pass)
        raise ArtifactsUnavailable("s3://bucket: the store cannot be reached", may_pass)

    with pytest.raises(ArtifactsUnavailable):
        patiently(lambda: fail(True))
    assert tries == [True, True]
    with pytest.raises(ArtifactsUnavailable):
        patiently(lambda: fail(False))
    assert tries == [True, True, False]


def test_a_machine_without_credentials_is_told_so(
    artifacts: RemoteArtifacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tuner.study import remote_artifacts

    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    remote_artifacts._open_client.cache_clear()
    with pytest.raises(ArtifactsUnavailable, match=r"no credentials.*AWS_ACCESS_KEY_ID"):
        artifacts.put(NAME, b"")
    remote_artifacts._open_client.cache_clear()


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ArtifactsUnavailable, match=r"gs:// needs a package.*pip install gcsfs"):
        artifacts_at("gs://bucket").exists("x")


@pytest.mark.parametrize(
    ("chosen", "place"),
    [
        ("s3://bucket/prefix/", "s3://bucket/prefix"),
        ("gs://bucket", "gs://bucket"),
        ("az://container/x", "az://container/x"),
        ("file:///shared/networks", "/shared/networks"),
        ("/shared/networks", "/shared/networks"),
    ],
)
def test_the_environment_names_a_store(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, chosen: str, place: str
) -> None:
    monkeypatch.setenv("TUNER_CHECKPOINTS", chosen)
    settings = load_settings(f"sqlite:///{tmp_path}/tuner.db")
    assert str(open_artifacts(settings)) == settings.artifacts_place == place
    if "://" in place:  # logs and locks are on this machine
        assert settings.checkpoints == tmp_path / ".tuner" / "checkpoints"


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        (
            "http://bucket/x",
            "must be a folder or one of s3://, gs://, az://, got 'http://bucket/x'",
        ),
        ("s3:///x", "must be like s3://BUCKET/PREFIX"),
        ("s3://bucket/x*", "must be like s3://BUCKET/PREFIX"),
        ("s3://bucket/x?endpoint=y", "must be like s3://BUCKET/PREFIX"),
        ("s3://key:sesame@bucket/x", "must hold no credentials"),
        ("file://folder", "must be a folder or one of"),
    ],
)
def test_other_urls_are_refused(monkeypatch: pytest.MonkeyPatch, chosen: str, message: str) -> None:
    monkeypatch.setenv("TUNER_CHECKPOINTS", chosen)
    with pytest.raises(UsageError, match="TUNER_CHECKPOINTS") as refused:
        load_settings()
    assert message in str(refused.value)
    assert "sesame" not in str(refused.value)


def test_a_slow_store_gets_fewer_checkpoints() -> None:
    checkpoints = Checkpoints(artifacts_at("/nowhere"), 1, every_s=4.0)
    pauses = [checkpoints.pause_after(writing_s) for writing_s in (0.01, 0.4, 2.0, 60.0)]
    assert pauses == [4.0, 4.0, 18.0, 80.0]
