"""What goes wrong inside is told as that; only the user interrupts."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Command = Callable[..., Any]


def raising(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def fail(*_: Any) -> None:
        raise error

    monkeypatch.setattr("tuner.storage.opening.exists", fail)


@pytest.mark.parametrize(
    "error",
    [
        EOFError("the server ended"),
        BrokenPipeError(32, "of a worker"),
        RuntimeError("odd"),
        OSError(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_inside_is_no_interruption(
    error: Exception, tuner: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    raising(monkeypatch, error)
    done = tuner("study", "list")
    assert done.code == 1
    assert "interrupted" not in done.err
    assert "Traceback" in done.err
    last = done.err.strip().splitlines()[-1]
    assert last.startswith("tuner: an error in tuner itself, with its traceback above: ")
    assert type(error).__name__ in last


def test_ctrl_c_is_an_interruption(tuner: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    raising(monkeypatch, KeyboardInterrupt())
    done = tuner("study", "list")
    assert (done.code, done.err) == (130, "tuner: interrupted\n")


def test_a_reader_that_leaves_is_no_error(tmp_path: Path) -> None:
    command = f"{sys.executable} -m tuner activations; true"
    read_end, write_end = os.pipe()
    os.close(read_end)
    done = subprocess.run(
        ["/bin/sh", "-c", command],
        cwd=tmp_path,
        stdout=write_end,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.close(write_end)
    assert done.stderr == ""


@pytest.mark.parametrize(
    "start", ["tuner", "-m tuner", "tuner with PYTHONPATH"], ids=lambda start: start
)
def test_files_of_the_folder_are_not_imported(start: str, tmp_path: Path) -> None:
    # Those that `python -m` itself has imported before the first line of ours are beyond us.
    names = ("json", "dataclasses", "pathlib", "logging", "queue", "random", "typer", "sqlalchemy")
    for name in names:
        text = f"open({str(tmp_path / 'ran')!r}, 'a').write({name!r})\nraise OSError('mine')\n"
        (tmp_path / f"{name}.py").write_text(text)
    script = [str(Path(sys.executable).with_name("tuner"))]
    command = [sys.executable, "-m", "tuner"] if start == "-m tuner" else script
    path = os.environ.get("PYTHONPATH", "")
    if start == "tuner with PYTHONPATH":
        path = os.pathsep.join(["", str(tmp_path), path])
    done = subprocess.run(
        [*command, "study", "create", "s", "--data", "iris"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
    )
    ran = (tmp_path / "ran").read_text() if (tmp_path / "ran").exists() else ""
    assert (done.returncode, ran) == (0, ""), done.stderr
