"""The cache of decoded images: whole or not at all, whoever else decodes, is killed, or removes."""

import errno
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tuner.data import image_cache, image_processes
from tuner.data.image_cache import ImageFile, ImageForm, decoded_images, unused_images
from tuner.data.image_tree import file_state
from tuner.errors import DatasetError
from tuner.settings import Settings

PIXELS = np.random.default_rng(0).integers(0, 256, (40, 6, 7, 3), np.uint8)


@pytest.fixture
def files(tmp_path: Path) -> list[ImageFile]:
    made = []
    for number, pixels in enumerate(PIXELS):
        path = tmp_path / f"{number}.png"
        Image.fromarray(pixels).save(path)
        made.append(ImageFile(str(path), path.name, file_state(path.stat())))
    return made


def entries(settings: Settings) -> list[Path]:
    return unused_images(settings, -1)


@pytest.fixture
def many(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few files count as many: they are decoded by processes, in several jobs."""
    monkeypatch.setattr(image_processes, "_FEW_FILES", 1)
    monkeypatch.setattr(image_processes, "cores", lambda: 2)
    monkeypatch.setattr(image_cache, "_FILES_A_JOB", 7)


def test_pixels_are_decoded_once(
    files: list[ImageFile], settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = decoded_images(files, ImageForm(), settings, "photos")
    np.testing.assert_array_equal(np.asarray(first.rows), PIXELS)
    assert (first.modes, first.broken, first.resized) == ({"RGB": 40}, {}, 0)
    monkeypatch.setattr(image_cache, "run_jobs", None)  # nothing is decoded again
    again = decoded_images(files, ImageForm(), settings, "photos")
    np.testing.assert_array_equal(np.asarray(again.rows), PIXELS)
    assert len(entries(settings)) == 1


@pytest.mark.usefixtures("many")
def test_processes_decode_what_one_does(files: list[ImageFile], settings: Settings) -> None:
    Path(files[11].path).write_bytes(b"no image")
    decoded = decoded_images(files, ImageForm(), settings, "photos")
    expected = PIXELS.copy()
    expected[11] = 0
    np.testing.assert_array_equal(np.asarray(decoded.rows), expected)
    assert decoded.broken == {11: "is no image that can be read"}
    assert decoded.modes == {"RGB": 39}
    small = decoded_images(files, ImageForm((3, 3)), settings, "photos")
    assert small.resized == 39


@pytest.mark.usefixtures("many")
def test_a_process_that_dies_is_an_error_and_leaves_nothing(
    files: list[ImageFile], settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = image_processes._start

    def start_and_kill() -> "subprocess.Popen[str]":
        decoder = start()
        decoder.kill()
        return decoder

    monkeypatch.setattr(image_processes, "_start", start_and_kill)
    with pytest.raises(DatasetError, match="a process that decodes images ended with -9"):
        decoded_images(files, ImageForm(), settings, "photos")
    assert entries(settings) == []


def test_a_changed_file_and_another_form_are_other_pixels(
    files: list[ImageFile], settings: Settings
) -> None:
    decoded_images(files, ImageForm(), settings, "photos")
    small = decoded_images(files, ImageForm((3, 3)), settings, "photos")
    assert small.rows.shape == (40, 3, 3, 3)
    grey = decoded_images(files, ImageForm((3, 3), grayscale=True), settings, "photos")
    assert grey.rows.shape == (40, 3, 3, 1)
    path = Path(files[0].path)
    state = path.stat()
    Image.fromarray(PIXELS[1]).save(path)
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))  # a tool that keeps the times
    changed = [files[0]._replace(state=file_state(path.stat())), *files[1:]]
    again = decoded_images(changed, ImageForm(), settings, "photos")
    np.testing.assert_array_equal(again.rows[0], PIXELS[1])


def test_two_at_once_decode_once(
    files: list[ImageFile], settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls, run_jobs = [], image_cache.run_jobs

    def slow(*arguments: object) -> object:
        calls.append(arguments)
        time.sleep(0.1)
        return run_jobs(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(image_cache, "run_jobs", slow)
    results = []

    def decode() -> None:
        results.append(np.asarray(decoded_images(files, ImageForm(), settings, "photos").rows))

    threads = [threading.Thread(target=decode) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(calls) == 1
    for rows in results:
        np.testing.assert_array_equal(rows, PIXELS)


def test_a_damaged_entry_is_made_again(files: list[ImageFile], settings: Settings) -> None:
    decoded_images(files, ImageForm(), settings, "photos")
    (entry,) = entries(settings)
    for name in ("index.json", "pixels.npy"):
        (entry / name).write_bytes(b"{")
        decoded = decoded_images(files, ImageForm(), settings, "photos")
        np.testing.assert_array_equal(np.asarray(decoded.rows), PIXELS)


def test_pixels_outlive_their_entry(files: list[ImageFile], settings: Settings) -> None:
    """A search goes on while `tuner gc` removes the entry."""
    decoded = decoded_images(files, ImageForm(), settings, "photos")
    for name in ("index.json", "pixels.npy"):
        (entries(settings)[0] / name).unlink()
    np.testing.assert_array_equal(np.asarray(decoded.rows), PIXELS)


def test_what_killed_processes_left_is_removed(files: list[ImageFile], settings: Settings) -> None:
    code = (
        "import time, tuner.data.image_cache as cache\n"
        "from pathlib import Path\n"
        f"entry = Path({str(image_cache.image_cache_folder(settings))!r}) / 'key'\n"
        "entry.parent.mkdir(parents=True, exist_ok=True)\n"
        "def stay(*arguments):\n"
        "    print(flush=True)\n"
        "    time.sleep(60)\n"
        "cache._decode_all = stay\n"
        "cache._make(entry, [], cache.ImageForm(), 'photos')\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert [entry.suffix for entry in entries(settings)] == [".part"]
    decoded_images(files, ImageForm(), settings, "photos")
    assert [entry.suffix for entry in entries(settings)] == [""]


def test_a_full_disk_is_said_and_leaves_nothing(
    files: list[ImageFile], settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "posix_fallocate", full)
        with pytest.raises(DatasetError, match="GiB are free on that disk; make room"):
            decoded_images(files, ImageForm(), settings, "photos")
    monkeypatch.setattr("tuner.data.rows._SPARE_BYTES", 2**62)
    with pytest.raises(DatasetError, match="smaller: --image-size 6"):
        decoded_images(files, ImageForm(), settings, "photos")
    assert entries(settings) == []


def test_without_a_cache_images_are_decoded_all_the_same(
    files: list[ImageFile], settings: Settings
) -> None:
    folder = image_cache.image_cache_folder(settings)
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.write_text("a file where the folder would be")
    decoded = decoded_images(files, ImageForm(), settings, "photos")
    np.testing.assert_array_equal(np.asarray(decoded.rows), PIXELS)


def test_entries_in_use_are_not_unused(files: list[ImageFile], settings: Settings) -> None:
    decoded_images(files, ImageForm(), settings, "photos")
    (entry,) = entries(settings)
    long_ago = time.time() - 7200
    for path in (entry / "pixels.npy", entry, entry / "index.json"):
        os.utime(path, (long_ago, long_ago))
    assert unused_images(settings, 3600) == [entry]
    decoded_images(files, ImageForm(), settings, "photos")
    assert unused_images(settings, 3600) == []
