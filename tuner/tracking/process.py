"""The tracker as its loop sees it: a process that is started, left alone, and asked to finish.

It imports no MLflow. The tracker hears of nothing but what its stdin says: to finish, or by its end
that the loop has died.
"""

import contextlib
import json
import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO

from tuner.errors import StudyError, TunerError
from tuner.settings import Settings, python_environment
from tuner.storage import open_store
from tuner.storage.deliveries import count_delivered, read_delivery
from tuner.storage.read_only import look_once
from tuner.storage.store import Store
from tuner.storage.studies import StudyRow, load_study
from tuner.system import logs
from tuner.system.locations import sqlite_file
from tuner.system.names import command
from tuner.system.temporary_folders import OwnFolder

PROBLEM = logs.STDERR_PREFIX
RESULT = "tuner found: "
FINISH = b"finish"
# How long a tracker may go on once there is haste.
_HURRIED_S = 3.0
_LOOK_S = 0.1


@dataclass(frozen=True)
class TrackerSetup:
    """What a tracker is told. The uuid tells a study from a later one of its name. `log_models`:
    best, all or none. `data`: a folder of prepared arrays, for models' input examples. `networks`:
    the project's folder of saved networks."""

    store_url: str
    tracking_uri: str
    study_name: str
    study_uuid: str
    log_models: str = "best"
    data: str | None = None
    networks: str = "."


@dataclass(frozen=True)
class Delivered:
    """How many of the study's ended trials MLflow has whole, how many it lacks or shows otherwise,
    and why. A problem without any such trial is about the study's own run."""

    sent: int
    owed: int
    problem: str | None = None


class TrackerProcess:
    """A running tracker. `log`: the file for what it and MLflow have to say; a temporary one by
    default."""

    def __init__(self, setup: TrackerSetup, log: Path | None = None) -> None:
        self._setup = setup
        self._temporary: OwnFolder | None = None
        with self._open_log(log) as output:
            # A session of its own: Ctrl-C at the terminal is the loop's to handle. -P: a file of
            # the user's folder must not pass for a module.
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-m", "tuner.tracking"],
                env=python_environment(),
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        # Through the pipe: arguments are for every user of the machine to read, and URLs hold
        # passwords.
        self._say(json.dumps(asdict(setup)).encode() + b"\n")

    def _open_log(self, log: Path | None) -> BinaryIO:
        """The log, emptied. A full disk is no reason not to deliver: then nothing is kept."""
        try:
            if log is None:
                self._temporary = OwnFolder("tuner-tracking-")
                log = Path(self._temporary.name) / "tracking.log"
            self.log = log
            return log.open("wb")
        except OSError:
            self.log = Path(os.devnull)
            return self.log.open("wb")

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    def finish(
        self, timeout_s: float = 60.0, hurry: Callable[[], bool] = lambda: False
    ) -> Delivered:
        """Wait until all is delivered, or MLflow will not take it, or the time is over; once
        `hurry` says so, only for seconds."""
        self._say(FINISH + b"\n")
        began = time.monotonic()
        until, hurried = began + timeout_s, False
        while self.alive and time.monotonic() < until:
            time.sleep(_LOOK_S)
            if hurry() and not hurried:
                until, hurried = min(until, time.monotonic() + _HURRIED_S), True
        late = f"MLflow took longer than {until - began:.0f} s" if self.alive else None
        self._end()
        outcome = self._outcome(late)
        self.kill()
        return outcome

    def kill(self) -> None:
        """End it at once. What SQL holds can be delivered at any later time."""
        self._end()
        if self._temporary is not None:
            self._temporary.cleanup()

    def _end(self) -> None:
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        self.process.kill()
        self.process.wait()

    def _say(self, line: bytes) -> None:
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it has died already; its log says why
            self.process.stdin.write(line)
            self.process.stdin.flush()

    def _outcome(self, late: str | None) -> Delivered:
        try:
            with contextlib.closing(open_store(self._setup.store_url)) as store:
                study = study_of(self._setup, store)
                sent, owed = count_delivered(store, study)
        except TunerError as error:
            return Delivered(0, 0, str(error))
        if owed == 0 and self.process.returncode == 0:
            lacking, what = self._found()
            return Delivered(sent - lacking, lacking, what)
        return Delivered(sent, owed, self._complaint() or late or self._last_words())

    def _found(self) -> tuple[int, str | None]:
        """Of how many trials MLflow lacks something after all, as the tracker saw it at its end."""
        said = [line for line in self._lines() if line.startswith(RESULT)]
        if not said:
            return 0, None
        result = json.loads(said[-1].removeprefix(RESULT))
        return result["lacking"], result["what"]

    def _lines(self) -> list[str]:
        return self.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()

    def _complaint(self) -> str | None:
        """What the tracker itself last had to say."""
        said = [line for line in self._lines() if line.startswith(PROBLEM)]
        return said[-1].removeprefix(PROBLEM) if said else None

    def _last_words(self) -> str:
        """What it died of, if it did not come to say anything."""
        return (self._lines() or [f"the tracker ended with {self.process.returncode}"])[-1]


def study_of(setup: TrackerSetup, store: Store) -> StudyRow:
    """The study that the setup means. Raises StudyError where it was deleted, also if there is
    another one of its name now."""
    study = load_study(store, setup.study_name)
    if study.uuid != setup.study_uuid:
        raise StudyError(
            f"study {study.name!r} was deleted, and another one of that name was created: that one "
            "is not delivered in its place"
        )
    return study


def start_tracker(
    settings: Settings,
    study: StudyRow,
    log_models: str = "best",
    data: Path | None = None,
    log: Path | None = None,
) -> TrackerProcess:
    """Start delivering a study to MLflow. `log_models`: best, all or none. `data`: a folder of
    prepared arrays, kept until `finish`, for models' input examples."""
    folder = str(data.absolute()) if data else None
    networks = str(settings.checkpoints.absolute())
    setup = TrackerSetup(
        settings.storage,
        settings.tracking_uri,
        study.name,
        study.uuid,
        log_models,
        folder,
        networks,
    )
    return TrackerProcess(setup, log)


def experiment_name(tracking_uri: str, study: StudyRow, store: Store) -> str:
    """What the study's experiment is called now, where that can be looked up without asking a
    server: people rename it, and its name may have been taken."""
    with contextlib.suppress(sqlite3.Error, TunerError):
        file, known = sqlite_file(tracking_uri), read_delivery(store, study)
        if file is not None and known is not None and file.exists():
            query = (
                "SELECT experiments.name FROM experiments"
                " JOIN runs USING (experiment_id) WHERE run_uuid = ?"
            )
            for row in look_once(file, query, (known.run_id,)):
                return str(row[0])
    return study.experiment


def run_link(tracking_uri: str, run_id: str | None = None) -> str:
    """Where a person finds the runs: an address to open, or a command to type. `run_id`: of the
    study's own run, as the delivery of PARENT remembers it."""
    if not tracking_uri.startswith(("http://", "https://")):
        return command("ui")
    scheme, _, rest = tracking_uri.rstrip("/").partition("://")
    address = f"{scheme}://{rest.rpartition('@')[2]}"
    return f"{address}/#/runs/{run_id}" if run_id else address
