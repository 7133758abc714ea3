"""Output that cannot be written: told in one line, and no reason to end a search."""

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
from fork_server import run_command

from tuner.cli.live_display import Display
from tuner.runner.progress import RunStatus, WorkerStatus
from tuner.study.ends import TrialEnd
from tuner.system.logs import last_line
from tuner.system.redirecting import output_to
from tuner.system.secret_masking import MaskedStream

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
    done = run_command(["study", "create", "s", "--data", "iris"], folder)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.parametrize("closed", [(1,), (2,), (0,)], ids=[">&-", "2>&-", "<&-"])
@pytest.mark.parametrize("command", ["study list", "trial add width=64"])
def test_a_closed_stream_does_not_matter(
    project: Path, closed: tuple[int, ...], command: str
) -> None:
    done = run_command(command.split(), project, *closed)
    assert (done.returncode, done.stderr) == (0, "")
    # What native code writes to a closed stderr must not go into the database.
    assert run_command(["study", "list"], project).returncode == 0


@pytest.mark.parametrize("command", ["study list", "trial add width=64"])
def test_an_interpreter_that_has_no_stream_does_not_matter(project: Path, command: str) -> None:
    """Not forked: it has none while it imports either."""
    done = run(project, f"tuner {command} <&- >&- 2>&-")
    assert (done.returncode, done.stderr) == (0, "")
    assert run_command(["study", "list"], project).returncode == 0


@pytest.mark.parametrize("command", ["study list", "study show", "study export"])
def test_a_full_disk_is_told_in_one_line(project: Path, command: str) -> None:
    done = run_command(command.split(), project, stdout="/dev/full")
    assert done.returncode == 1
    assert done.stderr == "tuner: the output cannot be written: No space left on device\n"


def test_what_an_encoding_lacks_is_shown_as_an_escape(project: Path) -> None:
    ascii_only = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    done = run(project, "tuner study show; tuner study list", **ascii_only)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_search_goes_on_when_nobody_reads(capsys: pytest.CaptureFixture[str]) -> None:
    from tuner.cli import live_display

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
        shown = live_display.Display("val_accuracy", quiet=False)
        shown.stage("one")
        shown.stage("two")
    finally:
        sys.stdout = before
    (line,) = capsys.readouterr().err.splitlines()
    assert "Broken pipe" in line
    assert "the search continues" in line


def test_messages_that_cannot_be_written_change_no_exit_code(project: Path) -> None:
    full = "/dev/full"
    assert run_command(["study", "show", "nobody"], project, stderr=full).returncode == 2
    assert run_command(["nonsense"], project, stdout=full, stderr=full).returncode == 2


class Terminal:
    """A terminal that is closed after so many writes."""

    encoding = "utf-8"

    def __init__(self, writes: int, is_terminal: bool = True) -> None:
        self._writes, self._is_terminal = writes, is_terminal

    def write(self, text: str) -> int:
        self._writes -= 1
        if self._writes < 0:
            raise OSError(5, "Input/output error")
        return len(text)

    def isatty(self) -> bool:
        return self._is_terminal

    def flush(self) -> None:
        self.write("")

    def fileno(self) -> int:
        raise ValueError


STATUS = RunStatus(
    total=9, done=1, best=0.5, best_trial=0, workers=[WorkerStatus(1, 2, 3, 0.4), WorkerStatus()]
)


@pytest.mark.parametrize("writes", range(12))
@pytest.mark.parametrize("is_terminal", [True, False])
@pytest.mark.parametrize("stderr_too", [True, False])
def test_a_search_goes_on_where_a_terminal_closes(
    writes: int, is_terminal: bool, stderr_too: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever is being shown then, and without one line more on stderr than one."""
    monkeypatch.setenv("TERM", "xterm")
    errors = Terminal(0) if stderr_too else io.StringIO()
    with monkeypatch.context() as patched:
        patched.setattr(sys, "stdout", Terminal(writes, is_terminal))
        patched.setattr(sys, "stderr", MaskedStream(errors))
        with Display("val_accuracy", quiet=False) as shown:
            shown.stage("one")
            for end in (TrialEnd.COMPLETE, TrialEnd.DIVERGED):
                shown.changed(STATUS)
                shown.trial_ended(STATUS, 3, end, 0.5, is_best=True)
            shown.stage("two")
    if isinstance(errors, io.StringIO):
        assert errors.getvalue().count("the search continues") == len(
            errors.getvalue().splitlines()
        )
        assert len(errors.getvalue().splitlines()) <= 1


PRINTS = """
import os, sys
from pathlib import Path
from tuner.system.redirecting import output_to
with output_to(Path("folder/workers.log")):
    print("a network's own")
    os.write(1, b"native\\n")
    os.write(2, b"absl: a crash follows\\n")
print("after")
"""


def test_what_is_printed_by_the_way_goes_to_the_log(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PRINTS], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert (done.stdout, done.stderr) == ("after\n", "")
    log = tmp_path / "folder" / "workers.log"
    lines = log.read_text().splitlines()
    assert sorted(lines) == ["a network's own", "absl: a crash follows", "native"]
    assert last_line(log) == lines[-1]
    assert last_line(log, start=log.stat().st_size) == ""


@pytest.mark.parametrize("log", ["a file/log", "/dev/full", None])
def test_a_log_that_cannot_be_written_stops_nothing(tmp_path: Path, log: str | None) -> None:
    (tmp_path / "a file").write_text("")
    with output_to(None if log is None else tmp_path / log):
        print("lost", flush=True)
        subprocess.run(["echo", "lost"], check=False)
    assert last_line(tmp_path / "a file" / "log") == ""
