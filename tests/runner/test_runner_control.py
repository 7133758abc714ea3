"""What anybody asks of a study while loops run it: to pause, to stop, another total, a share."""

import time
from collections.abc import Callable
from typing import Any

import pytest
from test_runner_limits import SQLITE, began
from toy_study import Bench
from waiting import wait_until

from tuner.errors import StudyError
from tuner.manage.deletion import closed_to_searches
from tuner.runner import RunStatus, Silent
from tuner.storage import leases, study_control
from tuner.storage.running_trials import running_trials
from tuner.storage.studies import StudyRow, load_study
from tuner.storage.trials import TrialRow
from tuner.study.study_state import StudyState

# So slowly that all trials run when something is asked, and that each epoch can be its last.
SLOWLY = {"epochs": 12, "patience": 12, "pace": 0.05}
FOR_LONG = {"epochs": 900, "patience": 900, "pace": 0.05}
# So seldom that only what is tested here writes a checkpoint.
SELDOM = {"checkpoint_every_s": 600.0}
DAEMON = {"daemon_id": "a daemon", "follows_total": True}


class Script(Silent):
    """Does one thing after the other, each once the status of the search fits."""

    def __init__(self, *steps: tuple[Callable[[RunStatus], bool], Callable[[], Any]]) -> None:
        self._steps = list(steps)

    def changed(self, status: RunStatus) -> None:
        while self._steps and self._steps[0][0](status):
            self._steps.pop(0)[1]()

    @property
    def is_done(self) -> bool:
        return not self._steps


def training(workers: int) -> Callable[[RunStatus], bool]:
    """Whether so many trials run, each behind its first epochs."""
    return lambda status: (
        [w.epoch >= 2 for w in status.workers if w.trial is not None] == ([True] * workers)
    )


def running(workers: int) -> Callable[[RunStatus], bool]:
    return lambda status: sum(w.trial is not None for w in status.workers) == workers


def lost_nothing(trial: TrialRow) -> bool:
    """Whether each attempt went on behind the last epoch of the one before."""
    epochs = [attempt.epochs for attempt in trial.attempts[:-1]]
    return epochs == [attempt.resumed_epoch for attempt in trial.attempts[1:]]


def ends(bench: Bench) -> list[list[str | None]]:
    return [[attempt.end for attempt in trial.attempts] for trial in bench.trials]


def test_a_paused_study_goes_on_where_it_was(bench: Bench) -> None:
    study = bench.create(SLOWLY)
    notes: list[str] = []

    def set_state(state: StudyState) -> Callable[[], Any]:
        return lambda: study_control.set_state(bench.store, study, state)

    class Noted(Script):
        def changed(self, status: RunStatus) -> None:
            notes.append(status.note)
            super().changed(status)

    script = Noted(
        (training(2), set_state(StudyState.PAUSED)),
        (running(0), set_state(StudyState.RUNNING)),
    )
    outcome = bench.run(3, workers=2, watcher=script, asked=SELDOM)
    assert script.is_done
    assert (outcome.reason, outcome.put_back, bench.slots) == (None, 0, {"done": 3})
    assert ends(bench) == [["paused", "complete"], ["paused", "complete"], ["complete"]]
    assert all(map(lost_nothing, bench.trials))
    assert min(trial.attempts[0].epochs or 0 for trial in bench.trials[:2]) >= 2
    assert set(notes) == {"", "paused; to go on: tuner study resume toy"}


@SQLITE
def test_surplus_trials_give_their_workers_free_behind_an_epoch(bench: Bench) -> None:
    bench.create(SLOWLY)
    share = 2
    most: list[tuple[int, int]] = []

    def give(number: int) -> Callable[[], None]:
        def change() -> None:
            nonlocal share
            share = number

        return change

    class Counted(Script):
        def changed(self, status: RunStatus) -> None:
            most.append((share, sum(w.trial is not None for w in status.workers)))
            super().changed(status)

    script = Counted(
        (training(2), give(1)), (running(1), give(0)), (running(0), give(2)), (running(2), list)
    )
    asked = SELDOM | {"share": lambda: share}
    outcome = bench.run(3, workers=2, watcher=script, asked=asked)
    assert script.is_done
    assert (outcome.reason, bench.slots) == (None, {"done": 3})
    assert [trial.attempts[0].end for trial in bench.trials[:2]] == ["yielded"] * 2
    assert all(map(lost_nothing, bench.trials))
    assert max(count for allowed, count in most if allowed == 2) == 2


def test_one_trial_is_stopped_and_keeps_what_it_has(bench: Bench) -> None:
    study = bench.create({**SLOWLY, "pace": 0.1})
    running_best: list[float | None] = []

    def stop() -> None:
        assert study_control.stop_trial(bench.store, study, 0)

    script = Script((training(2), stop))
    outcome = bench.run(3, workers=2, watcher=script)
    assert (outcome.reason, bench.slots) == (None, {"done": 3})
    stopped, *others = bench.trials
    assert (stopped.state, stopped.end) == ("PRUNED", "stopped")
    last = stopped.attempts[-1]
    running_best = [row.metrics["val_accuracy"] for row in bench.curve(stopped)]
    assert 2 <= (last.epochs or 0) < 12
    assert stopped.value == last.score == max(running_best)
    assert {trial.end for trial in others} == {"complete"}
    with pytest.raises(StudyError, match="trial 0 of study 'toy' has ended already"):
        study_control.stop_trial(bench.store, study, 0)


@SQLITE
def test_a_trial_that_waits_is_stopped_when_it_goes_on(bench: Bench) -> None:
    study = bench.create(SLOWLY)

    def pause() -> None:
        study_control.set_state(bench.store, study, StudyState.PAUSED)

    def stop_and_resume() -> None:
        assert not study_control.stop_trial(bench.store, study, 0)
        study_control.set_state(bench.store, study, StudyState.RUNNING)

    script = Script((training(1), pause), (running(0), stop_and_resume))
    bench.run(1, watcher=script)
    assert ends(bench) == [["paused", "stopped"]]
    assert bench.states == ["PRUNED"]


@SQLITE
def test_a_search_follows_the_total_of_its_study(bench: Bench) -> None:
    study = bench.create({"pace": 0.02})

    def set_total(trials: int) -> Callable[[], Any]:
        return lambda: study_control.set_total(bench.store, study, trials)

    script = Script(
        (running(1), set_total(4)),
        (lambda status: status.total == 4 and status.done == 2, set_total(3)),
    )
    outcome = bench.run(2, watcher=script, asked={"follows_total": True})
    assert (outcome.status.total, bench.slots) == (3, {"done": 3})
    # One that asked for a part leaves the rest.
    study_control.set_total(bench.store, study, 6)
    assert bench.run(5).status.total == 5
    assert bench.slots == {"done": 5, "open": 1}


@SQLITE
def test_daemons_leave_a_study_that_is_stopped_or_paused(bench: Bench) -> None:
    study = bench.create()
    for state in (StudyState.STOPPED, StudyState.PAUSED):
        study_control.set_state(bench.store, study, state)
        outcome = bench.run(2, asked=DAEMON)
        assert (outcome.reason, outcome.status.done_here) == (str(state), 0)
        assert load_study(bench.store).state is state
    study_control.set_state(bench.store, study, StudyState.STOPPED)
    # Whoever searches it in the foreground wants it to go on.
    assert bench.run(1).reason is None
    assert load_study(bench.store).state is StudyState.RUNNING
    assert bench.run(2, asked=DAEMON).reason is None


@SQLITE
def test_a_daemon_that_has_reached_the_target_stops_the_study(bench: Bench) -> None:
    bench.create({"x": {"type": "float", "low": 0.8, "high": 1.0}})
    assert bench.run(5, target=0.5, asked=DAEMON).reason == "target"
    assert load_study(bench.store).state is StudyState.STOPPED
    study_control.set_state(bench.store, load_study(bench.store), StudyState.RUNNING)
    assert bench.run(5, asked=DAEMON).reason is None


def stopped(bench: Bench, study: StudyRow) -> bool:
    return not running_trials(bench.store, study)


def test_two_loops_pause_and_one_is_killed(bench: Bench) -> None:
    """Its trial goes on from its checkpoint elsewhere, once the study is resumed."""
    study = bench.create(FOR_LONG)
    loops = [bench.start(2, asked=SELDOM) for _ in range(2)]
    wait_until(lambda: began(bench.trials) == 2, timeout_s=90)
    at_work = running_trials(bench.store, study)
    assert {trial.pid for trial in at_work} == {loop.pid for loop in loops}
    wait_until(lambda: min(t.epoch for t in running_trials(bench.store, study)) >= 1, timeout_s=90)
    study_control.set_state(bench.store, study, StudyState.PAUSED)
    wait_until(lambda: stopped(bench, study), timeout_s=30)
    assert ends(bench) == [["paused"]] * 2
    loops[0].kill()
    loops[0].communicate(timeout=60)
    study_control.set_state(bench.store, study, StudyState.RUNNING)
    wait_until(lambda: began(bench.trials) == 1, timeout_s=30)
    study_control.set_state(bench.store, study, StudyState.STOPPED)
    output, _ = loops[1].communicate(timeout=60)
    assert "stopped done_here=0 put_back=2" in output or "put_back=1" in output
    assert all(map(lost_nothing, bench.trials))
    assert bench.slots == {"open": 2}


@SQLITE
def test_a_paused_study_can_be_deleted(bench: Bench) -> None:
    study = bench.create(FOR_LONG)
    loop = bench.start(1, asked=SELDOM)
    wait_until(lambda: began(bench.trials) == 1, timeout_s=90)
    study_control.set_state(bench.store, study, StudyState.PAUSED)
    wait_until(lambda: stopped(bench, study))
    clock = time.monotonic()
    with closed_to_searches(bench.store, study, force=True, say=print):
        assert leases.holders(bench.store, study) == []
    assert time.monotonic() - clock < 20
    assert "the study was deleted" in loop.communicate(timeout=60)[0]


def test_a_study_that_is_resumed_while_it_stops_can_go_on(bench: Bench) -> None:
    study = bench.create(FOR_LONG)
    loop = bench.start(1, asked=SELDOM)
    wait_until(lambda: began(bench.trials) == 1, timeout_s=90)
    study_control.set_state(bench.store, study, StudyState.STOPPED)
    study_control.set_state(bench.store, study, StudyState.RUNNING)
    assert "stopped done_here=0 put_back=1" in loop.communicate(timeout=60)[0]
    assert load_study(bench.store).state is StudyState.RUNNING
