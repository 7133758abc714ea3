"""Trials that the pruner `promotion` pauses, and goes on with when they have earned it."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from test_runner_control import lost_nothing
from toy_study import Bench, any_of

from tuner.runner import RunStatus, Silent
from tuner.runner.search import open_writer
from tuner.storage import leases, paused_slots, slots, study_control
from tuner.storage.studies import load_study
from tuner.storage.trial_pages import read_trial_page
from tuner.storage.trials import TrialRow, summarize
from tuner.study.ends import StopReason, TrialEnd
from tuner.study.spec import Choice
from tuner.study.study_state import StudyState

PROMOTION = Choice(name="promotion")
# At epoch e a trial has reached 1 - 2**-e of its x: the order at each rung is that of x.
LONG = {"epochs": 9, "patience": 9}
# So that the first trials pause at their first rung.
FALLING = [0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1]


def create(bench: Bench, xs: list[float], **options: Any) -> None:
    baselines = [{"x": x} for x in xs]
    bench.create(LONG | options.pop("parameters", {}), baselines, pruner=PROMOTION, **options)


def epochs_of(trials: list[TrialRow]) -> dict[float, list[int | None]]:
    """The epochs at which each attempt ended, by the trial's x."""
    return {t.params["x"]: [attempt.epochs for attempt in t.attempts] for t in trials}


def paused(bench: Bench) -> list[int]:
    read = paused_slots.read_paused(bench.store, load_study(bench.store), 1000)
    return sorted(read.trial_ids)


def check_ended(bench: Bench, trials: int) -> None:
    """Exact totals, nothing left paused, no epoch lost or told twice."""
    assert slots.slot_counts(bench.store, load_study(bench.store)) == {"done": trials}
    assert len(bench.trials) == trials
    for trial in bench.trials:
        assert (trial.state, trial.end) in {("COMPLETE", "complete"), ("PRUNED", "pruned")}
        assert trial.last is not None
        steps = [row.step for row in bench.curve(trial)]
        assert steps == list(range(1, (trial.last.epochs or 0) + 1))
        values = [row.metrics["val_accuracy"] for row in bench.curve(trial)]
        assert trial.value == trial.last.score == max(values)
        assert lost_nothing(trial)


def set_state(bench: Bench, state: StudyState) -> None:
    study_control.set_state(bench.store, load_study(bench.store), state)


class OncePaused(Silent):
    """Does one thing as soon as so many trials are paused."""

    def __init__(self, bench: Bench, count: int, step: Callable[[], Any]) -> None:
        self._bench, self._count, self._step, self.is_done = bench, count, step, False

    def changed(self, status: RunStatus) -> None:
        if not self.is_done and len(paused(self._bench)) >= self._count:
            self.is_done = True
            self._step()


def test_paused_trials_go_on_when_they_have_earned_it(bench: Bench) -> None:
    create(bench, FALLING)
    outcome = bench.run(9)
    assert outcome.reason is None
    epochs = epochs_of(bench.trials)
    assert epochs[0.9] == [9]  # the first one is not paused
    assert [epochs[x] for x in (0.8, 0.7)] == [[1, 3]] * 2
    assert [epochs[x] for x in FALLING[3:]] == [[1]] * 6
    check_ended(bench, 9)
    assert summarize(bench.store, load_study(bench.store)).ends == {"pruned": 8, "complete": 1}
    assert outcome.status.ended == {TrialEnd.COMPLETE: 1, TrialEnd.PRUNED: 8}
    assert outcome.status.done == outcome.status.done_here == 9
    files = [path.name for path in (bench.folder / "checkpoints").rglob("*") if path.is_file()]
    assert not [name for name in files if "checkpoint" in name]


def test_one_that_is_among_the_best_does_not_stop(bench: Bench) -> None:
    create(bench, [0.1, 0.2, 0.3, 0.9])
    bench.run(4)
    assert epochs_of(bench.trials) == {0.1: [9], 0.2: [1], 0.3: [3], 0.9: [9]}


def test_a_study_too_small_for_its_rungs_has_a_complete_trial(bench: Bench) -> None:
    create(bench, [0.5, 0.9])
    bench.run(2, workers=2)
    epochs = epochs_of(bench.trials)
    assert epochs[0.9][-1] == 9
    check_ended(bench, 2)


def test_a_stopped_search_keeps_its_paused_trials_and_the_next_ends_them(bench: Bench) -> None:
    create(bench, FALLING)
    stopping = OncePaused(bench, 3, lambda: set_state(bench, StudyState.STOPPED))
    assert bench.run(9, watcher=stopping).reason is StopReason.STOPPED
    study = load_study(bench.store)
    kept = paused(bench)
    assert {t.trial_id for t in bench.trials if t.state == "WAITING"} >= set(kept)
    assert summarize(bench.store, study).ends["paused"] == len(kept) >= 2
    assert slots.slot_counts(bench.store, study)["paused"] == len(kept)
    listed = read_trial_page(bench.store, study, filter_text="state=paused").rows
    assert sorted(t.trial_id for t in listed) == kept
    set_state(bench, StudyState.RUNNING)
    assert bench.run(9, workers=2).reason is None
    check_ended(bench, 9)
    assert epochs_of(bench.trials)[0.9][-1] == 9


def test_patience_counts_a_trial_when_it_is_first_paused(bench: Bench) -> None:
    create(bench, FALLING)
    assert bench.run(9, patience_trials=4).reason is StopReason.PATIENCE
    assert bench.slots["done"] == 1
    assert [t.params["x"] for t in bench.trials if t.attempts] == [0.9, 0.8, 0.7, 0.6, 0.5]


def test_more_trials_leave_pruned_ones_as_they_are(bench: Bench) -> None:
    create(bench, FALLING)
    bench.run(3)
    before = [(t.number, t.state, t.value) for t in bench.trials[:3]]
    assert {state for _, state, _ in before} == {"COMPLETE", "PRUNED"}
    bench.run(None, more=3)
    assert [(t.number, t.state, t.value) for t in bench.trials[:3]] == before
    assert slots.slot_counts(bench.store, load_study(bench.store)) == {"done": 6}


def test_a_search_of_fewer_trials_leaves_the_others_of_the_study_alone(bench: Bench) -> None:
    """Its paused ones too: they may go on as soon as more have reached their rung."""
    create(bench, FALLING)
    slots.ensure_slots(bench.store, load_study(bench.store), 9)
    assert bench.run(3).reason is None
    assert slots.slot_counts(bench.store, load_study(bench.store)) == {
        "done": 1,
        "paused": 2,
        "open": 6,
    }
    bench.run(9)
    check_ended(bench, 9)


def test_a_search_of_fewer_trials_is_no_end_for_those_beyond_it(bench: Bench) -> None:
    """Their paused ones stay so, though nothing else is left of the study."""
    create(bench, FALLING)
    slots.ensure_slots(bench.store, load_study(bench.store), 9)
    bench.run(2)
    bench.run(9, watcher=OncePaused(bench, 8, lambda: set_state(bench, StudyState.STOPPED)))
    set_state(bench, StudyState.RUNNING)
    bench.run(2)
    assert bench.slots == {"done": 1, "paused": 8}
    bench.run(9)
    check_ended(bench, 9)


def test_a_paused_trial_that_fails_later_is_trained_again(bench: Bench) -> None:
    """In a space without another configuration for its slot."""
    parameters = {"x": any_of(0.1, 0.9), "act": any_of("learn", "raise"), "at": 2}
    baselines = [{"x": 0.1, "act": "learn"}, {"x": 0.9, "act": "raise"}]
    bench.create(LONG | parameters, baselines, pruner=PROMOTION)
    assert bench.run(4, timeout_s=60).status.done == 4
    assert (bench.trials[1].state, bench.trials[1].end) == ("FAIL", "user_error")
    tried = {(t.params["x"], t.params["act"]) for t in bench.trials if t.state != "FAIL"}
    assert len(tried) == len(bench.trials) - bench.states.count("FAIL") == 4


def test_a_paused_trial_that_somebody_stops_ends_soon(bench: Bench) -> None:
    create(bench, FALLING, parameters={"pace": 0.02})
    study = load_study(bench.store)
    stopping = OncePaused(bench, 2, lambda: study_control.stop_trial(bench.store, study, 1))
    bench.run(9, watcher=stopping)
    assert stopping.is_done
    second = bench.trials[1]
    assert (second.state, second.end) == ("PRUNED", "stopped")
    assert second.last is not None
    assert second.value == second.last.score
    assert slots.slot_counts(bench.store, study) == {"done": 9}


def test_samplers_see_paused_trials_as_pruned_after_their_last_report(bench: Bench) -> None:
    create(bench, FALLING)
    bench.run(9, watcher=OncePaused(bench, 3, lambda: set_state(bench, StudyState.STOPPED)))
    study = load_study(bench.store)
    lease = leases.open_lease(bench.store, study)
    writer = open_writer(bench.store, study, lease)
    seen = {t._trial_id: t for t in writer.study.get_trials(deepcopy=False)}
    for trial_id in paused(bench):
        stored = bench.store.optuna.get_trial(trial_id)
        assert (stored.state.name, seen[trial_id].state.name) == ("WAITING", "PRUNED")
        assert seen[trial_id].value == stored.intermediate_values[stored.last_step or 0]
        assert seen[trial_id].params == stored.params
    writer.close()


def test_a_loop_that_dies_while_it_ends_paused_trials_leaves_them_paused(bench: Bench) -> None:
    create(bench, FALLING)
    bench.run(9, watcher=OncePaused(bench, 3, lambda: set_state(bench, StudyState.STOPPED)))
    study, kept = load_study(bench.store), paused(bench)
    study_control.stop_trial(bench.store, study, 2)
    dying = leases.open_lease(bench.store, study)
    [claimed] = paused_slots.claim_stopped(bench.store, dying)
    leases.renew_lease(bench.store, dying, lasts_s=0.0)
    set_state(bench, StudyState.RUNNING)
    heir = open_writer(bench.store, study, leases.open_lease(bench.store, study))
    assert heir.repair().settled == 1
    assert slots.slot_counts(bench.store, study)["paused"] == len(kept)
    assert bench.store.optuna.get_trial(claimed.trial_id or 0).state.name == "WAITING"
    heir.close()


@pytest.mark.parametrize("workers", [1, 3])
def test_workers_and_rungs_share_out_any_order(bench: Bench, workers: int) -> None:
    xs = [round(float(x), 3) for x in np.random.default_rng(workers).permutation(14) / 20 + 0.1]
    create(bench, xs)
    bench.run(14, workers=workers)
    check_ended(bench, 14)
    epochs = epochs_of(bench.trials)
    assert epochs[max(xs)][-1] == 9
    assert sum(last[-1] == 1 for last in epochs.values()) >= 7
