"""Limits and interruptions: what runs is put back, and goes on later as it was."""

import signal
import time
from functools import partial
from multiprocessing import forkserver
from pathlib import Path

import psutil
import pytest
import sqlalchemy as sa
from postgres_server import PASSWORD, Postgres
from toy_study import Bench, Signals, any_of
from toy_training import SLOW
from waiting import wait_until

from tuner.errors import StorageError
from tuner.runner import RunStatus, Silent
from tuner.runner.stopping import Limits, Stopping
from tuner.storage import open_store
from tuner.storage.leases import LEASE_S
from tuner.storage.schema import loops
from tuner.storage.trials import TrialRow

SQLITE = pytest.mark.parametrize("store", ["sqlite"], indirect=True)


def is_idle(status: RunStatus) -> bool:
    return status.done_here == 1 and all(worker.trial is None for worker in status.workers)


def expire_leases(bench: Bench) -> None:
    with bench.store.writing() as connection:
        connection.execute(sa.update(loops).values(expires_at=0.0))


def began(trials: list[TrialRow]) -> int:
    """How many are being trained: what is resolved has all its params."""
    return sum(trial.state == "RUNNING" and "epochs" in trial.params for trial in trials)


def has_begun(bench: Bench, attempt: int) -> bool:
    return any(len(trial.attempts) == attempt for trial in bench.trials)


def gone(processes: list[psutil.Process]) -> bool:
    return not any(map(alive, processes))


def alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@SQLITE
def test_ctrl_c_puts_running_trials_back(bench: Bench) -> None:
    bench.create({"epochs": 40, "patience": 40, "pace": 0.05})
    loop = bench.start(4, workers=2)
    wait_until(lambda: began(bench.trials) == 2)
    clock = time.monotonic()
    loop.send_signal(signal.SIGINT)
    said, _ = loop.communicate(timeout=20)
    assert time.monotonic() - clock < 5
    assert said == "interrupted done_here=0 put_back=2\n"
    assert bench.states == ["WAITING"] * 2
    assert bench.slots == {"open": 4}
    assert [trial.end for trial in bench.trials] == ["interrupted"] * 2


def test_what_was_interrupted_goes_on_under_its_number(bench: Bench) -> None:
    bench.create({"epochs": 10, "pace": 0.02})
    outcome = bench.run(3, workers=2, watcher=Signals(signal.SIGTERM))
    assert (outcome.reason, outcome.put_back) == ("interrupted", 2)
    before = {trial.number: trial.params for trial in bench.trials}
    assert bench.states == ["WAITING"] * 2
    bench.run(3, workers=2)
    assert bench.states == ["COMPLETE"] * 3
    assert {n: bench.trials[n].params for n in before} == before
    for number in before:
        ends = [attempt.end for attempt in bench.trials[number].attempts]
        assert ends == ["interrupted", "complete"]


@SQLITE
def test_a_timeout_puts_back_what_would_run_for_ever(bench: Bench) -> None:
    bench.create({"act": any_of("hang", "learn")}, [{"act": "learn"}, {"act": "hang"}])
    assert bench.run(3, timeout_s=1.5).reason == "timeout"
    assert bench.states == ["COMPLETE", "WAITING"]
    assert bench.trials[1].end == "timeout"


@SQLITE
def test_the_start_of_a_recycled_worker_is_no_trials_time(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tuner.workers.local._MAX_TRIALS_A_LANE", 1)
    bench.create()
    bench.run(2, entry=SLOW, trial_timeout_s=2.5)
    assert [trial.end for trial in bench.trials] == ["complete"] * 2
    took = [(a.ended_at or 0.0) - a.started_at for t in bench.trials for a in t.attempts]
    assert max(took) < 2.5


@pytest.mark.parametrize("store", ["postgresql"], indirect=True)
def test_a_killed_loop_ends_its_workers_and_is_taken_over(bench: Bench) -> None:
    bench.create({"epochs": 20, "patience": 20, "pace": 0.04})
    loop = bench.start(3, workers=2)
    wait_until(lambda: began(bench.trials) == 2)
    before = {trial.number: trial.params for trial in bench.trials}
    family = psutil.Process(loop.pid).children(recursive=True)
    assert len(family) >= 3  # the fork server and two workers
    loop.kill()
    loop.communicate(timeout=20)
    wait_until(lambda: gone(family), timeout_s=5)
    assert bench.slots == {"claimed": 2, "open": 1}

    # As if on another machine, its lease still holds: a loop does what is open, and leaves the
    # rest alone.
    with bench.store.writing() as connection:
        connection.execute(sa.update(loops).values(process=None))
    assert bench.run(3, watcher=Signals(signal.SIGINT, when=is_idle)).status.done_here == 1
    assert bench.states == ["RUNNING", "RUNNING", "COMPLETE"]
    expire_leases(bench)
    bench.run(3, workers=2)
    assert bench.states == ["COMPLETE"] * 3
    assert {n: bench.trials[n].params for n in before} == before
    for number in before:
        ends = [attempt.end for attempt in bench.trials[number].attempts]
        assert ends == ["lost", "complete"]


@SQLITE
def test_after_a_kill_the_same_command_goes_on_at_once(bench: Bench) -> None:
    bench.create({"epochs": 20, "patience": 20, "pace": 0.04})
    loop = bench.start(2, workers=2)
    wait_until(lambda: began(bench.trials) == 2)
    loop.kill()
    loop.communicate(timeout=20)
    clock = time.monotonic()
    bench.run(2, workers=2)
    assert time.monotonic() - clock < LEASE_S / 2
    assert bench.states == ["COMPLETE"] * 2
    assert [[a.end for a in trial.attempts] for trial in bench.trials] == [["lost", "complete"]] * 2


@SQLITE
def test_a_trial_whose_loop_dies_three_times_is_given_up(bench: Bench) -> None:
    bench.create({"epochs": 400, "patience": 400, "pace": 0.05})
    for attempt in (1, 2, 3):
        loop = bench.start(1)
        wait_until(partial(has_begun, bench, attempt))
        loop.kill()
        loop.communicate(timeout=20)
    assert bench.run(1).status.done_here == 0
    (trial,) = bench.trials
    assert (trial.state, [a.end for a in trial.attempts]) == ("PRUNED", ["lost"] * 3)
    told = bench.store.optuna.get_trial(trial.trial_id)
    assert told.constraints == {"feasible": 1.0}
    assert bench.slots == {"done": 1}


@SQLITE
def test_interruptions_do_not_use_up_a_trials_attempts(bench: Bench) -> None:
    parameters = {"act": any_of("learn", "crash"), "crashes": 1, "at": 8, "epochs": 8}
    bench.create({"pace": 0.02} | parameters, [{"act": "crash", "x": 0.5}])
    for _ in range(3):
        assert bench.run(1, watcher=Signals(signal.SIGINT)).put_back == 1
    bench.run(1)
    (trial,) = bench.trials
    assert trial.state == "COMPLETE"
    assert [a.end for a in trial.attempts] == ["interrupted"] * 3 + ["worker_lost", "complete"]


@SQLITE
def test_a_reached_target_ends_the_search(bench: Bench) -> None:
    parameters = {"x": any_of(0.9, 0.5), "pace": any_of(0.0, 0.2)}
    bench.create(parameters, [{"x": 0.5, "pace": 0.2}, {"x": 0.9, "pace": 0.0}])
    outcome = bench.run(5, workers=2, target=0.6)
    assert (outcome.reason, outcome.put_back) == ("target", 1)
    assert bench.states == ["WAITING", "COMPLETE"]
    assert bench.trials[1].end == "target"
    assert bench.trials[1].value is not None
    assert bench.trials[1].value >= 0.6
    # It is reached already: nothing begins.
    again = bench.run(5, target=0.6)
    assert (again.reason, again.status.done_here) == ("target", 0)
    assert bench.run(3).reason is None


@SQLITE
def test_patience_runs_out_after_trials_that_bring_nothing(bench: Bench) -> None:
    baselines = [{"x": x} for x in (0.5, 0.4, 0.6, 0.3, 0.2, 0.9)]
    bench.create(baselines=baselines)
    outcome = bench.run(6, patience_trials=2)
    assert (outcome.reason, outcome.status.best_trial) == ("patience", 2)
    assert bench.states == ["COMPLETE"] * 5 + ["WAITING"]


@SQLITE
def test_the_best_of_other_loops_counts(bench: Bench) -> None:
    bench.create(baselines=[{"x": x} for x in (0.9, 0.5, 0.4)])
    bench.run(1)
    outcome = bench.run(3, asked={"keep_models": 1})
    assert (outcome.status.best_trial, outcome.status.done_here) == (0, 2)
    assert [trial.last and bool(trial.last.model_path) for trial in bench.trials] == [
        True,
        False,
        False,
    ]


def test_a_database_that_vanishes_ends_the_loop_in_one_line(
    postgres: Postgres, tmp_path: Path
) -> None:
    name = postgres.create()
    bench = Bench(tmp_path, open_store(postgres.url(name)))
    bench.create({"epochs": 100, "patience": 100, "pace": 0.01})

    class Vandal(Silent):
        def changed(self, status: RunStatus) -> None:
            if status.workers[0].epoch == 3:
                postgres.drop(name)

    with pytest.raises(StorageError, match=f'"{name}" does not exist') as caught:
        bench.run(2, watcher=Vandal())
    assert "\n" not in str(caught.value)
    assert PASSWORD not in str(caught.value)
    server = psutil.Process(forkserver._forkserver._forkserver_pid)  # type: ignore[attr-defined]
    wait_until(lambda: gone(server.children()), timeout_s=5)
    bench.store.close()


def test_a_signal_is_obeyed_after_patience_ran_out() -> None:
    stopping = Stopping(Limits(9, patience_trials=1))
    stopping.trial_done(is_best=False, reaches_target=False)
    assert (stopping.no_more, stopping.at_once) == (True, False)
    stopping.asked = True
    assert stopping.at_once
    assert stopping.reason == "interrupted"


def test_time_limits_hold_after_patience_ran_out() -> None:
    stopping = Stopping(Limits(9, timeout_s=0.0, patience_trials=1))
    stopping.trial_done(is_best=False, reaches_target=False)
    assert stopping.at_once
    assert stopping.reason == "timeout"
