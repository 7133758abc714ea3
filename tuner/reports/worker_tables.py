"""Who is at work, as tables: daemons, and searches in the foreground."""

import time
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from tuner.storage import Store
from tuner.storage.daemon_rows import DaemonRow, LoopRow, list_daemons, list_loops
from tuner.storage.running_trials import running_trials
from tuner.values import format_duration

_SEARCH = "search"


def worker_rows(store: Store) -> list[dict[str, Any]]:
    """A row for each daemon and each search in the foreground that is alive, oldest first: where it
    is, its state, how many trials it runs of which studies, since when (UTC), and for each study
    that it skips the reason. Raises StorageError."""
    loops = list_loops(store)
    at_work: dict[str | None, Counter[str]] = {}
    for trial in running_trials(store):
        key = trial.daemon_id or f"{trial.host} {trial.pid} {trial.study_uuid}"
        at_work.setdefault(key, Counter())[trial.study] += 1
    rows = []
    for daemon in list_daemons(store):
        names = {loop.study for loop in loops if loop.daemon_id == daemon.daemon_id}
        running = dict.fromkeys(sorted(names), 0) | at_work.get(daemon.daemon_id, {})
        rows.append(_daemon_row(daemon, running))
    for loop in loops:
        if loop.daemon_id is None:
            key = f"{loop.host} {loop.pid} {loop.study_uuid}"
            rows.append(_search_row(loop, {loop.study: 0} | at_work.get(key, {})))
    return sorted(rows, key=lambda row: row["since"])


def _daemon_row(daemon: DaemonRow, running: Mapping[str, int]) -> dict[str, Any]:
    return {
        "kind": "worker",
        "host": daemon.host,
        "pid": daemon.pid,
        "state": daemon.state,
        "processes": daemon.processes,
        "running": dict(running),
        "takes": list(daemon.patterns or []),
        "skipped": dict(daemon.skipped),
        "version": daemon.version,
        "since": _moment(daemon.started_at),
    }


def _search_row(loop: LoopRow, running: Mapping[str, int]) -> dict[str, Any]:
    return {
        "kind": _SEARCH,
        "host": loop.host,
        "pid": loop.pid,
        "state": "working" if any(running.values()) else "idle",
        "processes": None,
        "running": dict(running),
        "takes": [loop.study],
        "skipped": {},
        "version": None,
        "since": _moment(loop.started_at),
    }


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


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
