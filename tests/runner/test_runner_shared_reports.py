"""Reports of many workers in one transaction, one of which may not be written."""

from typing import Any

import lockstep_workers
import pytest
import sqlalchemy as sa
from toy_study import Bench
from trial_writes import put_back

from tuner.runner.trial_writer import TrialWriter
from tuner.storage import leases
from tuner.storage.schema import slot_rows
from tuner.storage.slots import TrialSlot
from tuner.storage.studies import load_study
from tuner.workers.base import BACK_ENDS

WORKERS, STOLEN = 16, 7


def test_a_refused_report_keeps_no_other_from_being_written(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.create({"epochs": 3})
    other = bench.store.another()  # the loop guards what its own store writes
    heir = leases.open_lease(other, load_study(other))
    answers: list[list[bool | None]] = []
    rows_after_refusal: list[int] = []
    record_reports = TrialWriter.record_reports

    def noted(writer: TrialWriter, told: Any) -> list[bool | None]:
        answers.append(record_reports(writer, told))
        return answers[-1]

    def before_round(number: int) -> None:
        if number == 2:  # each trial has told of one epoch: another loop takes one of them over
            with bench.store.writing() as connection:
                connection.execute(
                    sa.update(slot_rows)
                    .where(slot_rows.c.number == STOLEN)
                    .values(loop_id=heir.loop_id)
                )
        if number == 3:
            rows_after_refusal.extend(len(bench.curve(trial)) for trial in bench.trials)
        if number == 5:  # the others have ended; it is given back, and goes on here
            stolen = bench.trials[STOLEN - 1]
            slot = TrialSlot(heir.study_id, heir.uuid, STOLEN, 1, stolen.trial_id)
            put_back(other, heir, slot, "interrupted")

    monkeypatch.setitem(BACK_ENDS, lockstep_workers.NAME, lockstep_workers.__name__)
    monkeypatch.setattr(lockstep_workers, "before_round", before_round)
    monkeypatch.setattr(TrialWriter, "record_reports", noted)
    outcome = bench.run(WORKERS, workers=WORKERS, asked={"back_end": lockstep_workers.NAME})
    assert outcome.reason is None
    all_but_one = [None if n == STOLEN else False for n in range(1, WORKERS + 1)]
    assert answers == [[False] * WORKERS, all_but_one, [False] * (WORKERS - 1)]
    assert rows_after_refusal == [1 if n == STOLEN else 2 for n in range(1, WORKERS + 1)]
    assert bench.states == ["COMPLETE"] * WORKERS
    attempts = [[attempt.end for attempt in trial.attempts] for trial in bench.trials]
    assert attempts.pop(STOLEN - 1) == ["interrupted", "complete"]
    assert attempts == [["complete"]] * (WORKERS - 1)
    other.close()


def test_workers_are_heard_before_all_have_a_trial(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To begin a thousand trials takes half a minute."""
    bench.create({"epochs": 1})
    begun: list[int] = []

    def before_round(number: int) -> None:
        begun.append(len(bench.trials))

    monkeypatch.setitem(BACK_ENDS, lockstep_workers.NAME, lockstep_workers.__name__)
    monkeypatch.setattr(lockstep_workers, "before_round", before_round)
    outcome = bench.run(40, workers=40, asked={"back_end": lockstep_workers.NAME})
    assert outcome.reason is None
    assert begun[:2] == [32, 40]
    assert bench.states == ["COMPLETE"] * 40
