"""The tracker process as the loop uses it: start it, leave it alone, ask it to finish.

This module does not import MLflow. The tracker gets everything through its stdin: its setup, the
word to finish, and, when stdin ends, the news that the loop has died.
"""

import contextlib
import json
import os
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

from tuner.errors import StudyError, TunerError
from tuner.settings import Settings, python_environment
from tuner.storage import open_store
from tuner.storage.deliveries import count_delivered, read_delivery
from tuner.storage.read_only import look_once
from tuner.storage.store import Store
from tuner.storage.studies import StudyRow, load_study
from tuner.system import logs
from tuner.system.locations import sqlite_file
from tuner.system.temporary_folders import OwnFolder
from tuner.tracking.links import on_server, server_address, trials_page

PROBLEM = logs.STDERR_PREFIX
RESULT = "tuner found: "
FINISH = b"finish"
# What a tracker says at its end that has left the study to another one all the time.
ANOTHER_DELIVERS = "another loop's tracker delivers this study"
# How long a tracker may continue once the user is in a hurry.
_HURRIED_S = 3.0
_POLL_S = 0.1


@dataclass(frozen=True)
class TrackerSetup:
    """What a tracker needs. The UUID tells a study from a later one of the same name. `log_models`:
    best, all or none. `data`: a folder of prepared arrays, for models' input examples. `networks`:
    the project's store of them, a folder or a URL."""

    store_url: str
    tracking_uri: str
    study_name: str
    study_uuid: str
    log_models: str = "best"
    data: str | None = None
    networks: str = "."


@dataclass(frozen=True)
class Delivered:
    """How many of the study's ended trials MLflow has (`sent`), how many are missing or differ
    (`missing`), and why. A problem without such a trial concerns the study's own run. `link`: the
    address of the page that lists the trials; None for an MLflow without a server."""

    sent: int
    missing: int
    problem: str | None = None
    link: str | None = None

    @property
    def is_left_to_another(self) -> bool:
        """Whether another search of the study sends its trials, those of this one too."""
        return self.problem == ANOTHER_DELIVERS


class TrackerProcess:
    """A running tracker. `log`: the file for its messages and MLflow's; by default a temporary
    one."""

    def __init__(self, setup: TrackerSetup, log: Path | None = None) -> None:
        self._setup = setup
        self._temporary: OwnFolder | None = None
        with self._open_log(log) as output:
            # A session of its own: the loop handles Ctrl-C. -P: a file in the user's folder must
            # not be imported as a module.
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-m", "tuner.tracking"],
                env=python_environment(),
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        # Through the pipe: every user of the machine can read arguments, and URLs hold passwords.
        self._write(json.dumps(asdict(setup)).encode() + b"\n")

    def _open_log(self, log: Path | None) -> BinaryIO:
        """The log, emptied. If the disk is full, messages are dropped and delivery goes on."""
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
        """Wait until everything is delivered, MLflow refuses it, or the time is over. Once `hurry`
        is true, wait a few seconds at most."""
        self._write(FINISH + b"\n")
        began = time.monotonic()
        until, hurried = began + timeout_s, False
        while self.alive and time.monotonic() < until:
            time.sleep(_POLL_S)
            if hurry() and not hurried:
                until, hurried = min(until, time.monotonic() + _HURRIED_S), True
        late = f"MLflow took longer than {until - began:.0f} s" if self.alive else None
        self._end()
        outcome = self._outcome(late)
        self.kill()
        return outcome

    def kill(self) -> None:
        """End the process at once. Everything is in SQL and can be delivered later."""
        self._end()
        if self._temporary is not None:
            self._temporary.cleanup()

    def _end(self) -> None:
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        self.process.kill()
        self.process.wait()

    def _write(self, line: bytes) -> None:
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it has died already, and its log says why
            self.process.stdin.write(line)
            self.process.stdin.flush()

    def _outcome(self, late: str | None) -> Delivered:
        try:
            with contextlib.closing(open_store(self._setup.store_url)) as store:
                study = load_tracked_study(self._setup, store)
                sent, missing = count_delivered(store, study)
        except TunerError as error:
            return Delivered(0, 0, str(error))
        if missing == 0 and self.process.returncode == 0:
            result = self._check_result()
            link = self._link(study, result.get("experiment_id"))
            lacking = result.get("lacking", 0)
            return Delivered(sent - lacking, lacking, result.get("what"), link)
        return Delivered(sent, missing, self._last_problem() or late or self._last_line())

    def _check_result(self) -> dict[str, Any]:
        """What the tracker's check at its end found: how many trials differ in MLflow (`lacking`),
        how (`what`), and the `experiment_id` of the runs. Empty if it could not check."""
        results = [line for line in self._lines() if line.startswith(RESULT)]
        return json.loads(results[-1].removeprefix(RESULT)) if results else {}

    def _link(self, study: StudyRow, experiment_id: str | None) -> str | None:
        address = server_address(self._setup.tracking_uri)
        if address is None or experiment_id is None:
            return None
        return on_server(address, trials_page(experiment_id, study))

    def _lines(self) -> list[str]:
        return self.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()

    def _last_problem(self) -> str | None:
        """The last problem that the tracker reported."""
        problems = [line for line in self._lines() if line.startswith(PROBLEM)]
        return problems[-1].removeprefix(PROBLEM) if problems else None

    def _last_line(self) -> str:
        """The last line of its log: the error that ended it, if it reported none."""
        return (self._lines() or [f"the tracker ended with {self.process.returncode}"])[-1]


def load_tracked_study(setup: TrackerSetup, store: Store) -> StudyRow:
    """The study of the setup. Raises StudyError if it was deleted, also if another study has its
    name now."""
    study = load_study(store, setup.study_name)
    if study.uuid != setup.study_uuid:
        raise StudyError(
            f"study {study.name!r} was deleted, and a new study has its name; the new one is not "
            "delivered by this search"
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
    prepared arrays for models' input examples; it must exist until `finish`."""
    folder = str(data.absolute()) if data else None
    setup = TrackerSetup(
        store_url=settings.storage,
        tracking_uri=settings.tracking_uri,
        study_name=study.name,
        study_uuid=study.uuid,
        log_models=log_models,
        data=folder,
        networks=settings.artifacts_place,
    )
    return TrackerProcess(setup, log)


class LateTracker:
    """A tracker that starts after a while, or at `begin`: importing MLflow takes a core for
    seconds, in which the first trials could train. `start` starts it."""

    def __init__(self, start: Callable[[], TrackerProcess], after_s: float) -> None:
        self._start_now = start
        self._tracker: TrackerProcess | None = None
        self._lock = threading.Lock()
        self._timer = threading.Timer(after_s, self._start)
        self._timer.daemon = True
        self._timer.start()

    def begin(self) -> None:
        """Start it now, if it has not been started."""
        self._timer.cancel()
        with contextlib.suppress(OSError):  # no memory for it now: `finish` tries again
            self._start()

    def _start(self) -> TrackerProcess:
        with self._lock:
            if self._tracker is None:
                self._tracker = self._start_now()
            return self._tracker

    def finish(
        self, timeout_s: float = 60.0, hurry: Callable[[], bool] = lambda: False
    ) -> Delivered:
        """See TrackerProcess."""
        self._timer.cancel()
        return self._start().finish(timeout_s, hurry)

    def kill(self) -> None:
        """See TrackerProcess."""
        self._timer.cancel()
        with self._lock:
            if self._tracker is not None:
                self._tracker.kill()


def current_experiment_name(tracking_uri: str, study: StudyRow, store: Store) -> str:
    """The present name of the study's experiment, which may have been renamed, read from a local
    store. A server is not asked: then it is the name in the study."""
    with contextlib.suppress(sqlite3.Error, TunerError):
        file, delivery = sqlite_file(tracking_uri), read_delivery(store, study)
        if file is not None and delivery is not None and file.exists():
            query = (
                "SELECT experiments.name FROM experiments"
                " JOIN runs USING (experiment_id) WHERE run_uuid = ?"
            )
            for row in look_once(file, query, (delivery.run_id,)):
                return str(row[0])
    return study.experiment
