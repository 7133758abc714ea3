"""What killed processes have left in the temporary folder, and what is left alone there."""

import multiprocessing
import os
import subprocess
import sys
import tempfile
from multiprocessing import util
from pathlib import Path

import pytest

import tuner as package
from tuner.system.temporary_folders import (
    OwnFolder,
    own_servers_folder,
    sweep_temporary,
    written_whole,
)

LEAVE_BEHIND = """
import os, signal
from multiprocessing import forkserver
from tuner.system.temporary_folders import OwnFolder, own_servers_folder
folders = [OwnFolder(f"tuner-{kind}-") for kind in ("look", "ui", "tracking", "model")]
for folder in folders:
    open(os.path.join(folder.name, "content"), "w").close()
own_servers_folder()
forkserver.ensure_running()
print("ready", flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The temporary folder."""
    place = tmp_path / "t"
    place.mkdir()
    monkeypatch.setenv("TMPDIR", str(place))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return place


def no_sockets_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    config = util.process.current_process()._config  # type: ignore[attr-defined]
    for name in config.keys() & {"tempdir"}:
        monkeypatch.delitem(config, name)


def names(place: Path) -> set[str]:
    """What lies there, without the random part of its name."""
    return {path.name.rpartition("-")[0] for path in place.iterdir()}


def test_what_a_killed_process_leaves_is_removed(place: Path) -> None:
    subprocess.run([sys.executable, "-c", LEAVE_BEHIND], check=False, capture_output=True)
    kinds = {"tuner-look", "tuner-ui", "tuner-tracking", "tuner-model"}
    assert names(place) == {"pymp", *kinds}
    sweep_temporary()
    assert names(place) == set()


def test_folders_at_work_and_those_of_others_stay(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    no_sockets_yet(monkeypatch)
    for name in ("pymp-others", "tuner-notes", "tuner-"):
        (place / name).mkdir()
        (place / name / "content").write_text("mine")
    with OwnFolder("tuner-look-") as at_work:
        own_servers_folder()
        stays = set(place.rglob("*"))
        assert {Path(at_work), Path(util.get_temp_dir())} < stays
        dead = place / "tuner-ui-dead"
        dead.mkdir()
        (dead / "tuner-owner").touch()
        with monkeypatch.context() as patch:
            patch.setattr(os, "getuid", lambda: 4711)
            sweep_temporary()
        assert dead.exists()
        sweep_temporary()
        assert set(place.rglob("*")) == stays
    assert not Path(at_work).exists()


def test_a_child_does_not_mark_what_is_its_parents(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    no_sockets_yet(monkeypatch)
    own_servers_folder()
    sockets = Path(util.get_temp_dir())
    child = multiprocessing.get_context("spawn").Process(target=own_servers_folder)
    child.start()
    child.join(60)
    assert child.exitcode == 0
    sweep_temporary()
    assert sockets.exists()


def test_a_link_is_not_followed(place: Path, tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "tuner-owner").touch()
    (place / "tuner-look-abc").symlink_to(tmp_path / "kept")
    sweep_temporary()
    assert (tmp_path / "kept" / "tuner-owner").exists()


def test_every_temporary_folder_of_ours_is_marked() -> None:
    sources = Path(package.__file__).parent.rglob("*.py")
    plain = 'TemporaryDirectory(prefix="tuner-'
    unmarked = [file.name for file in sources if plain in file.read_text()]
    assert unmarked == []


def test_a_file_is_written_whole_or_stays_as_it_was(tmp_path: Path) -> None:
    file, folder = tmp_path / "a.txt", tmp_path / "b.txt"
    folder.mkdir()
    dead = tmp_path / ".tuner-dead"
    dead.mkdir()
    (dead / "tuner-owner").touch()
    with written_whole(file) as partial:
        partial.write_text("old")
        assert not file.exists() and not dead.exists()
    with pytest.raises(ValueError), written_whole(file) as partial:
        partial.write_text("new")
        raise ValueError
    assert file.read_text() == "old"
    with pytest.raises(OSError), written_whole(folder) as partial:
        partial.write_text("new")
    with written_whole(folder) as partial:
        partial.mkdir()
        (partial / "c").touch()
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a.txt", "b.txt", "c"]
