"""The tracker as its loop sees it: a process that is started, left alone, and asked to finish.

It imports no MLflow. The tracker hears of nothing but the end of its stdin, which also comes when
the loop dies.
"""

import contextlib
import json
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from tuner.errors import TunerError
from tuner.storage import open_store
from tuner.storage.studies import load_study
from tuner.storage.tracked import count_delivered

PROBLEM = "tuner: "

LogModels = Literal["best", "all", "none"]


@dataclass(frozen=True)
class TrackerSetup:
    """What a tracker is told. `data`: a folder of prepared arrays, for models' input examples."""

    store_url: str
    tracking_uri: str
    study_name: str
    log_models: LogModels = "best"
    data: str | None = None


@dataclass(frozen=True)
class Delivered:
    """How many of the study's ended trials MLflow has, how many it lacks, and why."""

    sent: int
    owed: int
    problem: str | None = None


class TrackerProcess:
    """A running tracker."""

    def __init__(self, setup: TrackerSetup, log: Path) -> None:
        self.log = log
        self._setup = setup
        with log.open("wb") as output:
            # A session of its own: Ctrl-C at the terminal is the loop's to handle. -P: a file of
            # the user's folder must not pass for a module.
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-m", "tuner.tracking"],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        assert self.process.stdin is not None
        # Through the pipe: arguments are for every user of the machine to read, and URLs hold
        # passwords.
        with contextlib.suppress(BrokenPipeError):  # it has died already; its log says why
            self.process.stdin.write(json.dumps(asdict(setup)).encode() + b"\n")
            self.process.stdin.flush()

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    def finish(self, timeout_s: float = 60.0) -> Delivered:
        """Wait until all is delivered, or MLflow will not take it, or the time is over."""
        self._close()
        problem = None
        try:
            self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()
            problem = f"MLflow took longer than {timeout_s:.0f} s"
        return self._outcome(problem)

    def kill(self) -> None:
        """End it at once. What SQL holds can be delivered at any later time."""
        self._close()
        self.process.kill()
        self.process.wait()

    def _close(self) -> None:
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()

    def _outcome(self, problem: str | None) -> Delivered:
        try:
            store = open_store(self._setup.store_url)
            study = load_study(store, self._setup.study_name)
            sent, owed = count_delivered(store, study.study_id)
            store.close()
        except TunerError as error:
            return Delivered(0, 0, str(error))
        if owed == 0 and self.process.returncode == 0:
            return Delivered(sent, 0)
        return Delivered(sent, owed, last_problem(self.log) or problem)


def start_tracker(
    store_url: str,
    tracking_uri: str,
    study_name: str,
    log_models: LogModels = "best",
    data: Path | None = None,
    log: Path | None = None,
) -> TrackerProcess:
    """Start delivering a study to MLflow. `log`: the file for what the tracker and MLflow have to
    say; a temporary one by default."""
    if log is None:
        with tempfile.NamedTemporaryFile(
            prefix="tuner-tracking-", suffix=".log", delete=False
        ) as file:
            log = Path(file.name)
    setup = TrackerSetup(
        store_url, tracking_uri, study_name, log_models, str(data.absolute()) if data else None
    )
    return TrackerProcess(setup, log)


def last_problem(log: Path) -> str | None:
    """What the tracker last complained of, or what it died of."""
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    ours = [line.removeprefix(PROBLEM) for line in lines if line.startswith(PROBLEM)]
    said = ours or lines
    return said[-1] if said else None


def run_link(tracking_uri: str, run_id: str | None = None) -> str:
    """Where a person finds the runs: an address to open, or a command to type. `run_id`: of the
    study's own run, as the delivery of PARENT remembers it."""
    if not tracking_uri.startswith(("http://", "https://")):
        return "tuner ui"
    scheme, _, rest = tracking_uri.rstrip("/").partition("://")
    address = f"{scheme}://{rest.rpartition('@')[2]}"
    return f"{address}/#/runs/{run_id}" if run_id else address
