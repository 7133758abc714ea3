"""The daemon `tuner worker`: it takes work from every study in its database.

One thread reads, a few times a second, which studies have trials left, shares the machine's worker
processes between them (shares.py), and begins and ends searches (study_search.py), each of which is
a loop in a thread of its own. All worker processes come from one fork server, which imports
TensorFlow once.

Threads do: beside a TPE sampler that is asked without pause (3000 trials, 49 ms of computing each),
the median write of another thread took 0.3 ms as before, and 95 % less than 25 ms instead of 7 ms.
"""

import logging
import os
import signal
import threading
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from tuner.errors import StorageError, StorageUnavailable, WorkerError
from tuner.notices import Announcement, NoticeKind
from tuner.runner import KERAS
from tuner.service.late_deliveries import LateDeliveries
from tuner.service.shares import Demand, ProcessShares, share_out
from tuner.service.study_search import SearchSetup, StudySearch
from tuner.storage import daemon_rows, fold_all
from tuner.storage.daemon_rows import DaemonRow
from tuner.storage.study_work import StudyWork, holds_slots, studies_with_work
from tuner.system.names import printable
from tuner.workers import back_end

logger = logging.getLogger(__name__)
# A new study is to be noticed within half a second.
_TICK_S = 0.2
_RENEW_S = 5.0
_KEEP_WARM_S = 0.5
_LATE_EVERY_S = 10.0
_JOIN_S = 1.0
# A loop without a share ends after so long, and with it its worker processes.
_IDLE_S = 20.0
# After a failure a study is left alone for so long; further pauses grow (Skipped.after).
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 5.0, 600.0
# Where its trials failed: each try costs three more of them, in SQL and in MLflow.
_LONGEST_AFTER_TRIALS_S = 6 * 3600.0
# How long the database may fail before it is reported; work on it is repeated meanwhile.
_DATABASE_S = 1.0
# Searches that drain wait for their epochs (loop.CHECKPOINT_WAIT_S), then for MLflow.
_DRAIN_S = 12.0
# Within this time a loop that has just begun sees that it is to end.
_BEGUN_S = 1.0
_ASK_EVERY_S = 0.5
# Two signals within this time are one.
_SAME_S = 0.5


@dataclass(frozen=True)
class Skipped:
    """A study that is left alone until `until`, on the monotonic clock. `failures`: in a row."""

    name: str
    reason: str
    failures: int
    until: float

    @staticmethod
    def after(search: StudySearch, before: "Skipped | None", clock: float) -> "Skipped":
        """What becomes of a study whose search has failed. One that has ended trials begins with a
        short pause again."""
        failures = 1 if before is None or search.ended_trials else before.failures + 1
        growth, longest_s = 2.0, _LONGEST_PAUSE_S
        if search.has_failed_trials:
            growth, longest_s = 4.0, _LONGEST_AFTER_TRIALS_S
        # 2^30 seconds are longer than any pause: no power may overflow.
        pause_s = min(longest_s, _FIRST_PAUSE_S * growth ** min(failures - 1, 15))
        return Skipped(search.name, search.problem or "", failures, clock + pause_s)


@dataclass(frozen=True)
class DaemonStatus:
    """What a daemon does now. `state`: working, idle, draining, or no database. `studies`: the
    names of those that it searches; `running`: how many trials run. `skipped`: the reason for each
    study that it leaves alone, by name. `ticked_at`: when it last looked for work, in seconds since
    1970."""

    state: str
    processes: int
    running: int
    studies: tuple[str, ...]
    skipped: dict[str, str]
    started_at: float
    ticked_at: float


@dataclass
class Daemon:
    """Searches the studies that its `row` takes. `log`: the file for what the fork server
    prints."""

    setup: SearchSetup
    row: DaemonRow
    log: Path | None = None
    _shares: ProcessShares = field(init=False)
    _searches: dict[str, StudySearch] = field(default_factory=dict)
    _leaving: list[StudySearch] = field(default_factory=list)
    _skipped: dict[str, Skipped] = field(default_factory=dict)
    _wanted_at: dict[str, float] = field(default_factory=dict)
    _ended: threading.Event = field(default_factory=threading.Event)
    _signals: int = 0
    _signal: int | None = None
    _signalled_at: float = -_SAME_S
    _renew_at: float = 0.0
    _held: bool = True
    _held_until: float = 0.0
    _database_error: str = ""
    _started_at: float = field(default_factory=time.time)
    _ticked_at: float = field(default_factory=time.time)

    def __post_init__(self) -> None:
        self._shares = ProcessShares(self.setup.processes)
        if (metrics := self.setup.metrics) is not None:
            metrics.running = self._shares.running
            metrics.skipped = lambda: len(self.status.skipped)

    def run(self) -> int | None:
        """Work until a signal comes; then have all trials put back, and return the signal's number.
        A second signal waits for no epoch. Raises StorageUnavailable, after the same, once a newer
        tuner has upgraded the tables."""
        self.setup.store.retry_policy.set(_DATABASE_S, is_hurried=lambda: bool(self._signals))
        ended_by: StorageUnavailable | None = None
        warmer = threading.Thread(target=self._keep_warm, name="warmer", daemon=True)
        with self._signals_caught():
            warmer.start()
            if self.setup.tracking:
                threading.Thread(target=self._deliver_late, name="late", daemon=True).start()
            while not self._signals and ended_by is None:
                ended_by = self._tick()
                time.sleep(_TICK_S)
            self._drain(warmer)
        if ended_by is not None:
            raise ended_by
        return self._signal

    @property
    def status(self) -> DaemonStatus:
        """May be read from any thread."""
        running = self._shares.running()
        state = "working" if running else "idle"
        if self._signals:
            state = "draining"
        elif self._database_error:
            state = "no database"
        return DaemonStatus(
            state=state,
            processes=self.setup.processes,
            running=running,
            studies=tuple(search.name for search in list(self._searches.values())),
            skipped={
                each.name: each.reason
                for uuid, each in list(self._skipped.items())
                if uuid not in self._searches  # it is being tried again
            },
            started_at=self._started_at,
            ticked_at=self._ticked_at,
        )

    # Looking for work

    def _tick(self) -> StorageUnavailable | None:
        """Returns why the daemon has to end, if it has to."""
        self._collect_ended()
        try:
            self._look_for_work()
        except StorageUnavailable as error:
            return error
        self._ticked_at = time.time()
        return None

    def _look_for_work(self) -> None:
        with self._database_errors_told():
            setup = self.setup
            work = studies_with_work(setup.store, setup.daemon_id, setup.processes)
            self._forget_all_but({each.uuid for each in work})
            self._give_shares([each for each in work if self._takes(each)])
            self._renew_row()

    def _keep_warm(self) -> None:
        """Have a fork server that has TensorFlow imported and, while nothing trains, processes that
        have computed something. In a thread: at first it takes as long as the import."""
        entry = self.setup.entry or KERAS
        while not self._ended.wait(_KEEP_WARM_S):
            try:
                back_end().warm(entry, self.log)
                if not self._searches:
                    back_end().keep_ready(entry, self.setup.processes)
            except WorkerError as error:
                logger.warning("%s", error)
        back_end().keep_ready(entry, 0)

    def _deliver_late(self) -> None:
        """While nothing is searched, send MLflow what earlier daemons have left."""
        late = LateDeliveries(self.setup, lambda name: self.row.takes(name))
        while not self._ended.wait(_LATE_EVERY_S):
            if not self._is_searching():
                late.deliver(hurry=lambda: self._ended.is_set() or self._is_searching())

    def _is_searching(self) -> bool:
        return bool(self._searches or self._leaving)

    @contextmanager
    def _database_errors_told(self) -> Iterator[None]:
        """A database that is restarted is waited for: searches wait by themselves."""
        try:
            yield
        except StorageError as error:
            if not self._database_error:
                self.setup.tell(f"the database does not answer, waiting for it: {error}")
            self._database_error = str(error)
        else:
            if self._database_error:
                self.setup.tell("the database answers again")
            self._database_error = ""

    def _takes(self, work: StudyWork) -> bool:
        if not self.row.takes(work.name):
            return False
        search = self._searches.get(work.uuid)
        if search is not None and not search.trains:
            self._shares.leave(work.uuid)
            return False
        skipped = self._skipped.get(work.uuid)
        return skipped is None or time.monotonic() >= skipped.until

    def _forget_all_but(self, uuids: Collection[str]) -> None:
        """Nothing is left to do here for other studies: they were deleted, stopped, or are done. A
        study that comes back is as good as new."""
        for by_study in (self._skipped, self._wanted_at):
            for uuid in by_study.keys() - uuids - self._searches.keys():
                del by_study[uuid]
        self._shares.forget_all_but({*uuids, *self._searches})

    def _give_shares(self, work: Sequence[StudyWork]) -> None:
        clock = time.monotonic()
        targets = share_out(self.setup.processes, [self._demand(each) for each in work])
        self._shares.set_targets(targets, clock)
        for each in work:
            if targets[each.uuid]:
                self._wanted_at[each.uuid] = clock
                if each.uuid not in self._searches:
                    self._begin(each)
        self._end_idle(clock)

    def _demand(self, work: StudyWork) -> Demand:
        holds, used_s = self._shares.used(work.uuid)
        return Demand(work.uuid, work.priority, work.most, holds, used_s)

    def _begin(self, work: StudyWork) -> None:
        search = StudySearch(self.setup, work, self._shares)
        self._searches[work.uuid] = search
        search.start()

    def _end_idle(self, clock: float) -> None:
        """End the searches that have had nothing to train for a while."""
        for uuid, search in self._searches.items():
            if self._shares.running(uuid):
                self._wanted_at[uuid] = clock
            if clock - self._wanted_at.get(uuid, search.started_at) > _IDLE_S:
                search.end()

    def _collect_ended(self) -> None:
        for uuid, search in list(self._searches.items()):
            if search.is_over:
                self._shares.leave(uuid)
                self._leaving.append(self._searches.pop(uuid))
        for search in self._leaving[:]:
            if not search.is_alive:
                self._leaving.remove(search)
                self._note_end(search)

    def _note_end(self, search: StudySearch) -> None:
        before = self._skipped.pop(search.uuid, None)
        if search.problem is None:
            return
        skipped = Skipped.after(search, before, time.monotonic())
        self._skipped[search.uuid] = skipped
        if before is None or before.reason != skipped.reason:
            self.setup.tell(f"{printable(search.name)}: skipped: {skipped.reason}")
            if not search.has_failed_trials:
                self._announce_skipped(skipped, search.uuid)

    def _announce_skipped(self, skipped: Skipped, uuid: str) -> None:
        what = f"skipped by the worker on {self.row}: {skipped.reason}"
        self.setup.announcer.tell(Announcement(NoticeKind.FAILING, skipped.name, uuid, what))

    def _renew_row(self) -> None:
        """Say in the database that this daemon is alive, and what it leaves alone."""
        if time.monotonic() < self._renew_at:
            return
        self._renew_at = time.monotonic() + _RENEW_S
        status, setup = self.status, self.setup
        if not daemon_rows.renew(setup.store, self.row, status.state, status.skipped):
            self.row = daemon_rows.register(
                setup.store, setup.processes, self.row.patterns, status.state, setup.daemon_id
            )

    # Ending

    def end(self) -> None:
        """Have it end, as a signal does. May be called from any thread."""
        self._signals += 1

    @contextmanager
    def _signals_caught(self) -> Iterator[None]:
        """Inside, signals are handled here. Python handles them in the main thread alone."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        numbers = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
        # Under nohup SIGHUP is ignored, and stays so.
        caught = [each for each in numbers if signal.getsignal(each) != signal.SIG_IGN]
        before = {number: signal.signal(number, self._on_signal) for number in caught}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        self._signal = self._signal or number
        # A terminal sends one signal to a command and to its parent, which may pass it on.
        if time.monotonic() - self._signalled_at > _SAME_S:
            self._signals, self._signalled_at = self._signals + 1, time.monotonic()

    def _drain(self, warmer: threading.Thread) -> None:
        """Have all trials put back, so that the next daemon goes on with them."""
        self._ended.set()
        searches = [*self._searches.values(), *self._leaving]
        if self._shares.running():
            self.setup.tell("ending: waiting for the running epochs, at most 5 s")
        for search in searches:
            search.end()
        began = time.monotonic()
        while any(search.is_alive for search in searches) and self._waits(time.monotonic() - began):
            if self._signals > 1:
                for search in searches:
                    search.hurry()
            time.sleep(0.02)
        warmer.join(_JOIN_S)  # at the process' end it ends in any case, and with it what it keeps
        with suppress(StorageError):  # the row expires by itself
            daemon_rows.remove(self.setup.store, self.row)
        if any(search.is_alive for search in searches) and self._holds_slots():
            logger.warning("no orderly end within %.0f s; what was running goes on later", _DRAIN_S)
            fold_all()
            os._exit(1)
        self.setup.tell("ended; what was running goes on with the next worker")

    def _waits(self, seconds: float) -> bool:
        """Whether searches that have not ended for so long are waited for. One that holds no trial
        may be in the middle of starting TensorFlow, which nothing interrupts."""
        if seconds < _BEGUN_S:
            return True
        return seconds < _DRAIN_S and self._holds_slots()

    def _holds_slots(self) -> bool:
        """Whether a loop of this daemon has trials; asked at most twice a second."""
        if time.monotonic() >= self._held_until:
            self._held_until = time.monotonic() + _ASK_EVERY_S
            with suppress(StorageError):
                self._held = holds_slots(self.setup.store, self.setup.daemon_id)
        return self._held
