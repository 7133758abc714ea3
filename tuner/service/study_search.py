"""One study's search in a daemon: a loop in a thread of its own, with its own connections."""

import contextlib
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from tuner.errors import TunerError
from tuner.manage.carried_code import UntrustedCode
from tuner.manage.creation import check_code
from tuner.manage.databases import may_track
from tuner.manage.searching import describe_delivery, describe_failure
from tuner.notices import Announcer
from tuner.runner import (
    Limits,
    Outcome,
    RunStatus,
    SearchOptions,
    Stopping,
    Watcher,
    optimize,
)
from tuner.runner.progress import describe_end
from tuner.runner.study_files import SAY_WHERE
from tuner.service.prometheus_metrics import DaemonMetrics
from tuner.service.shares import ProcessShares
from tuner.settings import Settings
from tuner.storage import Store
from tuner.storage.studies import StudyRow, check_is_search, load_study
from tuner.storage.study_work import StudyWork
from tuner.study.ends import StopReason, TrialEnd
from tuner.system.logs import logging_about
from tuner.system.names import command, in_command, printable
from tuner.system.secret_masking import without_secrets
from tuner.values import format_number
from tuner.workers import EntryPoint

logger = logging.getLogger(__name__)
# A long search says how far it is this often, and at each new best.
_LINE_EVERY_S = 10.0
_LINE_FOR_ALL_UP_TO = 200  # trials
# Why a search may end before its slots are done without anything being wrong.
_ASKED_TO_END = (
    StopReason.INTERRUPTED,
    StopReason.STOPPED,
    StopReason.PAUSED,
    StopReason.DELETED,
    StopReason.TARGET,
    StopReason.PATIENCE,
    StopReason.SURE,
    StopReason.EXHAUSTED,
)

# The total of its trials is read by each loop, again and again.
USUAL_OPTIONS = SearchOptions(Limits(trials=0))


@dataclass(frozen=True)
class SearchSetup:
    """What all searches of a daemon have in common. `store`: the daemon's own; each search opens
    another one. `tell`: gets a line for each thing that happens. `announcer`, `metrics`: are
    told of new bests and ends, and count them. `entry`: None for what each study needs. `options`:
    of each search, besides what the daemon decides."""

    settings: Settings
    store: Store
    daemon_id: str
    processes: int
    tell: Callable[[str], None]
    tracking: bool = True
    announcer: Announcer = field(default_factory=Announcer)
    metrics: DaemonMetrics | None = None
    entry: EntryPoint | None = None
    options: SearchOptions = USUAL_OPTIONS


class StudySearch:
    """Searches one study until it is done, asked to end, or fails. `problem`: why it failed, once
    it has ended; None where nothing is wrong."""

    def __init__(self, setup: SearchSetup, work: StudyWork, shares: ProcessShares) -> None:
        self.name, self.uuid = work.name, work.uuid
        self.problem: str | None = None
        # Whether three trials in a row failed. Then its announcer was told of the problem.
        self.has_failed_trials = False
        self.ended_trials = 0
        self.started_at = time.monotonic()
        self._setup, self._shares = setup, shares
        self._stopping = Stopping(Limits(trials=0))
        self._thread = threading.Thread(target=self._run, name=f"search {work.name}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    @property
    def is_alive(self) -> bool:
        return self._thread.is_alive()

    @property
    def trains(self) -> bool:
        """Whether its loop may have trials."""
        return self.is_alive and not self._stopping.over

    @property
    def is_over(self) -> bool:
        """Whether it trains nothing any more, and another search of the study may begin. It may
        still send trials to MLflow."""
        has_failed = self._stopping.reason is StopReason.ERRORS
        return not self.is_alive or (self._stopping.over and not has_failed)

    def end(self) -> None:
        """Put back the running trials, after their epochs, and end."""
        self._stopping.asked = True

    def hurry(self) -> None:
        """End without waiting for epochs."""
        self._stopping.asked = self._stopping.hurried = True

    def _run(self) -> None:
        try:
            with logging_about(study=self.name):
                self._search()
        except TunerError as error:
            self.problem = _explain(error, self.name)
        except Exception as error:
            logger.exception("the search of study %r ended by an error", self.name)
            first_line = (str(error).strip().splitlines() or [""])[0]
            self.problem = without_secrets(f"{type(error).__name__}: {first_line}")

    def _search(self) -> None:
        with contextlib.closing(self._setup.store.another()) as store:
            study = load_study(store, self.name)
            if study.uuid != self.uuid:
                return  # deleted, and another study has its name now
            check_is_search(study, "a worker's search")
            check_code(study.spec, self._setup.settings)
            self._stopping.limits = Limits.stored(study.limits)
            self._optimize(store, study)

    def _optimize(self, store: Store, study: StudyRow) -> None:
        setup = self._setup
        tracks = setup.tracking and may_track(store, self._tell)
        watcher: Watcher = SearchLines(study, self._tell, self._count)
        if setup.metrics is not None:
            watcher = setup.metrics.watching(watcher)
        outcome, delivered = optimize(
            setup.settings,
            store,
            study,
            replace(
                setup.options,
                limits=self._stopping.limits,
                workers=setup.processes,
                tracking=tracks,
                share=lambda: self._shares.share(self.uuid),
                follows_total=True,
                daemon_id=setup.daemon_id,
            ),
            watcher,
            entry=setup.entry,
            owns_process=False,
            stopping=self._stopping,
            announcer=setup.announcer,
            meter=None if setup.metrics is None else setup.metrics.loop_waited,
        )
        missing = describe_delivery(study, delivered)
        # What a daemon that ends has not sent, the next one sends.
        is_sent_later = self._stopping.asked or (delivered and delivered.is_left_to_another)
        if missing is not None and not is_sent_later:
            self._tell(missing)
        self._conclude(study, outcome)

    def _conclude(self, study: StudyRow, outcome: Outcome) -> None:
        """Say how it ended."""
        if outcome.reason is StopReason.ERRORS:
            self.problem = f"three trials in a row failed; {describe_failure(study, outcome)}"
            self.has_failed_trials = True
        elif outcome.reason is not None and outcome.reason not in _ASKED_TO_END:
            self.problem = f"its search has ended: {outcome.reason}"
        status = outcome.status
        put_back = f", {outcome.put_back} put back" if outcome.put_back else ""
        why = "" if outcome.reason is None else f" ({outcome.reason})"
        best = (
            ""
            if status.best is None
            else f"; best {study.spec.metric} "
            + (f"{format_number(status.best)} (trial {status.best_trial})")
        )
        self._tell(f"{status.done} of {status.total} trials done{why}{put_back}{best}")

    def _tell(self, line: str) -> None:
        self._setup.tell(f"{printable(self.name)}: {line}")

    def _count(self, status: RunStatus) -> None:
        self.ended_trials = status.done_here
        busy = sum(worker.trial is not None for worker in status.workers)
        self._shares.runs(self.uuid, busy)


class SearchLines:
    """A watcher that tells a line for each trial that ends; of a long search only new bests, odd
    ends and one every ten seconds. `count` is called with each status."""

    def __init__(
        self, study: StudyRow, tell: Callable[[str], None], count: Callable[[RunStatus], None]
    ) -> None:
        self._metric, self._tell, self._count = study.spec.metric, tell, count
        self._told_at = 0.0

    def changed(self, status: RunStatus) -> None:
        self._count(status)

    def trial_ended(
        self, status: RunStatus, trial: int, end: TrialEnd, value: float | None, is_best: bool
    ) -> None:
        self._count(status)
        is_due = time.monotonic() - self._told_at > _LINE_EVERY_S
        if is_best or is_due or not end.is_usual or status.total <= _LINE_FOR_ALL_UP_TO:
            self._told_at = time.monotonic()
            self._tell(describe_end(status, self._metric, trial, end, value, is_best))


def _explain(error: TunerError, study: str) -> str:
    """Why a study is not searched here, and what to do."""
    if isinstance(error, UntrustedCode):
        options = [word for sha256 in error.hashes for word in ("--trust-code", sha256)]
        return f"{error}; allow it with: {command('worker', *options)}"
    by_hand = command("optimize", in_command(study), "--trials", "N", "--data", "PATH")
    what_to_do = f"bring the data there, or say where they are: {by_hand}"
    return without_secrets(str(error).replace(SAY_WHERE, what_to_do))
