"""What `tuner worker` does: checks what was asked for, and runs a daemon until a signal ends it."""

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tuner.errors import UsageError
from tuner.manage.trust import trust_code
from tuner.notices import check_addresses
from tuner.runner import KERAS, SearchOptions, study_announcer
from tuner.service.daemon import Daemon
from tuner.service.daemon_health import HealthFile, HealthServer
from tuner.service.prometheus_metrics import DaemonMetrics
from tuner.service.study_search import USUAL_OPTIONS, SearchSetup
from tuner.settings import Settings, quiet_tensorflow, tuner_version
from tuner.storage import Store, daemon_rows
from tuner.system.addresses import LOOPBACK
from tuner.system.logs import log_to_file
from tuner.system.machine import default_workers, gpus
from tuner.values import shown
from tuner.workers import EntryPoint, back_end

_MOST_PROCESSES = 1000
_SHA256 = re.compile(r"[0-9a-f]{64}", re.IGNORECASE)
# In the project's folder of networks: what daemons and their fork servers print.
_LOG = "worker.log"


@dataclass(frozen=True)
class WorkerWanted:
    """What a daemon was asked for. `patterns`: of the names of studies that it takes, all if there
    is none. `processes`: None for as many as suit the machine. `trusted`: hashes of code that may
    run here from now on. `health_port`: 0 for any that is free; `health_host`: the address that it
    is opened on, None for loopback. `notify`: who is told of new bests, ends and failures, besides
    TUNER_NOTIFY. `entry`, `options`: see SearchSetup."""

    patterns: tuple[str, ...] = ()
    processes: int | None = None
    tracking: bool = True
    trusted: tuple[str, ...] = ()
    health_file: Path | None = None
    health_port: int | None = None
    health_host: str | None = None
    notify: tuple[str, ...] = ()
    entry: EntryPoint | None = None
    options: SearchOptions = USUAL_OPTIONS

    def check(self) -> None:
        """Raises UsageError."""
        if self.processes is not None and not 1 <= self.processes <= _MOST_PROCESSES:
            raise UsageError(
                f"--processes must be between 1 and {_MOST_PROCESSES}, got {self.processes}"
            )
        if self.health_port is not None and not 0 <= self.health_port <= 65535:
            raise UsageError(f"--health-port must be between 0 and 65535, got {self.health_port}")
        if self.health_host is not None and self.health_port is None:
            raise UsageError("--health-host needs --health-port: there is no endpoint without it")
        for sha256 in self.trusted:
            if not _SHA256.fullmatch(sha256):
                raise UsageError(
                    f"--trust-code must be a SHA-256 of 64 digits, got {shown(sha256)}"
                )
        check_addresses(self.notify)
        if "" in self.patterns:
            raise UsageError("--studies must be a name or a pattern such as 'vision-*', got ''")


def run_worker(
    settings: Settings, store: Store, wanted: WorkerWanted, tell: Callable[[str], None]
) -> int | None:
    """Take work until a signal comes; its number. `tell` gets a line for each thing that happens.
    Raises UsageError and StorageError."""
    wanted.check()
    if wanted.trusted:
        trust_code(settings, [sha256.lower() for sha256 in wanted.trusted])
    quiet_tensorflow()
    log = settings.checkpoints / _LOG
    # The slowest thing first: the fork server imports TensorFlow while the rest begins.
    back_end().warm(wanted.entry or KERAS, log)
    processes = wanted.processes or default_workers(len(gpus()))
    with log_to_file(log), study_announcer(store, wanted.notify) as announcer:
        row = daemon_rows.register(store, processes, wanted.patterns or None)
        setup = SearchSetup(
            settings=settings,
            store=store,
            daemon_id=row.daemon_id,
            processes=processes,
            tell=tell,
            tracking=wanted.tracking,
            announcer=announcer,
            entry=wanted.entry,
            options=wanted.options,
            metrics=DaemonMetrics(store, wanted.tracking, processes),
        )
        daemon = Daemon(setup, row, log)
        with _health(wanted, daemon, tell):
            tell(_greeting(wanted, store, processes))
            return daemon.run()


@contextmanager
def _health(wanted: WorkerWanted, daemon: Daemon, tell: Callable[[str], None]) -> Iterator[None]:
    """The health file and endpoint, as far as they are wanted."""
    with ExitStack() as stack:
        if wanted.health_file is not None:
            file = HealthFile(wanted.health_file, lambda: daemon.status)
            file.start()
            stack.callback(file.close)
        if wanted.health_port is not None:
            metrics = daemon.setup.metrics
            page = None if metrics is None else metrics.page
            host = wanted.health_host or LOOPBACK
            server = HealthServer(wanted.health_port, lambda: daemon.status, page, host)
            server.start()
            stack.callback(server.close)
            tell(f"health: {server.address}/health")
        yield


def _greeting(wanted: WorkerWanted, store: Store, processes: int) -> str:
    which = ", ".join(wanted.patterns) or "all studies"
    noun = "process" if processes == 1 else "processes"
    return f"tuner {tuner_version()}: {processes} {noun} for {which} of {store.shown}"
