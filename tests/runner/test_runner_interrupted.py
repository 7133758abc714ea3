"""Interruptions lose nothing: trials stop behind an epoch, with a checkpoint of it."""

import os
import signal
import threading
import time
from typing import Any

import pytest
from test_runner_limits import began
from test_runner_trials import SQLITE
from toy_study import Bench, Signals, any_of
from waiting import wait_until

from tuner.runner import RunStatus, Silent, loop, stopping
from tuner.storage.trials import TrialRow

pytestmark = SQLITE
# So slowly that one trial still runs when the other has begun, however busy the machine is.
SLOWLY = {"epochs": 24, "patience": 24, "pace": 0.15}
# So seldom that only an interruption writes one.
SELDOM = {"checkpoint_every_s": 600.0}


def went_on(trial: TrialRow) -> bool:
    """Whether each attempt went on behind the last epoch of the one before."""
    told = [attempt.epochs for attempt in trial.attempts[:-1]]
    return told == [attempt.resumed_epoch for attempt in trial.attempts[1:]]


def metrics(bench: Bench) -> list[Any]:
    return [[(row.step, row.metrics) for row in bench.curve(trial)] for trial in bench.trials]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("lanes", [1, 2])
def test_an_interrupted_trial_goes_on_behind_its_epoch(
    bench: Bench, number: signal.Signals, lanes: int
) -> None:
    asked = SELDOM | {"lanes": lanes}
    workers = 2 // lanes
    bench.create(SLOWLY | {"pace": 0.0}, name="whole")
    bench.run(2, workers, asked=asked)
    whole = metrics(bench)
    bench.create(SLOWLY, name="interrupted")
    assert bench.run(2, workers, watcher=Signals(number), asked=asked).put_back == 2
    interrupted = bench.trials
    assert [trial.end for trial in interrupted] == ["interrupted"] * 2
    assert min(trial.attempts[0].epochs or 0 for trial in interrupted) >= 2
    bench.run(2, workers, asked=asked)
    assert all(map(went_on, bench.trials))
    assert (bench.states, bench.slots) == (["COMPLETE"] * 2, {"done": 2})
    assert metrics(bench) == whole


def test_another_loop_goes_on_with_the_trials_of_two(bench: Bench) -> None:
    bench.create({"epochs": 900, "patience": 900, "pace": 0.1})
    loops = [bench.start(2, asked=SELDOM) for _ in range(2)]
    wait_until(lambda: began(bench.trials) == 2, timeout_s=90)
    for each in loops:
        each.send_signal(signal.SIGTERM)
    said = [each.communicate(timeout=60)[0] for each in loops]
    assert said == ["interrupted done_here=0 put_back=1\n"] * 2
    assert min(trial.attempts[0].epochs or 0 for trial in bench.trials) >= 1
    bench.run(2, workers=2, watcher=Signals(signal.SIGINT))
    assert [len(trial.attempts) for trial in bench.trials] == [2, 2]
    assert all(map(went_on, bench.trials))


class Clock(Silent):
    """The time is up once the first worker has trained two epochs."""

    is_late = False

    def changed(self, status: RunStatus) -> None:
        self.is_late |= status.workers[0].epoch >= 2

    def monotonic(self) -> float:
        return time.monotonic() + (1e6 if self.is_late else 0.0)


def test_a_timeout_loses_no_epoch_either(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.create(SLOWLY)
    clock = Clock()
    monkeypatch.setattr(stopping, "time", clock)
    assert bench.run(1, timeout_s=1e3, watcher=clock, asked=SELDOM).reason == "timeout"
    monkeypatch.undo()
    bench.run(1)
    (trial,) = bench.trials
    assert [attempt.end for attempt in trial.attempts] == ["timeout", "complete"]
    assert went_on(trial)
    assert (trial.attempts[0].epochs or 0) >= 2


def hang(bench: Bench) -> None:
    bench.create({"act": any_of("learn", "hang"), "at": 3, "epochs": 4}, [{"act": "hang"}])


def test_an_epoch_that_takes_too_long_is_not_waited_for(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "CHECKPOINT_WAIT_S", 0.5)
    hang(bench)
    clock = time.monotonic()
    outcome = bench.run(1, watcher=Signals(signal.SIGINT), asked={"checkpoint_every_s": 0.0})
    assert (outcome.reason, outcome.put_back) == ("interrupted", 1)
    assert time.monotonic() - clock < 20
    (trial,) = bench.trials
    assert [(a.end, a.epochs) for a in trial.attempts] == [("interrupted", 2)]
    assert list((bench.folder / "checkpoints").rglob("attempt-1.ckpt"))


class Twice(Signals):
    """Sends another one while the loop waits, and notes when."""

    sent_at = 0.0

    def changed(self, status: RunStatus) -> None:
        if status.workers[0].epoch >= 2:
            os.kill(os.getpid(), signal.SIGINT)
            threading.Timer(0.8, self.again).start()

    def again(self) -> None:
        self.sent_at = time.monotonic()
        os.kill(os.getpid(), signal.SIGINT)


def test_a_second_signal_ends_the_waiting(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tuner.runner.stopping._PATIENCE_S", 600.0)
    monkeypatch.setattr(loop, "CHECKPOINT_WAIT_S", 120.0)
    hang(bench)
    twice = Twice(signal.SIGINT)
    assert bench.run(1, watcher=twice).put_back == 1
    assert 0 < time.monotonic() - twice.sent_at < 10
    assert [trial.end for trial in bench.trials] == ["interrupted"]
