"""Whatever commit's answer is lost, a trial is written once and whole."""

from collections.abc import Iterator
from typing import Any

import optuna
import pytest
from lost_answers import LostAnswers
from toy_study import Bench

from tuner.runner.policy import after_checkpoint, completed, put_back
from tuner.runner.search import open_writer
from tuner.runner.trial_writer import TrialWriter
from tuner.storage import Store, attempt_rows, leases, open_store, paused_slots, slots
from tuner.storage.studies import StudyRow, create_study, list_studies, load_study
from tuner.storage.trials import enqueue
from tuner.study.ends import TrialEnd
from tuner.study.messages import Distribution, Ended, Report, Suggest
from tuner.study.spec import Choice

ASKED = Suggest("y", Distribution("float", 0.0, 1.0))


def run_a_trial(bench: Bench, study: StudyRow, store: Store) -> None:
    """A loop's whole work on one place: put back once, then complete."""
    total = slots.add_slots(store, study, 1)
    lease = leases.open_lease(store, study)
    optuna_study = optuna.load_study(study_name=study.name, storage=store.optuna)
    writer = TrialWriter(store, optuna_study, study.spec, lease)
    first = writer.begin(0, total, frozenset())
    assert first is not None
    writer.move(first, 1)
    value = writer.suggest(first, ASKED).value
    writer.record_report(first, Report(1, 1, True, {"val_accuracy": 0.25}))
    writer.end(first, put_back(TrialEnd.INTERRUPTED))
    second = writer.begin(0, total, frozenset())
    assert second is not None
    assert writer.suggest(second, ASKED).value == value
    writer.record_resumption(second, 1)
    writer.record_report(second, Report(2, 2, True, {"val_accuracy": 0.5}))
    writer.end(second, completed(Ended("complete", 0.5, 2, 2, 7)))
    writer.close()


def pause_a_trial(bench: Bench, study: StudyRow, store: Store) -> None:
    """A loop's whole work on one place: paused at two rungs, then pruned."""
    total = slots.add_slots(store, study, 1)
    lease = leases.open_lease(store, study)
    writer = open_writer(store, study, lease)
    first = writer.begin(0, total, frozenset())
    assert first is not None
    writer.record_report(first, Report(1, 1, True, {"val_accuracy": 0.25}))
    writer.end(first, after_checkpoint(TrialEnd.AT_RUNG, None))
    second = writer.begin(0, total, frozenset(), promoted=first.trial_id)
    assert second is not None
    assert second.trial_id == first.trial_id
    writer.record_resumption(second, 1)
    writer.record_report(second, Report(2, 2, True, {"val_accuracy": 0.5}))
    writer.end(second, after_checkpoint(TrialEnd.AT_RUNG, None))
    for slot in paused_slots.claim_last(store, lease):
        writer.end_paused(slot, TrialEnd.PRUNED)
    writer.close()


def written(bench: Bench) -> list[Any]:
    (trial,) = bench.trials
    told = bench.store.optuna.get_trial(trial.trial_id)
    rows = attempt_rows.read_reports(bench.store, load_study(bench.store), trial.trial_id, 2)
    return [
        (trial.state, trial.value, told.intermediate_values, told.user_attrs, sorted(told.params)),
        [(a.attempt, a.worker, a.end, a.score) for a in trial.attempts],
        [(row.step, row.metrics) for row in rows],
        bench.slots,
    ]


@pytest.fixture
def loops_store(bench: Bench) -> Iterator[Store]:
    """The database as a loop has it open, beside the test."""
    store = open_store(bench.url)
    yield store
    store.close()


def commits_of_a_trial(bench: Bench, study: StudyRow, store: Store) -> int:
    """How many there are, and what they write when nothing goes wrong."""
    calm = LostAnswers(0)
    with calm.of(store):
        run_a_trial(bench, study, store)
    return calm.commits


def test_a_trial_is_written_once_whichever_answer_is_lost(
    bench: Bench, loops_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tuner.storage.connections._FIRST_PAUSE_S", 0.0)
    spec = bench.create(name="calm").spec
    commits = commits_of_a_trial(bench, load_study(bench.store), loops_store)
    expected = written(bench)
    assert expected[1] == [(1, 1, "interrupted", None), (2, 0, "complete", 0.5)]
    assert commits > 15
    for lost in range(1, commits + 1):
        study = create_study(bench.store, f"lost-{lost}", spec)
        answers = LostAnswers(lost)
        with answers.of(loops_store):
            run_a_trial(bench, study, loops_store)
        assert answers.commits >= lost
        assert written(bench) == expected, f"commit {lost} of {commits}"


def test_a_trial_is_paused_and_ended_once_whichever_answer_is_lost(
    bench: Bench, loops_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tuner.storage.connections._FIRST_PAUSE_S", 0.0)
    spec = bench.create(name="calm", pruner=Choice(name="promotion")).spec
    calm = LostAnswers(0)
    with calm.of(loops_store):
        pause_a_trial(bench, load_study(bench.store), loops_store)
    expected = written(bench)
    assert expected[0][:2] == ("PRUNED", 0.5)
    assert expected[1] == [(1, 0, "at_rung", None), (2, 0, "pruned", 0.5)]
    assert calm.commits > 8
    for lost in range(1, calm.commits + 1):
        study = create_study(bench.store, f"lost-{lost}", spec)
        with LostAnswers(lost).of(loops_store):
            pause_a_trial(bench, study, loops_store)
        assert written(bench) == expected, f"commit {lost} of {calm.commits}"


def test_studies_and_queued_trials_are_made_once(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tuner.storage.connections._FIRST_PAUSE_S", 0.0)
    monkeypatch.setattr("time.sleep", lambda _seconds: None)
    spec = bench.create(baselines=[{"x": 0.5}, {"x": 0.25}]).spec
    for lost in range(1, 20):
        store = open_store(bench.url)
        answers = LostAnswers(lost)
        with answers.of(store):
            study = create_study(store, f"study-{lost}", spec, None, spec.first_trials())
            enqueue(store, study, {"x": 0.75})
        store.close()
        assert load_study(bench.store).name == study.name
        assert [trial.params["x"] for trial in bench.trials] == [0.5, 0.25, 0.75]
        if answers.commits < lost:
            break
    else:
        raise AssertionError("more commits than were lost")
    assert len(list_studies(bench.store)) == lost + 1
