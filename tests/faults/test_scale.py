"""What a study costs as it grows. Only in a soak: it measures, and asserts nothing of speed."""

import contextlib
import json
import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import psutil
import pytest
import sqlalchemy as sa
from optuna.distributions import FloatDistribution
from optuna.trial import create_trial
from toy_study import Bench

from tuner.algorithms.samplers import make_sampler
from tuner.runner.policy import completed
from tuner.runner.trial_writer import TrialWriter
from tuner.storage import leases, open_store, slots
from tuner.storage.schema import attempts
from tuner.storage.schema import slot_rows as slot_rows
from tuner.storage.studies import StudyRow, load_study
from tuner.study.messages import Ended, Report
from tuner.study.spec import Choice

Measured = Callable[[str, str], None]
MOST_MIB_A_TRIAL = 0.5
SIZES = (100, 1_000, 10_000)


@pytest.fixture(autouse=True)
def _only_in_a_soak(request: pytest.FixtureRequest) -> None:
    if not request.config.getoption("--soak"):
        pytest.skip("measured by make soak")


def test_ten_thousand_trials(tmp_path: Path, measured: Measured) -> None:
    bench = Bench(tmp_path, open_store(f"sqlite:///{tmp_path}/tuner.db"))
    ranges = {f"p{i}": {"type": "float", "low": 0.0, "high": 1.0} for i in range(7)}
    study = bench.create(ranges, sampler=Choice(name="tpe"))
    made = 0
    for size in SIZES:
        _fill(bench, study, made, size)
        made = size + _time_asking(bench, study, size, measured)
        assert json.loads(tuner(bench, "study", "show", "--json").stdout)["trials"] == made
        for command in ("list", "show"):
            seconds = min(_timed(bench, "study", command) for _ in range(3))
            measured(f"tuner study {command} at {size} trials", f"{seconds:.2f} s")
        seconds = min(_timed(bench, "trial", "list") for _ in range(2))
        measured(f"tuner trial list at {size} trials", f"{seconds:.2f} s")
    bench.store.close()


def _fill(bench: Bench, study: StudyRow, have: int, want: int) -> None:
    """Finished trials as they are after a search, written in bulk."""
    chance = random.Random(have)
    names = ["x", *(f"p{i}" for i in range(7))]
    ranges = {name: FloatDistribution(0.0, 1.0) for name in names}
    trials = [
        create_trial(
            value=chance.random(),
            params={name: chance.random() for name in names},
            distributions=ranges,
            intermediate_values={step: chance.random() for step in (1, 2, 3)},
        )
        for _ in range(want - have)
    ]
    optuna_study = optuna.load_study(study_name=study.name, storage=bench.store.optuna)
    for trial in trials:
        optuna_study.add_trial(trial)
    with bench.store.writing() as connection:
        ids = connection.execute(sa.text("SELECT trial_id FROM trials ORDER BY number")).scalars()
        new = list(ids)[have:]
        first = connection.execute(sa.select(sa.func.max(slot_rows.c.number))).scalar() or 0
        slot = {"study_id": study.study_id, "state": "done"}
        rows = [slot | {"number": first + n, "trial_id": i} for n, i in enumerate(new, start=1)]
        connection.execute(sa.insert(slot_rows), rows)
        ended = {"loop_id": "-", "worker": 0, "started_at": 1.0, "ended_at": 2.0, "end": "complete"}
        ended |= {"study_uuid": study.uuid, "attempt": 1}
        connection.execute(sa.insert(attempts), [ended | {"trial_id": i} for i in new])


def _time_asking(bench: Bench, study: StudyRow, size: int, measured: Measured) -> int:
    """A trial from its claim to its end, without training; how many were run for it."""
    store = open_store(bench.url)
    lease = leases.open_lease(store, study)
    spec = study.spec
    sampler = make_sampler(spec.sampler, spec.space, spec.seed, lease.number)
    optuna_study = optuna.load_study(study_name=study.name, storage=store.optuna, sampler=sampler)
    writer = TrialWriter(store, optuna_study, spec, lease)
    total = slots.add_slots(store, study, 12)
    seconds = []
    for _ in range(12):
        clock = time.perf_counter()
        running = writer.begin(0, total)
        assert running is not None
        for epoch in (1, 2, 3):
            writer.record_report(running, Report(epoch, epoch, True, {"val_accuracy": 0.5}))
        writer.end(running, completed(Ended("complete", 0.5, 1, 3, 7)))
        seconds.append(time.perf_counter() - clock)
    measured(
        f"claim, ask, 3 reports and tell at {size} trials (TPE, 8 parameters)",
        f"{1000 * statistics.median(seconds[2:]):.0f} ms",
    )
    store.close()
    return 12


def _timed(bench: Bench, *command: str) -> float:
    clock = time.perf_counter()
    tuner(bench, *command)
    return time.perf_counter() - clock


def tuner(bench: Bench, *command: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """A command as a user types it, in the bench's folder."""
    return subprocess.run(
        [str(Path(sys.executable).with_name("tuner")), *command],
        cwd=bench.folder,
        env=os.environ | {"TUNER_STORAGE": bench.url},
        check=True,
        capture_output=True,
        text=True,
        **options,
    )


@pytest.mark.xfail(strict=True, reason="XLA compiles a few programs late, of 20 MiB each")
def test_memory_of_two_hundred_trials(tmp_path: Path, measured: Measured) -> None:
    """TensorFlow keeps some memory of every program, and Optuna's cache some of every trial."""
    bench = Bench(tmp_path, open_store(f"sqlite:///{tmp_path}/tuner.db"))
    tuner(bench, "study", "create", "digits", "--data", "digits")
    loop = subprocess.Popen(
        [str(Path(sys.executable).with_name("tuner")), "optimize", "--trials", "200", "--quiet"],
        cwd=tmp_path,
        env=os.environ | {"TUNER_STORAGE": bench.url},
        stdout=subprocess.DEVNULL,
    )
    process = psutil.Process(loop.pid)
    early: tuple[int, int] | None = None
    late = (0, 0)
    study = load_study(bench.store, "digits")
    while loop.poll() is None:
        done = _finished(bench, study)
        if done < 195:  # before the workers end
            late = (done, _rss(process))
            early = early or (late if done >= 100 else None)
        time.sleep(0.5)
    assert early is not None
    grown = (late[1] - early[1]) / 2**20 / (late[0] - early[0])
    measured(f"memory a trial, trials {early[0]} to {late[0]} on digits", f"{grown:.2f} MiB")
    assert grown <= MOST_MIB_A_TRIAL
    bench.store.close()


def _finished(bench: Bench, study: StudyRow) -> int:
    return slots.slot_counts(bench.store, study).get("done", 0)


def _rss(process: psutil.Process) -> int:
    """Of the loop alone and of its workers; the tracker has MLflow's."""
    held = 0
    for each in [process, *process.children(recursive=True)]:
        with contextlib.suppress(psutil.Error):  # it has just ended
            held += each.memory_info().rss if "tuner.tracking" not in each.cmdline() else 0
    return held
