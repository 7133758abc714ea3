"""The tracker's process: `python -m tuner.tracking`. It reads its setup from one line of stdin.

Once a second it delivers what SQL has and MLflow lacks, until stdin says `finish`; then once more,
and exits with 0 if everything is delivered. If stdin ends without that word, the loop has died, and
the tracker ends at once. Delivering something twice does no harm.
"""

import contextlib
import json
import logging
import os
import signal
import sys
import threading
import time
from pathlib import Path

from tuner.errors import TrackingError, TunerError
from tuner.settings import load_settings
from tuner.storage import fold_all, open_store
from tuner.storage.deliveries import Turn, count_delivered
from tuner.storage.store import Store
from tuner.system.logs import log_to_stderr
from tuner.system.secret_masking import mask_output, without_secrets, write_line
from tuner.tracking.check import find_differences
from tuner.tracking.client import Client, open_client, tracking_errors
from tuner.tracking.moved_store import relocate_store
from tuner.tracking.process import (
    ANOTHER_DELIVERS,
    FINISH,
    RESULT,
    TrackerSetup,
    load_tracked_study,
)
from tuner.tracking.study_delivery import StudyDelivery
from tuner.tracking.sync import summarize_differences, tag_runs

log = logging.getLogger("tuner.tracking")
_PAUSE_S = 1.0
_LONGEST_PAUSE_S = 30.0
_LIVE_S = 5.0  # how often curves of running trials are sent
_LAST_TRIES = 2
# Checking a study of very many trials would take minutes.
_CHECK_S = 5.0


class Tracker:
    """Delivers one study. Errors of MLflow and of the database do not end it."""

    def __init__(self, setup: TrackerSetup, store: Store) -> None:
        self._setup, self._store = setup, store
        self._study = load_tracked_study(setup, store)
        self._turn = Turn(store, self._study.study_id)
        self._delivery: StudyDelivery | None = None
        self._client: Client | None = None
        self._last_problem: str | None = None
        self._live_at = 0.0

    def follow(self, finishing: threading.Event) -> None:
        """Deliver until it is time to finish."""
        pause = _PAUSE_S
        while not finishing.wait(pause):
            pause = _PAUSE_S if self._try_pass() else min(2 * pause, _LONGEST_PAUSE_S)

    def finish(self) -> bool:
        """Deliver the rest. Returns whether everything is delivered."""
        for attempt in range(_LAST_TRIES):
            if attempt:
                time.sleep(_PAUSE_S)
            if self._try_pass(last=True):
                self._try_check()
                break
        return count_delivered(self._store, self._study)[1] == 0

    def _try_check(self) -> None:
        """Report what MLflow lacks although SQL says that it was delivered."""
        if self._client is None:
            return
        try:
            with tracking_errors():
                result = find_differences(
                    self._store,
                    self._client,
                    self._study,
                    self._setup.log_models,
                    self._setup.networks,
                    within_s=_CHECK_S,
                )
                tag_runs(self._client, self._study, result)
            experiment_id = self._experiment_id()
        except TunerError as error:
            log.error("%s", error)
            return
        what = without_secrets(summarize_differences(result.differences) or "") or None
        message = {"lacking": result.lacking, "what": what, "experiment_id": experiment_id}
        with contextlib.suppress(OSError):  # a full disk: only this message is lost
            write_line(sys.stderr, f"{RESULT}{json.dumps(message)}")

    def _experiment_id(self) -> str | None:
        return self._delivery.open_study_run().experiment_id if self._delivery else None

    def _try_pass(self, last: bool = False) -> bool:
        """Whether the pass succeeded. The same problem is reported once."""
        try:
            self._pass(last)
        except TunerError as error:
            if str(error) != self._last_problem:
                log.error("%s", error)
            self._last_problem = str(error)
            return False
        self._last_problem = None
        return True

    def _pass(self, last: bool) -> None:
        if not self._turn.mine():
            if last:
                raise TrackingError(ANOTHER_DELIVERS)
            return
        if self._delivery is None:
            self._delivery = self._open()
        live = last or time.monotonic() >= self._live_at
        if live:
            self._live_at = time.monotonic() + _LIVE_S
        self._delivery.deliver(live, last)

    def _open(self) -> StudyDelivery:
        setup = self._setup
        relocate_store(setup.tracking_uri)
        self._client = open_client(setup.tracking_uri)
        return StudyDelivery(
            self._store,
            self._client,
            self._study,
            setup.log_models,
            Path(setup.data) if setup.data else None,
            self._turn.mine,
            setup.networks,
        )


def _listen(finishing: threading.Event) -> None:
    """Wait for the loop's `finish`, or for its death."""
    if _read_line() == FINISH:
        finishing.set()
        _read_line()
    fold_all()
    os._exit(1)


def _read_line() -> bytes:
    # Not sys.stdin: a thread waiting there would hold its lock when the process ends.
    line = b""
    while (byte := os.read(0, 1)) not in (b"", b"\n"):
        line += byte
    return line


def main() -> int:
    os.nice(10)  # training goes first
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # meant for the loop, which tells the tracker
    mask_output()
    log_to_stderr()
    setup = TrackerSetup(**json.loads(_read_line()))
    load_settings(setup.store_url, setup.tracking_uri)  # from here on their passwords are masked
    finishing = threading.Event()
    threading.Thread(target=_listen, args=(finishing,), daemon=True).start()
    try:
        tracker = Tracker(setup, open_store(setup.store_url))
        tracker.follow(finishing)
        return 0 if tracker.finish() else 1
    except TunerError as error:
        log.error("%s", error)
        return 1


if __name__ == "__main__":
    sys.exit(main())
