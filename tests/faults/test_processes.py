"""Processes that are killed, interrupted or frozen."""

import random
import signal
import time
from collections.abc import Callable

import pytest
from toy_study import Bench
from waiting import wait_until

from faults import victims
from faults.audit import ends, repeated
from faults.victims import finish

SQLITE = pytest.mark.parametrize("store", ["sqlite"], indirect=True)
SLOWLY = {"epochs": 6, "patience": 6, "pace": 0.1}
OFTEN = {"checkpoint_every_s": 0.0}

Check = Callable[..., None]


def fewer(times: int, by_daemon: bool) -> int:
    """How often outside of a soak, where foreground searches have shown most of it."""
    return min(times, 3) if by_daemon and times < 20 else times


def searched_by(by_daemon: bool) -> str:
    return ", daemons" if by_daemon else ""


@pytest.mark.times(3, 200)
def test_workers_killed(tracked_bench: Bench, times: int, check: Check, by_daemon: bool) -> None:
    bench, chance = tracked_bench, random.Random(1)
    trials = 8 + times
    bench.create(SLOWLY | {"pace": 0.3})
    loop = bench.start(trials, workers=2, asked=OFTEN)
    wait_until(lambda: victims.running(bench) > 0)
    killed = 0
    while killed < times and loop.poll() is None:
        time.sleep(chance.uniform(0.1, 0.5))
        killed += victims.running(bench) > 0 and victims.kill_a_worker(loop, chance)
    said = finish(loop, 300)
    assert said.startswith(f"None done_here={trials}"), said
    assert killed >= min(times, 3)
    check(bench, trials, f"a worker killed in mid-trial{searched_by(by_daemon)}", killed)
    assert ends(bench)["worker_lost"] > 0
    assert repeated(bench) == []


@pytest.mark.times(4, 100)
@pytest.mark.daemons
def test_loops_killed(tracked_bench: Bench, times: int, check: Check, by_daemon: bool) -> None:
    bench, chance = tracked_bench, random.Random(2)
    times = fewer(times, by_daemon)
    trials = 6 + times
    bench.create(SLOWLY)
    for _ in range(times):
        loop = bench.start(trials, workers=2, asked=OFTEN)
        time.sleep(chance.uniform(0.0, 3.0))
        family = victims.family(loop)
        loop.kill()
        loop.communicate()
        wait_until(lambda family=family: victims.gone(family), timeout_s=10)  # type: ignore[misc]
    said = finish(bench.start(trials, workers=2, asked=OFTEN), 300)
    assert said.startswith("None"), said
    check(bench, trials, f"the loop killed at a random moment{searched_by(by_daemon)}", times)
    assert repeated(bench) == []


@pytest.mark.times(10, 500)
@pytest.mark.daemons
def test_signals(tracked_bench: Bench, times: int, check: Check, by_daemon: bool) -> None:
    bench, chance = tracked_bench, random.Random(3)
    times = fewer(times, by_daemon)
    trials = 4 + times // 2
    bench.create(SLOWLY)
    for number in range(times):
        loop = bench.start(trials, workers=2, asked=OFTEN, fresh=number % 4 < 2 and not by_daemon)
        time.sleep(chance.uniform(0.0, 3.0))
        family = victims.family(loop)
        loop.send_signal(signal.SIGINT if number % 2 else signal.SIGTERM)
        finish(loop, timeout_s=10)
        wait_until(lambda family=family: victims.gone(family), timeout_s=10)  # type: ignore[misc]
        assert victims.running(bench) == 0
        assert "claimed" not in bench.slots
    said = finish(bench.start(trials, workers=2, asked=OFTEN), 300)
    assert said.startswith("None"), said
    fault = f"SIGINT or SIGTERM at a random millisecond{searched_by(by_daemon)}"
    check(bench, trials, fault, times)
    assert repeated(bench) == []


@pytest.mark.times(1, 20)
@pytest.mark.daemons
def test_many_loops(
    bench: Bench, times: int, check: Check, by_daemon: bool, request: pytest.FixtureRequest
) -> None:
    count = 8 if request.config.getoption("--soak") else 3
    bench.create({"pace": 0.02})
    trials = 0
    for _ in range(times):
        trials += 10
        for _ in ("together", "again"):
            loops = [bench.start(trials) for _ in range(count)]
            said = [finish(loop, 120) for loop in loops]
            assert all(line.startswith("None") for line in said), "\n".join(said)
    name = bench.store.url.get_backend_name()
    fault = f"{count} loops started together, then again ({name}){searched_by(by_daemon)}"
    check(bench, trials, fault, times)


@pytest.mark.times(1, 20)
def test_a_frozen_loop(tracked_bench: Bench, times: int, check: Check, by_daemon: bool) -> None:
    bench = tracked_bench
    bench.create(SLOWLY)
    trials = 0
    for _ in range(times):
        trials += 4
        _freeze_and_take_over(bench, trials)
    fault = f"a loop frozen past its lease, taken over, thawed{searched_by(by_daemon)}"
    check(bench, trials, fault, times)
    assert ends(bench)["lost"] >= times


def _freeze_and_take_over(bench: Bench, trials: int) -> None:
    loop = bench.start(trials, workers=2, asked=OFTEN | {"lease_s": 1.5})
    wait_until(lambda: victims.running(bench) == 2)
    bench.freeze(loop)
    lost = {t.number for t in bench.trials if t.state == "RUNNING"}
    # No tracker: the frozen loop's goes on, and has the turn.
    heir = Bench(bench.folder, bench.store).start(trials, workers=2, asked=OFTEN)
    said = finish(heir)
    loop.send_signal(signal.SIGCONT)
    assert said.startswith("None"), said
    woken = finish(loop)
    assert woken.startswith("None"), woken
    for trial in bench.trials:
        if trial.number in lost:
            assert trial.attempts[0].end == "lost"
            assert trial.attempts[-1].end in ("complete", "early_stopped", "pruned")
