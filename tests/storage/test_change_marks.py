"""What pages ask once a second: whether anything has changed."""

from collections.abc import Callable

import sqlalchemy as sa
import trial_writes
from toy_study import toy_spec

from tuner.storage import Store, leases, slots, study_control
from tuner.storage.attempt_rows import record_report
from tuner.storage.change_marks import read_mark
from tuner.storage.schema import loops
from tuner.storage.studies import StudyRow, create_study
from tuner.storage.trials import enqueue
from tuner.study.messages import Report
from tuner.study.study_state import StudyState


def changes(store: Store, study: StudyRow | None, act: Callable[[], object]) -> str:
    """Which marks an action changes: "", "reports", or "trials", which changes both."""
    before = read_mark(store, study)
    act()
    after = read_mark(store, study)
    if before.trials != after.trials:
        assert before.reports != after.reports
        return "trials"
    return "reports" if before.reports != after.reports else ""


def test_what_changes_the_marks(store: Store, study: StudyRow) -> None:
    lease = leases.open_lease(store, study)
    slots.ensure_slots(store, study, 3)
    held = []
    report = Report(1, 1, True, {"val_accuracy": 0.5})
    steps: list[tuple[str, Callable[[], object]]] = [
        ("", lambda: None),
        ("trials", lambda: held.append(trial_writes.begun(store, lease))),
        ("reports", lambda: record_report(store, lease, held[0], report)),
        ("", lambda: leases.renew_lease(store, lease)),
        ("trials", lambda: trial_writes.complete(store, lease, held[0])),
        ("trials", lambda: enqueue(store, study, {"x": 0.5})),
        ("trials", lambda: study_control.set_state(store, study, StudyState.PAUSED)),
        ("trials", lambda: study_control.set_priority(store, study, 3)),
        ("trials", lambda: slots.ensure_slots(store, study, 4)),
    ]
    for number, (expected, act) in enumerate(steps):
        assert changes(store, study, act) == expected, number


def test_a_lease_that_runs_out_changes_the_mark(store: Store, study: StudyRow) -> None:
    leases.open_lease(store, study)
    lapsed = sa.update(loops).values(expires_at=1.0)

    def lapse() -> None:
        store.write(lambda connection: connection.execute(lapsed))

    assert changes(store, study, lapse) == "trials"


def test_another_study_changes_only_the_mark_of_all(store: Store, study: StudyRow) -> None:
    other = create_study(store, "other", toy_spec())
    assert changes(store, study, lambda: leases.open_lease(store, other)) == ""
    lease = leases.open_lease(store, other)
    slots.ensure_slots(store, other, 1)

    def begin() -> None:
        trial_writes.begun(store, lease)

    before = read_mark(store)
    assert changes(store, study, begin) == ""
    after = read_mark(store)
    assert before.trials != after.trials
    assert (before.at_work, after.at_work, read_mark(store, study).at_work) == (False, True, False)
