"""Who is at work, as tables: daemons, and searches in the foreground."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tuner.storage import Store
from tuner.storage.daemon_rows import DaemonRow, LoopRow, list_daemons, list_loops
from tuner.storage.running_trials import TrialAtWork, running_trials
from tuner.values import format_duration, in_utc

_DAEMON, _SEARCH = "worker", "search"


@dataclass(frozen=True)
class Worker:
    """Who is at work. `daemon`: None for a search in the foreground, or where its row has expired.
    `loops`: one for each study that it works on."""

    daemon: DaemonRow | None
    loops: Sequence[LoopRow]

    @property
    def process(self) -> str:
        return str(self.daemon or self.loops[0])

    @property
    def since(self) -> float:
        return self.daemon.started_at if self.daemon else self.loops[0].started_at


def read_workers(store: Store) -> list[Worker]:
    """Who is at work: the daemons, then the searches in the foreground, both oldest first."""
    loops, daemons = list_loops(store), list_daemons(store)
    alive = {daemon.daemon_id for daemon in daemons}
    own = [Worker(each, [o for o in loops if o.daemon_id == each.daemon_id]) for each in daemons]
    return own + [Worker(None, [loop]) for loop in loops if loop.daemon_id not in alive]


def worker_rows(store: Store) -> list[dict[str, Any]]:
    """A row for each of them, oldest first: where it is, its state, how many trials it runs of
    which studies, since when (UTC), and for each study that it skips the reason. Raises
    StorageError."""
    trials = running_trials(store)
    rows = [_row(worker, _running(worker, trials)) for worker in read_workers(store)]
    return sorted(rows, key=lambda row: row["since"])


def _running(worker: Worker, trials: Sequence[TrialAtWork]) -> dict[str, int]:
    """How many trials it runs, by the study's name."""
    running = dict.fromkeys(sorted(loop.study for loop in worker.loops), 0)
    loops = {(loop.host, loop.pid, loop.study_uuid) for loop in worker.loops}
    for trial in trials:
        if (trial.host, trial.pid, trial.study_uuid) in loops:
            running[trial.study] += 1
    return running


def _row(worker: Worker, running: Mapping[str, int]) -> dict[str, Any]:
    daemon = worker.daemon
    place = daemon or worker.loops[0]
    search_state = "working" if any(running.values()) else "idle"
    return {
        "kind": _SEARCH if daemon is None else _DAEMON,
        "host": place.host,
        "pid": place.pid,
        "state": search_state if daemon is None else daemon.state,
        "processes": None if daemon is None else daemon.processes,
        "running": dict(running),
        "takes": list(running) if daemon is None else list(daemon.patterns or []),
        "skipped": {} if daemon is None else dict(daemon.skipped),
        "version": None if daemon is None else daemon.version,
        "since": in_utc(worker.since),
    }


def short_worker_rows(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The same for a terminal."""
    return [
        {
            "kind": row["kind"],
            "host": row["host"],
            "pid": row["pid"],
            "state": row["state"],
            "processes": row["processes"],
            "works on": _describe_work(row["running"]),
            "for": _how_long(row["since"]),
        }
        for row in rows
    ]


def _describe_work(running: Mapping[str, int]) -> str:
    parts = [f"{name}: {count} running" for name, count in running.items()]
    return ", ".join(parts) or "nothing"


def _how_long(since: str) -> str:
    return format_duration(max(0.0, time.time() - datetime.fromisoformat(since).timestamp()))
