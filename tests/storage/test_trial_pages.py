"""Pages of trials that SQL sorts and filters: the same as sorting and filtering them in Python."""

from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa
from tried_trials import tried_study

from tuner.errors import UsageError
from tuner.storage import Store
from tuner.storage.schema import attempts, reports
from tuner.storage.studies import StudyRow
from tuner.storage.trial_pages import PAGE_TRIALS, TrialPage, read_trial_page
from tuner.storage.trials import TrialRow, list_trials
from tuner.study.ends import outcome

TRIALS = 70


@pytest.fixture
def study(store: Store) -> StudyRow:
    return tried_study(store, TRIALS)


def value_of(trial: TrialRow, column: str) -> Any:
    """What the table shows of a trial, in a form that can be sorted."""
    last = trial.last
    its_outcome = outcome(trial.state.lower(), trial.end)
    if trial.state in ("RUNNING", "WAITING"):
        its_outcome = trial.state.lower()
    values = {
        "trial": trial.number,
        "state": its_outcome,
        "score": trial.value,
        "val_loss": trial.metrics["val_loss"],
        "epochs": last.epochs if last else None,
        "seconds": trial.seconds,
    }
    value = values[column] if column in values else params_of(trial).get(column)
    return value[0] if isinstance(value, list) else value


def params_of(trial: TrialRow) -> dict[str, Any]:
    """A queued trial has no params yet, but those that were asked for."""
    return {} if trial.state == "WAITING" else trial.params


def all_pages(store: Store, study: StudyRow, sort: str = "", text: str = "") -> list[int]:
    """The numbers of the trials on all pages."""
    pages = [read_trial_page(store, study, sort, text)]
    while pages[-1].number < pages[-1].pages:
        pages.append(read_trial_page(store, study, sort, text, pages[-1].number + 1))
    assert all(len(page.rows) == PAGE_TRIALS for page in pages[:-1])
    numbers = [row.number for page in pages for row in page.rows]
    assert len(numbers) == pages[0].matching
    return numbers


def test_every_column_can_be_sorted_by(store: Store, study: StudyRow) -> None:
    trials = list_trials(store, study)
    columns = read_trial_page(store, study).columns
    varying = study.spec.space.varying()
    assert columns == ["trial", "state", "score", "val_loss", "epochs", "seconds", *varying]
    for column in columns:
        known = [trial for trial in trials if value_of(trial, column) is not None]
        unknown = [trial.number for trial in trials if value_of(trial, column) is None]
        ordered = sorted(known, key=lambda trial: (value_of(trial, column), trial.number))
        numbers = [trial.number for trial in ordered]
        assert all_pages(store, study, column) == numbers + unknown, column
        assert all_pages(store, study, f"-{column}") == numbers[::-1] + unknown[::-1], column


def test_the_newest_come_first_and_a_page_too_far_is_the_last(
    store: Store, study: StudyRow
) -> None:
    first = read_trial_page(store, study)
    assert [row.number for row in first.rows] == list(range(TRIALS + 1, TRIALS + 1 - 50, -1))
    assert (first.number, first.pages, first.matching, first.trials) == (1, 2, 72, 72)
    assert read_trial_page(store, study, page=99).rows == read_trial_page(store, study, page=2).rows
    few, none = "score>0.5", "score>5"
    assert read_trial_page(store, study, "", few, 99) == read_trial_page(store, study, "", few)
    assert read_trial_page(store, study, "", none, 99).number == 1


Check = Callable[[TrialRow], Any]
# A trial whose learning rate is not searched has the default; one that waits has none yet.
FILTERS: dict[str, Check] = {
    "x<0.4": lambda t: params_of(t) and t.params["x"] < 0.4,
    "x>=0.4": lambda t: params_of(t) and t.params["x"] >= 0.4,
    "kind='a c'": lambda t: params_of(t).get("kind") == "a c",
    "kind!=b": lambda t: params_of(t).get("kind") != "b",
    "kind=yes": lambda t: params_of(t).get("kind") == "yes",
    "size>32": lambda t: params_of(t).get("size", 0) > 32,
    "size<=64 kind=b": lambda t: params_of(t).get("size") in (32, 64) and t.params["kind"] == "b",
    "width>90": lambda t: any(width > 90 for width in params_of(t).get("width", [])),
    "width_2<50": lambda t: any(width < 50 for width in params_of(t).get("width", [])[1:2]),
    "width_2=none": lambda t: len(params_of(t).get("width", [])) < 2,
    "learning_rate<0.01": lambda t: params_of(t).get("learning_rate", 1) < 0.01,
    "learning_rate=none": lambda t: not params_of(t),
    "score>0.5": lambda t: (t.value or 0) > 0.5,
    "score=none": lambda t: t.value is None,
    "score!=none trial<20": lambda t: t.value is not None and t.number < 20,
    "val_loss<0.4": lambda t: (t.metrics["val_loss"] or 1) < 0.4,
    "state=complete": lambda t: t.state == "COMPLETE",
    "state!=complete": lambda t: t.state != "COMPLETE",
    "state=running": lambda t: t.state == "RUNNING",
    "end=diverged": lambda t: t.end == "diverged",
    "end=none": lambda t: t.end is None,
    "seconds>50 epochs=3": lambda t: (t.seconds or 0) > 50 and t.last and t.last.epochs == 3,
}


def test_filters_choose_the_same_trials_as_python(store: Store, study: StudyRow) -> None:
    trials = list_trials(store, study)
    for text, check in FILTERS.items():
        expected = [trial.number for trial in trials if check(trial)]
        assert 0 < len(expected) < len(trials), text
        assert all_pages(store, study, "trial", text) == expected, text


MISTAKES = {
    ("", "wdith=3"): "no column 'wdith' (did you mean 'width'",
    ("", "act=learn"): "act does not vary in this study: it is learn",
    ("", "x=many"): "x=many: x is a number, so many must be one too",
    ("", "kind=B"): 'kind=B: kind is one of b, "a c", yes',
    ("", "kind<b"): "kind<b: kind has words, so only = and != can compare it",
    ("", "state=diverged"): "state is one of running, complete, pruned, fail, waiting",
    ("", "x"): "cannot be read at 'x'",
    ("nothing", ""): "no column 'nothing'; there are: trial, state, score",
    ("-", ""): "no column '-'",
    ("x'); DROP TABLE trials; --", ""): "no column",
    ('"', ""): "no column",
    ("trials.trial_id", ""): "no column",
}


def test_mistakes_are_one_line(store: Store, study: StudyRow) -> None:
    for (sort, text), message in MISTAKES.items():
        with pytest.raises(UsageError) as caught:
            read_trial_page(store, study, sort, text)
        assert message in str(caught.value)
        assert "\n" not in str(caught.value)


def test_damaged_rows_do_not_hide_others(store: Store, study: StudyRow) -> None:
    is_sqlite = store.url.get_backend_name() == "sqlite"
    with store.writing() as connection:
        broken = sa.text("UPDATE tuner_intervals SET metrics = :text WHERE trial_id = :trial")
        first = connection.execute(sa.select(sa.func.min(attempts.c.trial_id))).scalar_one()
        damage = "{broken" if is_sqlite else "[]"
        connection.execute(broken, {"text": damage, "trial": first})
        assert connection.execute(sa.select(reports.c.step)).first() is not None
    page: TrialPage = read_trial_page(store, study, "val_loss")
    assert page.matching == TRIALS + 2
    assert len(page.rows) == PAGE_TRIALS
