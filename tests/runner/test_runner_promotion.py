"""Trials that the pruner `promotion` pauses, and goes on with when they have earned it."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

import pytest
from test_runner_control import Script
from toy_study import Bench

from tuner.errors import SpecError
from tuner.runner import RunStatus, Silent
from tuner.runner.search import open_writer
from tuner.storage import leases, paused_slots, slots, study_control
from tuner.storage.studies import load_study
from tuner.storage.trials import TrialRow, summarize
from tuner.study.ends import StopReason, TrialEnd
from tuner.study.spec import Choice

PROMOTION = Choice(name="promotion")
# At epoch e a trial has reached 1 - 2**-e of its x: the order at each rung is that of x.
LONG = {"epochs": 9, "patience": 9}
# So that none goes on from the first rung before six others have reached it.
FALLING = [0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1]


def create(bench: Bench, xs: list[float], **options: Any) -> None:
    bench.create(LONG, [{"x": x} for x in xs], pruner=PROMOTION, **options)


def epochs_of(trials: list[TrialRow]) -> dict[float, list[int | None]]:
    """The epochs at which each attempt ended, by the trial's x."""
    return {t.params["x"]: [attempt.epochs for attempt in t.attempts] for t in trials}


def lost_nothing(trial: TrialRow) -> bool:
    """Whether each attempt went on behind the last epoch of the one before."""
    epochs = [attempt.epochs for attempt in trial.attempts[:-1]]
    return epochs == [attempt.resumed_epoch for attempt in trial.attempts[1:]]


def paused(bench: Bench) -> list[int]:
    query = paused_slots.read_paused(bench.store, load_study(bench.store), 1000)
    return sorted(query.trial_ids)


def check_ended(bench: Bench, trials: int) -> None:
    """Whether the study is over: exact totals, and nothing left paused."""
    assert slots.slot_counts(bench.store, load_study(bench.store)) == {"done": trials}
    assert {trial.state for trial in bench.trials} <= {"COMPLETE", "PRUNED"}
    for trial in bench.trials:
        assert trial.end in ("complete", "pruned")
        assert trial.last is not None
        assert trial.last.score == trial.value is not None
        steps = [row.step for row in bench.curve(trial)]
        assert steps == list(range(1, (trial.last.epochs or 0) + 1))
        assert lost_nothing(trial)


def test_paused_trials_go_on_when_they_have_earned_it(bench: Bench) -> None:
    create(bench, FALLING)
    outcome = bench.run(9)
    assert outcome.reason is None
    epochs = epochs_of(bench.trials)
    assert epochs[0.9] == [1, 3, 9]
    assert [epochs[x] for x in (0.8, 0.7)] == [[1, 3]] * 2
    assert [epochs[x] for x in FALLING[3:]] == [[1]] * 6
    check_ended(bench, 9)
    assert summarize(bench.store, load_study(bench.store)).ends == {"pruned": 8, "complete": 1}
    assert outcome.status.ended == {TrialEnd.COMPLETE: 1, TrialEnd.PRUNED: 8}
    assert outcome.status.done == outcome.status.done_here == 9
    checkpoints = list((bench.folder / "checkpoints").glob("**/*.npz"))
    assert checkpoints == []


def test_a_study_too_small_for_its_rungs_has_a_complete_trial(bench: Bench) -> None:
    create(bench, [0.5, 0.9])
    bench.run(2)
    assert epochs_of(bench.trials) == {0.5: [1], 0.9: [1, 3, 9]}
    check_ended(bench, 2)


class UntilPaused(Silent):
    """Runs a step once so many trials are paused."""

    def __init__(self, bench: Bench, count: int, step: Any) -> None:
        self._bench, self._count, self._step = bench, count, step

    def changed(self, status: RunStatus) -> None:
        if self._step is not None and len(paused(self._bench)) >= self._count:
            step, self._step = self._step, None
            step()


def test_a_stopped_search_keeps_its_paused_trials_and_the_next_one_ends_them(bench: Bench) -> None:
    create(bench, FALLING)
    study = load_study(bench.store)

    def stop() -> None:
        from tuner.study.study_state import StudyState

        study_control.set_state(bench.store, study, StudyState.STOPPED)

    outcome = bench.run(9, watcher=UntilPaused(bench, 3, stop))
    assert outcome.reason is StopReason.STOPPED
    waiting = [t for t in bench.trials if t.state == "WAITING"]
    assert len(waiting) >= 3
    assert summarize(bench.store, study).ends["paused"] >= 3
    from tuner.study.study_state import StudyState

    study_control.set_state(bench.store, study, StudyState.RUNNING)
    assert bench.run(9).reason is None
    check_ended(bench, 9)
    assert epochs_of(bench.trials)[0.9][-1] == 9
