"""What a search costs on a study that has many thousands of finished trials.

In a process of its own: python -m benchmarks.large searching --json '{"trials": 50000}'.
"""

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import sqlalchemy as sa

from benchmarks.commands import Result, main
from tuner.manage.creation import create_study
from tuner.manage.wanted_study import Wanted
from tuner.runner import open_writer
from tuner.runner.policy import completed
from tuner.runner.trial_writer import RunningTrial, TrialWriter
from tuner.settings import load_settings
from tuner.storage import Store, leases, open_store, slots
from tuner.storage.studies import StudyRow, load_study
from tuner.study.messages import Ended, Report
from tuner.study.spec import DataSpec

_ASKED = 8
_TABLES = (
    "trial_params",
    "trial_values",
    "trial_intermediate_values",
    "trial_user_attributes",
    "trial_system_attributes",
    "tuner_attempts",
    "tuner_intervals",
)
_COUNTED = "WITH RECURSIVE copies(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM copies WHERE i < :n)"
_CHANCE = "((random() & 1048575) / 1048576.0)"
_PROGRAM = Path(sys.executable).with_name("tuner")


def searching(trials: int = 50_000, runs: int = 3) -> Result:
    """`idle`: seconds, seconds of CPU and peak MiB of `tuner optimize` with nothing to do, the best
    of some runs; `small`: the same of a study with one trial. `first` and `further`: seconds and
    seconds of CPU of a trial without its training, from its slot to its end. `mib`: the peak of the
    loop's process."""
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/tuner.db"
        store = open_store(url)
        wanted = Wanted(name="large", data=DataSpec(source="digits"), overrides={"epochs": 2})
        study = create_study(wanted, load_settings(url, None), lambda: store).study
        command = [str(_PROGRAM), "--storage", url, "optimize", "--no-tracking", "--workers", "1"]
        first = _train_first(store, study)
        small = min(_measured([*command, "--trials", "1"]) for _ in range(runs))
        _copy(store, first, trials)
        store.close()
        idle = min(_measured([*command, "--trials", "100"]) for _ in range(runs))
        asking = [sys.executable, "-m", "benchmarks.large", "asking", "--json"]
        done = subprocess.run(
            [*asking, json.dumps({"url": url})], stdout=subprocess.PIPE, check=True
        )
        costs: Result = json.loads(done.stdout)
        return {"small": small, "idle": idle} | costs


def _measured(command: list[str]) -> list[float]:
    began = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    seconds = time.perf_counter() - began
    return [round(seconds, 2), round(used.ru_utime + used.ru_stime, 2), used.ru_maxrss // 1024]


def fill(store: Store, study: StudyRow, trials: int) -> None:
    """Run a trial without training it, and copy its rows: with other scores, widths and rates."""
    _copy(store, _train_first(store, study), trials)


def _train_first(store: Store, study: StudyRow) -> int:
    """The trial's id."""
    writer = open_writer(store, study, leases.open_lease(store, study))
    slots.ensure_slots(store, study, 1)
    running = writer.begin(0, 1)
    assert running is not None
    _end(writer, running)
    writer.close()
    return running.trial_id


def _copy(store: Store, trial_id: int, trials: int) -> None:
    with store.writing() as connection:
        # After the first trials, which wait in the queue.
        last = connection.execute(sa.text("SELECT max(trial_id), max(number) FROM trials")).one()
        values = {"n": trials, "id": trial_id, "last": last[0], "numbered": last[1]}
        for table in ("trials", *_TABLES):
            connection.execute(sa.text(_copying(connection, table)), values)
        connection.execute(
            sa.text(
                f"{_COUNTED} INSERT INTO tuner_places (study_id, number, state, trial_id, attempt) "
                "SELECT study_id, number + i, 'done', :last + i, 1 FROM tuner_places, copies "
                "WHERE trial_id = :id"
            ),
            values,
        )


def _copying(connection: sa.Connection, table: str) -> str:
    columns = sa.inspect(connection).get_columns(table)
    own_id = None if table.startswith("tuner_") or table == "trials" else columns[0]["name"]
    changed = {
        "trial_id": ":last + i",
        "number": ":numbered + i",
        "value": _CHANCE,
        "score": _CHANCE,
        "param_value": "CASE param_name "
        f"WHEN 'width' THEN 64 + CAST({_CHANCE} * 700 AS INTEGER) "
        f"WHEN 'learning_rate' THEN 0.0001 + 0.09 * {_CHANCE} ELSE param_value END",
    }
    names = [str(column["name"]) for column in columns if column["name"] != own_id]
    quoted = ", ".join(f'"{name}"' for name in names)
    chosen = ", ".join(changed.get(name, f'"{name}"') for name in names)
    return (
        f"{_COUNTED} INSERT INTO {table} ({quoted}) "
        f"SELECT {chosen} FROM {table}, copies WHERE trial_id = :id"
    )


def _end(writer: TrialWriter, running: RunningTrial) -> None:
    for epoch in range(1, running.epochs + 1):
        writer.record_report(running, Report(epoch, epoch, True, {writer.spec.metric: 0.5}))
    writer.end(running, completed(Ended("complete", 0.5, 1, running.epochs, 7)))


def asking(url: str) -> Result:
    """What trials cost in this process beside their training."""
    store = open_store(url)
    study = load_study(store)
    writer = open_writer(store, study, leases.open_lease(store, study))
    total = slots.add_slots(store, study, _ASKED)
    costs = []
    for _ in range(_ASKED):
        began = time.perf_counter(), time.process_time()
        running = writer.begin(0, total)
        assert running is not None
        _end(writer, running)
        costs.append((time.perf_counter() - began[0], time.process_time() - began[1]))
    writer.close()
    store.close()
    further = [round(statistics.median(cost[n] for cost in costs[1:]), 3) for n in (0, 1)]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    return {"first": [round(seconds, 2) for seconds in costs[0]], "further": further, "mib": peak}


if __name__ == "__main__":
    main("large", searching, asking)
