"""Loops that are killed in a study whose pruner pauses trials: none is lost, or done twice."""

import random
import time
from collections.abc import Callable

import numpy as np
import pytest
from toy_study import Bench
from waiting import wait_until

from faults import victims
from faults.audit import repeated
from faults.victims import finish
from tuner.storage import paused_slots, slots
from tuner.storage.studies import load_study
from tuner.study.spec import Choice

SQLITE = pytest.mark.parametrize("store", ["sqlite"], indirect=True)
POSTGRESQL = pytest.mark.parametrize("store", ["postgresql"], indirect=True)
OFTEN = {"checkpoint_every_s": 0.0}
Check = Callable[..., None]


def paused(bench: Bench) -> tuple[int, ...]:
    return paused_slots.read_paused(bench.store, load_study(bench.store), 1000).trial_ids


def kill_loops_while_trials_are_paused(bench: Bench, times: int, check: Check, where: str) -> None:
    chance, trials = random.Random(3), 8 + 2 * times
    # The best ones first: later ones are paused, and wait for more at their rung.
    baselines = [{"x": round(float(x), 4)} for x in np.linspace(0.9, 0.1, trials)]
    parameters = {"epochs": 9, "patience": 9, "pace": 0.05}
    bench.create(parameters, baselines, pruner=Choice(name="promotion"))
    for _ in range(times):
        loops = [bench.start(trials, workers=1, asked=OFTEN) for _ in range(2)]
        wait_until(lambda: len(paused(bench)) > 0)
        time.sleep(chance.uniform(0.0, 1.0))
        for loop in loops:
            family = victims.family(loop)
            loop.kill()
            loop.communicate()
            wait_until(lambda family=family: victims.gone(family))  # type: ignore[misc]
    said = finish(bench.start(trials, workers=2, asked=OFTEN), 300)
    assert said.startswith("None"), said
    check(bench, trials, f"loops killed while trials are paused, {where}", times)
    assert repeated(bench) == []
    assert slots.slot_counts(bench.store, load_study(bench.store)) == {"done": trials}
    # Whoever has stopped at the first rung is worse than all that went further.
    stayed = [t.params["x"] for t in bench.trials if t.last and t.last.epochs == 1]
    went_on = [t.params["x"] for t in bench.trials if t.last and t.last.epochs != 1]
    assert max(went_on) == 0.9
    assert len(went_on) < trials // 2 < len(stayed)


@SQLITE
@pytest.mark.times(1, 60)
def test_loops_killed_while_trials_are_paused(bench: Bench, times: int, check: Check) -> None:
    kill_loops_while_trials_are_paused(bench, times, check, "SQLite")


@POSTGRESQL
@pytest.mark.times(0, 60)
def test_the_same_on_postgresql(bench: Bench, times: int, check: Check) -> None:
    kill_loops_while_trials_are_paused(bench, times, check, "PostgreSQL")
