"""The tracker's process: `python -m tuner.tracking`, told its setup by one line on stdin.

It delivers once a second what SQL has and MLflow lacks, until stdin says `finish`; then once more,
and exits with 0 if all is delivered. When stdin ends without that word, its loop has died: it ends
at once, whatever it is doing. What it delivers may be delivered again.
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
from tuner.system.logs import log_to_stderr, mask_output, without_secrets, write_line
from tuner.tracking.check import check
from tuner.tracking.client import Client, open_client, tracking_errors
from tuner.tracking.mirror import Mirror
from tuner.tracking.moved import relocate
from tuner.tracking.process import FINISH, RESULT, TrackerSetup, study_of
from tuner.tracking.sync import mark_runs, told

log = logging.getLogger("tuner.tracking")
_PAUSE_S = 1.0
_LONGEST_PAUSE_S = 30.0
_LIVE_S = 5.0
_LAST_TRIES = 2
# Looking at a study of very many trials would take minutes.
_LOOK_S = 5.0


class Tracker:
    """Delivers one study, and lives through whatever MLflow and the database do."""

    def __init__(self, setup: TrackerSetup, store: Store) -> None:
        self._setup, self._store = setup, store
        self._study = study_of(setup, store)
        self._turn = Turn(store, self._study.study_id)
        self._mirror: Mirror | None = None
        self._client: Client | None = None
        self._said: str | None = None
        self._live_at = 0.0

    def follow(self, finishing: threading.Event) -> None:
        """Deliver until it is time to finish."""
        pause = _PAUSE_S
        while not finishing.wait(pause):
            pause = _PAUSE_S if self._try_pass() else min(2 * pause, _LONGEST_PAUSE_S)

    def finish(self) -> bool:
        """Deliver the rest; whether nothing is owed."""
        for attempt in range(_LAST_TRIES):
            if attempt:
                time.sleep(_PAUSE_S)
            if self._try_pass(last=True):
                self._try_look()
                break
        return count_delivered(self._store, self._study)[1] == 0

    def _try_look(self) -> None:
        """Say what MLflow lacks though SQL remembers that it was delivered."""
        if self._client is None:
            return
        networks = Path(self._setup.networks)
        try:
            with tracking_errors():
                found = check(
                    self._store,
                    self._client,
                    self._study,
                    self._setup.log_models,
                    networks,
                    within_s=_LOOK_S,
                )
                mark_runs(self._client, self._study, found)
        except TunerError as error:
            log.error("%s", error)
            return
        what = without_secrets(told(found.differences) or "") or None
        result = {"lacking": found.lacking, "what": what}
        with contextlib.suppress(OSError):  # a full disk: nothing is lost but the news
            write_line(sys.stderr, f"{RESULT}{json.dumps(result)}")

    def _try_pass(self, last: bool = False) -> bool:
        """Whether the pass went well; if not, why is said once."""
        try:
            self._pass(last)
        except TunerError as error:
            if str(error) != self._said:
                log.error("%s", error)
            self._said = str(error)
            return False
        self._said = None
        return True

    def _pass(self, last: bool) -> None:
        if not self._turn.mine():
            if last:
                raise TrackingError("another loop's tracker delivers this study")
            return
        if self._mirror is None:
            self._mirror = self._open()
        live = last or time.monotonic() >= self._live_at
        if live:
            self._live_at = time.monotonic() + _LIVE_S
        self._mirror.deliver(live, last)

    def _open(self) -> Mirror:
        setup = self._setup
        relocate(setup.tracking_uri)
        self._client = open_client(setup.tracking_uri)
        return Mirror(
            self._store,
            self._client,
            self._study,
            setup.log_models,
            Path(setup.data) if setup.data else None,
            self._turn.mine,
            Path(setup.networks),
        )


def _listen(finishing: threading.Event) -> None:
    """Hear the loop's last word, or its death."""
    if _read_line() == FINISH:
        finishing.set()
        _read_line()
    fold_all()
    os._exit(1)


def _read_line() -> bytes:
    # Not sys.stdin: a thread that waits in it would hold its lock when the process ends.
    line = b""
    while (byte := os.read(0, 1)) not in (b"", b"\n"):
        line += byte
    return line


def main() -> int:
    os.nice(10)  # training goes first
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # meant for the loop, which tells us
    mask_output()
    log_to_stderr()
    setup = TrackerSetup(**json.loads(_read_line()))
    load_settings(setup.store_url, setup.tracking_uri)  # their passwords are known from here on
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
