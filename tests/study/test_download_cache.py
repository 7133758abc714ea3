"""Copies of what lies on other machines: whole or not there, and this user's alone."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tuner.study import download_cache
from tuner.study.download_cache import cached


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(download_cache.tempfile, "gettempdir", lambda: str(tmp_path / "temporary"))
    return tmp_path / "home"


def test_a_download_that_fails_leaves_nothing(home: Path) -> None:
    def half(target: Path) -> None:
        target.write_bytes(b"ha")
        raise OSError("the connection is lost")

    with pytest.raises(OSError, match="connection is lost"):
        cached("key", "file", half)
    assert list((home / ".cache" / "tuner" / "downloads").iterdir()) == []
    assert cached("key", "file", lambda target: target.write_bytes(b"whole")).read_bytes() == (
        b"whole"
    )


def test_two_who_download_at_once_get_a_whole_copy(home: Path) -> None:
    both = threading.Barrier(2)

    def slowly(target: Path) -> None:
        target.write_bytes(b"whole")
        both.wait(20)

    with ThreadPoolExecutor(2) as threads:
        calls = [threads.submit(cached, "key", "file", slowly) for _ in range(2)]
        [file] = {call.result(20) for call in calls}
    assert file.read_bytes() == b"whole"
    assert [path.name for path in file.parents[1].iterdir()] == ["key"]


def test_without_a_home_copies_are_in_the_temporary_folder(home: Path) -> None:
    home.write_text("no folder")
    file = cached("key", "file", lambda target: target.write_bytes(b"whole"))
    assert home not in file.parents
    assert file.parents[1].stat().st_mode & 0o077 == 0


def test_a_folder_of_another_user_is_not_used(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    user = os.getuid()
    monkeypatch.setattr(download_cache.os, "getuid", lambda: user + 1)
    with pytest.raises(PermissionError, match="is not this user's own"):
        cached("key", "file", lambda target: target.write_bytes(b"whole"))
