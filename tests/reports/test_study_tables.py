"""What commands show of studies and trials, as data."""

from dataclasses import replace

import pytest
from toy_study import Bench

from tuner.errors import StudyError
from tuner.reports.study_tables import report_trial, short_study_list_rows
from tuner.storage.studies import list_studies
from tuner.storage.trials import Best, require_best


def test_a_study_row_leaves_out_what_no_study_has(bench: Bench) -> None:
    study = bench.create()
    (row,) = short_study_list_rows(list_studies(bench.store))
    assert row["study"] == study.name
    assert not {"running", "failed"} & set(row)


def test_without_a_finished_trial_there_is_no_best(bench: Bench) -> None:
    study = bench.create()
    with pytest.raises(StudyError, match="no finished trial yet"):
        require_best(study, Best())


def test_a_trial_says_why_it_trains_in_a_slower_engine(bench: Bench) -> None:
    study = bench.create()
    bench.run(1)
    (trial,) = bench.trials
    report = report_trial(study, trial, bench.curve(trial))
    assert report.engine_reason == "the network is not one of tuner's own"
    assert [row["attempt"] for row in report.attempts] == [1]
    assert report.reports[-1]["epoch"] == 3
    damaged = report_trial(study, replace(trial, damage="no params"), [])
    assert damaged.facts["damage"] == "no params"
