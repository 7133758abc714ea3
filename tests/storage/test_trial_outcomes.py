"""The few numbers of each trial that figures of a whole study are drawn from."""

import trial_writes

from tuner.storage import Store, leases, slots
from tuner.storage.studies import StudyRow
from tuner.storage.study_pace import seconds_a_trial
from tuner.storage.trial_outcomes import (
    Failure,
    read_failures,
    read_outcomes,
    read_work,
    running_trial_ids,
)
from tuner.study.ends import TrialEnd

TRACEBACK = """Traceback (most recent call last):
  File "net.py", line 3, in build
    raise ValueError("layers " + size)
ValueError: layers {}
 of a wrong size"""


def test_each_trial_s_outcome_and_work(store: Store, study: StudyRow) -> None:
    lease = leases.open_lease(store, study)
    slots.ensure_slots(store, study, 3)
    scored, failed = (trial_writes.begun(store, lease) for _ in range(2))
    trial_writes.complete(store, lease, scored, 0.7)
    trial_writes.fail(store, lease, failed)
    running = trial_writes.begun(store, lease)
    outcomes = read_outcomes(store, study)
    assert [(each.number, each.state, each.value) for each in outcomes] == [
        (0, "COMPLETE", 0.7),
        (1, "FAIL", None),
        (2, "RUNNING", None),
    ]
    assert [each.is_complete for each in outcomes] == [True, False, False]
    assert running_trial_ids(store, study) == [running.trial_id]
    work = read_work(store, study)
    assert [each.trial_id for each in work] == [scored.trial_id, failed.trial_id]
    assert all(0 <= each.seconds < 60 for each in work)


def test_failures_are_told_apart_by_the_line_that_names_the_error(
    store: Store, study: StudyRow
) -> None:
    lease = leases.open_lease(store, study)
    slots.ensure_slots(store, study, 9)
    for size in ("8", "8", "9"):
        slot = trial_writes.begun(store, lease)
        trial_writes.fail(store, lease, slot, TRACEBACK.format(size))
    trial_writes.fail(store, lease, trial_writes.begun(store, lease))
    trial_writes.complete(store, lease, trial_writes.begun(store, lease))
    error = TrialEnd.USER_ERROR
    assert read_failures(store, study) == [
        Failure(error, "ValueError: layers 8", 2, 1, TRACEBACK.format("8")),
        Failure(error, "user error", 1, 3, None),
        Failure(error, "ValueError: layers 9", 1, 2, TRACEBACK.format("9")),
    ]
    words = [failure.in_words for failure in read_failures(store, study)]
    assert words[:2] == ["user error: ValueError: layers 8", "user error"]


def test_the_pace_is_of_trials_that_took_their_slot(store: Store, study: StudyRow) -> None:
    lease = leases.open_lease(store, study)
    slots.ensure_slots(store, study, 9)
    slot = trial_writes.begun(store, lease)
    trial_writes.put_back(store, lease, slot, "interrupted")
    assert store.read(seconds_a_trial, study, 0.0) is None
    for _ in range(4):
        trial_writes.complete(store, lease, trial_writes.begun(store, lease))
    ended = [each.ended_at for each in read_work(store, study)]
    pace = store.read(seconds_a_trial, study, ended[0] - 400.0)
    assert pace is not None
    assert 100.0 <= pace < 130.0
    assert store.read(seconds_a_trial, study, ended[-1] + 1.0) is None
