"""What a daemon and the page tell Prometheus, in its text format.

Names follow Prometheus' conventions: a unit at the end, `_total` for what only grows. What is in
the database is counted when it is asked for, at most every few seconds.
"""

import threading
import time
from collections.abc import Callable, Iterator, Mapping

from prometheus_client import (
    CollectorRegistry,
    Counter,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from tuner.errors import TunerError
from tuner.runner import RunStatus, Watcher
from tuner.storage import Store, daemon_rows, leases, metric_counts
from tuner.study.ends import TrialEnd
from tuner.study.study_state import StudyState

# When each counter began says nothing here, and would be a metric more for each.
disable_created_metrics()
_COUNTED_FOR_S = 5.0
_STUDY_STATES = (metric_counts.OPEN, metric_counts.DONE, StudyState.PAUSED, StudyState.STOPPED)
_TRIAL_STATES = ("waiting", "running", "complete", "pruned", "fail")


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value=value)


def _gauges(name: str, text: str, label: str, values: Mapping[str, float]) -> Metric:
    family = GaugeMetricFamily(name, text, labels=[label])
    for word, value in values.items():
        family.add_metric([word], value)
    return family


class _RecentCounts:
    """The result of a query of the database, for some seconds: several monitors may ask."""

    def __init__(self, read: Callable[[], list[Metric]]) -> None:
        self._read, self._lock = read, threading.Lock()
        self._metrics: list[Metric] = []
        self._read_at = float("-inf")

    def collect(self) -> Iterator[Metric]:
        """Whether the database answers is a metric too."""
        with self._lock:
            if time.monotonic() - self._read_at > _COUNTED_FOR_S:
                try:
                    self._metrics = [*self._read(), _database_up(True)]
                except TunerError:
                    self._metrics = [_database_up(False)]
                self._read_at = time.monotonic()
            yield from self._metrics


def _database_up(answers: bool) -> Metric:
    return _gauge("tuner_database_up", "Whether the database answers (1) or not (0).", answers)


def _study_counts(store: Store) -> Metric:
    counts = dict.fromkeys(map(str, _STUDY_STATES), 0) | metric_counts.count_studies(store)
    return _gauges(
        "tuner_studies",
        "Studies by state: open (some trial is not done), done, paused or stopped.",
        "state",
        counts,
    )


def _slot_counts(store: Store) -> Metric:
    counts = dict.fromkeys(metric_counts.SLOTS_TO_DO, 0) | metric_counts.count_slots_to_do(store)
    return _gauges(
        "tuner_trial_slots",
        "Trials that workers may train, of all studies: open (nobody trains them) or claimed "
        "(begun). Together they say how many workers are of use.",
        "state",
        counts,
    )


class _Page:
    """Metrics in Prometheus' text format; with the process' memory and CPU time."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry(auto_describe=False)
        ProcessCollector(registry=self.registry)

    def page(self) -> tuple[bytes, str]:
        """The text and its content type. May be called from any thread."""
        return generate_latest(self.registry), CONTENT_TYPE_LATEST


class DaemonMetrics(_Page):
    """What a daemon does. `processes`, `running`, `skipped`: how many there are now. `tracking`:
    whether trials are sent to MLflow."""

    def __init__(self, store: Store, tracking: bool, processes: int) -> None:
        super().__init__()
        self._store, self._tracking, self._processes = store, tracking, processes
        # Set by the daemon, which is made later.
        self.running: Callable[[], int] = lambda: 0
        self.skipped: Callable[[], int] = lambda: 0
        registry = self.registry
        self._ended = Counter(
            "tuner_trials_ended",
            "Trials that ended here, by how; those that are put back and go on later too.",
            ["end"],
            registry=registry,
        )
        self._reports = Counter(
            "tuner_reports", "Reports of running trials that were received.", registry=registry
        )
        self._busy = Counter(
            "tuner_loop_busy_seconds",
            "Time that the loops of all studies were not waiting for workers.",
            registry=registry,
        )
        self._counted = _RecentCounts(self._count)
        registry.register(self)

    def watching(self, watcher: Watcher) -> Watcher:
        """A watcher that counts trials, besides what the given one does."""
        return _Counting(watcher, self._ended)

    def loop_waited(self, busy_s: float, reports: int) -> None:
        """A loop worked for `busy_s` seconds, then waited until so many reports came."""
        self._busy.inc(busy_s)
        self._reports.inc(reports)

    def collect(self) -> Iterator[Metric]:
        """Called for each page."""
        yield _gauge("tuner_worker_processes", "Worker processes at most.", self._processes)
        yield _gauge("tuner_running_trials", "Trials that run here now.", self.running())
        yield _gauge("tuner_skipped_studies", "Studies that are left alone.", self.skipped())
        text = "Renewals of leases that failed."
        yield CounterMetricFamily(
            "tuner_lease_renewals_failed", text, value=leases.failed_renewals()
        )
        yield from self._counted.collect()

    def _count(self) -> list[Metric]:
        metrics = [_study_counts(self._store), _slot_counts(self._store)]
        if self._tracking:
            waiting = metric_counts.count_undelivered(self._store)
            text = "Trials of all studies that have ended and are not in MLflow yet."
            metrics.append(_gauge("tuner_deliveries_waiting", text, waiting))
        return metrics


class _Counting:
    def __init__(self, watcher: Watcher, ended: Counter) -> None:
        self._watcher, self._ended = watcher, ended

    def changed(self, status: RunStatus) -> None:
        self._watcher.changed(status)

    def trial_ended(
        self, status: RunStatus, trial: int, end: TrialEnd, value: float | None, is_best: bool
    ) -> None:
        self._ended.labels(end=str(end)).inc()
        self._watcher.trial_ended(status, trial, end, value, is_best)


class PageMetrics(_Page):
    """What the page knows of the database, and its own answers. `store`: None while there is no
    database."""

    def __init__(self, store: Callable[[], Store | None]) -> None:
        super().__init__()
        self._store = store
        self._answers = Counter(
            "tuner_http_requests",
            "Requests that were answered, by status code.",
            ["code"],
            registry=self.registry,
        )
        self._counted = _RecentCounts(self._count)
        self.registry.register(self)

    def answered(self, code: int) -> None:
        """A request was answered."""
        self._answers.labels(code=str(code)).inc()

    def collect(self) -> Iterator[Metric]:
        """Called for each page."""
        yield from self._counted.collect()

    def _count(self) -> list[Metric]:
        store = self._store()
        if store is None:
            return []
        trials = dict.fromkeys(_TRIAL_STATES, 0) | metric_counts.count_trials(store)
        daemons = len(daemon_rows.list_daemons(store))
        return [
            _study_counts(store),
            _slot_counts(store),
            _gauges("tuner_trials", "Trials of all studies by state.", "state", trials),
            _gauge("tuner_workers", "Daemons that are alive.", daemons),
            _gauge(
                "tuner_loops",
                "Searches whose lease holds, of daemons and in the foreground.",
                len(daemon_rows.list_loops(store)),
            ),
        ]
