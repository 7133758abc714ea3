"""Output that cannot be written: told in one line, and no reason to end a search."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

TUNER = [sys.executable, "-c", "from tuner.__main__ import main; main()"]


def run(folder: Path, shell: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """A command line in which `tuner` is ours."""
    quoted = f"'{TUNER[0]}' -c '{TUNER[2]}'"
    return subprocess.run(
        ["bash", "-c", f'tuner() {{ {quoted} "$@"; }}; {shell}'],
        cwd=folder,
        env=os.environ | variables,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("project")
    done = run(folder, "tuner study create s --data iris")
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize("command", ["study list", "trial add width=64"])
def test_closed_streams_do_not_matter(project: Path, closed: str, command: str) -> None:
    done = run(project, f"tuner {command} {closed}")
    assert (done.returncode, done.stderr) == (0, "")
    # What native code writes to a closed stderr must not go into the database.
    assert run(project, "tuner study list").returncode == 0


@pytest.mark.parametrize("command", ["study list", "study show", "study export"])
def test_a_full_disk_is_told_in_one_line(project: Path, command: str) -> None:
    done = run(project, f"tuner {command} > /dev/full")
    assert done.returncode == 1
    assert done.stderr == "tuner: the output cannot be written: No space left on device\n"


def test_what_an_encoding_lacks_is_shown_as_an_escape(project: Path) -> None:
    ascii_only = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    done = run(project, "tuner study show; tuner study list", **ascii_only)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_search_goes_on_when_nobody_reads(capsys: pytest.CaptureFixture[str]) -> None:
    from tuner.cli import display

    class Gone:
        def write(self, _text: str) -> int:
            raise BrokenPipeError(32, "Broken pipe")

        def isatty(self) -> bool:
            return False

        def flush(self) -> None: ...

        def fileno(self) -> int:
            raise ValueError

    before, sys.stdout = sys.stdout, Gone()  # type: ignore[assignment]
    try:
        shown = display.Display("val_accuracy", quiet=False)
        shown.stage("one")
        shown.stage("two")
    finally:
        sys.stdout = before
    (line,) = capsys.readouterr().err.splitlines()
    assert "Broken pipe" in line
    assert "the search goes on" in line
